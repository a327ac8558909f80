//! The processor: records of `raw` in, profiles out, offsets and profiles in one transaction.
//!
//! ```text
//! raw ─▶ input ─▶ batch ─▶ transaction { profiles, offsets } ─▶ people: cache and store
//!                   ▲                                                │
//!                   └────────── who was known, whose time has come ──┘
//! ```
//!
//! A batch is worked out while the transaction of the one before is under way, on what that one will have written. The store is written after the commit,
//! so it is never ahead of what readers see. A transaction that is aborted is worked out again, with all that followed; any other failure ends the
//! session, and the next one goes on from what is committed.

mod batch;
mod clock;
mod input;
mod metrics;
mod odd_events;
mod people;
mod providers;
mod restore;
mod row;
mod session;
mod store;
mod transaction;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use aftersend_pipeline::config::{Config, ConfigError};
use aftersend_pipeline::kafka::{check_topics, topic_setting};
pub use aftersend_pipeline::store::StoreError;
use aftersend_pipeline::supervise::supervise;
use aftersend_pipeline::telemetry::{AdminError, Latch, Metrics, Readiness, serve};
use aftersend_schemas::topics::Topics;
use tokio_util::sync::CancellationToken;

use metrics::ProcessorMetrics;
use session::Session;
pub use session::SessionError;
use store::Store;

/// Kafka's own default.
const DELETE_RETENTION_MS: i64 = 86_400_000;

/// Why the processor cannot start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum ProcessorError {
    /// See [`ConfigError`].
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// See [`AdminError`].
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// What starting over cannot mend: topics on which a promise would not hold, or a profile of a newer release.
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// The service.
pub struct Processor {
    config: Config,
    admin: SocketAddr,
}

impl Processor {
    /// Checks what can be checked without a connection.
    pub fn new(config: &Config) -> Result<Self, ProcessorError> {
        config.normaliser()?;
        Ok(Self { config: config.clone(), admin: config.processor.admin_address()? })
    }

    /// Runs until `shutdown`; the transaction under way is finished first. Outages of Kafka are waited out.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), ProcessorError> {
        let metrics = Metrics::new();
        let readiness = Readiness::default();
        let processor_metrics = ProcessorMetrics::new(&metrics);
        let (admin_address, admin) = serve(self.admin, metrics, readiness.clone())?;
        tracing::info!(admin = %admin_address, "processor is starting");
        let latch = Arc::new(Mutex::new(Some(readiness.latch())));
        let session = || {
            let (latch, metrics, shutdown) = (latch.clone(), processor_metrics.clone(), shutdown.clone());
            let config = self.config.clone();
            async move {
                let result = run_session(config, &metrics, &shutdown, &latch).await;
                if result.is_err() {
                    metrics.sessions_ended.inc();
                }
                result
            }
        };
        let ended = supervise("processor", &shutdown, session, SessionError::is_final).await;
        readiness.drain();
        admin.stop(false).await;
        Ok(ended?)
    }
}

/// Connects, checks the topics, and works until `shutdown` or a failure.
async fn run_session(
    config: Config,
    metrics: &ProcessorMetrics,
    shutdown: &CancellationToken,
    latch: &Mutex<Option<Latch>>,
) -> Result<(), SessionError> {
    let topics = Topics::new(&config.kafka.topic_prefix);
    check_topics(&config, &[topics.raw(), topics.profiles(), topics.operator(), topics.providers()]).await?;
    let retention = topic_setting(&config, &topics.profiles(), "delete.retention.ms").await?;
    let retention = retention.and_then(|value| value.parse().ok()).unwrap_or(DELETE_RETENTION_MS);
    let shared = metrics.clone();
    let started = tokio::task::spawn_blocking(move || {
        let store = Store::open(&config.processor)?;
        Session::start(config, store, retention, shared)
    });
    let session = tokio::select! {
        started = started => started??,
        () = shutdown.cancelled() => return Ok(()),
    };
    if let Some(latch) = latch.lock().unwrap_or_else(PoisonError::into_inner).take() {
        latch.release();
    }
    session.run(shutdown).await
}

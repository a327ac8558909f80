//! The processor: records of `raw` in, profiles out, offsets and profiles in one transaction.
//!
//! ```text
//! raw ─▶ fold into a copy of what was touched ─▶ transaction { profiles, offsets } ─▶ store
//! ```
//!
//! The store is written only after the commit, so it is never ahead of what readers see. Any failure of a transaction ends the session: everything in
//! memory is dropped, and the next session restores it from `profiles` and goes on at the committed offsets.

mod metrics;
mod odd_events;
mod session;
mod store;
mod transaction;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use aftersend_pipeline::config::{Config, ConfigError};
use aftersend_pipeline::kafka::check_topics;
use aftersend_pipeline::supervise::supervise;
use aftersend_pipeline::telemetry::{AdminError, Latch, Metrics, Readiness, serve};
use aftersend_schemas::topics::Topics;
use tokio_util::sync::CancellationToken;

use metrics::ProcessorMetrics;
use session::Session;
pub use session::SessionError;

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
    check_topics(&config, &[topics.raw(), topics.profiles()]).await?;
    let shared = metrics.clone();
    let started = tokio::task::spawn_blocking(move || Session::start(config, shared));
    let session = tokio::select! {
        started = started => started??,
        () = shutdown.cancelled() => return Ok(()),
    };
    if let Some(latch) = latch.lock().unwrap_or_else(PoisonError::into_inner).take() {
        latch.release();
    }
    session.run(shutdown).await
}

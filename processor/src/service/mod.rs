//! The processor: records of `raw` in, profiles out, offsets and profiles in one transaction.
//!
//! ```text
//! raw ─▶ fold into a copy of what was touched ─▶ transaction { profiles, offsets } ─▶ store
//! ```
//!
//! The store is written only after the commit, so it is never ahead of what readers see. Any failure of a transaction ends the session: everything in
//! memory is dropped, and the next session restores it from `profiles` and goes on at the committed offsets.

mod metrics;
mod session;
mod store;
mod transaction;

use std::net::SocketAddr;
use std::time::Duration;

use aftersend_pipeline::config::{Config, ConfigError};
use aftersend_pipeline::kafka::{TopicError, check_topics};
use aftersend_pipeline::retry::Backoff;
use aftersend_pipeline::telemetry::{AdminError, Metrics, Readiness, serve};
use aftersend_schemas::topics::Topics;
use tokio_util::sync::CancellationToken;

use metrics::ProcessorMetrics;
use session::{Session, SessionError};

/// Why the processor cannot start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum ProcessorError {
    /// See [`ConfigError`].
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// See [`AdminError`].
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// See [`TopicError`].
    #[error(transparent)]
    Topics(#[from] TopicError),
    /// A profile was written by a newer release: going on would overwrite what this one cannot read.
    #[error("a record of profiles cannot be read: {0}")]
    Profile(String),
}

/// The service.
pub struct Processor {
    config: Config,
    admin: SocketAddr,
}

impl Processor {
    /// Checks what can be checked without a connection.
    pub fn new(config: &Config) -> Result<Self, ProcessorError> {
        config.privacy.privacy()?;
        Ok(Self { config: config.clone(), admin: config.processor.admin_address()? })
    }

    /// Runs until `shutdown`; the transaction under way is finished first. Outages of Kafka are waited out.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), ProcessorError> {
        let metrics = Metrics::new();
        let readiness = Readiness::default();
        let processor_metrics = ProcessorMetrics::new(&metrics);
        let (admin_address, admin) = serve(self.admin, metrics, readiness.clone())?;
        tracing::info!(admin = %admin_address, "processor is starting");
        let mut latch = Some(readiness.latch());
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(10));
        let ended = loop {
            if shutdown.is_cancelled() {
                break Ok(());
            }
            let session = match self.start(&processor_metrics, &shutdown).await {
                Ok(session) => session,
                Err(Ending::Stop(error)) => break Err(error),
                Err(Ending::Again(error)) => {
                    tracing::warn!(%error, "the processor cannot start yet");
                    wait(&shutdown, backoff.next_delay()).await;
                    continue;
                }
            };
            if let Some(latch) = latch.take() {
                latch.release();
            }
            match session.run(&shutdown).await {
                Ok(()) => break Ok(()),
                Err(SessionError::Profile(error)) => break Err(ProcessorError::Profile(error)),
                Err(error) => {
                    processor_metrics.sessions_ended.inc();
                    tracing::warn!(%error, "starting over from the committed offsets");
                    wait(&shutdown, backoff.next_delay()).await;
                }
            }
        };
        readiness.drain();
        admin.stop(false).await;
        ended
    }

    async fn start(&self, metrics: &ProcessorMetrics, shutdown: &CancellationToken) -> Result<Session, Ending> {
        let topics = Topics::new(&self.config.kafka.topic_prefix);
        match check_topics(&self.config, &[topics.raw(), topics.profiles()]).await {
            Ok(()) => {}
            Err(error @ TopicError::Unreachable { .. }) => return Err(Ending::Again(error.to_string())),
            Err(error) => return Err(Ending::Stop(error.into())),
        }
        let config = self.config.clone();
        let metrics = metrics.clone();
        let started = tokio::task::spawn_blocking(move || Session::start(config, metrics));
        tokio::select! {
            started = started => match started {
                Ok(Ok(session)) => Ok(session),
                Ok(Err(error)) => Err(Ending::Again(error.to_string())),
                Err(error) => Err(Ending::Again(error.to_string())),
            },
            () = shutdown.cancelled() => Err(Ending::Again("shutting down".into())),
        }
    }
}

enum Ending {
    Again(String),
    Stop(ProcessorError),
}

async fn wait(shutdown: &CancellationToken, delay: Duration) {
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = tokio::time::sleep(delay) => {}
    }
}

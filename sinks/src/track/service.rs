//! The service: start-up, and sessions that are started over.

use std::net::SocketAddr;

use aftersend_pipeline::config::{Config, ConfigError, TrackMode};
use aftersend_pipeline::consumer::{PollThreadDied, RestoreError};
use aftersend_pipeline::kafka::{TopicError, wait_for_topics};
use aftersend_pipeline::store::StoreError;
use aftersend_pipeline::supervise::supervise;
use aftersend_pipeline::telemetry::{AdminError, Metrics, Readiness, serve};
use aftersend_schemas::DecodeError;
use aftersend_schemas::topics::Topics;
use rdkafka::error::KafkaError;
use tokio_util::sync::CancellationToken;

use super::api::{Api, Greeting};
use super::ledger::Cache;
use super::metrics::TrackMetrics;
use super::session::Session;

/// Why the sink cannot start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum TrackSinkError {
    /// See [`ConfigError`].
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// See [`AdminError`].
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// See [`TopicError`].
    #[error(transparent)]
    Topics(#[from] TopicError),
    /// A Kafka client could not be made, or cannot go on.
    #[error("kafka: {0}")]
    Kafka(#[from] KafkaError),
    /// See [`PollThreadDied`].
    #[error(transparent)]
    Poll(#[from] PollThreadDied),
    /// The HTTP client could not be made.
    #[error("cannot create the HTTP client: {0}")]
    Http(#[from] reqwest::Error),
    /// The ledger could not be read back.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// A profile was written by a newer release: passing over it could pass over a verdict.
    #[error("a record of profiles cannot be read: {0}")]
    TooNew(DecodeError),
    /// The brake's log or a decision of an operator was written by a newer release: passing over it could suppress somebody.
    #[error("a record of track-brake or operator cannot be read: {0}")]
    Heard(DecodeError),
    /// The ledger was written by a newer release: going on would repeat calls.
    #[error("a record of track-ledger cannot be read: {0}")]
    Ledger(String),
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger's topic holds less than was read of it.
    #[error("track-ledger was cut off or made anew: the local cache of it is thrown away")]
    LedgerCut,
    /// A task died.
    #[error("a task died: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl TrackSinkError {
    /// True for what starting over cannot mend.
    fn is_final(&self) -> bool {
        !matches!(self, Self::Restore(_) | Self::Kafka(_) | Self::Store(_) | Self::LedgerCut | Self::Task(_))
    }
}

/// The service.
pub struct TrackSink {
    config: Config,
    admin: SocketAddr,
}

impl TrackSink {
    /// Checks what can be checked without a connection.
    pub fn new(config: &Config) -> Result<Self, TrackSinkError> {
        Ok(Self { config: config.clone(), admin: config.track.admin_address()? })
    }

    /// Runs until `shutdown`; calls under way get ten seconds to be answered. Outages of Kafka are waited out.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), TrackSinkError> {
        let metrics = Metrics::new();
        let readiness = Readiness::default();
        let latch = readiness.latch();
        let track_metrics = TrackMetrics::new(&metrics);
        let (admin_address, admin) = serve(self.admin, metrics, readiness.clone())?;
        tracing::info!(admin = %admin_address, mode = ?self.config.track.mode, workspaces = self.config.track.workspaces.len(), "track sink is starting");
        let result = if self.config.track.mode == TrackMode::Off {
            latch.release();
            shutdown.cancelled().await;
            Ok(())
        } else {
            let topics = Topics::new(&self.config.kafka.topic_prefix);
            let names =
                [topics.profiles(), topics.track_ledger(), topics.track_calls(), topics.track_brake(), topics.operator(), topics.dead()];
            match self.greet().await {
                Ok(()) => match wait_for_topics(&self.config, &names, &shutdown).await {
                    Ok(true) => {
                        latch.release();
                        self.serve_until(&shutdown, &track_metrics).await
                    }
                    Ok(false) => Ok(()),
                    Err(error) => Err(error.into()),
                },
                Err(error) => Err(error),
            }
        };
        readiness.drain();
        admin.stop(false).await;
        result
    }

    /// In live mode every workspace's credentials and region are tried: wrong ones are an error of the configuration, an API that does not answer is none.
    async fn greet(&self) -> Result<(), TrackSinkError> {
        if self.config.track.mode != TrackMode::Live {
            return Ok(());
        }
        for (workspace, credentials) in &self.config.track.workspaces {
            match Api::new(credentials)?.greet().await {
                Greeting::Welcome(message) => tracing::info!(workspace, message, "the track API answers"),
                Greeting::Unknown(message) => tracing::warn!(workspace, message, "going on: calls are made once the track API answers"),
                Greeting::Refused(fix) => return Err(ConfigError::missing(format!("track.workspaces.{workspace}"), fix).into()),
            }
        }
        Ok(())
    }

    /// Starts over after failures of Kafka; other errors end the service.
    async fn serve_until(&self, shutdown: &CancellationToken, metrics: &TrackMetrics) -> Result<(), TrackSinkError> {
        let session = || async {
            let config = self.config.clone();
            let cache = tokio::task::spawn_blocking(move || Cache::open(&config)).await??;
            Session::start(&self.config, cache, metrics)?.run(shutdown).await
        };
        supervise("track", shutdown, session, TrackSinkError::is_final).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_newer_release_wrote_ends_the_sink_and_an_outage_does_not() {
        let newer = DecodeError::TooNew { record: "profile", found: 2, known: 1 };
        assert!(TrackSinkError::TooNew(newer).is_final());
        assert!(TrackSinkError::Heard(newer).is_final());
        assert!(TrackSinkError::Ledger(newer.to_string()).is_final());
        assert!(!TrackSinkError::Kafka(KafkaError::Canceled).is_final());
        assert!(!TrackSinkError::LedgerCut.is_final());
    }
}

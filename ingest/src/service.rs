use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_web::{App, HttpServer, web};
use aftersend_pipeline::config::{Config, ConfigError};
use aftersend_pipeline::kafka::{TopicError, wait_for_topics};
use aftersend_pipeline::telemetry::{AdminError, Latch, Metrics, Readiness, serve};
use aftersend_schemas::topics::Topics;
use rdkafka::error::KafkaError;
use tokio_util::sync::CancellationToken;

use crate::door::{Door, receive};
use crate::metrics::IngestMetrics;
use crate::publish::Publisher;
use crate::sources::Sources;

const PATH: &str = "/v1/webhooks/customerio/reporting";
/// Clients that reuse a connection just closed report a failed delivery, so connections are kept for longer than theirs.
const KEEP_ALIVE: Duration = Duration::from_secs(120);
/// Requests in flight at shutdown get this long; their own budget is shorter.
const DRAIN_SECONDS: u64 = 5;

/// Why ingest cannot start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// See [`ConfigError`].
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The port is taken, or not ours to take.
    #[error("cannot listen on {address}: {source}; set ingest.listen to a free address")]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// See [`AdminError`].
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The client could not be made: a wrong `kafka.properties`, for one.
    #[error("cannot create the kafka producer: {0}")]
    Producer(#[source] KafkaError),
    /// See [`TopicError`].
    #[error(transparent)]
    Topics(#[from] TopicError),
    /// The server ended by itself.
    #[error("the HTTP server stopped: {0}")]
    Server(#[source] std::io::Error),
}

/// A bound ingest, not yet serving.
pub struct Ingest {
    config: Config,
    listener: TcpListener,
    address: SocketAddr,
}

impl Ingest {
    /// Checks what can be checked and takes the port.
    pub fn bind(config: &Config) -> Result<Self, IngestError> {
        config.require_sources()?;
        let address = config.ingest.listen_address()?;
        let listen = |source| IngestError::Listen { address, source };
        let listener = TcpListener::bind(address).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        Ok(Self { config: config.clone(), listener, address })
    }

    /// Where it listens (port 0 in the configuration chooses one).
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`, then answers what is in flight and flushes what is queued.
    ///
    /// Kafka need not be there at the start: requests get 503 until it is, since a refused connection would cost an hour.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), IngestError> {
        let config = self.config;
        let metrics = Metrics::new();
        let readiness = Readiness::default();
        let sources = Sources::new(&config.sources);
        let ingest_metrics = IngestMetrics::new(&metrics, &sources);
        let publisher = Publisher::new(&config, ingest_metrics.clone()).map_err(IngestError::Producer)?;
        let privacy = config.privacy.privacy()?;
        let max_body_bytes = config.ingest.max_body_bytes;
        let door = web::Data::new(Door { sources, publisher: publisher.clone(), metrics: ingest_metrics, privacy, max_body_bytes });
        let (admin_address, admin) = serve(config.ingest.admin_address()?, metrics, readiness.clone())?;

        let server =
            HttpServer::new(move || App::new().app_data(door.clone()).service(web::resource(paths()).route(web::post().to(receive))))
                .keep_alive(KEEP_ALIVE)
                .shutdown_timeout(DRAIN_SECONDS)
                .disable_signals()
                .listen(self.listener)
                .map_err(|source| IngestError::Listen { address: self.address, source })?
                .run();
        let handle = server.handle();
        let mut serving = tokio::spawn(server);
        tracing::info!(address = %self.address, path = PATH, admin = %admin_address, sources = config.sources.len(), "ingest is listening");

        let checked = check_until_reachable(&config, readiness.latch(), &shutdown);
        let ended = tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            result = async { checked.await?; std::future::pending().await } => result,
            result = &mut serving => Err(IngestError::Server(result.unwrap_or_else(|error| Err(std::io::Error::other(error))).err().unwrap_or_else(|| std::io::Error::other("ended early")))),
        };
        readiness.drain();
        handle.stop(true).await;
        let flushed = tokio::task::spawn_blocking(move || publisher.flush(Duration::from_secs(10))).await;
        if !matches!(flushed, Ok(Ok(()))) {
            tracing::warn!("some records were still queued; their requests were answered 503");
        }
        admin.stop(false).await;
        ended
    }
}

/// The short path and the path of each source, with or without a slash at the end: a slash too many must not cost an hour.
fn paths() -> [String; 4] {
    [PATH.to_owned(), format!("{PATH}/"), format!("{PATH}/{{source}}"), format!("{PATH}/{{source}}/")]
}

/// Holds readiness back until the topics have been seen to be safe. Until then requests are answered 503.
async fn check_until_reachable(config: &Config, latch: Latch, shutdown: &CancellationToken) -> Result<(), IngestError> {
    let topics = Topics::new(&config.kafka.topic_prefix);
    if wait_for_topics(config, &[topics.raw(), topics.dead()], shutdown).await? {
        latch.release();
        tracing::info!("ingest is ready");
    }
    Ok(())
}

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::time::Duration;

use actix_server::ServerHandle;
use actix_web::HttpRequest;
use actix_web::web::{Data, Payload};
use aftersend_pipeline::config::{Config, ConfigError};
use aftersend_pipeline::kafka::{TopicError, wait_for_topics};
use aftersend_pipeline::shutdown::Reloads;
use aftersend_pipeline::telemetry::{AdminError, Latch, Metrics, Readiness, serve_on};
use aftersend_schemas::topics::Topics;
use arc_swap::ArcSwap;
use rdkafka::error::KafkaError;
use tokio::time::{Instant, interval, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;
use crate::body::Limits;
use crate::connections::Connections;
use crate::door::{Door, receive};
use crate::handover::{self, Offer, Ports, Predecessor};
use crate::metrics::IngestMetrics;
use crate::publish::Publisher;
use crate::reload::reload;
use crate::rules::Rules;
use crate::server;
use crate::sources::PATH;
use crate::tls::Certificates;
use crate::watch::watch;

/// Certificates are looked at so often.
const CERTIFICATES_EVERY: Duration = Duration::from_secs(10);
/// Connections accepted above `ingest.max_connections`, so that their requests can be answered.
const SPARE_CONNECTIONS: usize = 512;
/// Connections that are accepted have reached their worker after so long.
const ON_THEIR_WAY: Duration = Duration::from_millis(200);
/// Open files beside connections: Kafka, logs, the admin pages.
const OTHER_FILES: usize = 256;

/// Why ingest cannot start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// See [`ConfigError`].
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The port is taken, or not ours to take.
    #[error("cannot listen on {address}: {source}; set {key} to a free address")]
    Listen {
        /// Which one.
        key: &'static str,
        /// As configured.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The ports cannot be taken from, or offered to, another process.
    #[error("cannot use {path} for the hand-over: {source}{advice}", path = path.display(), advice = handover_advice(source))]
    Handover {
        /// As configured.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The TLS library refuses its settings.
    #[error("cannot serve TLS: {0}")]
    Tls(#[from] rustls::Error),
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
    Server(#[source] io::Error),
}

/// What helps where the path itself is to blame.
fn handover_advice(error: &io::Error) -> &'static str {
    use io::ErrorKind::{InvalidInput, NotADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem};
    match error.kind() {
        InvalidInput | NotADirectory | NotFound | PermissionDenied | ReadOnlyFilesystem => {
            "; set ingest.handover to a path in a directory of this user's own"
        }
        _ => "",
    }
}

/// A bound ingest, not yet serving.
pub struct Ingest {
    config: Config,
    ports: Ports,
    address: SocketAddr,
    predecessor: Option<Predecessor>,
    certificates: Option<Certificates>,
}

/// Why a running ingest ends.
enum End {
    /// It was asked to.
    Shutdown,
    /// Another process has its ports and is ready.
    Taken,
}

impl Ingest {
    /// Checks what can be checked, and takes the ports: from the running ingest at `ingest.handover`, if there is one.
    pub fn bind(config: &Config) -> Result<Self, IngestError> {
        config.require_sources()?;
        let certificates = config.ingest.tls.as_ref().map(Certificates::new).transpose()?;
        let inherited = match &config.ingest.handover {
            Some(path) if !handover::is_usable(path) => {
                let fix = "needs a path in a directory that exists, with nothing there but the socket of an earlier ingest";
                return Err(ConfigError::value("ingest.handover", path.display().to_string(), fix).into());
            }
            Some(path) => handover::take(path).map_err(|source| IngestError::Handover { path: path.clone(), source })?,
            None => None,
        };
        let (inherited, predecessor) = inherited.unzip();
        let (listen, admin) = inherited.map(|ports| (ports.listen, ports.admin)).unzip();
        let wanted = config.ingest.listen_address()?;
        let ports =
            Ports { listen: port("ingest.listen", wanted, listen)?, admin: port("ingest.admin", config.ingest.admin_address()?, admin)? };
        let address = ports.listen.local_addr().map_err(|source| IngestError::Listen { key: "ingest.listen", address: wanted, source })?;
        Ok(Self { config: config.clone(), ports, address, predecessor, certificates })
    }

    /// Where it listens (port 0 in the configuration chooses one).
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`, or until another process takes over; then drains, answers what is in flight and flushes what is queued.
    ///
    /// Kafka need not be there at the start: requests get 503 until it is, since a refused connection would cost an hour.
    pub async fn run(self, shutdown: CancellationToken, mut reloads: Reloads) -> Result<(), IngestError> {
        let Self { config, ports, address, predecessor, mut certificates } = self;
        allow_open_files(config.ingest.max_connections);
        let (metrics, readiness) = (Metrics::new(), Readiness::default());
        let ingest_metrics = IngestMetrics::new(&metrics);
        let door = Data::new(Door {
            rules: ArcSwap::from_pointee(Rules::new(&config, None, &ingest_metrics)?),
            admission: Admission::new(&config.ingest),
            publisher: Publisher::new(&config, ingest_metrics.clone()).map_err(IngestError::Producer)?,
            metrics: ingest_metrics.clone(),
            limits: Limits { max_body_bytes: config.ingest.max_body_bytes, hard_limit_bytes: config.ingest.hard_limit_bytes },
            draining: CancellationToken::new(),
        });
        // Until this process is ready the one before answers, alone. Once that has gone there is nobody else, ready or not.
        let predecessor = match predecessor {
            None => None,
            Some(predecessor) => {
                let needed = needed(&config);
                let is_ready = tokio::select! {
                    ready = wait_for_topics(&config, &needed, &shutdown) => Some(ready?),
                    Ok(()) = predecessor.gone() => None,
                };
                match is_ready {
                    Some(true) => Some(predecessor),
                    Some(false) => return Ok(()),
                    None => {
                        tracing::warn!("the ingest that would hand over has gone: this one answers 503 until Kafka is there");
                        None
                    }
                }
            }
        };
        let connections = Connections::new(config.ingest.max_connections, door.draining.clone(), ingest_metrics);
        // Who takes over is ready already, and pollers must not see a moment without.
        let latch = predecessor.is_none().then(|| readiness.latch());
        let offered = config.ingest.handover.is_some().then(|| ports.try_clone()).transpose().map_err(IngestError::Server)?;
        let (admin_address, admin) = serve_on(ports.admin, config.ingest.admin_address()?, metrics, readiness.clone())?;

        let tls = certificates.as_ref().map(Certificates::server_config).transpose()?;
        let shared = door.clone();
        let handler = move |request: HttpRequest, payload: Payload| receive(shared.clone(), request, payload);
        let server = server::serve(ports.listen, tls, config.ingest.max_connections + SPARE_CONNECTIONS, handler, connections.clone());
        let server = server.map_err(|source| IngestError::Listen { key: "ingest.listen", address, source })?;
        let handle = server.handle();
        let mut serving = tokio::spawn(server);
        let unwatched = CancellationToken::new();
        let watching = tokio::spawn(watch(door.clone(), unwatched.clone()));
        tracing::info!(%address, path = PATH, admin = %admin_address, sources = config.sources.len(), "ingest is listening");

        let mut taken = Box::pin(ready_until_taken(&config, latch, offered, predecessor, &shutdown));
        let mut certificates_tick = interval(CERTIFICATES_EVERY);
        let ended = loop {
            if let Some(certificates) = &certificates {
                door.metrics.certificate_expires.set(certificates.expires_at());
            }
            tokio::select! {
                () = shutdown.cancelled() => break Ok(End::Shutdown),
                result = &mut taken => break result.map(|()| End::Taken),
                () = reloads.next() => reload(&config, &door, certificates.as_mut()),
                _ = certificates_tick.tick() => certificates.iter_mut().for_each(Certificates::refresh),
                result = &mut serving => break Err(IngestError::Server(ended_early(result))),
            }
        };
        // Whoever has the ports is ready: pollers must not hear otherwise.
        if !matches!(ended, Ok(End::Taken)) {
            readiness.drain();
        }
        door.draining.cancel();
        match &ended {
            Ok(end) => drain(end, config.ingest.drain.0, &handle, &admin, &connections, taken).await,
            Err(_) => drop(taken),
        }
        connections.stop();
        handle.stop(true).await;
        let flushed = tokio::task::spawn_blocking(move || door.publisher.flush(Duration::from_secs(10))).await;
        if !matches!(flushed, Ok(Ok(()))) {
            tracing::warn!("some records were still queued; their requests were answered 503");
        }
        unwatched.cancel();
        let _ = watching.await;
        admin.stop(false).await;
        ended.map(|_| ())
    }
}

/// An inherited socket, which must listen where the configuration says; else a new one.
fn port(key: &'static str, address: SocketAddr, inherited: Option<TcpListener>) -> Result<TcpListener, IngestError> {
    let Some(listener) = inherited else {
        return TcpListener::bind(address).map_err(|source| IngestError::Listen { key, address, source });
    };
    let fits = |bound: SocketAddr| bound == address || (address.port() == 0 && bound.ip() == address.ip());
    if listener.local_addr().is_ok_and(fits) {
        return Ok(listener);
    }
    let fix = "the ingest that hands over listens elsewhere: stop it first, or give this one an ingest.handover of its own";
    Err(ConfigError::value(key, address.to_string(), fix).into())
}

fn needed(config: &Config) -> [String; 2] {
    let topics = Topics::new(&config.kafka.topic_prefix);
    [topics.raw(), topics.dead()]
}

/// Sends the predecessor away, or, where there is none, holds readiness back until the topics have been seen to be safe (until then requests are
/// answered 503). Offers the ports in turn: at once where nobody else does. Returns when they are taken.
async fn ready_until_taken(
    config: &Config,
    latch: Option<Latch>,
    ports: Option<Ports>,
    predecessor: Option<Predecessor>,
    shutdown: &CancellationToken,
) -> Result<(), IngestError> {
    let handover = config.ingest.handover.as_ref().zip(ports);
    let offer = || {
        let offer =
            handover.map(|(path, ports)| Offer::new(path, ports).map_err(|source| IngestError::Handover { path: path.clone(), source }));
        offer.transpose()
    };
    let topics = needed(config);
    let ready = async {
        if !wait_for_topics(config, &topics, shutdown).await? {
            std::future::pending::<()>().await;
        }
        Ok::<_, IngestError>(())
    };
    let tell_ready = || {
        latch.into_iter().for_each(Latch::release);
        tracing::info!(handover = config.ingest.handover.as_ref().map(|path| path.display().to_string()), "ingest is ready");
    };
    if let Some(predecessor) = predecessor {
        let offer = offer()?;
        tell_ready();
        // If it has gone by itself there is nobody to send away.
        let _ = predecessor.leave();
        taken(offer.as_ref()).await;
        return Ok(());
    }
    let offer = offer()?;
    let mut taken = pin!(taken(offer.as_ref()));
    tokio::select! {
        result = ready => result?,
        () = &mut taken => return Ok(()),
    }
    tell_ready();
    taken.await;
    Ok(())
}

/// Waits until an offer is taken; for ever where nothing is offered.
async fn taken(offer: Option<&Offer>) {
    match offer {
        Some(offer) => offer.until_taken().await,
        None => std::future::pending().await,
    }
}

/// Goes on answering, each time with `Connection: close`, so that clients leave by themselves; then accepts no more.
///
/// After a shutdown the port stays open for the whole time, since balancers need a while to see that this replica is not ready. Once another process
/// has it, there is nothing to wait for but the connections that are open.
async fn drain<T>(
    end: &End,
    limit: Duration,
    server: &ServerHandle,
    admin: &actix_web::dev::ServerHandle,
    connections: &Connections,
    mut taken: Pin<Box<T>>,
) where
    T: Future<Output = Result<(), IngestError>>,
{
    let deadline = Instant::now() + limit;
    let is_taken = match end {
        End::Taken => true,
        End::Shutdown => timeout_at(deadline, taken.as_mut()).await.is_ok_and(|result| result.is_ok()),
    };
    if is_taken {
        admin.pause().await;
    }
    server.pause().await;
    // Who has our ports and is not ready answers alone from now on.
    drop(taken);
    sleep(ON_THEIR_WAY).await;
    if is_taken {
        tracing::info!(connections = connections.count(), "another process has taken over");
        let closed = timeout_at(deadline, connections.all_closed());
        let _ = tokio::join!(admin.stop(true), closed);
    }
}

fn ended_early(result: Result<io::Result<()>, tokio::task::JoinError>) -> io::Error {
    match result {
        Ok(Ok(())) => io::Error::other("ended early"),
        Ok(Err(error)) => error,
        Err(error) => io::Error::other(error),
    }
}

/// Raises the limit of open files as far as the system lets us.
fn allow_open_files(connections: usize) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let needed = (connections + SPARE_CONNECTIONS + OTHER_FILES) as u64;
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|current| current >= needed) {
        return;
    }
    let most = now.maximum.map_or(needed, |maximum| maximum.min(needed));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: now.maximum });
    if raised.is_err() || most < needed {
        tracing::warn!(limit = most, needed, "the limit of open files is below ingest.max_connections: raise it (ulimit -n, LimitNOFILE)");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_that_is_to_blame_is_to_be_changed() {
        let advises = |kind: io::ErrorKind| {
            let error = IngestError::Handover { path: "/run/x.sock".into(), source: kind.into() };
            error.to_string().contains("set ingest.handover")
        };
        assert!(advises(io::ErrorKind::PermissionDenied) && advises(io::ErrorKind::InvalidInput));
        assert!(!advises(io::ErrorKind::TimedOut) && !advises(io::ErrorKind::InvalidData) && !advises(io::ErrorKind::ConnectionReset));
    }
}

//! The HTTP server: what it accepts, for how long, and how much of it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use actix_http::error::{DispatchError, ParseError};
use actix_http::{HttpService, Protocol};
use actix_server::Server;
use actix_service::{IntoServiceFactory as _, ServiceFactoryExt as _, fn_service, map_config};
use actix_web::dev::AppConfig;
use actix_web::{App, FromRequest, Handler, Responder, web};
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

/// Clients that reuse a connection just closed report a failed delivery, so connections are kept for longer than theirs: Go's keeps them for 90 s.
/// Neither is a connection closed early that has not been used yet.
const KEEP_ALIVE: Duration = Duration::from_secs(120);
/// From the first byte to the end of the first head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
/// A connection on which nothing comes is closed after this, whatever it was about to say: the HTTP layer has no clock for a second head that stops.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(125);
/// How long an answer may wait for a client to read it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client that was refused early may go on sending before the connection is cut.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Requests in flight at the stop get this long; their own budget is shorter.
const STOP_SECONDS: u64 = 5;
/// How HTTP/2 without TLS begins.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2";

/// What happens on connections beside requests. Each connection that is accepted is then either connected or lost.
pub trait Observer: Clone + Send + 'static {
    /// Lives as long as the connection; handlers find it in the request's connection data.
    type Connection: 'static;

    /// A connection was accepted, and has said nothing yet.
    fn accepted(&self);

    /// Waits until those that say nothing are in the way of others.
    fn crowded(&self) -> impl Future<Output = ()>;

    /// It is ready for requests.
    fn connected(&self) -> Self::Connection;

    /// It ended before that.
    fn lost(&self);

    /// A connection ended in an error, named for a metric.
    fn failed(&self, error: &'static str);
}

/// Serves every request by one handler, on every core, over HTTP/1.1 and HTTP/2.
///
/// `connections` bounds each worker; connections beyond it wait in the listener's queue.
pub fn serve<H, Args, O>(
    listener: TcpListener,
    tls: Option<ServerConfig>,
    connections: usize,
    handler: H,
    observer: O,
) -> io::Result<Server>
where
    H: Handler<Args> + Send,
    Args: FromRequest + 'static,
    H::Output: Responder + 'static,
    O: Observer,
{
    let builder = Server::build().disable_signals().shutdown_timeout(STOP_SECONDS).max_concurrent_connections(connections);
    let stop = builder.graceful_shutdown_signal();
    let tls = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
    let builder = builder.listen("ingest", listener, move || {
        let (stop, tls) = (stop.clone(), tls.clone());
        let (arrivals, connections, errors) = (observer.clone(), observer.clone(), observer.clone());
        let arrive = move |io| {
            arrivals.accepted();
            let (arrivals, tls) = (arrivals.clone(), tls.clone());
            async move { arrive(io, tls, &arrivals).await.inspect_err(|_| arrivals.lost()) }
        };
        let app = App::new().default_service(web::to(handler.clone())).into_factory().map_err(|error| error.error_response());
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stop = stop.clone();
                async move { stop.notified().await }
            })
            .keep_alive(KEEP_ALIVE)
            .client_request_timeout(HEAD_TIMEOUT)
            .client_disconnect_timeout(DISCONNECT_TIMEOUT)
            .on_connect_ext(move |_, data| {
                data.insert(connections.connected());
            })
            .finish(map_config(app, |()| AppConfig::default()));
        fn_service(arrive).and_then(http.map_err(|error| kind(&error))).map_err(move |error| errors.failed(error))
    })?;
    Ok(builder.run())
}

/// A connection as the HTTP layer sees it: with or without TLS, and never silent for ever.
type Connected = Pin<Box<TimeoutStream<Either<TcpStream, TlsStream<TcpStream>>>>>;

/// Waits for a connection to be used, and sees which protocol it speaks. An error is named for a metric.
async fn arrive(
    io: TcpStream,
    tls: Option<TlsAcceptor>,
    observer: &impl Observer,
) -> Result<(Connected, Protocol, Option<SocketAddr>), &'static str> {
    io.set_nodelay(true).map_err(|_| "io")?;
    let peer = io.peer_addr().ok();
    let (io, protocol) = match tls {
        None => {
            let mut start = [0; HTTP2_PREFACE.len()];
            let read = match timeout(HEAD_TIMEOUT, io.peek(&mut start)).await {
                Ok(read) => read,
                Err(_) => tokio::select! {
                    read = io.peek(&mut start) => read,
                    () = observer.crowded() => return Err("never_used"),
                    () = sleep(KEEP_ALIVE) => return Err("never_used"),
                },
            };
            let read = read.map_err(|_| "io")?;
            let protocol = if &start[..read] == HTTP2_PREFACE { Protocol::Http2 } else { Protocol::Http1 };
            (Either::Left(io), protocol)
        }
        Some(tls) => {
            let io = timeout(HANDSHAKE_TIMEOUT, tls.accept(io)).await.map_err(|_| "tls")?.map_err(|_| "tls")?;
            let protocol = if io.get_ref().1.alpn_protocol() == Some(b"h2") { Protocol::Http2 } else { Protocol::Http1 };
            (Either::Right(io), protocol)
        }
    };
    let mut io = TimeoutStream::new(io);
    io.set_read_timeout(Some(SILENCE_TIMEOUT));
    io.set_write_timeout(Some(WRITE_TIMEOUT));
    Ok((Box::pin(io), protocol, peer))
}

fn kind(error: &DispatchError) -> &'static str {
    match error {
        DispatchError::Parse(ParseError::TooLarge) => "head_too_large",
        DispatchError::Parse(_) => "malformed",
        DispatchError::Io(_) => "io",
        DispatchError::H2(_) => "http2",
        DispatchError::DisconnectTimeout => "disconnect_timeout",
        _ => "other",
    }
}

//! The HTTP server: what it accepts, for how long, and how much of it.

use std::future::ready;
use std::io;
use std::net::TcpListener;
use std::time::Duration;

use actix_http::error::{DispatchError, ParseError};
use actix_http::{HttpService, Protocol};
use actix_server::{Server, ServerBuilder};
use actix_service::{IntoServiceFactory as _, ServiceFactoryExt as _, fn_service, map_config};
use actix_tls::accept::TlsError;
use actix_web::dev::AppConfig;
use actix_web::{App, FromRequest, Handler, Responder, web};
use rustls::ServerConfig;
use tokio::net::TcpStream;

/// Clients that reuse a connection just closed report a failed delivery, so connections are kept for longer than theirs: Go's keeps them for 90 s.
/// Neither is a connection closed early that has not been used yet.
const KEEP_ALIVE: Duration = Duration::from_secs(120);
/// From the first byte to the end of the first head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(3);
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
    let builder: ServerBuilder = Server::build().disable_signals().shutdown_timeout(STOP_SECONDS).max_concurrent_connections(connections);
    let stop = builder.graceful_shutdown_signal();
    // The type of the connection is part of the service's, and too long a type to be written down.
    macro_rules! http {
        ($observer:expr) => {{
            let (stop, observer) = (stop.clone(), $observer);
            let app = App::new().default_service(web::to(handler.clone())).into_factory().map_err(|error| error.error_response());
            HttpService::build()
                .graceful_shutdown_signal(move || {
                    let stop = stop.clone();
                    async move { stop.notified().await }
                })
                .keep_alive(KEEP_ALIVE)
                .client_request_timeout(HEAD_TIMEOUT)
                .client_disconnect_timeout(DISCONNECT_TIMEOUT)
                .tcp_nodelay(true)
                .on_connect_ext(move |_, data| {
                    data.insert(observer.connected());
                })
                .finish(map_config(app, |()| AppConfig::default()))
        }};
    }
    let builder = match tls {
        None => builder.listen("ingest", listener, move || {
            let (arrivals, errors) = (observer.clone(), observer.clone());
            let arrive = move |io| {
                arrivals.accepted();
                let arrivals = arrivals.clone();
                async move { first_byte(io).await.inspect_err(|_| arrivals.lost()) }
            };
            fn_service(arrive).and_then(http!(observer.clone())).map_err(move |error| errors.failed(kind(&error)))
        })?,
        Some(config) => builder.listen("ingest", listener, move || {
            let (arrivals, errors) = (observer.clone(), observer.clone());
            let arrive = move |io: TcpStream| {
                arrivals.accepted();
                ready(Ok(io))
            };
            let encrypted = http!(observer.clone()).rustls_0_23(config.clone());
            fn_service(arrive).and_then(encrypted).map_err(move |error| match error {
                TlsError::Service(error) => errors.failed(kind(&error)),
                TlsError::Tls(_) | TlsError::Timeout => {
                    errors.lost();
                    errors.failed("tls");
                }
            })
        })?,
    };
    Ok(builder.run())
}

/// Waits for a connection to be used, and sees which protocol it speaks.
async fn first_byte(io: TcpStream) -> Result<(TcpStream, Protocol, Option<std::net::SocketAddr>), DispatchError> {
    let mut start = [0; HTTP2_PREFACE.len()];
    let read = tokio::time::timeout(KEEP_ALIVE, io.peek(&mut start)).await.map_err(|_| DispatchError::SlowRequestTimeout)??;
    io.set_nodelay(true)?;
    let protocol = if &start[..read] == HTTP2_PREFACE { Protocol::Http2 } else { Protocol::Http1 };
    let peer = io.peer_addr().ok();
    Ok((io, protocol, peer))
}

fn kind(error: &DispatchError) -> &'static str {
    match error {
        DispatchError::Parse(ParseError::TooLarge) => "head_too_large",
        DispatchError::Parse(_) => "malformed",
        DispatchError::Io(_) => "io",
        DispatchError::H2(_) => "http2",
        DispatchError::SlowRequestTimeout => "never_used",
        DispatchError::DisconnectTimeout => "disconnect_timeout",
        _ => "other",
    }
}

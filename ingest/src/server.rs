//! The HTTP server: what it accepts, for how long, and how much of it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::error::{DispatchError, ParseError};
use actix_http::{HttpService, Protocol};
use actix_server::Server;
use actix_service::{IntoServiceFactory as _, ServiceFactoryExt as _, fn_service, map_config};
use actix_web::dev::AppConfig;
use actix_web::web::{Bytes, BytesMut};
use actix_web::{App, FromRequest, Handler, Responder, web};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use crate::http2::{Excess, PREFACE};
use crate::stream::{Fate, Stream};

/// Clients that reuse a connection just closed report a failed delivery, so connections are kept for longer than theirs: Go's keeps them for 90 s.
/// Neither is a connection closed early that has not been used yet.
const KEEP_ALIVE: Duration = Duration::from_secs(122);
/// From the first byte of a head to its end.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the preface of HTTP/2 may take, once what came may be its beginning.
const PREFACE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
/// A connection on which nothing comes is closed after this, whatever it was about to say.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(125);
/// How long an answer may wait for a client to read it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client that was refused early may go on sending before the connection is cut.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// After the stop: who was accepted last may begin within [`HEAD_TIMEOUT`], and is then answered.
const STOP_SECONDS: u64 = 6;

/// What happens on connections beside requests. Each connection that is accepted is then either connected or lost.
pub trait Observer: Clone + Send + 'static {
    /// Lives as long as the connection; handlers find it, in an `Rc`, in the request's connection data.
    type Connection: 'static;

    /// A connection was accepted, and has said nothing yet.
    fn accepted(&self);

    /// Waits until those that say nothing are in the way.
    fn crowded(&self) -> impl Future<Output = ()>;

    /// It is ready for requests.
    fn connected(&self) -> Self::Connection;

    /// True while one of its requests is under way.
    fn is_busy(connection: &Self::Connection) -> bool;

    /// It ended before that.
    fn lost(&self);

    /// Waits until it is to end, whatever the client wants.
    fn unwanted(&self, connection: Rc<Self::Connection>) -> impl Future<Output = ()> + 'static;

    /// Waits until no further requests are wanted of anybody.
    fn leaving(&self) -> impl Future<Output = ()> + 'static;

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
    let tls = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
    let builder = builder.listen("ingest", listener, move || {
        let tls = tls.clone();
        let (arrivals, errors) = (observer.clone(), observer.clone());
        let arrive = move |io| {
            arrivals.accepted();
            let (arrivals, tls) = (arrivals.clone(), tls.clone());
            async move { arrive(io, tls, &arrivals).await.inspect_err(|_| arrivals.lost()).map_err(Some) }
        };
        let app = App::new().default_service(web::to(handler.clone())).into_factory().map_err(|error| error.error_response());
        let http = HttpService::build()
            .keep_alive(KEEP_ALIVE)
            .client_request_timeout(HEAD_TIMEOUT)
            .client_disconnect_timeout(DISCONNECT_TIMEOUT)
            .on_connect_ext(|io: &Arrived<O>, data| {
                data.insert(io.connection().clone());
            })
            .finish(map_config(app, |()| AppConfig::default()));
        fn_service(arrive).and_then(http.map_err(|error| kind(&error))).map_err(move |error| error.map_or((), |error| errors.failed(error)))
    })?;
    Ok(builder.run())
}

/// The transport under the HTTP layer.
type Transport = TimeoutStream<Either<TcpStream, TlsStream<TcpStream>>>;
type Arrived<O> = Stream<Transport, <O as Observer>::Connection>;

/// Waits for a connection to be used, and sees which protocol it speaks. An error is named for a metric.
async fn arrive<O: Observer>(
    io: TcpStream,
    tls: Option<TlsAcceptor>,
    observer: &O,
) -> Result<(Arrived<O>, Protocol, Option<SocketAddr>), &'static str> {
    io.set_nodelay(true).map_err(|_| "io")?;
    let peer = io.peer_addr().ok();
    let (io, start, connection, is_http2) = match tls {
        None => {
            let mut io = io;
            let mut start = BytesMut::with_capacity(PREFACE.len());
            until_used(observer, async || read_start(&mut io, &mut start).await).await?;
            // It may come in pieces. What it takes counts as time of the first head.
            let connection = Rc::new(observer.connected());
            let _ = timeout(PREFACE_TIMEOUT, async {
                while is_part_of_preface(&start) && read_start(&mut io, &mut start).await.is_ok_and(|read| read > 0) {}
            })
            .await;
            let is_http2 = start[..] == *PREFACE;
            (Either::Left(io), start.freeze(), connection, is_http2)
        }
        Some(tls) => {
            let mut io = timeout(HANDSHAKE_TIMEOUT, tls.accept(io)).await.map_err(|_| "tls")?.map_err(|_| "tls")?;
            let is_http2 = io.get_ref().1.alpn_protocol() == Some(b"h2");
            let first = until_used(observer, async || io.read_u8().await).await?;
            (Either::Right(io), Bytes::copy_from_slice(&[first]), Rc::new(observer.connected()), is_http2)
        }
    };
    let mut io = TimeoutStream::new(io);
    io.set_read_timeout(Some(SILENCE_TIMEOUT));
    io.set_write_timeout(Some(WRITE_TIMEOUT));
    let fate = Fate { unwanted: Box::pin(observer.unwanted(connection.clone())), leaving: Box::pin(observer.leaving()) };
    let protocol = if is_http2 { Protocol::Http2 } else { Protocol::Http1 };
    Ok((Stream::new(Box::pin(io), start, connection, O::is_busy, fate, is_http2), protocol, peer))
}

/// Reads on, no further than the preface goes.
async fn read_start(io: &mut (impl AsyncRead + Unpin), start: &mut BytesMut) -> io::Result<usize> {
    let left = PREFACE.len().saturating_sub(start.len());
    io.take(left as u64).read_buf(start).await
}

/// True while these bytes may become the preface.
fn is_part_of_preface(start: &[u8]) -> bool {
    !start.is_empty() && start.len() < PREFACE.len() && PREFACE.starts_with(start)
}

/// Waits for what a client says first, for as long as nobody else needs the place. `read` may be given up half-way.
async fn until_used<T>(observer: &impl Observer, mut read: impl AsyncFnMut() -> io::Result<T>) -> Result<T, &'static str> {
    let read = match timeout(HEAD_TIMEOUT, read()).await {
        Ok(read) => read,
        Err(_) => tokio::select! {
            read = read() => read,
            () = observer.crowded() => return Err("never_used"),
            () = sleep(KEEP_ALIVE) => return Err("never_used"),
        },
    };
    read.map_err(|_| "io")
}

/// The name of an error for a metric; nothing for a client that only left.
fn kind(error: &DispatchError) -> Option<&'static str> {
    Some(match error {
        DispatchError::Parse(ParseError::TooLarge) => "head_too_large",
        DispatchError::Parse(_) => "malformed",
        DispatchError::Io(error) if has_left(error) => return None,
        DispatchError::H2(error) if error.get_io().is_some_and(has_left) => return None,
        DispatchError::Io(_) => "io",
        DispatchError::H2(error) => {
            // Of our own error the HTTP layer keeps the text.
            let text = error.get_io().and_then(io::Error::get_ref).map(ToString::to_string);
            Excess::ALL.into_iter().map(Excess::as_str).find(|excess| text.as_deref() == Some(*excess)).unwrap_or("http2")
        }
        DispatchError::DisconnectTimeout => "disconnect_timeout",
        _ => "other",
    })
}

/// Most clients end TLS by closing the connection.
fn has_left(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_only_leaves_is_no_error() {
        let kind = |error: io::ErrorKind| kind(&DispatchError::Io(error.into()));
        assert_eq!((kind(io::ErrorKind::UnexpectedEof), kind(io::ErrorKind::ConnectionReset)), (None, Some("io")));
    }
}

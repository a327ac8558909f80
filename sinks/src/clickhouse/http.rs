//! One request, one whole answer of ClickHouse itself. The client library takes any answer with status 200 for an insert, whoever gave it.

use std::convert::Infallible;
use std::error::Error as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use aftersend_pipeline::config::ClickHouse;
use bytes::{Bytes, BytesMut};
use clickhouse::error::{Error, Result};
use futures_util::Stream;
use http_body::Frame;
use reqwest::header::HeaderMap;
use reqwest::{Body, Client, StatusCode, redirect};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Below the 3 s after which ClickHouse closes a connection that is not used.
const IDLE: Duration = Duration::from_secs(2);
const KEEPALIVE: Duration = Duration::from_secs(60);
/// More than anything we ask for.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

const EXCEPTION: &str = "X-ClickHouse-Exception-Code";
/// A server sends both with whatever it carried out, also where the body is empty.
const CARRIED_OUT: [&str; 2] = ["X-ClickHouse-Query-Id", "X-ClickHouse-Summary"];

/// Connections to one server.
pub(super) struct Http {
    client: Client,
    settings: ClickHouse,
}

impl Http {
    /// As the client library connects: the same certificates, no proxy of the environment's, no redirects.
    pub(super) fn new(settings: ClickHouse) -> Result<Self> {
        let other = |error: Box<dyn std::error::Error + Send + Sync>| Error::Other(error);
        let roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| other(error.into()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = Client::builder()
            .use_preconfigured_tls(tls)
            .no_proxy()
            .redirect(redirect::Policy::none())
            .http1_only()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE)
            .tcp_keepalive(KEEPALIVE)
            .user_agent(concat!("aftersend/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| other(error.into()))?;
        Ok(Self { client, settings })
    }

    /// The body of an answer to something that was carried out. With all else, nothing is known of it.
    pub(super) async fn send(&self, parameters: &[(&str, &str)], body: impl Into<Body>, timeout: Duration) -> Result<Bytes> {
        let mut request = self
            .client
            .post(&self.settings.url)
            .query(&[("database", self.settings.database.as_str()), ("wait_end_of_query", "1")])
            .query(parameters)
            .header("X-ClickHouse-User", self.settings.user.as_bytes());
        if !self.settings.password.is_empty() {
            request = request.header("X-ClickHouse-Key", self.settings.password.reveal().as_bytes());
        }
        let mut response = request.timeout(timeout).body(body).send().await.map_err(unanswered)?;
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let body = whole(response).await;
        if is_carried_out(status, &headers) {
            return body;
        }
        Err(Error::BadResponse(said(status, &headers, &body.unwrap_or_default())))
    }
}

async fn whole(mut response: reqwest::Response) -> Result<Bytes> {
    let mut body = BytesMut::new();
    while let Some(part) = response.chunk().await.map_err(unanswered)? {
        if body.len() + part.len() > MAX_ANSWER {
            return Err(Error::Network("an answer without an end".into()));
        }
        body.extend_from_slice(&part);
    }
    Ok(body.freeze())
}

fn is_carried_out(status: StatusCode, headers: &HeaderMap) -> bool {
    status == StatusCode::OK && !headers.contains_key(EXCEPTION) && CARRIED_OUT.iter().any(|name| headers.contains_key(*name))
}

/// The exception as ClickHouse words it, or its code, or the status alone: what else there is was said by somebody in between.
fn said(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> String {
    let code = headers.get(EXCEPTION).and_then(|code| code.to_str().ok());
    let text = String::from_utf8_lossy(body);
    match (text.trim(), code) {
        // Behind status 200 and without a code it is part of an answer that is no insert's.
        (text, code) if text.starts_with("Code: ") && (code.is_some() || status != StatusCode::OK) => text.to_owned(),
        (_, Some(code)) => format!("Code: {code}"),
        (_, None) => status.to_string(),
    }
}

/// Without the URL, which is long, and with the cause at the bottom, which says most.
fn unanswered(error: reqwest::Error) -> Error {
    if error.is_timeout() {
        return Error::TimedOut;
    }
    let error = error.without_url();
    let cause = std::iter::successors(error.source(), |&cause| cause.source()).last();
    Error::Network(cause.map_or_else(|| error.to_string(), ToString::to_string).into())
}

/// A body in parts, none of which is copied.
pub(super) struct Parts<S>(Pin<Box<S>>);

impl<S: Stream<Item = Bytes> + Send + Sync + 'static> Parts<S> {
    pub(super) fn body(parts: S) -> Body {
        Body::wrap(Self(Box::pin(parts)))
    }
}

impl<S: Stream<Item = Bytes>> http_body::Body for Parts<S> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<std::result::Result<Frame<Bytes>, Infallible>>> {
        self.0.as_mut().poll_next(context).map(|part| part.map(|part| Ok(Frame::data(part))))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    fn headers(names: &[(&'static str, &'static str)]) -> HeaderMap {
        names.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_clickhouses_own_ok_says_that_something_was_carried_out() {
        let id = ("X-ClickHouse-Query-Id", "a");
        for (status, names, carried_out) in [
            (200, vec![id], true),
            (200, vec![("X-ClickHouse-Summary", "{}")], true),
            (200, vec![], false),
            (200, vec![("Content-Type", "text/html")], false),
            (200, vec![id, ("X-ClickHouse-Exception-Code", "241")], false),
            (204, vec![id], false),
            (500, vec![id], false),
        ] {
            assert_eq!(is_carried_out(StatusCode::from_u16(status).unwrap(), &headers(&names)), carried_out, "{status} {names:?}");
        }
    }

    /// The first bytes that a server reads of a question to it, answered as ClickHouse does.
    async fn heard(scheme: &str) -> Vec<u8> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let settings = ClickHouse { url, user: "ada".into(), password: "topsecret".to_owned().into(), ..ClickHouse::default() };
        let http = Http::new(settings).unwrap();
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = vec![0; 4096];
            let length = stream.read(&mut bytes).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nX-ClickHouse-Query-Id: a\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            bytes.truncate(length);
            bytes
        };
        let (heard, answer) = tokio::join!(serve, http.send(&[("query_id", "a:0-9")], "SELECT 1", Duration::from_secs(5)));
        assert_eq!(answer.ok().as_deref(), (scheme == "http").then_some(&b"ok"[..]));
        heard
    }

    #[tokio::test]
    async fn a_request_says_who_asks_which_database_and_https_is_encrypted() {
        let plain = String::from_utf8(heard("http").await).unwrap().to_lowercase();
        for part in [
            "post /?database=aftersend&wait_end_of_query=1&query_id=a%3a0-9 http/1.1\r\n",
            "x-clickhouse-user: ada\r\n",
            "x-clickhouse-key: topsecret\r\n",
        ] {
            assert!(plain.contains(part), "{part} in {plain}");
        }
        let handshake = 22;
        assert_eq!(heard("https").await.first(), Some(&handshake));
    }

    #[test]
    fn of_an_error_its_code_is_kept_and_of_anybody_elses_page_the_status() {
        let coded = headers(&[("X-ClickHouse-Exception-Code", "241")]);
        let none = HeaderMap::new();
        let exception = "Code: 241. DB::Exception: Memory. (MEMORY_LIMIT_EXCEEDED)";
        for (status, headers, body, expected) in [
            (500, &coded, "Code: 241. DB::Exception: Memory. (MEMORY_LIMIT_EXCEEDED)\n", exception),
            (200, &coded, exception, exception),
            (200, &coded, "", "Code: 241"),
            (500, &coded, "\u{1f}packed", "Code: 241"),
            (500, &none, exception, exception),
            (200, &none, exception, "200 OK"),
            (502, &none, "<html>Error Code: 6</html>", "502 Bad Gateway"),
            (504, &none, "", "504 Gateway Timeout"),
        ] {
            assert_eq!(said(StatusCode::from_u16(status).unwrap(), headers, body.as_bytes()), expected, "{status} {body}");
        }
    }
}

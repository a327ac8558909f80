use std::error::Error as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aftersend_pipeline::config::ConfigError;
use aftersend_pipeline::retry::Backoff;
use aftersend_pipeline::unix_millis;
use futures_util::StreamExt as _;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio_util::sync::CancellationToken;

use super::Body;

/// Attempts per body, as far as the answer asks for another.
const ATTEMPTS: usize = 30;

/// How one body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// 2xx.
    Accepted,
    /// Another answer for good.
    Answered(u16),
    /// No answer in the end.
    Lost,
    /// Not sent: we were asked to stop.
    Unsent,
}

/// A body, and how it ended.
#[derive(Debug)]
pub struct Sent {
    /// As given.
    pub body: Body,
    /// How it ended.
    pub outcome: Outcome,
}

/// Signs and sends.
#[derive(Clone)]
pub struct Sender {
    client: reqwest::Client,
    url: reqwest::Url,
    key: Vec<u8>,
    accepted: Arc<AtomicUsize>,
    last_failure: Arc<Mutex<Option<String>>>,
}

impl Sender {
    /// A sender to one endpoint.
    pub fn new(url: &str, key: &str) -> Result<Self, ConfigError> {
        // What stands before the host may be a password.
        let refused = |fix| ConfigError::value("--url", url.rsplit_once('@').map_or(url, |(_, rest)| rest), fix);
        let fix = "needs the whole address of a webhook endpoint, like http://127.0.0.1:8080/v1/webhooks/customerio/reporting";
        let url =
            reqwest::Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https")).ok_or_else(|| refused(fix.to_owned()))?;
        if key.is_empty() {
            return Err(ConfigError::missing("--signing-key", "needs the signing key of the source that the address belongs to"));
        }
        let client = reqwest::Client::builder().timeout(Duration::from_secs(4)).redirect(reqwest::redirect::Policy::none()).build();
        let client = client.map_err(|error| refused(format!("cannot be called from here: {error}")))?;
        Ok(Self { client, url, key: key.as_bytes().to_vec(), accepted: Arc::default(), last_failure: Arc::default() })
    }

    /// Bodies that were answered 2xx so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Why the last request that was not answered for good was not.
    pub fn last_failure(&self) -> Option<String> {
        self.last_failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends one body, again where the answer asks for it (503, no answer), as Customer.io does.
    pub async fn send(&self, body: &Body) -> Outcome {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        for _ in 0..ATTEMPTS {
            let timestamp = (unix_millis() / 1000).to_string();
            let signature = sign(&self.key, &timestamp, &body.bytes);
            let failure = match self.post(&body.bytes, &timestamp, &signature).await {
                Ok(200..=299) => {
                    self.accepted.fetch_add(1, Ordering::Relaxed);
                    return Outcome::Accepted;
                }
                Ok(503) => "answered 503".to_owned(),
                Ok(status) => return Outcome::Answered(status),
                Err(error) => reason(error),
            };
            *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
            tokio::time::sleep(backoff.next_delay()).await;
        }
        Outcome::Lost
    }

    /// One request with the given headers; the answer's status.
    pub async fn post(&self, body: &[u8], timestamp: &str, signature: &str) -> reqwest::Result<u16> {
        let request = self.client.post(self.url.clone()).header("X-CIO-Timestamp", timestamp).header("X-CIO-Signature", signature);
        let response = request.header("Content-Type", "application/json").body(body.to_vec()).send().await?;
        Ok(response.status().as_u16())
    }

    /// Sends all over so many connections, at most `rate` a second (0: no limit).
    pub async fn send_all(&self, bodies: Vec<Body>, connections: usize, rate: u32, stop: &CancellationToken) -> Vec<Sent> {
        let start = tokio::time::Instant::now();
        let sends = bodies.into_iter().enumerate().map(|(n, body)| async move {
            if rate > 0 {
                let due = start + Duration::from_secs_f64(n as f64 / f64::from(rate));
                tokio::select! {
                    () = tokio::time::sleep_until(due) => {}
                    () = stop.cancelled() => {}
                }
            }
            let outcome = if stop.is_cancelled() { Outcome::Unsent } else { self.send(&body).await };
            Sent { body, outcome }
        });
        futures_util::stream::iter(sends).buffer_unordered(connections).collect().await
    }
}

/// `X-CIO-Signature` over `v0:<timestamp>:<body>`.
pub fn sign(key: &[u8], timestamp: &str, body: &[u8]) -> String {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return String::new() };
    mac.update(b"v0:");
    mac.update(timestamp.as_bytes());
    mac.update(b":");
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}

/// The innermost cause; no address, which may hold a password.
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    std::iter::successors(error.source(), |&error| error.source()).last().map_or_else(|| error.to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_or_a_key_that_cannot_be_used_is_refused_at_once_with_the_fix() {
        for (url, key, expected) in [
            ("notaurl", "k", "--url = \"notaurl\""),
            ("ftp://example.com/x", "k", "--url = \"ftp://example.com/x\""),
            ("ftp://me:secret@example.com/x", "k", "--url = \"example.com/x\""),
            ("127.0.0.1:8080/v1", "k", "--url"),
            ("http://", "k", "--url"),
            ("http://example.com", "", "--signing-key"),
        ] {
            let error = Sender::new(url, key).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(expected) && error.contains("needs") && !error.contains("secret"), "{url}: {error}");
        }
        assert!(Sender::new("https://example.com/v1", "k").is_ok());
    }

    #[tokio::test]
    async fn a_failure_says_why_without_the_address() {
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let sender = Sender::new(&format!("http://me:secret@{nobody}/path"), "k").unwrap();
        let failure = reason(sender.post(b"{}", "1", "").await.unwrap_err());
        assert!(failure.contains("refused") && !failure.contains("secret") && !failure.contains("path"), "{failure}");
    }
}

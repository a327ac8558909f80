use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

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
    url: String,
    key: Vec<u8>,
    accepted: Arc<AtomicUsize>,
}

impl Sender {
    /// A sender to one endpoint.
    pub fn new(url: &str, key: &str) -> reqwest::Result<Self> {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(4)).redirect(reqwest::redirect::Policy::none()).build()?;
        Ok(Self { client, url: url.to_owned(), key: key.as_bytes().to_vec(), accepted: Arc::default() })
    }

    /// Bodies that were answered 2xx so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Sends one body, again where the answer asks for it (503, no answer), as Customer.io does.
    pub async fn send(&self, body: &Body) -> Outcome {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        let mut outcome = Outcome::Lost;
        for _ in 0..ATTEMPTS {
            let timestamp = (unix_millis() / 1000).to_string();
            let signature = sign(&self.key, &timestamp, &body.bytes);
            match self.post(&body.bytes, &timestamp, &signature).await {
                Ok(200..=299) => {
                    self.accepted.fetch_add(1, Ordering::Relaxed);
                    return Outcome::Accepted;
                }
                Ok(503) | Err(_) => outcome = Outcome::Lost,
                Ok(status) => return Outcome::Answered(status),
            }
            tokio::time::sleep(backoff.next_delay()).await;
        }
        outcome
    }

    /// One request with the given headers; the answer's status.
    pub async fn post(&self, body: &[u8], timestamp: &str, signature: &str) -> reqwest::Result<u16> {
        let request = self.client.post(&self.url).header("X-CIO-Timestamp", timestamp).header("X-CIO-Signature", signature);
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

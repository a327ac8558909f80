use std::net::SocketAddr;
use std::time::Duration;

use aftersend::traffic::sign;
use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::SIGNING_KEY;

/// Longer than any answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection that says exactly what a test wants it to say.
pub struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Of the status line.
    pub status: u16,
    /// Everything before the body, in lower case.
    pub head: String,
    /// As long as its `Content-Length`.
    pub body: String,
}

impl Wire {
    /// Connects.
    pub async fn connect(address: impl tokio::net::ToSocketAddrs) -> anyhow::Result<Self> {
        Ok(Self { stream: TcpStream::connect(address).await?, read: Vec::new() })
    }

    /// The local end.
    pub fn address(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.stream.local_addr()?)
    }

    /// Writes bytes.
    pub async fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(self.stream.write_all(bytes).await?)
    }

    /// Says that nothing more will be sent.
    pub async fn finish(&mut self) -> anyhow::Result<()> {
        Ok(self.stream.shutdown().await?)
    }

    /// The next answer.
    pub async fn answer(&mut self) -> anyhow::Result<Answer> {
        tokio::time::timeout(PATIENCE, self.read_answer(true)).await.context("no answer in 10 s")?
    }

    /// Sends a request and reads its answer.
    pub async fn ask(&mut self, request: &[u8]) -> anyhow::Result<Answer> {
        self.send(request).await?;
        self.answer().await
    }

    /// Fails unless the other side closes without another byte.
    pub async fn closed(&mut self) -> anyhow::Result<()> {
        let more = tokio::time::timeout(PATIENCE, self.read_more()).await.context("the connection stays open")?;
        // A reset is a close too.
        ensure!(!more.unwrap_or(false) && self.read.is_empty(), "more came: {:?}", String::from_utf8_lossy(&self.read));
        Ok(())
    }

    /// The next answer, if it is to a HEAD request: it ends before its body.
    pub async fn answer_to_head(&mut self) -> anyhow::Result<Answer> {
        tokio::time::timeout(PATIENCE, self.read_answer(false)).await.context("no answer in 10 s")?
    }

    /// The next answer, if it comes within `limit`. Asking again loses nothing of one that is on its way.
    pub async fn answer_within(&mut self, limit: Duration) -> Option<anyhow::Result<Answer>> {
        tokio::time::timeout(limit, self.read_answer(true)).await.ok()
    }

    /// Every answer until the other side closes. A reset is a close too.
    pub async fn answers(&mut self) -> anyhow::Result<Vec<Answer>> {
        let mut answers = Vec::new();
        while !self.read.is_empty() || tokio::time::timeout(PATIENCE, self.read_more()).await.context("it stays open")?.unwrap_or(false) {
            answers.push(self.answer().await?);
        }
        Ok(answers)
    }

    /// Whatever comes until the other side closes.
    pub async fn rest(mut self) -> anyhow::Result<Vec<u8>> {
        while tokio::time::timeout(PATIENCE, self.read_more()).await.context("the connection stays open")?.unwrap_or(false) {}
        Ok(self.read)
    }

    /// Closes as a process does that is killed with bytes unread: the other side gets a reset.
    pub fn reset(self) -> anyhow::Result<()> {
        Ok(self.stream.set_zero_linger()?)
    }

    /// Takes nothing before all of it is there, so that it may be dropped while it waits.
    async fn read_answer(&mut self, has_body: bool) -> anyhow::Result<Answer> {
        let end = loop {
            match self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(end) => break end + 4,
                None if self.read_more().await? => {}
                None => bail!("closed after {:?}", String::from_utf8_lossy(&self.read)),
            }
        };
        let head = String::from_utf8(self.read[..end].to_vec())?.to_lowercase();
        let status = head.split(' ').nth(1).context("no status")?.parse()?;
        let length = head.lines().filter(|_| has_body).find_map(|line| line.strip_prefix("content-length: "));
        let all = end + length.map_or(Ok(0), str::parse::<usize>)?;
        while self.read.len() < all {
            ensure!(self.read_more().await?, "closed inside the body");
        }
        let body = String::from_utf8(self.read.drain(..all).skip(end).collect())?;
        Ok(Answer { status, head, body })
    }

    async fn read_more(&mut self) -> anyhow::Result<bool> {
        Ok(self.stream.read_buf(&mut self.read).await? > 0)
    }
}

/// A request to the source `default`, signed with its key; `more` are header lines, each with its line end.
pub fn signed(body: &[u8], more: &str) -> Vec<u8> {
    let mut request = signed_head(body, &format!("Content-Length: {}\r\n{more}", body.len())).into_bytes();
    request.extend_from_slice(body);
    request
}

/// The head of such a request, without a length.
pub fn signed_head(body: &[u8], more: &str) -> String {
    let timestamp = (aftersend_pipeline::unix_millis() / 1000).to_string();
    let signature = sign(SIGNING_KEY.as_bytes(), &timestamp, body);
    format!(
        "POST /v1/webhooks/customerio/reporting HTTP/1.1\r\nHost: x\r\nX-CIO-Timestamp: {timestamp}\r\nX-CIO-Signature: {signature}\r\n{more}\r\n"
    )
}

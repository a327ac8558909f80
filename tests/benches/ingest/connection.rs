//! One keep-alive connection, with as little work for a request as can be: it shares the machine with what it measures.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context as _, bail, ensure};
use memchr::memmem;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// Room for any answer of ours; a longer one fails.
const ANSWER_BYTES: usize = 2_048;
const LENGTH: &[u8] = b"content-length:";

pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        Self::open_from(Ipv4Addr::LOCALHOST.into(), address).await
    }

    /// From a given address: each has ports of its own.
    pub(crate) async fn open_from(source: IpAddr, address: SocketAddr) -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((source, 0).into())?;
        let stream = socket.connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; ANSWER_BYTES] })
    }

    /// Sends a request and reads the whole answer, which must be 2xx.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(request).await?;
        let mut filled = 0;
        loop {
            ensure!(filled < self.buffer.len(), "an answer of more than {ANSWER_BYTES} bytes");
            let read = self.stream.read(&mut self.buffer[filled..]).await?;
            ensure!(read > 0, "the connection was closed instead of an answer");
            filled += read;
            let answer = &self.buffer[..filled];
            let Some(head) = memmem::find(answer, b"\r\n\r\n") else { continue };
            let whole = head + 4 + body_length(&answer[..head])?;
            if !answer.starts_with(b"HTTP/1.1 2") {
                bail!("an answer that is no 2xx: {}", String::from_utf8_lossy(answer));
            }
            if filled >= whole {
                ensure!(filled == whole, "more than one answer to a request");
                return Ok(());
            }
        }
    }
}

fn body_length(head: &[u8]) -> anyhow::Result<usize> {
    let mut lines = head.split(|&byte| byte == b'\n');
    let value = lines.find_map(|line| line.get(..LENGTH.len())?.eq_ignore_ascii_case(LENGTH).then(|| &line[LENGTH.len()..]));
    let value = value.with_context(|| format!("an answer without a length: {}", String::from_utf8_lossy(head)))?;
    Ok(std::str::from_utf8(value.trim_ascii())?.parse()?)
}

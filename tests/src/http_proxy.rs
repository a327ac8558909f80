use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What becomes of a request.
pub enum Deed {
    /// It is passed on, and its answer back.
    Pass,
    /// The proxy answers with these bytes, and nobody else hears of it.
    Answer(Vec<u8>),
    /// It is passed on; of its answer, head and body, this comes back, and the connection ends with it.
    Alter(fn(&[u8]) -> Vec<u8>),
}

/// Stands between a client and a server, and answers as broken and badly configured ones do.
pub struct HttpProxy {
    address: SocketAddr,
}

impl HttpProxy {
    /// Listens on a free port. `decide` sees the text of each request, head and body.
    pub async fn start(target: String, decide: impl Fn(&str) -> Deed + Send + Sync + 'static) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let decide = Arc::new(decide);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (target, decide) = (target.clone(), decide.clone());
                tokio::spawn(async move { serve(client, &target, &*decide).await });
            }
        });
        Ok(Self { address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn serve(client: TcpStream, target: &str, decide: &(impl Fn(&str) -> Deed + Sync)) -> anyhow::Result<()> {
    let mut client = BufReader::new(client);
    loop {
        let request = request(&mut client).await?;
        match decide(&String::from_utf8_lossy(&request)) {
            Deed::Pass => client.write_all(&passed(target, &request).await?).await?,
            Deed::Answer(bytes) => client.write_all(&bytes).await?,
            Deed::Alter(alter) => {
                client.write_all(&alter(&passed(target, &request).await?)).await?;
                return Ok(client.shutdown().await?);
            }
        }
    }
}

/// As it came, but for the connection to the server, which ends with it.
async fn request(client: &mut BufReader<TcpStream>) -> anyhow::Result<Vec<u8>> {
    let (mut request, mut line) = (Vec::new(), String::new());
    let (mut length, mut is_chunked) = (0, false);
    while line != "\r\n" {
        line.clear();
        client.read_line(&mut line).await?;
        let (name, value) = line.split_once(':').unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse()?,
            "transfer-encoding" => is_chunked = true,
            _ if line == "\r\n" => request.extend_from_slice(b"Connection: close\r\n"),
            _ => anyhow::ensure!(!line.is_empty(), "the client went away"),
        }
        request.extend_from_slice(line.as_bytes());
    }
    read_to(client, &mut request, length).await?;
    while is_chunked {
        line.clear();
        client.read_line(&mut line).await?;
        request.extend_from_slice(line.as_bytes());
        let length = usize::from_str_radix(line.trim(), 16).context("length of a chunk")?;
        read_to(client, &mut request, length + 2).await?;
        is_chunked = length > 0;
    }
    Ok(request)
}

async fn read_to(client: &mut BufReader<TcpStream>, request: &mut Vec<u8>, length: usize) -> anyhow::Result<()> {
    let from = request.len();
    request.resize(from + length, 0);
    client.read_exact(&mut request[from..]).await?;
    Ok(())
}

async fn passed(target: &str, request: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut server = TcpStream::connect(target).await?;
    server.write_all(request).await?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await?;
    Ok(answer)
}

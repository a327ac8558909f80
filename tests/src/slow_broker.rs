use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Of a request that fetches records.
const FETCH: [u8; 2] = [0, 1];

/// A wire to the one broker of a cluster on which the answers to a client's fetches can be kept back, as a slow leader or a quota does.
pub struct SlowBroker {
    address: SocketAddr,
    stalled: watch::Sender<bool>,
}

impl SlowBroker {
    /// Listens on a free port, and answers for the broker at `target` (127.0.0.1 and a port). `client` is whose fetches it can stall.
    pub async fn start(target: &str, client: &str) -> anyhow::Result<Self> {
        let target: SocketAddr = target.parse().context("the broker's address")?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (stalled, state) = watch::channel(false);
        let client: Arc<[u8]> = [&u16::try_from(client.len())?.to_be_bytes()[..], client.as_bytes()].concat().into();
        tokio::spawn(async move {
            while let Ok((inbound, _)) = listener.accept().await {
                let (client, stalled) = (client.clone(), state.clone());
                tokio::spawn(async move {
                    let Ok(outbound) = TcpStream::connect(target).await else { return };
                    let (from_client, to_client) = inbound.into_split();
                    let (from_broker, to_broker) = outbound.into_split();
                    let fetches = AtomicBool::new(false);
                    tokio::select! {
                        _ = requests(from_client, to_broker, &client, &fetches) => {}
                        _ = answers(from_broker, to_client, (target, address), &fetches, stalled) => {}
                    }
                });
            }
        });
        Ok(Self { address, stalled })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Keeps answers back from now on, or no longer.
    pub fn stall(&self, stalled: bool) {
        self.stalled.send_replace(stalled);
    }
}

async fn frame(from: &mut OwnedReadHalf) -> anyhow::Result<Vec<u8>> {
    let mut bytes = vec![0; from.read_u32().await? as usize];
    from.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn pass(to: &mut OwnedWriteHalf, bytes: &[u8]) -> anyhow::Result<()> {
    to.write_u32(u32::try_from(bytes.len())?).await?;
    Ok(to.write_all(bytes).await?)
}

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, client: &[u8], fetches: &AtomicBool) -> anyhow::Result<()> {
    loop {
        let request = frame(&mut from).await?;
        // Kind, version and number, then the client's name.
        if request.starts_with(&FETCH) && request.get(8..).is_some_and(|rest| rest.starts_with(client)) {
            fetches.store(true, Ordering::Relaxed);
        }
        pass(&mut to, &request).await?;
    }
}

async fn answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    (theirs, ours): (SocketAddr, SocketAddr),
    fetches: &AtomicBool,
    mut stalled: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    // As answers name a broker: all of them are to come this way.
    let named = |address: SocketAddr| [address.ip().to_string().into_bytes(), u32::from(address.port()).to_be_bytes().to_vec()].concat();
    let (theirs, ours) = (named(theirs), named(ours));
    loop {
        let mut answer = frame(&mut from).await?;
        if fetches.load(Ordering::Relaxed) {
            stalled.wait_for(|stalled| !stalled).await?;
        } else {
            let places: Vec<usize> =
                answer.windows(theirs.len()).enumerate().filter(|(_, window)| *window == theirs).map(|(place, _)| place).collect();
            for place in places {
                answer[place..place + ours.len()].copy_from_slice(&ours);
            }
        }
        pass(&mut to, &answer).await?;
    }
}

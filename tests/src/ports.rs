use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::sync::{LazyLock, Mutex, PoisonError};

use anyhow::Context as _;
use rand::Rng as _;

/// Below those that systems give to connections: a connection made meanwhile, of any process, can not take what was found free here, not even while its
/// service is down.
const PORTS: std::ops::Range<u16> = 20_000..32_768;

/// An address of this machine on which nothing listens, given to nobody else in this process.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    static GIVEN: LazyLock<Mutex<BTreeSet<u16>>> = LazyLock::new(Mutex::default);
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut ports = std::iter::repeat_with(|| rand::rng().random_range(PORTS)).take(1000);
    let port = ports.find(|&port| !given.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok());
    let port = port.context("1,000 ports between 20,000 and 32,767 were tried and none is free")?;
    given.insert(port);
    Ok(SocketAddr::from(([127, 0, 0, 1], port)))
}

//! What the end-to-end tests are built of: the real binary as processes, topics and a database of each test's own, and waiting with a deadline.

pub mod bench;
mod engines;
mod fleet;
mod http_proxy;
mod log;
mod ports;
mod process;
mod proxy;
mod setup;
mod slow_broker;
mod topic;
mod wire;

pub use engines::{Engine, Engines};
pub use fleet::Fleet;
pub use http_proxy::{Deed, HttpProxy};
pub use log::RawLog;
pub use ports::free_address;
pub use process::{Process, binary, profile_directory, repository};
pub use proxy::Proxy;
pub use setup::{SIGNING_KEY, Service, Setup, kafka_brokers};
pub use slow_broker::SlowBroker;
pub use topic::{open_transactions, read_topic};
pub use wire::{Answer, Wire, signed, signed_head};

use std::time::{Duration, Instant};

/// Asks again and again until there is an answer. Fails with the last complaint after `limit`.
pub async fn eventually<T>(limit: Duration, mut ask: impl AsyncFnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) if Instant::now() > deadline => return Err(error.context(format!("not within {} s", limit.as_secs()))),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

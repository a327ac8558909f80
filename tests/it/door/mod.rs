//! The HTTP door, knocked at.

mod abuse;
mod answers;
mod http2;
mod limits;
mod reload;
mod restart;
mod second_lines;
mod signatures;

use aftersend_tests::{Service, Setup};
use anyhow::Context as _;

/// Requests that ended so, over all sources.
async fn ended(setup: &Setup, result: &str) -> anyhow::Result<f64> {
    setup.metric(Service::Ingest, &format!("aftersend_ingest_webhooks_total{{result=\"{result}\"")).await
}

/// An event of some customer.
fn event(id: &str) -> String {
    format!(r#"{{"event_id":"{id}","object_type":"email","metric":"delivered","timestamp":1770000000,"data":{{"customer_id":"u-{id}"}}}}"#)
}

/// Resident memory of a process.
fn resident_bytes(id: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim_end_matches("kB").trim().parse::<u64>()? * 1_024)
}

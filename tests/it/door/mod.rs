//! The HTTP door, knocked at.

mod abuse;
mod answers;
mod limits;
mod reload;
mod restart;
mod second_lines;
mod signatures;

use aftersend_tests::{Service, Setup};

/// Requests that ended so, over all sources.
async fn ended(setup: &Setup, result: &str) -> anyhow::Result<f64> {
    setup.metric(Service::Ingest, &format!("aftersend_ingest_webhooks_total{{result=\"{result}\"")).await
}

/// An event of some customer.
fn event(id: &str) -> String {
    format!(r#"{{"event_id":"{id}","object_type":"email","metric":"delivered","timestamp":1770000000,"data":{{"customer_id":"u-{id}"}}}}"#)
}

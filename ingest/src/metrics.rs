use aftersend_pipeline::telemetry::Metrics;
use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};

use crate::answer::Answer;
use crate::sources::Sources;

/// Label of requests for sources that are not configured: their names are the sender's choice.
const UNKNOWN: &str = "unknown";

#[derive(Clone)]
pub(crate) struct IngestMetrics {
    webhooks: IntCounterVec,
    keys: IntCounterVec,
    pub(crate) acknowledge_seconds: Histogram,
    pub(crate) late: IntCounter,
    pub(crate) in_flight: IntGauge,
    pub(crate) body_bytes: IntCounter,
}

impl IngestMetrics {
    pub(crate) fn new(metrics: &Metrics, sources: &Sources) -> Self {
        let this = Self {
            webhooks: metrics.counter_vec("ingest_webhooks_total", "Webhook requests by source and how they ended.", &["source", "result"]),
            keys: metrics.counter_vec(
                "ingest_signing_key_matches_total",
                "Signatures by the place of the key that made them.",
                &["source", "key"],
            ),
            acknowledge_seconds: metrics.seconds("ingest_acknowledge_seconds", "From the whole request to the brokers' acknowledgement."),
            late: metrics.counter(
                "ingest_late_records_total",
                "Records written after their request had been answered 503; the retry is a duplicate.",
            ),
            in_flight: metrics.gauge("ingest_in_flight_requests", "Requests being read or waiting for the brokers."),
            body_bytes: metrics.counter("ingest_body_bytes_total", "Bytes of accepted bodies."),
        };
        for source in sources.names() {
            for answer in Answer::ALL {
                let _ = this.webhooks.with_label_values(&[source, answer.as_str()]);
            }
        }
        this
    }

    pub(crate) fn ended(&self, source: Option<&str>, answer: Answer) {
        self.webhooks.with_label_values(&[source.unwrap_or(UNKNOWN), answer.as_str()]).inc();
    }

    pub(crate) fn matched(&self, source: &str, key: usize) {
        self.keys.with_label_values(&[source, &key.to_string()]).inc();
    }
}

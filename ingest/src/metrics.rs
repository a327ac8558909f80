use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aftersend_pipeline::telemetry::Metrics;
use aftersend_pipeline::unix_millis;
use prometheus::{Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge};

use crate::answer::Answer;

/// Label of requests for sources that are not configured: their names are the sender's choice.
pub(crate) const UNKNOWN: &str = "unknown";

/// What the whole door counts.
#[derive(Clone)]
pub(crate) struct IngestMetrics {
    webhooks: IntCounterVec,
    key_matches: IntCounterVec,
    event_age: HistogramVec,
    signature_age: HistogramVec,
    silence: GaugeVec,
    unknown: EndingCounters,
    sources: Arc<Mutex<HashMap<String, Arc<SourceMetrics>>>>,
    pub(crate) acknowledge_seconds: Histogram,
    pub(crate) late: IntCounter,
    pub(crate) in_flight_requests: IntGauge,
    pub(crate) in_flight_bytes: IntGauge,
    pub(crate) queued_records: IntGauge,
    pub(crate) body_bytes: IntCounter,
    pub(crate) connections: IntGauge,
    pub(crate) unused_connections: IntCounter,
    pub(crate) connection_errors: IntCounterVec,
    pub(crate) reloads: IntCounterVec,
    pub(crate) allowlist_refreshes: IntCounterVec,
    pub(crate) certificate_expires: IntGauge,
}

/// One counter per ending, found without a look-up by name.
#[derive(Clone)]
struct EndingCounters(Vec<IntCounter>);

impl EndingCounters {
    fn new(webhooks: &IntCounterVec, source: &str) -> Self {
        Self(Answer::ALL.iter().map(|answer| webhooks.with_label_values(&[source, answer.as_str()])).collect())
    }

    fn of(&self, answer: Answer) -> &IntCounter {
        &self.0[answer as usize]
    }
}

/// What is counted for one source, kept over reloads.
pub(crate) struct SourceMetrics {
    endings: EndingCounters,
    pub(crate) event_age: Histogram,
    pub(crate) signature_age: Histogram,
    silence: Gauge,
    last_accepted: AtomicI64,
}

impl SourceMetrics {
    /// A request has ended.
    pub(crate) fn ended(&self, answer: Answer, now: i64) {
        self.endings.of(answer).inc();
        if matches!(answer, Answer::Accepted | Answer::Dead) {
            self.last_accepted.store(now, Ordering::Relaxed);
        }
    }

    /// Requests that ended so.
    pub(crate) fn count(&self, answer: Answer) -> u64 {
        self.endings.of(answer).get()
    }

    /// Brings the silence up to date.
    pub(crate) fn tick(&self, now: i64) {
        let silence = now.saturating_sub(self.last_accepted.load(Ordering::Relaxed)).max(0);
        self.silence.set(silence as f64 / 1_000.0);
    }
}

impl IngestMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let webhooks =
            metrics.counter_vec("ingest_webhooks_total", "Webhook requests by source and how they ended.", &["source", "result"]);
        let this = Self {
            unknown: EndingCounters::new(&webhooks, UNKNOWN),
            webhooks,
            key_matches: metrics.counter_vec(
                "ingest_signing_key_matches_total",
                "Signatures by the place of the key that made them.",
                &["source", "key"],
            ),
            event_age: metrics.long_seconds_vec(
                "ingest_event_age_seconds",
                "From the time of an event to its arrival: what waits at Customer.io.",
                &["source"],
            ),
            signature_age: metrics.long_seconds_vec(
                "ingest_signature_age_seconds",
                "From X-CIO-Timestamp of a signed request to its arrival.",
                &["source"],
            ),
            silence: metrics.seconds_gauge_vec(
                "ingest_silence_seconds",
                "Since the last accepted webhook, or since the start.",
                &["source"],
            ),
            sources: Arc::default(),
            acknowledge_seconds: metrics.seconds("ingest_acknowledge_seconds", "From the whole request to the brokers' acknowledgement."),
            late: metrics.counter(
                "ingest_late_records_total",
                "Records written after their request had ended (503, or the client left); the retry is a duplicate.",
            ),
            in_flight_requests: metrics.gauge("ingest_in_flight_requests", "Verified requests waiting for the brokers."),
            in_flight_bytes: metrics.gauge("ingest_in_flight_bytes", "Bytes of bodies being read or waiting for the brokers."),
            queued_records: metrics.gauge("ingest_queued_records", "Records in the producer, not acknowledged yet."),
            body_bytes: metrics.counter("ingest_body_bytes_total", "Bytes of accepted bodies."),
            connections: metrics.gauge("ingest_connections", "Open connections."),
            unused_connections: metrics.counter(
                "ingest_unused_connections_total",
                "Connections that ended without a request: probes, malformed requests (400), heads that never came (408) or were too large (431).",
            ),
            connection_errors: metrics.counter_vec("ingest_connection_errors_total", "Connections that ended in an error.", &["error"]),
            reloads: metrics.counter_vec("ingest_reloads_total", "Reloads of the configuration.", &["result"]),
            certificate_expires: metrics.gauge(
                "ingest_certificate_expires_timestamp_seconds",
                "When the certificate of ingest.tls expires, in Unix seconds; 0 without TLS.",
            ),
            allowlist_refreshes: metrics.counter_vec("ingest_allowlist_refreshes_total", "Questions for Customer.io's addresses.", &["result"]),
        };
        for result in ["done", "done_without_certificate", "refused"] {
            let _ = this.reloads.with_label_values(&[result]);
        }
        this
    }

    /// The counters of a source: the same as long as the process lives.
    pub(crate) fn source(&self, name: &str) -> Arc<SourceMetrics> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            Arc::new(SourceMetrics {
                endings: EndingCounters::new(&self.webhooks, name),
                event_age: self.event_age.with_label_values(&[name]),
                signature_age: self.signature_age.with_label_values(&[name]),
                silence: self.silence.with_label_values(&[name]),
                last_accepted: AtomicI64::new(unix_millis()),
            })
        };
        sources.entry(name.to_owned()).or_insert_with(new).clone()
    }

    /// A source that is not configured any more is not silent.
    pub(crate) fn forget_silence(&self, name: &str) {
        let _ = self.silence.remove_label_values(&[name]);
        self.sources.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Signatures made by the key at one place of a source's list.
    pub(crate) fn key_matches(&self, source: &str, place: usize) -> IntCounter {
        self.key_matches.with_label_values(&[source, &place.to_string()])
    }

    /// A request that belongs to no source has ended.
    pub(crate) fn unknown_ended(&self, answer: Answer) {
        self.unknown.of(answer).inc();
    }

    /// Requests of no source that ended so.
    pub(crate) fn unknown_count(&self, answer: Answer) -> u64 {
        self.unknown.of(answer).get()
    }
}

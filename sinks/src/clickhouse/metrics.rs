use aftersend_pipeline::telemetry::{ConsumerFamilies, Metrics};
use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec};

use super::failure::Cause;
use super::protocol::Stop;
use super::tables::TABLES;

#[derive(Clone)]
pub(super) struct SinkMetrics {
    pub(super) rows: IntCounterVec,
    pub(super) inserts: IntCounterVec,
    pub(super) insert_seconds: HistogramVec,
    pub(super) visible_seconds: HistogramVec,
    pub(super) unreadable: IntCounterVec,
    pub(super) failures: IntCounterVec,
    pub(super) commits_refused: IntCounterVec,
    pub(super) recoveries: IntCounterVec,
    pub(super) missing_rows: IntCounterVec,
    pub(super) replays: IntCounterVec,
    pub(super) skipped: IntCounterVec,
    pub(super) expired: IntCounterVec,
    pub(super) vanished: IntCounterVec,
    pub(super) stopped: IntGaugeVec,
    pub(super) held_bytes: IntGaugeVec,
    pub(super) consumers: ConsumerFamilies,
}

impl SinkMetrics {
    pub(super) fn failed(&self, table: &str, cause: Cause) {
        self.failures.with_label_values(&[table, cause.as_str()]).inc();
    }

    pub(super) fn new(metrics: &Metrics) -> Self {
        let this = Self {
            rows: metrics.counter_vec("clickhouse_rows_total", "Rows acknowledged by ClickHouse.", &["table"]),
            inserts: metrics.counter_vec(
                "clickhouse_inserts_total",
                "Inserts by how they ended: a failed one is sent again, a refused one is halved.",
                &["table", "result"],
            ),
            insert_seconds: metrics.seconds_vec("clickhouse_insert_seconds", "Duration of one insert.", &["table"]),
            visible_seconds: metrics.seconds_vec(
                "clickhouse_visible_seconds",
                "From a record's timestamp to its acknowledged row, by the oldest of a batch.",
                &["table"],
            ),
            unreadable: metrics.counter_vec(
                "clickhouse_unreadable_records_total",
                "Records that make no row, by reason; they are in the dead letters.",
                &["table", "reason"],
            ),
            failures: metrics.counter_vec(
                "clickhouse_insert_failures_total",
                "Inserts and questions that ClickHouse did not answer, by cause.",
                &["table", "cause"],
            ),
            commits_refused: metrics.counter_vec(
                "clickhouse_commits_refused_total",
                "Commits that the group did not take at once; nothing is sent before it does.",
                &["table"],
            ),
            recoveries: metrics.counter_vec(
                "clickhouse_recoveries_total",
                "Batches that a predecessor announced and this one finished.",
                &["table"],
            ),
            missing_rows: metrics.counter_vec(
                "clickhouse_missing_rows_total",
                "Rows that were not there after their token was accepted, and were sent again.",
                &["table"],
            ),
            replays: metrics.counter_vec("clickhouse_replays_total", "Partitions whose offsets were found behind their rows.", &["table"]),
            skipped: metrics.counter_vec(
                "clickhouse_skipped_offsets_total",
                "Offsets between a partition's rows, or its beginning, and an offset that somebody set.",
                &["table"],
            ),
            expired: metrics.counter_vec(
                "clickhouse_expired_offsets_total",
                "Offsets that the log dropped before they were read.",
                &["table"],
            ),
            vanished: metrics.counter_vec(
                "clickhouse_vanished_records_total",
                "Announced records that the log dropped before it was certain that they are stored.",
                &["table"],
            ),
            stopped: metrics.gauge_vec(
                "clickhouse_stopped_partitions",
                "Partitions of which nothing more is written until somebody has looked.",
                &["table", "reason"],
            ),
            held_bytes: metrics.gauge_vec("clickhouse_held_bytes", "Records and encoded rows in memory.", &["table"]),
            consumers: ConsumerFamilies::new(metrics),
        };
        // A counter that begins at its first event would hide that event from a rate.
        for table in TABLES {
            let counters = [&this.rows, &this.commits_refused, &this.recoveries, &this.missing_rows, &this.replays];
            for counter in counters.into_iter().chain([&this.skipped, &this.expired, &this.vanished]) {
                let _ = counter.with_label_values(&[table]);
            }
            for result in ["ok", "failed", "refused"] {
                let _ = this.inserts.with_label_values(&[table, result]);
            }
            for cause in Cause::ALL {
                let _ = this.failures.with_label_values(&[table, cause.as_str()]);
            }
            for reason in Stop::ALL {
                let _ = this.stopped.with_label_values(&[table, reason.as_str()]);
            }
        }
        this
    }
}

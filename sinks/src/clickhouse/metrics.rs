use super::tables::TABLES;
use aftersend_pipeline::telemetry::{ConsumerFamilies, Metrics};
use prometheus::{HistogramVec, IntCounterVec};

#[derive(Clone)]
pub(super) struct SinkMetrics {
    pub(super) rows: IntCounterVec,
    pub(super) inserts: IntCounterVec,
    pub(super) insert_seconds: HistogramVec,
    pub(super) visible_seconds: HistogramVec,
    pub(super) unreadable: IntCounterVec,
    pub(super) replays: IntCounterVec,
    pub(super) consumers: ConsumerFamilies,
}

impl SinkMetrics {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let this = Self {
            rows: metrics.counter_vec("clickhouse_rows_total", "Rows acknowledged by ClickHouse.", &["table"]),
            inserts: metrics.counter_vec(
                "clickhouse_inserts_total",
                "Inserts by how they ended; a failed one is sent again.",
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
            replays: metrics.counter_vec("clickhouse_replays_total", "Partitions whose offsets were found behind their rows.", &["table"]),
            consumers: ConsumerFamilies::new(metrics),
        };
        // A counter that begins at its first event would hide that event from a rate.
        for table in TABLES {
            let _ = this.rows.with_label_values(&[table]);
            let _ = this.replays.with_label_values(&[table]);
            for result in ["ok", "failed"] {
                let _ = this.inserts.with_label_values(&[table, result]);
            }
        }
        this
    }
}

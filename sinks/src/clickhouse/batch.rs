//! Records of one partition on their way into one insert. Pure.

use std::time::{Duration, Instant};

use aftersend_pipeline::offsets::NextOffset;
use aftersend_pipeline::record::Record;

/// A batch is closed at this many records, bytes, or age. One insert of this size is one block.
pub(super) const RECORDS: usize = 50_000;
pub(super) const BYTES: usize = 16 * 1024 * 1024;
pub(super) const AGE: Duration = Duration::from_millis(500);

/// Records in offset order, at least one. Its bounds are fixed once it is closed.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) records: Vec<Record>,
    bytes: usize,
    since: Instant,
}

impl Batch {
    pub(super) fn new(first: Record, now: Instant) -> Self {
        Self { bytes: first.size(), records: vec![first], since: now }
    }

    pub(super) fn push(&mut self, record: Record) {
        self.bytes += record.size();
        self.records.push(record);
    }

    pub(super) fn is_full(&self) -> bool {
        self.records.len() >= RECORDS || self.bytes >= BYTES
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.is_full() || now.duration_since(self.since) >= AGE
    }

    pub(super) fn first(&self) -> i64 {
        self.records.first().map_or(0, |record| record.offset)
    }

    pub(super) fn last(&self) -> i64 {
        self.records.last().map_or(0, |record| record.offset)
    }

    pub(super) fn next(&self) -> NextOffset {
        NextOffset::after(self.last())
    }

    /// Names exactly these records, so that ClickHouse drops a repeated send.
    pub(super) fn token(&self, table: &str, topic: &str, partition: i32, epoch: u32) -> String {
        format!("{table}:{topic}:{partition}:{}-{}:{epoch}:0", self.first(), self.last())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(offset: i64, bytes: usize) -> Record {
        Record { topic: "t".into(), partition: 3, offset, timestamp: 0, key: Vec::new(), value: Some(vec![0; bytes]), headers: Vec::new() }
    }

    #[test]
    fn a_batch_closes_by_size_or_age_and_its_token_names_its_bounds() {
        let now = Instant::now();
        let mut batch = Batch::new(record(7, 10), now);
        batch.push(record(9, 10));
        assert!(!batch.is_due(now));
        assert!(batch.is_due(now + AGE));
        batch.push(record(12, BYTES));
        assert!(batch.is_full());
        assert_eq!(batch.next(), NextOffset(13));
        assert_eq!(batch.token("raw_events", "aftersend.raw", 3, 2), "raw_events:aftersend.raw:3:7-12:2:0");
    }
}

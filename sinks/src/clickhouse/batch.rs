//! Records of one partition on their way into one insert: encoded as they come, closed once. Pure.

use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, Instant};

use aftersend_pipeline::record::Record;
use aftersend_schemas::DecodeError;
use aftersend_schemas::row_binary::Block;
use bytes::Bytes;

use super::protocol::Span;
use super::tables::{Table, Unreadable};

/// A batch is closed at this many records, encoded bytes, or the age of its [`Table::AGE`]. One insert of this size is one block.
const RECORDS: usize = 50_000;
pub(super) const BYTES: usize = 4 * 1024 * 1024;
/// A batch is closed at so many partitions of its table, too: each becomes a file of the server's.
const PARTITIONS: usize = 60;

/// A row's place in the log, where its bytes end, and from when its retention counts.
#[derive(Debug)]
struct Row {
    offset: i64,
    end: usize,
    kept_from: i64,
    identity: Option<String>,
}

/// A batch that grows.
#[derive(Debug)]
pub(super) struct Filling {
    epoch: u32,
    first: i64,
    last: i64,
    records: u32,
    block: Block,
    rows: Vec<Row>,
    /// Offsets of records that make no row.
    rowless: Vec<i64>,
    malformed: Vec<(Record, &'static str)>,
    partitions: BTreeSet<i64>,
    bytes: usize,
    oldest: Option<i64>,
    /// When its first record came.
    pub(super) since: Instant,
}

impl Filling {
    pub(super) fn new(epoch: u32, now: Instant) -> Self {
        Self {
            epoch,
            first: -1,
            last: -1,
            records: 0,
            block: Block::default(),
            rows: Vec::new(),
            rowless: Vec::new(),
            malformed: Vec::new(),
            partitions: BTreeSet::new(),
            bytes: 0,
            oldest: None,
            since: now,
        }
    }

    /// Adds the next record. One of a newer release is not added: nothing may pass it.
    pub(super) fn push<T: Table>(&mut self, table: &T, record: Record) -> Result<(), DecodeError> {
        let (offset, timestamp) = (record.offset, record.timestamp);
        match table.add(&record, self.epoch, &mut self.block) {
            Ok(Some(added)) => {
                self.partitions.insert(added.partition);
                let end = self.block.bytes().len();
                self.bytes += size_of::<Row>() + added.identity.as_ref().map_or(0, String::len);
                self.rows.push(Row { offset, end, kept_from: added.kept_from, identity: added.identity });
            }
            Ok(None) => self.rowless.push(offset),
            Err(Unreadable::Malformed(reason)) => {
                self.rowless.push(offset);
                self.bytes += record.size();
                self.malformed.push((record, reason));
            }
            Err(Unreadable::TooNew(error)) => return Err(error),
        }
        if self.records == 0 {
            self.first = offset;
        }
        self.last = offset;
        self.records += 1;
        if timestamp > 0 {
            self.oldest = Some(self.oldest.map_or(timestamp, |oldest| oldest.min(timestamp)));
        }
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records == 0
    }

    pub(super) fn row_count(&self) -> usize {
        self.rows.len()
    }

    /// What it occupies, rows and what is known of them.
    pub(super) fn size(&self) -> usize {
        self.block.bytes().len() + self.bytes
    }

    pub(super) fn is_full(&self) -> bool {
        self.records as usize >= RECORDS || self.size() >= BYTES || self.partitions.len() >= PARTITIONS
    }

    pub(super) fn is_due(&self, now: Instant, age: Duration) -> bool {
        !self.is_empty() && (self.is_full() || now.duration_since(self.since) >= age)
    }

    /// From here on its bounds are fixed.
    pub(super) fn close(self) -> Batch {
        let (columns, size) = (self.block.columns().join(", "), self.size());
        Batch {
            span: Span { first: self.first, last: self.last, records: self.records },
            columns,
            bytes: self.block.into_bytes().into(),
            rows: self.rows,
            rowless: self.rowless,
            malformed: self.malformed,
            size,
            oldest: self.oldest,
        }
    }
}

/// A closed batch.
#[derive(Debug)]
pub(super) struct Batch {
    span: Span,
    /// Names of the columns; empty without rows.
    pub(super) columns: String,
    bytes: Bytes,
    rows: Vec<Row>,
    rowless: Vec<i64>,
    malformed: Vec<(Record, &'static str)>,
    size: usize,
    /// Timestamp of its oldest record.
    pub(super) oldest: Option<i64>,
}

impl Batch {
    pub(super) fn span(&self) -> Span {
        self.span
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    fn range(&self, span: Span) -> std::ops::Range<usize> {
        let from = self.rows.partition_point(|row| row.offset < span.first);
        from..self.rows.partition_point(|row| row.offset <= span.last)
    }

    fn begin_of(&self, row: usize) -> usize {
        row.checked_sub(1).and_then(|before| self.rows.get(before)).map_or(0, |before| before.end)
    }

    /// The encoded rows of a part of it, and how many.
    pub(super) fn whole(&self, span: Span) -> (Bytes, usize) {
        let range = self.range(span);
        let rows = range.len();
        (self.bytes.slice(self.begin_of(range.start)..self.begin_of(range.end)), rows)
    }

    /// The encoded rows with these offsets, and how many.
    pub(super) fn only(&self, offsets: &HashSet<i64>) -> (Bytes, usize) {
        let mut bytes = Vec::new();
        let mut rows = 0;
        for (index, row) in self.rows.iter().enumerate().filter(|(_, row)| offsets.contains(&row.offset)) {
            bytes.extend_from_slice(self.bytes.get(self.begin_of(index)..row.end).unwrap_or_default());
            rows += 1;
        }
        (bytes.into(), rows)
    }

    /// Offsets of the rows of a part, each with its identity; without those that retention takes away, since they need not be there.
    pub(super) fn expected(&self, span: Span, kept_since: Option<i64>) -> impl Iterator<Item = (i64, Option<&str>)> {
        let rows = self.rows.get(self.range(span)).unwrap_or_default().iter();
        let is_kept = move |row: &&Row| kept_since.is_none_or(|since| row.kept_from > since);
        rows.filter(is_kept).map(|row| (row.offset, row.identity.as_deref()))
    }

    /// Two parts with half of the rows each; nothing if there is but one row.
    pub(super) fn halves(&self, span: Span) -> Option<(Span, Span)> {
        let rows = self.rows.get(self.range(span))?;
        let (first, second) = rows.split_at(rows.len() / 2);
        let (end, begin) = (first.last()?.offset, second.first()?.offset);
        let rowless = |from: i64, to: i64| self.rowless.iter().filter(|offset| (from..=to).contains(*offset)).count();
        // Records that make no row go with the rows before them, or with the first ones.
        let begin_of_second = self.rowless.iter().copied().find(|offset| (end + 1..begin).contains(offset)).unwrap_or(begin);
        let part = |from: i64, to: i64, rows: usize| Span {
            first: from,
            last: to,
            records: u32::try_from(rows + rowless(from, to)).unwrap_or(u32::MAX),
        };
        Some((part(span.first, end, first.len()), part(begin_of_second, span.last, second.len())))
    }

    /// Records of a part that make no row, each with the reason.
    pub(super) fn malformed(&self, span: Span) -> impl Iterator<Item = &(Record, &'static str)> {
        self.malformed.iter().filter(move |(record, _)| (span.first..=span.last).contains(&record.offset))
    }
}

#[cfg(test)]
mod tests {
    use aftersend_pipeline::record::RecordHeaders;
    use aftersend_schemas::headers::Dead;
    use aftersend_schemas::identity::{Namespace, Person};
    use aftersend_schemas::profile::{Cadence, ChannelReason, EmailState, Evaluation, Facts, Grounds, ProfileRecord};
    use aftersend_schemas::track_call::{Call, Phase, TrackCall};

    use super::super::tables::{DeadLetters, Profiles, RawEvents, TrackCalls};
    use super::*;

    fn record(offset: i64, value: &[u8]) -> Record {
        Record {
            topic: "t".into(),
            partition: 3,
            offset,
            timestamp: 0,
            key: Vec::new(),
            value: Some(value.into()),
            headers: RecordHeaders::default(),
        }
    }

    fn filled<T: Table>(table: &T, records: impl IntoIterator<Item = Record>) -> Result<Filling, DecodeError> {
        let mut filling = Filling::new(1, Instant::now());
        records.into_iter().try_for_each(|record| filling.push(table, record))?;
        Ok(filling)
    }

    fn person() -> Person {
        Person { workspace: "default".into(), namespace: Namespace::Id, id: "u-1".into() }
    }

    fn profile() -> Vec<u8> {
        let evaluation = Evaluation {
            score: 80,
            state: EmailState::Healthy,
            email_deliverable: true,
            email_promotional_ok: true,
            email_transactional_ok: true,
            email_cadence: Cadence::Full,
            best_channel: None,
            best_channel_reason: ChannelReason::NoneReached,
            never_suppress: false,
            grounds: Grounds::Worded { reason: String::new(), contributions: Vec::new() },
            verdict: None,
            facts: Facts::default(),
            changes_at: None,
        };
        ProfileRecord { person: person(), as_of: 7, policy_version: 1, evaluation, state: Vec::new(), address: None }.encode()
    }

    #[test]
    fn a_batch_closes_by_records_bytes_age_or_partitions() {
        let mut filling = filled(&RawEvents, [record(7, b"{}"), record(9, b"{}")]).unwrap();
        let age = RawEvents::AGE;
        assert!(!filling.is_due(filling.since + age / 2, age) && filling.is_due(filling.since + age, age));
        filling.push(&RawEvents, record(12, &vec![b' '; BYTES])).unwrap();
        assert!(filling.is_full());
        assert_eq!(filling.close().span(), Span { first: 7, last: 12, records: 3 });

        let daily = |days: i64| (0..days).map(|day| Record { timestamp: day * 86_400_000, ..record(day, b"{}") });
        assert!(!filled(&RawEvents, daily(59)).unwrap().is_full());
        assert!(filled(&RawEvents, daily(60)).unwrap().is_full(), "each is a file of the server's");
    }

    #[test]
    fn parts_of_a_batch_hold_its_very_bytes() {
        let values: [&[u8]; 4] = [b"{}", b"{\"a\":1}", b"{\"b\":22}", b"{\"c\":333}"];
        let mut records: Vec<Record> = values.iter().zip([3, 5, 6, 9]).map(|(value, offset)| record(offset, value)).collect();
        // A tombstone between, which makes no row.
        records.insert(2, Record { value: None, ..record(4, b"") });
        records.sort_by_key(|record| record.offset);
        let batch = filled(&RawEvents, records).unwrap().close();
        let (all, rows) = batch.whole(batch.span());
        assert_eq!((rows, batch.span()), (4, Span { first: 3, last: 9, records: 5 }));
        let (first, second) = batch.halves(batch.span()).unwrap();
        assert_eq!((first, second), (Span { first: 3, last: 5, records: 3 }, Span { first: 6, last: 9, records: 2 }));
        let both = [batch.whole(first).0, batch.whole(second).0].concat();
        assert_eq!(both, all);
        let every: HashSet<i64> = [3, 5, 6, 9].into();
        assert_eq!(batch.only(&every), (all, 4));
        assert_eq!(batch.only(&[6].into()).0, batch.whole(Span { first: 6, last: 6, records: 1 }).0);
        assert_eq!(batch.halves(Span { first: 9, last: 9, records: 1 }), None);
    }

    #[test]
    fn halves_of_halves_cover_every_record_once() {
        let batch = filled(
            &RawEvents,
            (0..23).map(|offset| Record { value: (offset % 5 != 0).then(|| b"{}".to_vec()), ..record(offset * 2, b"") }),
        );
        let batch = batch.unwrap().close();
        let mut parts = vec![batch.span()];
        let mut leaves = Vec::new();
        while let Some(part) = parts.pop() {
            match batch.halves(part) {
                Some((first, second)) => parts.extend([second, first]),
                None => leaves.push(part),
            }
        }
        assert_eq!(leaves.len(), 18, "one for each row");
        assert_eq!(leaves.iter().map(|leaf| leaf.records).sum::<u32>(), 23);
        assert_eq!((leaves[0].first, leaves[17].last), (0, 44));
        assert!(leaves.windows(2).all(|two| two[0].last < two[1].first));
    }

    #[test]
    fn rows_that_retention_takes_away_are_not_expected() {
        let aged = |offset: i64| Record { timestamp: offset, ..record(offset, b"{}") };
        let batch = filled(&RawEvents, [aged(10), aged(20)]).unwrap().close();
        let offsets = |kept_since| batch.expected(batch.span(), kept_since).map(|(offset, _)| offset).collect::<Vec<_>>();
        assert_eq!((offsets(None), offsets(Some(10)), offsets(Some(20))), (vec![10, 20], vec![20], vec![]));
    }

    #[test]
    fn a_malformed_record_is_set_apart_and_the_others_make_rows() {
        let batch = filled(&Profiles, [record(5, &profile()), record(6, &[1, 200]), record(7, &[])]).unwrap().close();
        assert_eq!(batch.whole(batch.span()).1, 1);
        let malformed: Vec<_> = batch.malformed(batch.span()).map(|(record, reason)| (record.offset, *reason)).collect();
        assert_eq!(malformed, [(6, "unreadable_profile"), (7, "unreadable_profile")]);
    }

    #[test]
    fn a_record_of_a_newer_release_stops_its_batch_before_anything_of_it_is_written() {
        let mut newer = profile();
        newer[0] = 4;
        let stopped = filled(&Profiles, [record(4, &[1, 200]), record(5, &profile()), record(6, &newer)]).unwrap_err();
        assert_eq!(stopped.to_string(), "profile of version 4: this release reads up to version 3, upgrade it to go on");

        let call = TrackCall {
            version: TrackCall::VERSION + 1,
            person: person(),
            call: Call::Identify,
            phase: Phase::Intent,
            rule: String::new(),
            evidence: String::new(),
            policy_version: 1,
            at: 0,
            status: 0,
            latency_ms: 0,
            received_at: 0,
            error: String::new(),
        };
        assert!(filled(&TrackCalls, [record(5, &call.encode())]).is_err());

        let mut dead = record(5, b"{");
        dead.headers = [("dead_version", (Dead::VERSION + 1).to_string().as_bytes())].into_iter().collect();
        assert!(filled(&DeadLetters, [dead]).is_err());
    }
}

//! One partition on its way into one table: at most one batch being sent, the next one filling.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aftersend_pipeline::consumer::{Committed, Handle, Partition};
use aftersend_pipeline::offsets::NextOffset;
use aftersend_pipeline::record::Record;
use aftersend_pipeline::retry::Backoff;
use aftersend_pipeline::{record_headers, unix_millis};
use aftersend_schemas::DecodeError;
use aftersend_schemas::row_binary::Block;
use bytes::Bytes;
use clickhouse::Client;
use rdkafka::error::KafkaResult;
use rdkafka::producer::{FutureProducer, FutureRecord};
use tokio_util::sync::CancellationToken;

use super::batch::Batch;
use super::epoch::{Start, Stored, metadata};
use super::metrics::SinkMetrics;
use super::tables::{Table, Unreadable};

const SEND_TIMEOUT: Duration = Duration::from_secs(15);
const END_TIMEOUT: Duration = Duration::from_secs(60);
const GROUP_TIMEOUT: Duration = Duration::from_secs(10);

/// What all lanes of a table share.
pub(super) struct Writer<T> {
    pub(super) table: T,
    pub(super) client: Client,
    pub(super) database: String,
    pub(super) group: Handle,
    pub(super) dead: (FutureProducer, String),
    pub(super) metrics: SinkMetrics,
}

/// A partition of this assignment.
pub(super) struct Lane {
    pub(super) open: Option<Batch>,
    pub(super) sending: bool,
    pub(super) paused: bool,
    /// Known from the first insert on.
    pub(super) epoch: Option<u32>,
    /// Cancelled when the partition goes: nothing more is sent or committed.
    pub(super) fence: CancellationToken,
}

impl Lane {
    pub(super) fn new(shutdown: &CancellationToken) -> Self {
        Self { open: None, sending: false, paused: false, epoch: None, fence: shutdown.child_token() }
    }

    pub(super) fn push(&mut self, record: Record, now: Instant) {
        match &mut self.open {
            Some(batch) => batch.push(record),
            None => self.open = Some(Batch::new(record, now)),
        }
    }

    /// The batch to send now, if there is one and nothing is being sent.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Batch> {
        if self.sending || !self.open.as_ref()?.is_due(now) {
            return None;
        }
        self.sending = true;
        self.open.take()
    }
}

/// A batch ended.
pub(super) struct Sent {
    pub(super) partition: Partition,
    pub(super) ending: Ending,
}

pub(super) enum Ending {
    /// In ClickHouse and committed, in this epoch.
    Stored(u32),
    /// Given up because its partition went.
    Fenced,
    /// Nothing of it was written.
    Stopped(TooNew),
}

/// A record that a newer release wrote. Nothing after it is sent or committed, so that an upgraded sink goes on at it.
#[derive(Debug, thiserror::Error)]
#[error("the record in partition {partition} of {topic} at offset {offset} cannot be read: {error}")]
pub struct TooNew {
    topic: Arc<str>,
    partition: i32,
    offset: i64,
    error: DecodeError,
}

impl<T: Table> Writer<T> {
    /// Sends a batch until it is in, then commits. Gives up only when fenced, or at a record of a newer release.
    pub(super) async fn send(self: Arc<Self>, partition: Partition, batch: Batch, epoch: Option<u32>, fence: CancellationToken) -> Sent {
        let ending = tokio::select! {
            biased;
            () = fence.cancelled() => Ending::Fenced,
            stored = self.send_all(&partition, &batch, epoch) => stored.map_or_else(Ending::Stopped, Ending::Stored),
        };
        Sent { partition, ending }
    }

    async fn send_all(&self, partition: &Partition, batch: &Batch, epoch: Option<u32>) -> Result<u32, TooNew> {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        let epoch = match epoch {
            Some(epoch) => epoch,
            None => self.find_epoch(partition, &mut backoff).await,
        };
        let token = batch.token(T::NAME, &partition.0, partition.1, epoch);
        let Read { block, malformed } = read(&self.table, batch, epoch)?;
        let insert = Insert::of(T::NAME, block);
        for (record, reason) in malformed {
            self.metrics.unreadable.with_label_values(&[T::NAME, reason]).inc();
            self.give_up(record, reason, &mut backoff).await;
        }
        if insert.rows > 0 {
            self.insert(&insert, &token, &mut backoff).await;
        }
        if let Some(oldest) = batch.records.iter().map(|record| record.timestamp).filter(|at| *at > 0).min() {
            let seconds = (unix_millis() - oldest).max(0) as f64 / 1000.0;
            self.metrics.visible_seconds.with_label_values(&[T::NAME]).observe(seconds);
        }
        if let Err(error) = self.commit(partition, batch.next(), epoch).await {
            tracing::warn!(%error, table = T::NAME, "commit failed; what follows commits further");
        }
        Ok(epoch)
    }

    /// Sends a block until it is in.
    async fn insert(&self, insert: &Insert, token: &str, backoff: &mut Backoff) {
        loop {
            let started = Instant::now();
            let result = self.try_insert(insert, token).await;
            self.metrics.insert_seconds.with_label_values(&[T::NAME]).observe(started.elapsed().as_secs_f64());
            let Err(error) = result else { break };
            self.metrics.inserts.with_label_values(&[T::NAME, "failed"]).inc();
            tracing::warn!(table = T::NAME, error = describe(&error), rows = insert.rows, "insert failed; the same block is sent again");
            tokio::time::sleep(backoff.next_delay()).await;
        }
        self.metrics.inserts.with_label_values(&[T::NAME, "ok"]).inc();
        self.metrics.rows.with_label_values(&[T::NAME]).inc_by(insert.rows as u64);
    }

    async fn try_insert(&self, insert: &Insert, token: &str) -> clickhouse::error::Result<()> {
        let mut sending = self
            .client
            .insert_formatted_with(insert.statement.clone())
            .with_setting("async_insert", "0")
            .with_setting("insert_deduplicate", "1")
            .with_setting("insert_deduplication_token", token)
            // A replay over years touches more months than the default allows.
            .with_setting("max_partitions_per_insert_block", "1000")
            .with_timeouts(Some(SEND_TIMEOUT), Some(END_TIMEOUT));
        sending.send(insert.rows_bytes.clone()).await?;
        sending.end().await
    }

    async fn give_up(&self, record: &Record, reason: &str, backoff: &mut Backoff) {
        let (producer, topic) = &self.dead;
        let stage = format!("sink.clickhouse.{}", T::NAME);
        loop {
            let headers = record_headers::dead_letter_from_record(record, &stage, reason, "");
            let value = record.value.as_deref().unwrap_or_default();
            let dead = FutureRecord::to(topic).key(&record.key).payload(value).timestamp(record.timestamp).headers(headers);
            match producer.send(dead, Duration::ZERO).await {
                Ok(_) => return,
                Err((error, _)) => {
                    tracing::warn!(%error, topic, "a dead letter was not written; trying again");
                    tokio::time::sleep(backoff.next_delay()).await;
                }
            }
        }
    }

    async fn find_epoch(&self, partition: &Partition, backoff: &mut Backoff) -> u32 {
        loop {
            match self.try_find_epoch(partition).await {
                Ok(epoch) => return epoch,
                Err(error) => {
                    tracing::warn!(table = T::NAME, error, "cannot tell yet where the partition stands");
                    tokio::time::sleep(backoff.next_delay()).await;
                }
            }
        }
    }

    async fn try_find_epoch(&self, partition: &Partition) -> Result<u32, String> {
        let committed = self.committed(partition).await.map_err(|error| error.to_string())?;
        let stored = self.stored(partition).await.map_err(|error| describe(&error))?;
        let start = Start::decide(&committed, stored);
        if let Start::Replay(epoch) = start {
            tracing::info!(table = T::NAME, partition = partition.1, epoch, "offsets were reset: replaying in a new epoch");
            self.metrics.replays.with_label_values(&[T::NAME]).inc();
            // Committed at once, so that a restart stays in this epoch.
            let next = committed.next.unwrap_or(NextOffset(0));
            self.commit(partition, next, epoch).await.map_err(|error| error.to_string())?;
        }
        Ok(start.epoch())
    }

    async fn stored(&self, partition: &Partition) -> clickhouse::error::Result<Stored> {
        let query = format!(
            "SELECT count(), max(src_offset), max(epoch) FROM {}.{} WHERE src_topic = ? AND src_partition = ?",
            self.database,
            T::NAME
        );
        let query = self.client.query(&query).bind(partition.0.as_ref()).bind(partition.1);
        let (rows, max_offset, max_epoch) = query.fetch_one::<(u64, u64, u32)>().await?;
        Ok(Stored { rows, max_offset, max_epoch })
    }

    async fn committed(&self, partition: &Partition) -> KafkaResult<Committed> {
        let (group, partition) = (self.group.clone(), partition.clone());
        blocking(move || group.committed(&partition, GROUP_TIMEOUT)).await
    }

    async fn commit(&self, partition: &Partition, next: NextOffset, epoch: u32) -> KafkaResult<()> {
        let (group, partition) = (self.group.clone(), partition.clone());
        blocking(move || group.commit(&[(partition, next)], &metadata(epoch))).await
    }
}

/// A batch, read.
struct Read<'b> {
    block: Block,
    /// What makes no row, each with the reason.
    malformed: Vec<(&'b Record, &'static str)>,
}

fn read<'b, T: Table>(table: &T, batch: &'b Batch, epoch: u32) -> Result<Read<'b>, TooNew> {
    let mut read = Read { block: Block::default(), malformed: Vec::new() };
    for record in &batch.records {
        match table.add(record, epoch, &mut read.block) {
            Ok(()) => {}
            Err(Unreadable::Malformed(reason)) => read.malformed.push((record, reason)),
            Err(Unreadable::TooNew(error)) => {
                return Err(TooNew { topic: record.topic.clone(), partition: record.partition, offset: record.offset, error });
            }
        }
    }
    Ok(read)
}

/// A block ready to be sent, as often as it takes: the same bytes each time.
struct Insert {
    statement: String,
    rows: usize,
    rows_bytes: Bytes,
}

impl Insert {
    fn of(table: &str, block: Block) -> Self {
        let statement = format!("INSERT INTO {table} ({}) FORMAT RowBinary", block.columns().join(", "));
        Self { statement, rows: block.rows(), rows_bytes: block.into_bytes().into() }
    }
}

async fn blocking<R: Send + 'static>(call: impl FnOnce() -> KafkaResult<R> + Send + 'static) -> KafkaResult<R> {
    tokio::task::spawn_blocking(call).await.unwrap_or(Err(rdkafka::error::KafkaError::Canceled))
}

/// An error without what it quotes: a server's text may hold a value of a row, so only its code and name are shown.
fn describe(error: &clickhouse::error::Error) -> String {
    let clickhouse::error::Error::BadResponse(text) = error else { return error.to_string() };
    let code = text.split_once("Code: ").map(|(_, rest)| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
    let is_name = |name: &&str| !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    let name = text.split(['(', ')']).rev().find(is_name);
    match (code.filter(|code| !code.is_empty()), name) {
        (Some(code), name) => format!("code {code} {}", name.unwrap_or("(unnamed)")),
        (None, _) => "an answer without a code: is clickhouse.url a ClickHouse server?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use aftersend_schemas::headers::Dead;
    use aftersend_schemas::identity::{Namespace, Person};
    use aftersend_schemas::profile::{EmailState, Evaluation, Facts, ProfileRecord};
    use aftersend_schemas::track_call::{Call, Phase, TrackCall};

    use super::super::tables::{DeadLetters, Profiles, TrackCalls};
    use super::*;

    fn record(offset: i64, value: &[u8]) -> Record {
        Record { topic: "t".into(), partition: 3, offset, timestamp: 0, key: Vec::new(), value: Some(value.into()), headers: Vec::new() }
    }

    fn batch(records: impl IntoIterator<Item = Record>) -> Batch {
        let mut records = records.into_iter();
        let mut batch = Batch::new(records.next().unwrap(), Instant::now());
        records.for_each(|record| batch.push(record));
        batch
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
            best_channel: String::new(),
            reason: String::new(),
            contributions: Vec::new(),
            verdict: None,
            facts: Facts::default(),
        };
        ProfileRecord { person: person(), as_of: 7, policy_version: 1, evaluation, state: Vec::new() }.encode()
    }

    #[test]
    fn a_malformed_record_is_set_apart_and_the_others_make_rows() {
        let batch = batch([record(5, &profile()), record(6, &[1, 200]), record(7, &[])]);
        let Read { block, malformed } = read(&Profiles, &batch, 1).unwrap();
        assert_eq!(block.rows(), 1);
        let malformed: Vec<_> = malformed.into_iter().map(|(record, reason)| (record.offset, reason)).collect();
        assert_eq!(malformed, [(6, "unreadable_profile"), (7, "unreadable_profile")]);
    }

    #[test]
    fn a_record_of_a_newer_release_stops_its_batch_before_anything_of_it_is_written() {
        let mut newer = profile();
        newer[0] += 1;
        // The malformed one before it is no dead letter yet: whoever reads the batch after the upgrade makes it one.
        let profiles = batch([record(4, &[1, 200]), record(5, &profile()), record(6, &newer)]);
        let stopped = read(&Profiles, &profiles, 1).map(|_| ()).unwrap_err();
        assert_eq!(
            stopped.to_string(),
            "the record in partition 3 of t at offset 6 cannot be read: profile of version 2: this release reads up to version 1, upgrade it to go on"
        );

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
        };
        assert!(read(&TrackCalls, &batch([record(5, &call.encode())]), 1).is_err());

        let mut dead = record(5, b"{");
        dead.headers = vec![("dead_version".into(), (Dead::VERSION + 1).to_string().into())];
        assert!(read(&DeadLetters, &batch([dead]), 1).is_err());
    }

    #[test]
    fn a_servers_error_is_shown_without_the_values_it_quotes() {
        let shown = |text: &str| describe(&clickhouse::error::Error::BadResponse(text.to_owned()));
        let quoting = "Code: 27. DB::Exception: Cannot parse input: expected '\\t' before: 'ada@shop.example': (at row 1). (CANNOT_PARSE_INPUT_ASSERTION_FAILED) (version 26.8)";
        assert_eq!(shown(quoting), "code 27 CANNOT_PARSE_INPUT_ASSERTION_FAILED");
        assert_eq!(shown("<html>502</html>"), "an answer without a code: is clickhouse.url a ClickHouse server?");
    }
}

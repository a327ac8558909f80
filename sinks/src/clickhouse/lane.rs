//! One partition on its way into one table: at most one batch being sent, the next one filling.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aftersend_pipeline::consumer::{Committed, Handle, Partition};
use aftersend_pipeline::offsets::NextOffset;
use aftersend_pipeline::record::Record;
use aftersend_pipeline::retry::Backoff;
use aftersend_pipeline::{dead_letter, unix_millis};
use clickhouse::Client;
use rdkafka::error::KafkaResult;
use rdkafka::producer::{FutureProducer, FutureRecord};
use tokio_util::sync::CancellationToken;

use super::batch::Batch;
use super::epoch::{Start, Stored, metadata};
use super::metrics::SinkMetrics;
use super::tables::Table;

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

/// A batch ended: in ClickHouse and committed, or given up because its partition went.
pub(super) struct Sent {
    pub(super) partition: Partition,
    pub(super) epoch: Option<u32>,
    pub(super) fenced: bool,
}

impl<T: Table> Writer<T> {
    /// Sends a batch until it is in, then commits. Gives up only when fenced.
    pub(super) async fn send(self: Arc<Self>, partition: Partition, batch: Batch, epoch: Option<u32>, fence: CancellationToken) -> Sent {
        let result = tokio::select! {
            biased;
            () = fence.cancelled() => None,
            epoch = self.send_all(&partition, &batch, epoch) => Some(epoch),
        };
        Sent { partition, epoch: result.or(epoch), fenced: result.is_none() }
    }

    async fn send_all(&self, partition: &Partition, batch: &Batch, epoch: Option<u32>) -> u32 {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        let epoch = match epoch {
            Some(epoch) => epoch,
            None => self.find_epoch(partition, &mut backoff).await,
        };
        let token = batch.token(T::NAME, &partition.0, partition.1, epoch);
        let rows = self.rows(batch, epoch, &mut backoff).await;
        while !rows.is_empty() {
            let started = Instant::now();
            let result = self.insert(&rows, &token).await;
            self.metrics.insert_seconds.with_label_values(&[T::NAME]).observe(started.elapsed().as_secs_f64());
            match result {
                Ok(()) => {
                    self.metrics.inserts.with_label_values(&[T::NAME, "ok"]).inc();
                    self.metrics.rows.with_label_values(&[T::NAME]).inc_by(rows.len() as u64);
                    break;
                }
                Err(error) => {
                    self.metrics.inserts.with_label_values(&[T::NAME, "failed"]).inc();
                    let error = describe(&error);
                    tracing::warn!(table = T::NAME, error, rows = rows.len(), "insert failed; the same batch is sent again");
                    tokio::time::sleep(backoff.next_delay()).await;
                }
            }
        }
        if let Some(oldest) = batch.records.iter().map(|record| record.timestamp).filter(|at| *at > 0).min() {
            let seconds = (unix_millis() - oldest).max(0) as f64 / 1000.0;
            self.metrics.visible_seconds.with_label_values(&[T::NAME]).observe(seconds);
        }
        if let Err(error) = self.commit(partition, batch.next(), epoch).await {
            tracing::warn!(%error, table = T::NAME, "commit failed; what follows commits further");
        }
        epoch
    }

    async fn insert(&self, rows: &[T::Row], token: &str) -> clickhouse::error::Result<()>
    where
        T::Row: for<'a> clickhouse::Row<Value<'a> = T::Row>,
    {
        let insert = self.client.insert::<T::Row>(T::NAME).await?;
        let mut insert = insert
            .with_setting("async_insert", "0")
            .with_setting("insert_deduplicate", "1")
            .with_setting("insert_deduplication_token", token)
            // A replay over years touches more months than the default allows.
            .with_setting("max_partitions_per_insert_block", "1000")
            .with_timeouts(Some(SEND_TIMEOUT), Some(END_TIMEOUT));
        for row in rows {
            insert.write(row).await?;
        }
        insert.end().await
    }

    /// The rows of a batch. What makes none goes to `dead` first.
    async fn rows(&self, batch: &Batch, epoch: u32, backoff: &mut Backoff) -> Vec<T::Row> {
        let mut rows = Vec::with_capacity(batch.records.len());
        for record in &batch.records {
            match self.table.row(record, epoch) {
                Ok(row) => rows.extend(row),
                Err(reason) => {
                    self.metrics.unreadable.with_label_values(&[T::NAME, reason]).inc();
                    self.give_up(record, reason, backoff).await;
                }
            }
        }
        rows
    }

    async fn give_up(&self, record: &Record, reason: &str, backoff: &mut Backoff) {
        let (producer, topic) = &self.dead;
        let stage = format!("sink.clickhouse.{}", T::NAME);
        loop {
            let headers = dead_letter::from_record(record, &stage, reason, "");
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
    use super::*;

    #[test]
    fn a_servers_error_is_shown_without_the_values_it_quotes() {
        let shown = |text: &str| describe(&clickhouse::error::Error::BadResponse(text.to_owned()));
        let quoting = "Code: 27. DB::Exception: Cannot parse input: expected '\\t' before: 'ada@shop.example': (at row 1). (CANNOT_PARSE_INPUT_ASSERTION_FAILED) (version 26.8)";
        assert_eq!(shown(quoting), "code 27 CANNOT_PARSE_INPUT_ASSERTION_FAILED");
        assert_eq!(shown("<html>502</html>"), "an answer without a code: is clickhouse.url a ClickHouse server?");
    }
}

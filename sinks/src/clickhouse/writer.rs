//! Carries out what the protocol asks for: commits, inserts, read-backs. Retries what cannot be wrong to retry, and decides nothing.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aftersend_pipeline::config::Config;
use aftersend_pipeline::consumer::{Handle, Partition, RangeReader};
use aftersend_pipeline::kafka::DeadLetterQueue;
use aftersend_pipeline::offsets::NextOffset;
use aftersend_pipeline::record::Record;
use aftersend_pipeline::retry::Backoff;
use aftersend_pipeline::unix_millis;
use aftersend_schemas::DecodeError;
use aftersend_schemas::headers::STAGE;
use clickhouse::error::Error;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::{OnceCell, Semaphore};
use tokio_util::sync::CancellationToken;

use super::batch::{Batch, Filling};
use super::failure::{Cause, Failure, Refusal, describe};
use super::fault::fault_point;
use super::metrics::SinkMetrics;
use super::outage::{Outage, Report};
use super::protocol::{Input, Intent, LogBounds, Note, Rows, Span, Standing};
use super::server::Server;
use super::tables::Table;

const GROUP_TIMEOUT: Duration = Duration::from_secs(10);

/// What all lanes of a table share.
pub(super) struct Writer<T> {
    pub(super) table: T,
    pub(super) config: Config,
    pub(super) server: OnceCell<Server>,
    pub(super) group: Handle,
    pub(super) ranges: Arc<Mutex<Option<RangeReader>>>,
    /// Calls to the group block a thread each, and every thread has memory of its own.
    pub(super) threads: Semaphore,
    pub(super) dead: DeadLetterQueue,
    pub(super) metrics: SinkMetrics,
    pub(super) inserting: Mutex<Outage>,
    pub(super) asking: Mutex<Outage>,
}

/// An operation together with what it works on.
pub(super) enum Work {
    Look,
    Commit {
        next: i64,
        intent: Intent,
    },
    Rebuild {
        span: Span,
        epoch: u32,
    },
    Insert {
        batch: Arc<Batch>,
        span: Span,
        epoch: u32,
        opened: Option<i64>,
        attempt: u32,
        rows: Rows,
        missing: Arc<HashSet<i64>>,
        delay: Duration,
        letters: bool,
    },
    ReadBack {
        batch: Arc<Batch>,
        span: Span,
        epoch: u32,
        letters: bool,
    },
    Bury {
        span: Span,
        missing: Option<Arc<HashSet<i64>>>,
        refusal: Option<Refusal>,
    },
}

/// How it ended.
pub(super) enum Ending {
    Told(Input),
    /// The announced batch, as far as the log still has it.
    Rebuilt(Option<Batch>),
    Refused(Refusal),
    Missing {
        missing: HashSet<i64>,
        rows: u32,
    },
    TooNew(TooNew),
    /// The partition went meanwhile.
    Abandoned,
}

/// A record that a newer release wrote. Nothing after it is sent or committed, so that an upgraded sink goes on at it.
#[derive(Debug, thiserror::Error)]
#[error("the record in partition {partition} of {topic} at offset {offset} cannot be read: {error}")]
pub struct TooNew {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) error: DecodeError,
}

/// Who did not say where a partition stands.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    #[error(transparent)]
    ClickHouse(#[from] Error),
}

impl<T: Table> Writer<T> {
    /// Ends with the operation, or once the partition goes. A commit that is under way is waited for: it must not arrive after its successor's.
    pub(super) async fn perform(self: Arc<Self>, partition: Partition, work: Work, fence: CancellationToken) -> Ending {
        if let Work::Commit { next, intent } = work {
            return self.commit(&partition, next, intent, &fence).await;
        }
        tokio::select! {
            biased;
            () = fence.cancelled() => Ending::Abandoned,
            ending = self.carry_out(&partition, work) => ending,
        }
    }

    async fn carry_out(&self, partition: &Partition, work: Work) -> Ending {
        match work {
            Work::Look => Ending::Told(Input::Standing(self.look(partition).await)),
            Work::Commit { .. } => Ending::Abandoned,
            Work::Rebuild { span, epoch } => self.rebuild(partition, span, epoch).await,
            Work::Insert { batch, span, epoch, opened, attempt, rows, missing, delay, letters } => {
                if letters {
                    self.bury_malformed(&batch, span).await;
                }
                tokio::time::sleep(delay).await;
                let (bytes, count) = if rows == Rows::Whole { batch.whole(span) } else { batch.only(&missing) };
                let opened = opened.map(|at| format!("@{at}")).unwrap_or_default();
                let token = format!("{}:{}:{}:{}-{}:{epoch}{opened}:{attempt}", T::NAME, partition.0, partition.1, span.first, span.last);
                self.insert(&batch, bytes, count, &token).await
            }
            Work::ReadBack { batch, span, epoch, letters } => {
                if letters {
                    self.bury_malformed(&batch, span).await;
                }
                self.read_back(partition, &batch, span, epoch).await
            }
            Work::Bury { span, missing, refusal } => {
                self.bury(partition, span, missing.as_deref(), refusal.as_ref()).await;
                Ending::Told(Input::Buried)
            }
        }
    }

    /// Again and again until the group has taken it, or will not have us any more. Without it nothing is sent.
    async fn commit(&self, partition: &Partition, next: i64, intent: Intent, fence: &CancellationToken) -> Ending {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
        let announces = intent.batch.is_some();
        if announces {
            fault_point!("clickhouse-before-intent");
        }
        fault_point!("clickhouse-before-commit");
        while !fence.is_cancelled() {
            let (group, whose) = (self.group.clone(), partition.clone());
            let text = intent.to_string();
            match self.blocking(move || group.commit(&[(whose, NextOffset(next))], &text)).await {
                Ok(()) => {
                    if announces {
                        fault_point!("clickhouse-after-intent");
                    }
                    return Ending::Told(Input::Committed);
                }
                Err(error) if is_fatal(&error) => {
                    tracing::warn!(%error, table = T::NAME, partition = partition.1, "the group knows this member no more");
                    return Ending::Told(Input::Fenced);
                }
                // Also while the group is being rebalanced: either the partition goes, or it is accepted afterwards.
                Err(error) => {
                    self.metrics.commits_refused.with_label_values(&[T::NAME]).inc();
                    tracing::warn!(%error, table = T::NAME, partition = partition.1, "commit failed; it is tried again, and nothing is sent before");
                    tokio::select! {
                        () = fence.cancelled() => {}
                        () = tokio::time::sleep(backoff.next_delay()) => {}
                    }
                }
            }
        }
        Ending::Abandoned
    }

    async fn look(&self, partition: &Partition) -> Standing {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            match self.try_look(partition).await {
                Ok(standing) => return standing,
                Err(Unanswered::Kafka(error)) => {
                    tracing::warn!(%error, table = T::NAME, partition = partition.1, "cannot tell yet where the partition stands");
                }
                Err(Unanswered::ClickHouse(error)) => {
                    self.failed(&self.asking, Cause::of(&error), &error, "cannot tell yet where a partition stands");
                }
            }
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }

    async fn try_look(&self, partition: &Partition) -> Result<Standing, Unanswered> {
        let (group, whose) = (self.group.clone(), partition.clone());
        let asked = self.blocking(move || Ok((group.committed(&whose, GROUP_TIMEOUT)?, group.bounds(&whose, GROUP_TIMEOUT)?))).await;
        let (committed, (start, end)) = asked?;
        let next = committed.next.map(|next| next.0);
        let note = next.map_or(Note::Foreign, |next| Note::read(&committed.metadata, next));
        // With our own text nothing below it can matter, and the index answers at once.
        let (from, epoch) = match (note, next) {
            (Note::Ours(intent), Some(next)) => (next, intent.epoch),
            _ => (0, 0),
        };
        let mut stored = self.server().await?.stored::<T>(partition, from, epoch).await?;
        self.asked();
        if T::IDENTITY == super::tables::Identity::Origin && matches!(note, Note::Ours(_)) {
            // Its newest rows may be another partition's.
            stored = Default::default();
        }
        Ok(Standing { committed: next, note, log: LogBounds { start, end }, stored, at: unix_millis() })
    }

    async fn server(&self) -> clickhouse::error::Result<&Server> {
        self.server.get_or_try_init(|| Server::connect(&self.config.clickhouse, T::NAME)).await
    }

    async fn rebuild(&self, partition: &Partition, span: Span, epoch: u32) -> Ending {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        let records = loop {
            match self.read_again(partition, span).await {
                Ok(records) => break records,
                Err(error) => {
                    tracing::warn!(%error, table = T::NAME, partition = partition.1, "cannot read an announced batch again yet");
                    tokio::time::sleep(backoff.next_delay()).await;
                }
            }
        };
        let mut filling = Filling::new(epoch, Instant::now());
        for record in records {
            let (offset, topic) = (record.offset, record.topic.clone());
            if let Err(error) = filling.push(&self.table, record) {
                return Ending::TooNew(TooNew { topic, partition: partition.1, offset, error });
            }
        }
        Ending::Rebuilt((!filling.is_empty()).then(|| filling.close()))
    }

    async fn read_again(&self, partition: &Partition, span: Span) -> KafkaResult<Vec<Record>> {
        let (config, ranges, partition) = (self.config.clone(), self.ranges.clone(), partition.clone());
        self.blocking(move || {
            let mut kept = ranges.lock().unwrap_or_else(PoisonError::into_inner);
            let mut reader = match kept.take() {
                Some(reader) => reader,
                None => RangeReader::new(&config)?,
            };
            let records = reader.read(&partition, span.first, span.last)?;
            *kept = Some(reader);
            Ok(records)
        })
        .await
    }

    async fn blocking<R: Send + 'static>(&self, call: impl FnOnce() -> KafkaResult<R> + Send + 'static) -> KafkaResult<R> {
        let _thread = self.threads.acquire().await;
        tokio::task::spawn_blocking(call).await.unwrap_or(Err(KafkaError::Canceled))
    }

    async fn insert(&self, batch: &Batch, bytes: bytes::Bytes, rows: usize, token: &str) -> Ending {
        if rows == 0 {
            return Ending::Told(Input::Inserted);
        }
        let started = Instant::now();
        let result = match self.server().await {
            Ok(server) => server.insert::<T>(&batch.columns, bytes, token).await,
            Err(error) => Err(error),
        };
        self.metrics.insert_seconds.with_label_values(&[T::NAME]).observe(started.elapsed().as_secs_f64());
        let Err(error) = result else {
            fault_point!("clickhouse-after-insert");
            self.metrics.inserts.with_label_values(&[T::NAME, "ok"]).inc();
            self.metrics.rows.with_label_values(&[T::NAME]).inc_by(rows as u64);
            self.succeeded(&self.inserting, "inserts come through again");
            return Ending::Told(Input::Inserted);
        };
        match Failure::of(&error) {
            Failure::Refused(refusal) => {
                self.metrics.inserts.with_label_values(&[T::NAME, "refused"]).inc();
                Ending::Refused(refusal)
            }
            Failure::InDoubt(cause) => {
                self.metrics.inserts.with_label_values(&[T::NAME, "failed"]).inc();
                self.failed(&self.inserting, cause, &error, "inserts fail; the same blocks are sent again, and records wait in Kafka");
                Ending::Told(Input::InDoubt)
            }
        }
    }

    /// Counts it, and says it where it is news.
    fn failed(&self, outage: &Mutex<Outage>, cause: Cause, error: &Error, what: &'static str) {
        self.metrics.failed(T::NAME, cause);
        let report = outage.lock().unwrap_or_else(PoisonError::into_inner).failed(cause.as_str(), Instant::now());
        if let Some(Report { failures, lasting }) = report {
            let (error, cause, outage_seconds) = (describe(error), cause.as_str(), lasting.as_secs());
            tracing::warn!(table = T::NAME, error, cause, failures, outage_seconds, "{what}");
        }
    }

    fn succeeded(&self, outage: &Mutex<Outage>, what: &'static str) {
        if let Some(lasted) = outage.lock().unwrap_or_else(PoisonError::into_inner).succeeded(Instant::now()) {
            tracing::info!(table = T::NAME, seconds = lasted.as_secs(), "{what}");
        }
    }

    fn asked(&self) {
        self.succeeded(&self.asking, "questions are answered again");
    }

    async fn read_back(&self, partition: &Partition, batch: &Batch, span: Span, epoch: u32) -> Ending {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            let asked = match self.server().await {
                Ok(server) => {
                    let kept_since = server.kept_since(unix_millis());
                    let expected: Vec<_> = batch.expected(span, kept_since).collect();
                    let rows = u32::try_from(expected.len()).unwrap_or(u32::MAX);
                    let missing = server.missing::<T>(partition, span, epoch, expected.into_iter()).await;
                    missing.map(|missing| Ending::Missing { missing, rows })
                }
                Err(error) => Err(error),
            };
            match asked {
                Ok(ending) => {
                    self.asked();
                    return ending;
                }
                Err(error) => {
                    self.failed(&self.asking, Cause::of(&error), &error, "cannot read back yet");
                    tokio::time::sleep(backoff.next_delay()).await;
                }
            }
        }
    }

    async fn bury_malformed(&self, batch: &Batch, span: Span) {
        for (record, reason) in batch.malformed(span) {
            self.metrics.unreadable.with_label_values(&[T::NAME, reason]).inc();
            self.give_up(record, reason, "").await;
        }
    }

    /// A row that ClickHouse refuses, with its original bytes, which are read again.
    async fn bury(&self, partition: &Partition, span: Span, missing: Option<&HashSet<i64>>, refusal: Option<&Refusal>) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        let records = loop {
            match self.read_again(partition, span).await {
                Ok(records) => break records,
                Err(error) => {
                    tracing::warn!(%error, table = T::NAME, partition = partition.1, "cannot read a refused record again yet");
                    tokio::time::sleep(backoff.next_delay()).await;
                }
            }
        };
        let reason = refusal.map(ToString::to_string).unwrap_or_default();
        let mut filling = Filling::new(0, Instant::now());
        for record in records {
            let offset = record.offset;
            // Only what makes a row can have been refused, and only what is not there.
            let before = filling.row_count();
            let makes_row = filling.push(&self.table, record.clone()).is_ok() && filling.row_count() > before;
            if makes_row && missing.is_none_or(|missing| missing.contains(&offset)) {
                self.metrics.unreadable.with_label_values(&[T::NAME, "refused_by_clickhouse"]).inc();
                tracing::warn!(
                    table = T::NAME,
                    partition = partition.1,
                    offset,
                    reason,
                    "ClickHouse refuses a row: it goes to the dead letters"
                );
                self.give_up(&record, "refused_by_clickhouse", &reason).await;
            }
        }
    }

    async fn give_up(&self, record: &Record, reason: &str, error: &str) {
        let stage = format!("sink.clickhouse.{}", T::NAME);
        // A dead letter of our own that is refused again would be written for ever: it stays in `dead`, where it is read from.
        if record.headers().any(|(name, value)| name == STAGE && value == stage.as_bytes()) {
            tracing::error!(
                table = T::NAME,
                partition = record.partition,
                offset = record.offset,
                reason,
                "a dead letter is in no table: it stays in its topic for as long as that keeps it"
            );
            return;
        }
        self.dead.write(record, &stage, reason, error).await;
    }
}

/// The consumer itself cannot go on: another one is made, and with it another lane.
fn is_fatal(error: &KafkaError) -> bool {
    matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::Fatal | RDKafkaErrorCode::FencedInstanceId))
}

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aftersend_pipeline::config::{Config, ConfigError};
use aftersend_pipeline::consumer::{Consumer, Notice, Partition, PollThreadDied};
use aftersend_pipeline::kafka::{DeadLetterQueue, TopicError, wait_for_topics};
use aftersend_pipeline::record::Record;
use aftersend_pipeline::supervise::supervise;
use aftersend_pipeline::telemetry::{AdminError, Metrics, Readiness, serve};
use aftersend_pipeline::unix_millis;
use aftersend_schemas::topics::Topics;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use rdkafka::error::KafkaError;
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::lane::Lane;
use super::metrics::SinkMetrics;
use super::protocol::{Input, Oddity, Operation};
use super::rollups::Rollups;
use super::schema::{SchemaError, wait_for_schema};
use super::tables::{DeadLetters, Outcomes, Profiles, RawEvents, Table, TrackCalls};
use super::writer::{Ending, TooNew, Writer};

/// Records and rows that a table keeps in memory, over all its partitions. Filling batches are closed to make room from three quarters on.
const MEMORY: usize = 10 * 1024 * 1024;
/// So many partitions of a table wait for the group coordinator at a time.
const THREADS: usize = 4;
/// So many partitions of a table write at a time. While others wait for their turn their batches grow: a server that is slow gets fewer and larger
/// inserts, and one that is fast never makes anybody wait.
const WRITING: usize = 4;
/// How long a revoke or a shutdown waits for inserts under way; shorter than the session timeout.
const DRAIN: Duration = Duration::from_secs(10);
/// How often batches are looked at for their age.
const TICK: Duration = Duration::from_millis(50);

/// Why the sink cannot start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum ClickHouseSinkError {
    /// See [`ConfigError`].
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// See [`AdminError`].
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// See [`TopicError`].
    #[error(transparent)]
    Topics(#[from] TopicError),
    /// A Kafka client could not be made, or cannot go on.
    #[error("kafka: {0}")]
    Kafka(#[from] KafkaError),
    /// See [`PollThreadDied`].
    #[error(transparent)]
    Poll(#[from] PollThreadDied),
    /// The tables are not as this release fills them.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A newer release wrote a record: passing over it would lose it.
    #[error(transparent)]
    TooNew(#[from] TooNew),
    /// A table's pipeline died.
    #[error("a pipeline died: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// The service: every table, each with a consumer group of its own.
pub struct ClickHouseSink {
    config: Config,
    admin: SocketAddr,
}

impl ClickHouseSink {
    /// Checks what can be checked without a connection.
    pub fn new(config: &Config) -> Result<Self, ClickHouseSinkError> {
        config.privacy.privacy()?;
        Ok(Self { config: config.clone(), admin: config.clickhouse.admin_address()? })
    }

    /// Runs until `shutdown`; what is open then is sent within ten seconds or read again by the next start.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), ClickHouseSinkError> {
        let metrics = Metrics::new();
        let readiness = Readiness::default();
        let latch = readiness.latch();
        let sink_metrics = SinkMetrics::new(&metrics);
        let rollups = Rollups::new(&self.config.clickhouse, &metrics);
        let (admin_address, admin) = serve(self.admin, metrics, readiness.clone())?;
        tracing::info!(admin = %admin_address, url = self.config.clickhouse.url, "clickhouse sink is starting");
        let topics = Topics::new(&self.config.kafka.topic_prefix);
        let names = super::tables::topics(&topics, &self.config.clickhouse);
        let has_topics = wait_for_topics(&self.config, &names, &shutdown).await?;
        if has_topics && wait_for_schema(&self.config.clickhouse, &sink_metrics, latch, &shutdown).await? {
            let normaliser = self.config.normaliser()?;
            let mut tables: JoinSet<Result<(), ClickHouseSinkError>> = JoinSet::new();
            let shared = Shared { config: self.config.clone(), metrics: sink_metrics, shutdown: shutdown.clone() };
            shared.clone().spawn(Outcomes(normaliser), &mut tables);
            shared.clone().spawn(RawEvents, &mut tables);
            shared.clone().spawn(Profiles, &mut tables);
            shared.clone().spawn(DeadLetters, &mut tables);
            shared.spawn(TrackCalls, &mut tables);
            let _rollups = AbortOnDropHandle::new(tokio::spawn(rollups.run(shutdown.clone())));
            while let Some(ended) = tables.join_next().await {
                // One pipeline that cannot go on stops the service, so that somebody notices; the others drain first.
                let result = ended.map_err(ClickHouseSinkError::from).and_then(|result| result);
                if result.is_err() {
                    shutdown.cancel();
                    while tables.join_next().await.is_some() {}
                    admin.stop(false).await;
                    return result;
                }
            }
        }
        readiness.drain();
        admin.stop(false).await;
        Ok(())
    }
}

#[derive(Clone)]
struct Shared {
    config: Config,
    metrics: SinkMetrics,
    shutdown: CancellationToken,
}

impl Shared {
    /// Fills a table, if it is one of the configured.
    fn spawn<T: Table>(self, table: T, tables: &mut JoinSet<Result<(), ClickHouseSinkError>>) {
        if self.config.clickhouse.fills(T::NAME) {
            tables.spawn(self.fill(table));
        }
    }

    /// Fills one table until `shutdown`. A consumer that cannot go on (a coordinator that came back from a crash fences its own members) is replaced.
    async fn fill<T: Table>(self, table: T) -> Result<(), ClickHouseSinkError> {
        let session = || {
            let pipeline = self.start(table.clone());
            let shutdown = self.shutdown.clone();
            async move {
                let (pipeline, consumer) = pipeline?;
                pipeline.run(consumer, shutdown).await
            }
        };
        supervise(T::NAME, &self.shutdown, session, |error| !matches!(error, ClickHouseSinkError::Kafka(_))).await
    }

    fn start<T: Table>(&self, table: T) -> Result<(Pipeline<T>, Consumer), ClickHouseSinkError> {
        let topics = Topics::new(&self.config.kafka.topic_prefix);
        let group = topics.clickhouse_group(T::NAME);
        let consumer = Consumer::subscribe(&self.config, T::NAME, &group, &[&T::topic(&topics)], DRAIN, self.metrics.consumers.of(&group))?;
        let writer = Writer {
            table,
            config: self.config.clone(),
            server: OnceCell::new(),
            group: consumer.handle(),
            ranges: Arc::default(),
            threads: Semaphore::new(THREADS),
            dead: DeadLetterQueue::new(&self.config, "sink-clickhouse"),
            metrics: self.metrics.clone(),
            inserting: Mutex::default(),
            asking: Mutex::default(),
        };
        let pipeline = Pipeline {
            writer: Arc::new(writer),
            lanes: HashMap::new(),
            told: HashMap::new(),
            assigned: 0,
            under_way: FuturesUnordered::new(),
            fences: CancellationToken::new(),
            stopped: None,
        };
        Ok((pipeline, consumer))
    }
}

/// An operation of a lane has ended.
struct Ended {
    partition: Partition,
    lane: u64,
    ending: Ending,
}

/// One table: its partitions, and what is being carried out for them.
struct Pipeline<T> {
    writer: Arc<Writer<T>>,
    lanes: HashMap<Partition, Lane>,
    /// What was said last of how a partition begins: until that is committed, each assignment finds the same.
    told: HashMap<Partition, Vec<Oddity>>,
    /// So many lanes there were.
    assigned: u64,
    under_way: FuturesUnordered<BoxFuture<'static, Ended>>,
    fences: CancellationToken,
    /// Why nothing more can be written for one of the partitions.
    stopped: Option<TooNew>,
}

impl<T: Table> Pipeline<T> {
    async fn run(mut self, mut consumer: Consumer, shutdown: CancellationToken) -> Result<(), ClickHouseSinkError> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let result = loop {
            tokio::select! {
                () = shutdown.cancelled() => break Ok(()),
                Some(ended) = self.under_way.next() => self.ended(ended),
                _ = tick.tick() => {}
                notice = consumer.next() => match notice {
                    None => break Err(PollThreadDied.into()),
                    Some(Notice::Assigned(partitions)) => partitions.into_iter().for_each(|partition| self.assign(partition)),
                    Some(Notice::Records(records)) => self.take(records),
                    Some(Notice::Revoked(partitions, released)) => {
                        self.release(&partitions, released.lost()).await;
                        drop(released);
                    }
                    Some(Notice::Failed(error)) => break Err(error.into()),
                },
            }
            if self.stopped.is_some() {
                break Ok(());
            }
            let held = self.look_around();
            consumer.hold(held > MEMORY);
        };
        let all: Vec<Partition> = self.lanes.keys().cloned().collect();
        self.release(&all, false).await;
        consumer.close().await;
        self.stopped.map_or(result, |error| Err(error.into()))
    }

    fn assign(&mut self, partition: Partition) {
        self.assigned += 1;
        let (mut lane, look) = Lane::new(self.assigned, &self.fences);
        self.start(&partition, &mut lane, Some(look));
        if let Some(old) = self.lanes.insert(partition, lane) {
            old.fence.cancel();
        }
    }

    fn take(&mut self, records: Vec<Record>) {
        let now = Instant::now();
        for record in records {
            // Records of a partition that went while they waited belong to its next owner.
            let Some(lane) = self.lanes.get_mut(&(record.topic.clone(), record.partition)) else { continue };
            let (topic, partition, offset) = (record.topic.clone(), record.partition, record.offset);
            if let Err(error) = lane.push(&self.writer.table, record, now) {
                self.stopped = Some(TooNew { topic, partition, offset, error });
                return;
            }
        }
    }

    /// Carries an operation out beside the others.
    fn start(&self, partition: &Partition, lane: &mut Lane, operation: Option<Operation>) {
        let Some(work) = operation.and_then(|operation| lane.work(operation)) else { return };
        lane.busy = true;
        let (number, partition) = (lane.number, partition.clone());
        let performed = self.writer.clone().perform(partition.clone(), work, lane.fence.clone());
        self.under_way.push(Box::pin(async move { Ended { partition, lane: number, ending: performed.await } }));
    }

    fn ended(&mut self, Ended { partition, lane: number, ending }: Ended) {
        let now = Instant::now();
        let Some(mut lane) = self.lanes.remove(&partition) else { return };
        if lane.number != number {
            self.lanes.insert(partition, lane);
            return;
        }
        lane.busy = false;
        let metrics = self.writer.metrics.clone();
        let operation = match ending {
            Ending::Abandoned => None,
            Ending::TooNew(error) => {
                self.stopped.get_or_insert(error);
                None
            }
            Ending::Told(input) => {
                if let (Input::Inserted, Some(oldest)) = (input, lane.oldest()) {
                    let seconds = (unix_millis() - oldest).max(0) as f64 / 1000.0;
                    metrics.visible_seconds.with_label_values(&[T::NAME]).observe(seconds);
                }
                match input {
                    Input::Standing(standing) => self.tell_oddities(&partition, standing.oddities()),
                    // What is found at the next beginning is news again.
                    Input::Committed => drop(self.told.remove(&partition)),
                    _ => {}
                }
                lane.tell(input, now)
            }
            Ending::Rebuilt(batch) => {
                let (operation, gone) = lane.rebuilt(batch, now);
                metrics.recoveries.with_label_values(&[T::NAME]).inc();
                metrics.vanished.with_label_values(&[T::NAME]).inc_by(u64::from(gone));
                tracing::info!(table = T::NAME, partition = partition.1, gone, "finishing a batch that was announced before");
                operation
            }
            Ending::Refused(refusal) => lane.refused(refusal, now),
            Ending::Missing { missing, rows } => {
                if !missing.is_empty() {
                    metrics.missing_rows.with_label_values(&[T::NAME]).inc_by(missing.len() as u64);
                    tracing::warn!(
                        table = T::NAME,
                        partition = partition.1,
                        missing = missing.len(),
                        rows,
                        "rows are not there: these are sent again"
                    );
                }
                lane.found_missing(missing, rows, now)
            }
        };
        if let Some(stop) = lane.machine.stopped() {
            lane.drop_records();
            metrics.stopped.with_label_values(&[T::NAME, stop.as_str()]).inc();
            tracing::error!(
                table = T::NAME,
                partition = partition.1,
                reason = stop.as_str(),
                "nothing more of this partition is written: docs/operations.md says what to do"
            );
        }
        if let Err(error) = lane.drain_early(&self.writer.table, now) {
            self.stopped.get_or_insert(TooNew { topic: partition.0.clone(), partition: partition.1, offset: lane.next_offset(), error });
        }
        self.start(&partition, &mut lane, operation);
        self.lanes.insert(partition, lane);
    }

    fn tell_oddities(&mut self, partition: &Partition, oddities: Vec<Oddity>) {
        if oddities.is_empty() || self.told.get(partition) == Some(&oddities) {
            return;
        }
        let metrics = &self.writer.metrics;
        for oddity in &oddities {
            match *oddity {
                Oddity::Replay(epoch) => {
                    metrics.replays.with_label_values(&[T::NAME]).inc();
                    tracing::info!(table = T::NAME, partition = partition.1, epoch, "offsets were reset: replaying in a new epoch");
                }
                Oddity::Skipped(offsets) => {
                    metrics.skipped.with_label_values(&[T::NAME]).inc_by(offsets.unsigned_abs());
                    tracing::warn!(
                        table = T::NAME,
                        partition = partition.1,
                        offsets,
                        "offsets were set forward: what lies between is not read"
                    );
                }
                Oddity::Expired(offsets) => {
                    metrics.expired.with_label_values(&[T::NAME]).inc_by(offsets.unsigned_abs());
                    tracing::error!(table = T::NAME, partition = partition.1, offsets, "the log dropped records before they were read");
                }
            }
        }
        self.told.insert(partition.clone(), oddities);
    }

    /// Closes what is due, makes room, and holds back partitions that have enough. Returns the bytes that are kept.
    fn look_around(&mut self) -> usize {
        let now = Instant::now();
        let held: usize = self.lanes.values().map(Lane::size).sum();
        let largest = self.lanes.values().map(Lane::filling_size).max().unwrap_or(0);
        let mut lanes = std::mem::take(&mut self.lanes);
        let free = WRITING.saturating_sub(lanes.values().filter(|lane| lane.is_writing()).count());
        let mut due: Vec<_> = lanes
            .iter_mut()
            .filter_map(|(partition, lane)| {
                let make_room = held > MEMORY / 4 * 3 && largest > 0 && lane.filling_size() == largest;
                Some((lane.due_since(now, T::AGE, make_room)?, partition, lane))
            })
            .collect();
        due.sort_by_key(|(since, ..)| *since);
        for (_, partition, lane) in due.into_iter().take(free) {
            let closed = lane.close(now);
            self.start(partition, lane, closed);
        }
        for (partition, lane) in &mut lanes {
            if !lane.busy {
                let rested = lane.rest_due(now);
                self.start(partition, lane, rested);
            }
            self.hold_back(partition, lane);
        }
        self.lanes = lanes;
        self.writer.metrics.held_bytes.with_label_values(&[T::NAME]).set(i64::try_from(held).unwrap_or(i64::MAX));
        held
    }

    fn hold_back(&self, partition: &Partition, lane: &mut Lane) {
        let full = lane.is_full();
        let result = match (full, lane.paused) {
            (true, false) => self.writer.group.pause(partition),
            (false, true) => self.writer.group.resume(partition),
            _ => return,
        };
        match result {
            Ok(()) => lane.paused = full,
            Err(error) => tracing::warn!(%error, table = T::NAME, partition = partition.1, "cannot change delivery"),
        }
    }

    /// Lets what is announced be finished, unless the partitions are lost already; the next owner finishes what is not done in time.
    async fn release(&mut self, partitions: &[Partition], lost: bool) {
        let deadline = tokio::time::Instant::now() + DRAIN.mul_f32(0.8);
        let now = Instant::now();
        for partition in partitions {
            let Some(mut lane) = self.lanes.remove(partition) else { continue };
            let busy = lane.busy;
            let operation = lane.tell(Input::Leave, now);
            if lost || lane.machine.has_left() {
                lane.fence.cancel();
            }
            if !busy {
                self.start(partition, &mut lane, operation);
            }
            self.lanes.insert(partition.clone(), lane);
        }
        // What is being committed is waited for even then, so that it does not arrive behind a successor's.
        while partitions.iter().any(|partition| self.lanes.get(partition).is_some_and(|lane| lane.busy)) {
            tokio::select! {
                Some(ended) = self.under_way.next() => self.ended(ended),
                () = tokio::time::sleep_until(deadline) => break,
            }
        }
        for partition in partitions {
            let Some(lane) = self.lanes.remove(partition) else { continue };
            lane.fence.cancel();
            self.writer.group.forget(partition);
            if let Some(stop) = lane.machine.stopped() {
                self.writer.metrics.stopped.with_label_values(&[T::NAME, stop.as_str()]).dec();
            }
            if lane.busy && !lost {
                tracing::warn!(table = T::NAME, partition = partition.1, "an insert was not finished in time; the next owner finishes it");
            }
        }
    }
}

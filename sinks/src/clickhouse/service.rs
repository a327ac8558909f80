use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aftersend_pipeline::config::{Config, ConfigError};
use aftersend_pipeline::consumer::{Consumer, Notice, Partition};
use aftersend_pipeline::kafka::{TopicError, producer_config, wait_for_topics};
use aftersend_pipeline::supervise::supervise;
use aftersend_pipeline::telemetry::{AdminError, Metrics, Readiness, serve};
use aftersend_schemas::topics::Topics;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use rdkafka::error::KafkaError;
use rdkafka::producer::FutureProducer;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::batch::Batch;
use super::client;
use super::lane::{Ending, Lane, Sent, TooNew, Writer};
use super::metrics::SinkMetrics;
use super::tables::{DeadLetters, Outcomes, Profiles, RawEvents, Table, TrackCalls};

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
        let (admin_address, admin) = serve(self.admin, metrics, readiness.clone())?;
        tracing::info!(admin = %admin_address, url = self.config.clickhouse.url, "clickhouse sink is starting");
        let topics = Topics::new(&self.config.kafka.topic_prefix);
        let names = [topics.raw(), topics.profiles(), topics.dead(), topics.track_calls()];
        if wait_for_topics(&self.config, &names, &shutdown).await? {
            latch.release();
            let normaliser = self.config.normaliser()?;
            let mut tables: JoinSet<Result<(), ClickHouseSinkError>> = JoinSet::new();
            let shared = Shared { config: self.config.clone(), metrics: sink_metrics, shutdown: shutdown.clone() };
            tables.spawn(shared.clone().fill(Outcomes(normaliser)));
            tables.spawn(shared.clone().fill(RawEvents));
            tables.spawn(shared.clone().fill(Profiles));
            tables.spawn(shared.clone().fill(DeadLetters));
            tables.spawn(shared.fill(TrackCalls));
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
        let producer: FutureProducer = producer_config(&self.config, "sink-clickhouse", 10_000).create()?;
        let writer = Writer {
            table,
            client: client(&self.config.clickhouse),
            database: self.config.clickhouse.database.clone(),
            group: consumer.handle(),
            dead: (producer, topics.dead()),
            metrics: self.metrics.clone(),
        };
        let pipeline = Pipeline {
            writer: Arc::new(writer),
            lanes: HashMap::new(),
            sending: FuturesUnordered::new(),
            fences: CancellationToken::new(),
            stopped: None,
        };
        Ok((pipeline, consumer))
    }
}

/// One table: its partitions, and the inserts under way.
struct Pipeline<T> {
    writer: Arc<Writer<T>>,
    lanes: HashMap<Partition, Lane>,
    sending: FuturesUnordered<BoxFuture<'static, Sent>>,
    fences: CancellationToken,
    /// Why nothing more can be sent for one of the partitions.
    stopped: Option<TooNew>,
}

impl<T: Table> Pipeline<T> {
    async fn run(mut self, mut consumer: Consumer, shutdown: CancellationToken) -> Result<(), ClickHouseSinkError> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let result = loop {
            tokio::select! {
                () = shutdown.cancelled() => break Ok(()),
                Some(sent) = self.sending.next() => self.sent(sent),
                _ = tick.tick() => {}
                notice = consumer.next() => match notice {
                    None => break Ok(()),
                    Some(Notice::Assigned(partitions)) => {
                        for partition in partitions {
                            self.lanes.insert(partition, Lane::new(&self.fences));
                        }
                    }
                    Some(Notice::Records(records)) => {
                        let now = Instant::now();
                        for record in records {
                            // Records of a partition that went while they waited belong to its next owner.
                            if let Some(lane) = self.lanes.get_mut(&(record.topic.clone(), record.partition)) {
                                lane.push(record, now);
                            }
                        }
                    }
                    Some(Notice::Revoked(partitions, released)) => {
                        self.drain(&partitions).await;
                        drop(released);
                    }
                    Some(Notice::Failed(error)) => break Err(error.into()),
                },
            }
            if self.stopped.is_some() {
                break Ok(());
            }
            self.send_due();
            self.hold_back();
        };
        let all: Vec<Partition> = self.lanes.keys().cloned().collect();
        self.drain(&all).await;
        consumer.close().await;
        self.stopped.map_or(result, |error| Err(error.into()))
    }

    fn send_due(&mut self) {
        let now = Instant::now();
        let due: Vec<_> = self.lanes.iter_mut().filter_map(|(partition, lane)| Some((partition.clone(), lane.take_due(now)?))).collect();
        for (partition, batch) in due {
            self.start(partition, batch);
        }
    }

    fn start(&mut self, partition: Partition, batch: Batch) {
        if let Some(lane) = self.lanes.get(&partition) {
            self.sending.push(Box::pin(self.writer.clone().send(partition, batch, lane.epoch, lane.fence.clone())));
        }
    }

    fn sent(&mut self, sent: Sent) {
        match sent.ending {
            Ending::Stored(epoch) => {
                if let Some(lane) = self.lanes.get_mut(&sent.partition) {
                    lane.sending = false;
                    lane.epoch = Some(epoch);
                }
            }
            Ending::Fenced => {}
            Ending::Stopped(error) => {
                // Without its lane nothing that follows in the partition is sent or committed.
                self.lanes.remove(&sent.partition);
                self.stopped.get_or_insert(error);
            }
        }
    }

    /// A partition whose next batch is full while one is being sent gets no more records until there is room.
    fn hold_back(&mut self) {
        for (partition, lane) in &mut self.lanes {
            let full = lane.open.as_ref().is_some_and(Batch::is_full);
            let result = match (full, lane.paused) {
                (true, false) => self.writer.group.pause(partition),
                (false, true) => self.writer.group.resume(partition),
                _ => continue,
            };
            match result {
                Ok(()) => lane.paused = full,
                Err(error) => tracing::warn!(%error, table = T::NAME, partition = partition.1, "cannot change delivery"),
            }
        }
    }

    /// Sends what is open of these partitions and waits for it; fences what is not in by the deadline.
    async fn drain(&mut self, partitions: &[Partition]) {
        let deadline = tokio::time::Instant::now() + DRAIN.mul_f32(0.8);
        loop {
            let mut waiting = false;
            for partition in partitions {
                let Some(lane) = self.lanes.get_mut(partition) else { continue };
                if !lane.sending
                    && let Some(batch) = lane.open.take()
                {
                    lane.sending = true;
                    self.start(partition.clone(), batch);
                }
                waiting |= self.lanes.get(partition).is_some_and(|lane| lane.sending);
            }
            if !waiting {
                break;
            }
            tokio::select! {
                Some(sent) = self.sending.next() => self.sent(sent),
                () = tokio::time::sleep_until(deadline) => break,
            }
        }
        for partition in partitions {
            if let Some(lane) = self.lanes.remove(partition) {
                lane.fence.cancel();
                self.writer.group.forget(partition);
                if lane.sending {
                    tracing::warn!(
                        table = T::NAME,
                        partition = partition.1,
                        "an insert was not finished in time; the next owner repeats it"
                    );
                }
            }
        }
    }
}

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aftersend_pipeline::config::{Config, ConfigError};
use aftersend_pipeline::consumer::{Consumer, Notice, Partition, PollThreadDied, Released, RestoreError, Tail, read_to_end};
use aftersend_pipeline::kafka::TopicError;
use aftersend_pipeline::record::Record;
use aftersend_pipeline::store::StoreError;
use aftersend_pipeline::unix_millis;
use aftersend_schemas::DecodeError;
use aftersend_schemas::topics::{PARTITIONS, Topics};
use rdkafka::error::KafkaError;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::batch::{Batch, Closed};
use super::clock::Clock;
use super::input::{EventReader, Input, Said};
use super::metrics::ProcessorMetrics;
use super::people::People;
use super::providers::Providers;
use super::restore::{Ready, Restorer};
use super::store::Store;
use super::transaction::{Landing, Transactions, fenced_producer};
use crate::score::Policies;

/// How long a revoke waits for what is under way; shorter than the session timeout.
const DRAIN: Duration = Duration::from_secs(10);
/// Time from one transaction's begin to the next: short where everything is read as it comes, long where batches that are larger cost less.
const LIVE: Duration = Duration::from_millis(60);
const BACKLOG: Duration = Duration::from_millis(500);
/// How often timers are looked for, and how often the store is told that it is still good.
const TICK: Duration = Duration::from_millis(100);
const FRESH: Duration = Duration::from_secs(60);
/// Transactions that may come to nothing one after the other.
const ABORTS: u32 = 8;

/// Why a session ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// See [`ConfigError`].
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// See [`TopicError`].
    #[error(transparent)]
    Topics(#[from] TopicError),
    /// A client failed, or a transaction did.
    #[error("kafka: {0}")]
    Kafka(#[from] KafkaError),
    /// See [`PollThreadDied`].
    #[error(transparent)]
    Poll(#[from] PollThreadDied),
    /// See [`RestoreError`].
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The local store holds what this release did not write.
    #[error("the local store is in doubt")]
    Doubt,
    /// A record of our own was written by a newer release, or by nobody: going on would overwrite what this one cannot read.
    #[error("a record of {topic}, partition {partition}, offset {offset}, cannot be read: {source}")]
    Unreadable {
        /// Where it stands.
        topic: Arc<str>,
        /// As above.
        partition: i32,
        /// As above.
        offset: i64,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// As above, of the local store.
    #[error("a profile in the local store cannot be read: {0}")]
    Stored(#[from] DecodeError),
    /// A task died.
    #[error("a task died: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl SessionError {
    /// Says which record it is that cannot be read.
    pub(super) fn unreadable(record: &Record) -> impl FnOnce(DecodeError) -> Self {
        let (topic, partition, offset) = (record.topic.clone(), record.partition, record.offset);
        move |source| Self::Unreadable { topic, partition, offset, source }
    }

    /// True for what starting over cannot mend.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Config(_) | Self::Poll(_) | Self::Unreadable { .. } | Self::Stored(_) => true,
            Self::Topics(error) => !matches!(error, TopicError::Unreachable { .. }),
            Self::Kafka(_) | Self::Restore(_) | Self::Store(_) | Self::Doubt | Self::Task(_) => false,
        }
    }
}

/// One membership of the group, with everything that depends on it.
pub(super) struct Session {
    policies: Arc<Policies>,
    profiles: Arc<str>,
    consumer: Consumer<Input>,
    /// Follows `operator` for our partitions, and all of `providers`.
    beside: Tail,
    operator_topic: Arc<str>,
    providers_topic: Arc<str>,
    providers: Providers,
    transactions: Transactions,
    restorer: Restorer,
    people: People,
    clocks: BTreeMap<i32, Clock>,
    /// Partitions that are being restored, and what was read of them meanwhile.
    restoring: BTreeMap<i32, Vec<Input>>,
    restores: Vec<Restoring>,
    /// Read, and not yet worked into a batch.
    pending: VecDeque<Input>,
    batch: Batch,
    flying: Option<Closed>,
    departed: Instant,
    aborts: u32,
    metrics: ProcessorMetrics,
}

struct Restoring {
    partitions: Vec<i32>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<Result<Ready, SessionError>>,
}

impl Session {
    /// Connects. Blocks.
    pub(super) fn start(config: Config, store: Store, delete_retention: i64, metrics: ProcessorMetrics) -> Result<Self, SessionError> {
        let topics = Topics::new(&config.kafka.topic_prefix);
        let group = topics.processor_group();
        // First of all, so that nothing of a predecessor of the same name can be committed any more.
        let producer = fenced_producer(&config)?;
        let reader = EventReader { normaliser: config.normaliser()?, topic: topics.raw().into() };
        let consumer_metrics = metrics.consumers.of(&group).in_transactions();
        let consumer = Consumer::subscribe_with(reader, &config, "processor", &group, &[&topics.raw()], DRAIN, consumer_metrics)?;
        let beside = Tail::start(&config, "beside")?;
        let mut providers = Providers::default();
        let mut failed = None;
        let all: Vec<_> = (0..PARTITIONS).map(|partition| (partition, None)).collect();
        let read = read_to_end(&config, &topics.providers(), &all, |record| {
            failed = providers.read(&record).map_err(SessionError::unreadable(&record)).err();
            failed.is_none()
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        let read: Vec<_> = read.into_iter().map(|place| (place.partition, Some(place.next))).collect();
        beside.follow(&topics.providers(), &read)?;
        let transactions = Transactions::start(producer, consumer.handle(), &topics.profiles())?;
        let policies = Arc::new(Policies::new(&config.policy));
        let people = People::new(store.clone(), config.processor.cache_mib, metrics.clone());
        let restorer =
            Restorer { config, policies: policies.clone(), store, group: consumer.handle(), metrics: metrics.clone(), delete_retention };
        Ok(Self {
            policies,
            profiles: topics.profiles().into(),
            consumer,
            beside,
            operator_topic: topics.operator().into(),
            providers_topic: topics.providers().into(),
            providers,
            transactions,
            restorer,
            people,
            clocks: BTreeMap::new(),
            restoring: BTreeMap::new(),
            restores: Vec::new(),
            pending: VecDeque::new(),
            batch: Batch::default(),
            flying: None,
            departed: Instant::now(),
            aborts: 0,
            metrics,
        })
    }

    pub(super) async fn run(mut self, shutdown: &CancellationToken) -> Result<(), SessionError> {
        let result = self.serve(shutdown).await;
        for restore in &self.restores {
            restore.stop.store(true, Ordering::Relaxed);
        }
        for restore in std::mem::take(&mut self.restores) {
            let _ = restore.task.await;
        }
        let Self { consumer, beside, transactions, restorer, .. } = self;
        beside.close().await;
        transactions.close().await;
        // Holds the membership too.
        drop(restorer);
        consumer.close().await;
        result
    }

    async fn serve(&mut self, shutdown: &CancellationToken) -> Result<(), SessionError> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut fresh = tokio::time::interval(FRESH);
        loop {
            self.work()?;
            self.depart_if_due()?;
            let departure = self.departed + self.interval();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return self.drain(DRAIN).await,
                landing = self.transactions.landing(), if self.flying.is_some() => self.land(landing).await?,
                ready = restored(&mut self.restores) => self.restored(ready).await?,
                _ = tick.tick() => self.tell_time()?,
                _ = fresh.tick() => {
                    self.people.keep_fresh(unix_millis())?;
                    self.providers.forget_old();
                    self.providers.keep();
                }
                notice = self.consumer.next(), if self.pending.is_empty() => match notice {
                    None => return Err(PollThreadDied.into()),
                    Some(Notice::Assigned(partitions)) => self.assigned(&partitions)?,
                    Some(Notice::Records(inputs)) => self.pending.extend(inputs),
                    Some(Notice::Revoked(partitions, released)) => self.revoked(&partitions, released).await?,
                    Some(Notice::Failed(error)) => return Err(error.into()),
                },
                record = self.beside.next(), if self.pending.is_empty() => match record {
                    None => return Err(KafkaError::Canceled.into()),
                    Some(record) if record.topic == self.operator_topic => {
                        let said = Said::by_operator(&record).map_err(SessionError::unreadable(&record))?;
                        self.pending.push_back(Input::Event(said));
                    }
                    Some(record) => self.providers.read(&record).map_err(SessionError::unreadable(&record))?,
                },
                () = sleep_until(departure), if self.flying.is_none() && self.has_work() => {}
            }
        }
    }

    /// Works what was read into the batch, for as long as there is room.
    fn work(&mut self) -> Result<(), SessionError> {
        let wall = unix_millis();
        while !self.batch.is_full() {
            let Some(input) = self.pending.pop_front() else { return Ok(()) };
            match input {
                Input::Event(said) => self.event(said, wall)?,
                Input::End(_, partition) => match self.restoring.get_mut(&partition) {
                    Some(waiting) => waiting.push(input),
                    None => self.clocks.entry(partition).or_default().caught_up(),
                },
            }
        }
        Ok(())
    }

    fn event(&mut self, said: Said, wall: i64) -> Result<(), SessionError> {
        let partition = said.partition;
        if let Some(waiting) = self.restoring.get_mut(&partition) {
            waiting.push(Input::Event(said));
            return Ok(());
        }
        if !self.people.owns(partition) {
            return Ok(());
        }
        let clock = self.clocks.entry(partition).or_default();
        if let Some(received_at) = said.received_at {
            clock.arrived(received_at, wall);
        }
        let stream = clock.stream();
        let now = clock.now(wall);
        self.fire(partition, now)?;
        if self.batch.is_full() {
            // Timers come first, and there are more than fit.
            self.pending.push_front(Input::Event(said));
            return Ok(());
        }
        let judged = stream.max(said.judged_at.min(wall));
        if let (Ok((key, _)), Some(mailed)) = (&said.what, &said.mailed) {
            self.providers.observe(partition, key, mailed, said.received_at.unwrap_or_default());
        }
        self.batch.fold(said, judged, &mut self.people)
    }

    /// Judges people again of whose providers something new is known.
    fn review(&mut self) -> Result<(), SessionError> {
        let wall = unix_millis();
        for key in self.providers.settle(wall) {
            if !self.people.owns(key.partition()) {
                continue;
            }
            let now = self.clocks.entry(key.partition()).or_default().now(wall);
            self.batch.review(&key, now, &mut self.people)?;
        }
        Ok(())
    }

    /// Fires the timers of a partition that are due, in order, for as long as there is room.
    fn fire(&mut self, partition: i32, now: i64) -> Result<(), SessionError> {
        while now / 1000 >= self.people.next_due(partition) && !self.batch.is_full() {
            let live = self.clocks.get(&partition).is_some_and(Clock::is_live);
            for timer in self.people.due(partition, now / 1000)? {
                if live {
                    self.metrics.timer_delay_seconds.observe(((unix_millis() - timer.at * 1000).max(0)) as f64 / 1000.0);
                }
                self.batch.fire(&timer, now, &mut self.people)?;
            }
        }
        Ok(())
    }

    fn tell_time(&mut self) -> Result<(), SessionError> {
        self.review()?;
        let wall = unix_millis();
        self.metrics.quarantines.set(i64::try_from(self.providers.open_at(wall / 1000)).unwrap_or(i64::MAX));
        for partition in self.people.partitions() {
            let now = self.clocks.entry(partition).or_default().now(wall);
            self.fire(partition, now)?;
        }
        Ok(())
    }

    fn has_work(&self) -> bool {
        !self.batch.is_empty() || self.people.unannounced().next().is_some() || self.providers.has_work()
    }

    fn interval(&self) -> Duration {
        if self.clocks.values().all(Clock::is_live) { LIVE } else { BACKLOG }
    }

    fn depart_if_due(&mut self) -> Result<(), SessionError> {
        if self.flying.is_none() && self.has_work() && (self.batch.is_full() || self.departed.elapsed() >= self.interval()) {
            self.depart()?;
        }
        Ok(())
    }

    fn depart(&mut self) -> Result<(), SessionError> {
        self.review()?;
        let next = self.batch.next();
        let mut closed = std::mem::replace(&mut self.batch, next).close(&self.profiles, &self.policies, &self.providers, &self.people);
        let written = closed.flight.outputs.iter().map(|output| output.timestamp).max();
        let written = written.unwrap_or_else(unix_millis);
        let outputs = self.providers.outputs(&self.providers_topic, written, unix_millis());
        // With the place of each partition that is written to the group is asked whether it is still ours.
        let written: BTreeSet<i32> = outputs.iter().map(|output| output.partition).collect();
        let missing = written.into_iter().filter(|partition| closed.flight.places.iter().all(|place| place.partition != *partition));
        let missing: Vec<_> = missing.filter_map(|partition| self.people.place(partition)).collect();
        closed.flight.places.extend(missing);
        closed.flight.outputs.extend(outputs);
        if closed.is_local() {
            return Ok(self.people.land(closed.changes, &[], &[], &BTreeMap::new(), unix_millis())?);
        }
        self.people.depart(&closed.changes);
        self.transactions.depart(std::mem::take(&mut closed.flight));
        self.departed = Instant::now();
        self.flying = Some(closed);
        Ok(())
    }

    async fn land(&mut self, landing: Landing) -> Result<(), SessionError> {
        let Some(closed) = self.flying.take() else { return Ok(()) };
        match landing {
            Landing::Committed { next, seconds } => {
                self.aborts = 0;
                self.metrics.profiles.inc_by(closed.profiles);
                self.metrics.timers.inc_by(closed.timers);
                self.metrics.forgotten.inc_by(closed.forgotten);
                self.metrics.ended(&closed.endings);
                for odd in closed.said.iter().filter_map(|said| said.odd.as_ref()) {
                    self.metrics.noted(odd);
                }
                self.metrics.transaction_seconds.observe(seconds);
                Ok(self.people.land(closed.changes, &closed.states, &closed.places, &next, unix_millis())?)
            }
            Landing::Aborted(error) => {
                self.aborts += 1;
                self.metrics.aborted.inc();
                if self.aborts > ABORTS {
                    return Err(error.into());
                }
                tracing::warn!(%error, "a transaction came to nothing: it is worked out again");
                self.back_to_what_is_committed(closed);
                tokio::time::sleep(Duration::from_millis(50 * u64::from(self.aborts))).await;
                Ok(())
            }
            Landing::Failed(error) => Err(error.into()),
        }
    }

    /// Everything since the last commit is worked out again, in the same order.
    fn back_to_what_is_committed(&mut self, closed: Closed) {
        self.people.crash();
        self.providers.crash();
        let later = std::mem::take(&mut self.batch).into_said();
        for said in closed.said.into_iter().chain(later).rev() {
            self.pending.push_front(Input::Event(said));
        }
    }

    fn assigned(&mut self, assigned: &[Partition]) -> Result<(), SessionError> {
        let partitions: Vec<i32> = assigned.iter().map(|(_, partition)| *partition).collect();
        let group = self.consumer.handle();
        for partition in assigned {
            self.clocks.entry(partition.1).or_default();
            // Where a restore is begun again, what was read meanwhile waits on.
            self.restoring.entry(partition.1).or_default();
            group.pause(partition)?;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let (restorer, stopped, list) = (self.restorer.clone(), stop.clone(), partitions.clone());
        let task = tokio::task::spawn_blocking(move || restorer.run(&list, &stopped));
        self.restores.push(Restoring { partitions, stop, task });
        Ok(())
    }

    async fn restored(&mut self, (partitions, stop, ready): Done) -> Result<(), SessionError> {
        let ready = ready??;
        if stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        let group = self.consumer.handle();
        let raw = self.raw();
        for partition in partitions {
            let Some(waiting) = self.restoring.remove(&partition) else { continue };
            if let Some(checkpoint) = ready.checkpoints.get(&partition) {
                self.people.take(partition, checkpoint.clone());
                self.providers.take(partition);
            }
            let decided = ready.operator.iter().filter(|(one, _)| *one == partition).copied().collect::<Vec<_>>();
            self.beside.follow(&self.operator_topic, &decided)?;
            self.pending.extend(waiting);
            group.resume(&(raw.clone(), partition))?;
        }
        Ok(())
    }

    fn raw(&self) -> Arc<str> {
        Topics::new(&self.restorer.config.kafka.topic_prefix).raw().into()
    }

    /// Finishes what is under way, commits, lets go.
    async fn revoked(&mut self, revoked: &[Partition], released: Released) -> Result<(), SessionError> {
        let gone = |partition: i32| revoked.iter().any(|(_, gone)| *gone == partition);
        let stopped: Vec<Restoring> = {
            let (stopped, kept) =
                std::mem::take(&mut self.restores).into_iter().partition(|restore| restore.partitions.iter().any(|one| gone(*one)));
            self.restores = kept;
            stopped
        };
        let mut again = Vec::new();
        for restore in stopped {
            restore.stop.store(true, Ordering::Relaxed);
            restore.task.await??;
            again.extend(restore.partitions.into_iter().filter(|partition| !gone(*partition)));
        }
        // A failure here is one of the membership: the records are their next owner's.
        let drained = self.drain(DRAIN * 3 / 4).await;
        if let Err(error) = &drained {
            tracing::warn!(%error, "what was under way could not be committed before the partitions went");
        }
        let owned: Vec<i32> = revoked.iter().map(|(_, partition)| *partition).filter(|partition| self.people.owns(*partition)).collect();
        self.beside.leave(&self.operator_topic, &owned)?;
        for (topic, partition) in revoked {
            self.restoring.remove(partition);
            self.clocks.remove(partition);
            self.batch.forget(*partition);
            self.people.let_go(*partition);
            self.providers.let_go(*partition);
            self.consumer.handle().forget(&(topic.clone(), *partition));
        }
        self.pending.retain(|input| match input {
            Input::Event(said) => !gone(said.partition),
            Input::End(_, partition) => !gone(*partition),
        });
        if self.flying.is_some() {
            return drained.and(Err(SessionError::Kafka(KafkaError::Canceled)));
        }
        drop(released);
        if !again.is_empty() {
            let raw = self.raw();
            let again: Vec<Partition> = again.into_iter().map(|partition| (raw.clone(), partition)).collect();
            self.assigned(&again)?;
        }
        Ok(())
    }

    /// Commits everything that was worked out, within `limit`; once: what comes to nothing now is somebody else's.
    async fn drain(&mut self, limit: Duration) -> Result<(), SessionError> {
        let deadline = Instant::now() + limit;
        loop {
            if self.flying.is_none() {
                if self.batch.is_empty() {
                    return Ok(());
                }
                self.depart()?;
                continue;
            }
            let Ok(landing) = tokio::time::timeout_at(deadline, self.transactions.landing()).await else {
                return Err(KafkaError::Canceled.into());
            };
            if let (Landing::Aborted(error), Some(closed)) = (&landing, &mut self.flying) {
                tracing::warn!(%error, "a transaction came to nothing while partitions went");
                let closed = std::mem::take(closed);
                self.flying = None;
                self.metrics.aborted.inc();
                self.back_to_what_is_committed(closed);
                return Ok(());
            }
            self.land(landing).await?;
        }
    }
}

type Done = (Vec<i32>, Arc<AtomicBool>, Result<Result<Ready, SessionError>, tokio::task::JoinError>);

/// The restore that was begun first, once it ends.
async fn restored(restores: &mut Vec<Restoring>) -> Done {
    let Some(first) = restores.first_mut() else { return std::future::pending().await };
    let ready = (&mut first.task).await;
    let done = restores.remove(0);
    (done.partitions, done.stop, ready)
}

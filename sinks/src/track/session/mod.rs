//! One membership of the group: profiles and what is heard come in, calls go out.

mod brake_client;
mod dispatch;
mod frontier;
mod input;
mod look;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use aftersend_pipeline::config::{Config, EmailPrivacy, TrackMode};
use aftersend_pipeline::consumer::{Consumer, Handle, Notice, Partition, PollThreadDied, Progress, Tail};
use aftersend_pipeline::kafka::{DeadLetterQueue, producer};
use aftersend_pipeline::store::{Checkpoint, Ready, Restorer};
use aftersend_pipeline::unix_millis;
use aftersend_schemas::DecodeError;
use aftersend_schemas::ledger::{LedgerRecord, Standing};
use aftersend_schemas::profile::ProfileRecord;
use aftersend_schemas::topics::Topics;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use rdkafka::error::KafkaError;
use tokio_util::sync::CancellationToken;

use super::arrivals::Survey;
use super::calls::{Answered, Attempted, Caller, Ended};
use super::decisions::Decisions;
use super::ledger::{Cache, Ledger};
use super::listen::{Heard, Listener};
use super::metrics::TrackMetrics;
use super::people::{People, PersonKey};
use super::plan::Ruled;
use super::rate::Rate;
use super::service::TrackSinkError;
use brake_client::{BrakeClient, Word};
use dispatch::Dispatch;
use frontier::{Ends, Processor, Profiles};
use input::{Input, ProfileReader};
use look::MAX_OPEN;

/// How long a revoke or a shutdown waits for calls under way; shorter than the session timeout.
const DRAIN: Duration = Duration::from_secs(10);
/// How long a shutdown waits for the last answers to come back through the ledger.
const READ_BACK: Duration = Duration::from_secs(1);
const COMMIT_EVERY: Duration = Duration::from_millis(500);
/// How often what the brake has to know is written down, if it changed.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// One membership of the group.
pub(super) struct Session {
    config: Config,
    profiles_topic: Arc<str>,
    consumer: Consumer<Input>,
    group: Handle<Input>,
    listener: Listener,
    dispatch: Dispatch,
    ruled: HashMap<String, Arc<Ruled>>,
    caller: Arc<Caller>,
    people: People,
    ledger: Ledger,
    ledger_topic: Arc<str>,
    /// Brings the ledger back as it is written.
    tail: Tail,
    brake: BrakeClient,
    decisions: Decisions,
    processor: Processor,
    profiles: Profiles,
    /// What nobody waits for is on its way to a log; the id of a question to the brake that did not get there.
    writing: FuturesUnordered<BoxFuture<'static, Option<u64>>>,
    dry_run: bool,
    full: bool,
    /// Of the people to look at, those who wait for profiles that are still to be read: for their sake reading must go on. Counted now and then.
    behind_fence: usize,
    dead: DeadLetterQueue,
    metrics: TrackMetrics,
}

impl Session {
    pub(super) fn start(config: &Config, cache: Cache, metrics: &TrackMetrics) -> Result<Self, TrackSinkError> {
        let topics = Topics::new(&config.kafka.topic_prefix);
        let group_name = topics.track_group();
        let caller = Arc::new(Caller {
            producer: producer(config, "sink-track")?,
            calls_topic: topics.track_calls(),
            ledger_topic: topics.track_ledger(),
            rate: Rate::new(config.track.max_requests_per_second),
            metrics: metrics.clone(),
        });
        let dry_run = config.track.mode == TrackMode::DryRun;
        let listener = Listener::start(config)?;
        let profiles_topic: Arc<str> = topics.profiles().into();
        let reader = ProfileReader { topic: profiles_topic.clone() };
        let lag = metrics.consumers.of(&group_name);
        let consumer = Consumer::subscribe_with(reader, config, "sink-track", &group_name, &[&profiles_topic], DRAIN, lag)?;
        Ok(Self {
            group: consumer.handle(),
            consumer,
            listener,
            dispatch: Dispatch::new(config, caller.clone())?,
            ruled: HashMap::new(),
            people: People::default(),
            ledger: Ledger::new(cache, dry_run, metrics.clone()),
            ledger_topic: topics.track_ledger().into(),
            tail: Tail::start(config, "sink-track-ledger")?,
            brake: BrakeClient::new(config, topics.track_brake(), caller.clone()),
            caller,
            decisions: Decisions::default(),
            processor: Processor::new(Progress::new(config, "sink-track-arrivals", &topics.processor_group(), &topics.raw())?),
            profiles: Profiles::new(Progress::uncommitted(config, "sink-track-ends", &group_name, &profiles_topic)?),
            writing: FuturesUnordered::new(),
            dry_run,
            full: false,
            behind_fence: 0,
            dead: DeadLetterQueue::new(config, "sink-track"),
            metrics: metrics.clone(),
            profiles_topic,
            config: config.clone(),
        })
    }

    pub(super) async fn run(mut self, shutdown: &CancellationToken) -> Result<(), TrackSinkError> {
        let mut result = self.serve(shutdown).await;
        if result.is_ok() {
            result = self.finish().await;
        }
        self.tail.close().await;
        self.consumer.close().await;
        result
    }

    async fn serve(&mut self, shutdown: &CancellationToken) -> Result<(), TrackSinkError> {
        let every = |period| {
            let mut interval = tokio::time::interval(period);
            interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            interval
        };
        let (mut commit, mut tell) = (every(COMMIT_EVERY), every(TELL_EVERY));
        loop {
            let next = self.look_and_call()?;
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                Some(answered) = self.dispatch.next() => self.answered(answered)?,
                record = self.tail.next() => self.ledger.read(record.ok_or(KafkaError::Canceled)?)?,
                Some(lost) = self.writing.next() => self.not_asked(lost),
                heard = self.listener.next() => self.heard(heard?).await?,
                notice = self.consumer.next() => match notice {
                    None => return Err(PollThreadDied.into()),
                    Some(Notice::Assigned(partitions)) => self.assigned(&partitions).await?,
                    Some(Notice::Records(records)) => self.take(records).await?,
                    Some(Notice::Revoked(partitions, released)) => {
                        self.drain(tokio::time::Instant::now() + DRAIN.mul_f32(0.8)).await?;
                        self.commit().await;
                        let followed: Vec<i32> = numbers(&partitions).into_iter().filter(|partition| self.ledger.owns(*partition)).collect();
                        self.tail.leave(&self.ledger_topic, &followed)?;
                        for partition in &partitions {
                            self.people.revoke(partition.1);
                            self.ledger.let_go(partition.1)?;
                            self.processor.arrivals.forget(partition.1);
                            self.brake.revoked(partition.1);
                            self.group.forget(partition);
                        }
                        self.caller.rate.set_partitions(self.people.partitions().count());
                        drop(released);
                    }
                    Some(Notice::Failed(error)) => return Err(error.into()),
                },
                // After the profiles that are at hand: one of them may be what the survey waited for.
                Some(survey) = self.processor.next() => self.surveyed(survey),
                Some(Ends { asked, offsets }) = self.profiles.next() => self.people.found_ends(asked, &offsets),
                _ = commit.tick() => {
                    self.behind_fence = if self.people.len() >= MAX_OPEN { self.people.behind_fence() } else { 0 };
                    self.dispatch.show();
                    self.commit().await;
                }
                _ = tell.tick() => self.brake.tell(self.ledger.known()).await,
                () = tokio::time::sleep(next) => {}
            }
            self.hold_back();
            self.ask();
        }
    }

    /// Finds out what somebody waits to hear.
    fn ask(&mut self) {
        self.metrics.awaits_processor.set(i64::try_from(self.processor.arrivals.waiting()).unwrap_or(i64::MAX));
        self.processor.ask();
        self.profiles.ask(self.people.without_end());
    }

    fn surveyed(&mut self, survey: Option<Survey>) {
        for partition in self.processor.learn(survey) {
            self.people.give_word(partition);
        }
    }

    fn not_asked(&mut self, lost: Option<u64>) {
        if let Some(key) = lost.and_then(|id| self.brake.lost(id)) {
            self.people.again(&key, None, unix_millis());
        }
    }

    fn answered(&mut self, Answered { workspace, health, people }: Answered) -> Result<(), TrackSinkError> {
        self.dispatch.ended(&workspace, health);
        for attempted in people {
            self.ended(attempted)?;
        }
        self.dispatch.show();
        Ok(())
    }

    fn ended(&mut self, Attempted { key, ledger, ended }: Attempted) -> Result<(), TrackSinkError> {
        let now = unix_millis();
        self.ledger.set(&key, &ledger)?;
        match ended {
            Ended::Answered => {
                if let Some(open) = self.people.open_mut(&key) {
                    let waited = (now - open.since).max(0) as f64 / 1_000.0;
                    self.metrics.freshness.with_label_values(&[open.lane.as_str()]).observe(waited);
                    (open.admitted, open.alone) = (None, false);
                }
                self.people.answered(&key, true);
            }
            Ended::Unanswered(wait) => self.people.again(&key, wait, now),
            Ended::Split => {
                if let Some(open) = self.people.open_mut(&key) {
                    open.alone = true;
                }
                self.people.answered(&key, false);
            }
            Ended::Late => {
                if let Some(open) = self.people.open_mut(&key) {
                    open.admitted = None;
                }
                self.people.answered(&key, false);
            }
        }
        Ok(())
    }

    async fn heard(&mut self, heard: Heard) -> Result<(), TrackSinkError> {
        match heard {
            Heard::Brake { offset, at, entry } => match self.brake.apply(offset, at, &entry) {
                None => {}
                Some(Word::Answer(key, admitted)) => self.told_by_brake(&key, admitted),
                Some(Word::Released) => self.read_again(self.people.partitions().collect()).await,
            },
            Heard::Decided(record) => {
                let person = self.decisions.take(&record);
                self.unsuppress(&person, self.people.partitions().collect()).await?;
                self.people.look(&person);
            }
            Heard::Released(release) => self.brake.release(release).await,
            Heard::CaughtUp => {
                self.brake.caught_up();
                if self.brake.is_any_released() {
                    self.read_again(self.people.partitions().collect()).await;
                }
            }
            Heard::TooNew(error) => return Err(TrackSinkError::Heard(error)),
        }
        Ok(())
    }

    fn told_by_brake(&mut self, key: &PersonKey, admitted: Option<Instant>) {
        if let Some(open) = self.people.open_mut(key) {
            open.admitted = admitted;
            let is_newer = open.has_newer();
            if admitted.is_none() && !is_newer {
                return self.brake_holds(key);
            }
        }
        self.people.answered(key, false);
    }

    /// Reads profiles from the beginning: whom a release concerns is not kept in memory. For all others nothing comes of it.
    async fn read_again(&mut self, partitions: Vec<i32>) {
        if partitions.is_empty() {
            return;
        }
        let (group, topic, again) = (self.group.clone(), self.profiles_topic.clone(), partitions.clone());
        let seek = move || again.iter().try_for_each(|partition| group.seek_to_beginning(&(topic.clone(), *partition)));
        match tokio::task::spawn_blocking(seek).await.unwrap_or(Err(KafkaError::Canceled)) {
            Ok(()) => partitions.iter().for_each(|partition| self.people.reads_again(*partition)),
            Err(error) => tracing::warn!(%error, "profiles are not read again: release once more, or restart"),
        }
    }

    /// An operator's word frees whom we had suppressed before.
    async fn unsuppress(&mut self, person: &str, partitions: Vec<i32>) -> Result<(), TrackSinkError> {
        for partition in partitions {
            let key = PersonKey { partition, person: person.into() };
            let Some(ledger) = self.ledger.get(&key)? else { continue };
            let is_ours = ledger.standing == Standing::Suppressed || ledger.suppress_sent_at != 0;
            if is_ours && self.decisions.about(person).unsuppresses(ledger.answered_at.max(ledger.suppress_sent_at)) {
                let freed = LedgerRecord::new(ledger.person);
                self.caller.write_ledger(partition, &freed).await;
                self.ledger.set(&key, &freed)?;
            }
        }
        Ok(())
    }

    async fn take(&mut self, inputs: Vec<Input>) -> Result<(), TrackSinkError> {
        let now = unix_millis();
        for input in inputs {
            let record = match input {
                Input::Profile(record) => record,
                Input::End(_, partition, next) => {
                    if self.people.ended(partition, next) {
                        self.people.give_word(partition);
                    }
                    continue;
                }
            };
            let Some(value) = &record.value else {
                self.people.skip(record.partition, record.offset);
                continue;
            };
            match ProfileRecord::decode(value) {
                Ok(mut profile) => {
                    // An earlier configuration may have let it be written.
                    profile.address = profile.address.filter(|_| self.config.privacy.email == EmailPrivacy::Plain);
                    self.people.profile(record.partition, record.offset, profile, now);
                }
                Err(error @ DecodeError::TooNew { .. }) => return Err(TrackSinkError::TooNew(error)),
                Err(error) => {
                    self.metrics.unreadable.inc();
                    self.dead.write(&record, "sink.track", "unreadable_profile", &error.to_string()).await;
                    self.people.skip(record.partition, record.offset);
                }
            }
        }
        Ok(())
    }

    async fn assigned(&mut self, assigned: &[Partition]) -> Result<(), TrackSinkError> {
        self.restore(assigned).await?;
        self.caller.rate.set_partitions(self.people.partitions().count());
        for (_, partition) in assigned {
            self.brake.assigned(*partition);
        }
        if self.brake.is_any_released() {
            self.read_again(assigned.iter().map(|(_, partition)| *partition).collect()).await;
        }
        Ok(())
    }

    async fn restore(&mut self, assigned: &[Partition]) -> Result<(), TrackSinkError> {
        let started = Instant::now();
        let partitions = numbers(assigned);
        let (config, topic, group) = (self.config.clone(), self.ledger_topic.clone(), self.group.clone());
        let (cache, metrics, restored) = (self.ledger.cache(), self.metrics.clone(), partitions.clone());
        let ready = tokio::task::spawn_blocking(move || {
            let restorer = Restorer {
                config: &config,
                topic: &topic,
                group: &group,
                store: &cache.store,
                kept: &cache,
                // Of a newer release's records an older one must hear before it goes on.
                rules: LedgerRecord::VERSION.into(),
                // None are written here.
                tombstones: None,
                discarded: &metrics.stores_discarded,
            };
            restorer.run(&restored, &AtomicBool::new(false))
        });
        let Ready { checkpoints, records } = ready.await??;
        self.metrics.ledger_restored.inc_by(records);
        // Nothing of an earlier assignment may come after this.
        while let Some(record) = self.tail.try_next() {
            self.ledger.read(record)?;
        }
        let starts: Vec<_> = checkpoints.iter().map(|(partition, checkpoint)| (*partition, Some(checkpoint.next()))).collect();
        let people: u64 = checkpoints.values().flat_map(|checkpoint| checkpoint.tally.values()).sum();
        for (partition, checkpoint) in checkpoints {
            // A partition that comes while we are full must be paused like the others.
            self.full = false;
            self.people.assign(partition);
            self.ledger.take(partition, checkpoint)?;
        }
        self.tail.follow(&self.ledger_topic, &starts)?;
        // Said while nobody had this partition.
        for person in self.decisions.unsuppressed() {
            self.unsuppress(&person, partitions.clone()).await?;
        }
        tracing::info!(records, people, partitions = assigned.len(), seconds = started.elapsed().as_secs_f64(), "ledger restored");
        Ok(())
    }

    /// Lets calls be answered and the ledger come back, so that the next start has nothing to read.
    async fn finish(&mut self) -> Result<(), TrackSinkError> {
        self.drain(tokio::time::Instant::now() + DRAIN.mul_f32(0.8)).await?;
        let deadline = tokio::time::Instant::now() + READ_BACK;
        while !self.ledger.is_read_back() {
            let Ok(record) = tokio::time::timeout_at(deadline, self.tail.next()).await else { break };
            self.ledger.read(record.ok_or(KafkaError::Canceled)?)?;
        }
        self.commit().await;
        Ok(())
    }

    /// Lets calls under way be answered.
    async fn drain(&mut self, deadline: tokio::time::Instant) -> Result<(), TrackSinkError> {
        while self.dispatch.under_way() > 0 {
            tokio::select! {
                Some(answered) = self.dispatch.next() => self.answered(answered)?,
                () = tokio::time::sleep_until(deadline) => {
                    tracing::warn!(calls = self.dispatch.under_way(), "calls were not answered in time; the next owner makes them");
                    self.brake.abandon();
                    self.dispatch.abandon();
                    self.people.abandon_calls();
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn commit(&mut self) {
        self.ledger.show();
        let positions = self.ledger.uncommitted();
        let profiles = self.people.take_committable(&self.profiles_topic);
        let profiles = profiles.into_iter().map(|(partition, next)| (partition, next, String::new()));
        let ledger = positions
            .iter()
            .map(|position| ((self.ledger_topic.clone(), position.partition), position.next, Checkpoint::<()>::note(position.topic)));
        let offsets: Vec<_> = profiles.chain(ledger).collect();
        if offsets.is_empty() {
            return;
        }
        let group = self.group.clone();
        let result = tokio::task::spawn_blocking(move || group.commit_noted(&offsets)).await.unwrap_or(Err(KafkaError::Canceled));
        match result {
            Ok(()) => self.ledger.committed(&positions),
            Err(error) => tracing::warn!(%error, "commit failed; what follows commits further"),
        }
    }
}

fn numbers(partitions: &[Partition]) -> Vec<i32> {
    partitions.iter().map(|(_, partition)| *partition).collect()
}

use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aftersend_pipeline::config::{Config, ConfigError, TrackMode};
use aftersend_pipeline::consumer::{Consumer, Handle, Notice, Partition, RestoreError, restore_partitions};
use aftersend_pipeline::kafka::{TopicError, producer_config, wait_for_topics};
use aftersend_pipeline::record::Record;
use aftersend_pipeline::retry::Backoff;
use aftersend_pipeline::supervise::supervise;
use aftersend_pipeline::telemetry::{AdminError, Metrics, Readiness, serve};
use aftersend_pipeline::{record_headers, unix_millis};
use aftersend_schemas::DecodeError;
use aftersend_schemas::ledger::LedgerRecord;
use aftersend_schemas::profile::ProfileRecord;
use aftersend_schemas::topics::Topics;
use aftersend_schemas::track_call::Call;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use governor::{Quota, RateLimiter};
use rdkafka::error::KafkaError;
use rdkafka::producer::{FutureProducer, FutureRecord};
use tokio_util::sync::CancellationToken;

use super::api::Api;
use super::brake::Brake;
use super::calls::Caller;
use super::metrics::TrackMetrics;
use super::plan::{self, Planned, Step};
use super::reconciler::{People, PersonKey};

/// How long a revoke or a shutdown waits for calls under way; shorter than the session timeout.
const DRAIN: Duration = Duration::from_secs(10);
/// Calls under way at a time.
const CONCURRENCY: usize = 32;
/// With this many people to look at, no more profiles are taken.
const MAX_OPEN: usize = 50_000;
const COMMIT_EVERY: Duration = Duration::from_millis(500);

/// Why the sink cannot start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum TrackSinkError {
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
    /// The HTTP client could not be made.
    #[error("cannot create the HTTP client: {0}")]
    Http(#[from] reqwest::Error),
    /// The ledger could not be read back.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// A profile was written by a newer release: passing over it could pass over a verdict.
    #[error("a record of profiles cannot be read: {0}")]
    TooNew(DecodeError),
    /// The ledger was written by a newer release: going on would repeat calls.
    #[error("a record of track-ledger cannot be read: {0}")]
    Ledger(String),
}

impl TrackSinkError {
    /// True for what starting over cannot mend.
    fn is_final(&self) -> bool {
        !matches!(self, Self::Restore(_) | Self::Kafka(_))
    }
}

/// The service.
pub struct TrackSink {
    config: Config,
    admin: SocketAddr,
}

impl TrackSink {
    /// Checks what can be checked without a connection.
    pub fn new(config: &Config) -> Result<Self, TrackSinkError> {
        Ok(Self { config: config.clone(), admin: config.track.admin_address()? })
    }

    /// Runs until `shutdown`; calls under way get ten seconds to be answered. Outages of Kafka are waited out.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), TrackSinkError> {
        let metrics = Metrics::new();
        let readiness = Readiness::default();
        let latch = readiness.latch();
        let track_metrics = TrackMetrics::new(&metrics);
        let (admin_address, admin) = serve(self.admin, metrics, readiness.clone())?;
        tracing::info!(admin = %admin_address, mode = ?self.config.track.mode, workspaces = self.config.track.workspaces.len(), "track sink is starting");
        let result = if self.config.track.mode == TrackMode::Off {
            latch.release();
            shutdown.cancelled().await;
            Ok(())
        } else {
            let topics = Topics::new(&self.config.kafka.topic_prefix);
            let names = [topics.profiles(), topics.track_ledger(), topics.track_calls(), topics.dead()];
            match wait_for_topics(&self.config, &names, &shutdown).await {
                Ok(true) => {
                    latch.release();
                    self.serve_until(&shutdown, &track_metrics).await
                }
                Ok(false) => Ok(()),
                Err(error) => Err(error.into()),
            }
        };
        readiness.drain();
        admin.stop(false).await;
        result
    }

    /// Starts over after failures of Kafka; other errors end the service.
    async fn serve_until(&self, shutdown: &CancellationToken, metrics: &TrackMetrics) -> Result<(), TrackSinkError> {
        // Outlives sessions: a failure of Kafka must not release it.
        let brake = Arc::new(Mutex::new(Brake::new(self.config.track.max_irreversible_per_hour)));
        let session = || async { Session::start(&self.config, metrics, brake.clone())?.run(shutdown).await };
        supervise("track", shutdown, session, TrackSinkError::is_final).await
    }
}

/// One membership of the group.
struct Session {
    config: Config,
    topics: Topics,
    profiles_topic: Arc<str>,
    consumer: Consumer,
    group: Handle,
    apis: HashMap<String, Api>,
    caller: Arc<Caller>,
    people: People,
    brake: Arc<Mutex<Brake>>,
    calls: FuturesUnordered<BoxFuture<'static, (PersonKey, LedgerRecord)>>,
    full: bool,
    metrics: TrackMetrics,
}

impl Session {
    fn start(config: &Config, metrics: &TrackMetrics, brake: Arc<Mutex<Brake>>) -> Result<Self, TrackSinkError> {
        let topics = Topics::new(&config.kafka.topic_prefix);
        let group_name = topics.track_group();
        let apis = config.track.workspaces.iter().map(|(name, credentials)| Ok((name.clone(), Api::new(credentials)?)));
        let apis = apis.collect::<Result<HashMap<_, _>, TrackSinkError>>()?;
        let rate = NonZeroU32::new(config.track.max_requests_per_second).unwrap_or(NonZeroU32::MIN);
        let caller = Caller {
            producer: producer_config(config, "sink-track", 10_000).create()?,
            calls_topic: topics.track_calls(),
            ledger_topic: topics.track_ledger(),
            limiter: RateLimiter::direct(Quota::per_second(rate)),
            dry_run: config.track.mode == TrackMode::DryRun,
            metrics: metrics.clone(),
            stopped: AtomicU32::new(0),
        };
        let consumer =
            Consumer::subscribe(config, "sink-track", &group_name, &[&topics.profiles()], DRAIN, metrics.consumers.of(&group_name))?;
        Ok(Self {
            group: consumer.handle(),
            consumer,
            apis,
            caller: Arc::new(caller),
            people: People::default(),
            brake,
            calls: FuturesUnordered::new(),
            full: false,
            metrics: metrics.clone(),
            profiles_topic: topics.profiles().into(),
            topics,
            config: config.clone(),
        })
    }

    async fn run(mut self, shutdown: &CancellationToken) -> Result<(), TrackSinkError> {
        let result = self.serve(shutdown).await;
        if result.is_ok() {
            self.drain(tokio::time::Instant::now() + DRAIN.mul_f32(0.8)).await;
            self.commit().await;
        }
        self.consumer.close().await;
        result
    }

    async fn serve(&mut self, shutdown: &CancellationToken) -> Result<(), TrackSinkError> {
        let mut commit = tokio::time::interval(COMMIT_EVERY);
        commit.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.look_at_due();
            let next_due = self.people.next_due_at().unwrap_or(i64::MAX).saturating_sub(unix_millis()).clamp(1, 1_000);
            let next_due = Duration::from_millis(next_due.unsigned_abs());
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                Some((key, ledger)) = self.calls.next() => self.people.answered(key, ledger),
                notice = self.consumer.next() => match notice {
                    None => return Ok(()),
                    Some(Notice::Assigned(partitions)) => self.restore(&partitions).await?,
                    Some(Notice::Records(records)) => self.take(records).await?,
                    Some(Notice::Revoked(partitions, released)) => {
                        self.drain(tokio::time::Instant::now() + DRAIN.mul_f32(0.8)).await;
                        self.commit().await;
                        for partition in &partitions {
                            self.people.revoke(partition.1);
                            self.group.forget(partition);
                        }
                        drop(released);
                    }
                    Some(Notice::Failed(error)) => return Err(error.into()),
                },
                _ = commit.tick() => self.commit().await,
                () = tokio::time::sleep(next_due) => {}
            }
            self.hold_back();
        }
    }

    /// Plans everybody who is due, as far as there is room for calls.
    fn look_at_due(&mut self) {
        while self.calls.len() < CONCURRENCY {
            let now = unix_millis();
            let Some(key) = self.people.next_due(now) else { break };
            let Some((open, ledger)) = self.people.get(&key) else { continue };
            let workspace = &open.profile.person.workspace;
            let api = self.apis.get(workspace);
            if api.is_none() && !self.caller.dry_run {
                self.metrics.profiles.with_label_values(&["no_credentials"]).inc();
                self.people.done(&key);
                continue;
            }
            let rules = self.config.policy.rules_for(workspace);
            match plan::next(&open.profile, &ledger, &rules, &self.config.track.attribute_prefix, now) {
                Step::Done(done) => {
                    self.metrics.profiles.with_label_values(&[done.as_str()]).inc();
                    self.people.done(&key);
                }
                Step::WaitUntil(due) => self.people.wait(key, due),
                Step::Call(planned) if planned.call == Call::Suppress && !lock(&self.brake).admit(now) => {
                    if self.metrics.brake.get() == 0 {
                        tracing::error!(
                            "more people were to be suppressed within an hour than track.max_irreversible_per_hour allows: none is until a restart"
                        );
                    }
                    self.metrics.brake.set(i64::from(lock(&self.brake).is_tripped()));
                    self.people.wait(key, now + 60_000);
                }
                Step::Call(planned) => {
                    let call = call(self.caller.clone(), api.cloned(), key.clone(), open.profile.clone(), planned, ledger);
                    self.people.calling(&key);
                    self.calls.push(Box::pin(call));
                }
            }
        }
        self.metrics.open.set(i64::try_from(self.people.len()).unwrap_or(i64::MAX));
    }

    /// With too many people to look at, no more profiles are taken until there are fewer.
    fn hold_back(&mut self) {
        let full = self.people.len() >= MAX_OPEN;
        if full == self.full {
            return;
        }
        self.full = full;
        for partition in self.people.partitions() {
            let partition = (self.profiles_topic.clone(), partition);
            let result = if full { self.group.pause(&partition) } else { self.group.resume(&partition) };
            if let Err(error) = result {
                tracing::warn!(%error, partition = partition.1, "cannot change delivery");
            }
        }
    }

    async fn take(&mut self, records: Vec<Record>) -> Result<(), TrackSinkError> {
        for record in records {
            let Some(value) = &record.value else {
                self.people.skip(record.partition, record.offset);
                continue;
            };
            match ProfileRecord::decode(value) {
                Ok(profile) => self.people.profile(record.partition, record.offset, profile),
                Err(error @ DecodeError::TooNew { .. }) => return Err(TrackSinkError::TooNew(error)),
                Err(error) => {
                    self.metrics.unreadable.inc();
                    self.give_up(&record, &error.to_string()).await;
                    self.people.skip(record.partition, record.offset);
                }
            }
        }
        Ok(())
    }

    async fn give_up(&mut self, record: &Record, error: &str) {
        let producer: &FutureProducer = &self.caller.producer;
        let topic = self.topics.dead();
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        loop {
            let headers = record_headers::dead_letter_from_record(record, "sink.track", "unreadable_profile", error);
            let value = record.value.as_deref().unwrap_or_default();
            let dead = FutureRecord::to(&topic).key(&record.key).payload(value).timestamp(record.timestamp).headers(headers);
            match producer.send(dead, Duration::ZERO).await {
                Ok(_) => return,
                Err((error, _)) => tracing::warn!(%error, topic, "a dead letter was not written; trying again"),
            }
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }

    async fn restore(&mut self, assigned: &[Partition]) -> Result<(), TrackSinkError> {
        let started = Instant::now();
        let config = self.config.clone();
        let topic = self.topics.track_ledger();
        let partitions: Vec<i32> = assigned.iter().map(|(_, partition)| *partition).collect();
        let restored = tokio::task::spawn_blocking(move || {
            let mut people: HashMap<(i32, Vec<u8>), Option<Vec<u8>>> = HashMap::new();
            restore_partitions(&config, &topic, &partitions, |record| {
                people.insert((record.partition, record.key), record.value);
            })?;
            Ok::<_, RestoreError>(people)
        });
        let restored = restored.await.map_err(|error| TrackSinkError::Ledger(error.to_string()))??;
        let mut ledgers: HashMap<i32, Vec<LedgerRecord>> = HashMap::new();
        let count = restored.len();
        for ((partition, _), value) in restored {
            let Some(value) = value else { continue };
            let record = LedgerRecord::decode(&value).map_err(|error| TrackSinkError::Ledger(error.to_string()))?;
            ledgers.entry(partition).or_default().push(record);
        }
        for (_, partition) in assigned {
            // A partition that comes while we are full must be paused like the others.
            self.full = false;
            self.people.assign(*partition, ledgers.remove(partition).unwrap_or_default().into_iter());
        }
        tracing::info!(people = count, partitions = assigned.len(), seconds = started.elapsed().as_secs_f64(), "ledger restored");
        Ok(())
    }

    /// Lets calls under way be answered.
    async fn drain(&mut self, deadline: tokio::time::Instant) {
        while !self.calls.is_empty() {
            tokio::select! {
                Some((key, ledger)) = self.calls.next() => self.people.answered(key, ledger),
                () = tokio::time::sleep_until(deadline) => {
                    tracing::warn!(calls = self.calls.len(), "calls were not answered in time; the next owner makes them");
                    self.calls.clear();
                    self.people.abandon_calls();
                    return;
                }
            }
        }
    }

    async fn commit(&mut self) {
        let offsets = self.people.take_committable(&self.profiles_topic);
        if offsets.is_empty() {
            return;
        }
        let group = self.group.clone();
        let result = tokio::task::spawn_blocking(move || group.commit(&offsets, "")).await.unwrap_or(Err(KafkaError::Canceled));
        if let Err(error) = result {
            tracing::warn!(%error, "commit failed; what follows commits further");
        }
    }
}

fn lock(brake: &Mutex<Brake>) -> MutexGuard<'_, Brake> {
    brake.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn call(
    caller: Arc<Caller>,
    api: Option<Api>,
    key: PersonKey,
    profile: ProfileRecord,
    planned: Planned,
    ledger: LedgerRecord,
) -> (PersonKey, LedgerRecord) {
    let ledger = caller.make(api.as_ref(), key.0, &profile, &planned, ledger).await;
    (key, ledger)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_newer_release_wrote_ends_the_sink_and_an_outage_does_not() {
        let newer = DecodeError::TooNew { record: "profile", found: 2, known: 1 };
        assert!(TrackSinkError::TooNew(newer).is_final());
        assert!(TrackSinkError::Ledger(newer.to_string()).is_final());
        assert!(!TrackSinkError::Kafka(KafkaError::Canceled).is_final());
    }
}

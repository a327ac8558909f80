use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aftersend_pipeline::config::{Config, ConfigError};
use aftersend_pipeline::consumer::{Consumer, Notice, Partition, RestoreError, restore_partitions};
use aftersend_pipeline::kafka::TopicError;
use aftersend_pipeline::offsets::NextOffset;
use aftersend_pipeline::record::Record;
use aftersend_schemas::DecodeError;
use aftersend_schemas::headers::Received;
use aftersend_schemas::identity::{Person, Subject};
use aftersend_schemas::normaliser::Normaliser;
use aftersend_schemas::oddity::Oddity;
use aftersend_schemas::profile::ProfileRecord;
use aftersend_schemas::topics::Topics;
use rdkafka::error::KafkaError;
use tokio_util::sync::CancellationToken;

use super::metrics::{Ending, ProcessorMetrics};
use super::odd_events::OddEvents;
use super::store::{Known, Store};
use super::transaction::{Output, Transactions};
use crate::fold::{Observation, State};
use crate::score::{Policy, evaluate};

/// How long a revoke waits for the transaction under way; shorter than the session timeout.
const DRAIN: Duration = Duration::from_secs(10);

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
    /// See [`RestoreError`].
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// A profile was written by a newer release, or by nobody: going on would overwrite what this one cannot read.
    #[error("a record of profiles cannot be read: {0}")]
    Profile(#[from] DecodeError),
    /// A task died.
    #[error("a task died: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl SessionError {
    /// True for what starting over cannot mend.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Config(_) | Self::Profile(_) => true,
            Self::Topics(error) => !matches!(error, TopicError::Unreachable { .. }),
            Self::Kafka(_) | Self::Restore(_) | Self::Task(_) => false,
        }
    }
}

/// One membership of the group, with everything that depends on it.
pub(super) struct Session {
    config: Config,
    normaliser: Normaliser,
    policy: Policy,
    consumer: Consumer,
    transactions: Arc<Transactions>,
    store: Store,
    /// Largest arrival seen in each partition, Unix milliseconds: the time at which people are judged, the same in a replay as it was live.
    stream_time: HashMap<i32, i64>,
    metrics: ProcessorMetrics,
}

/// A batch worked out, before anything of it is visible.
struct Batch {
    outputs: Vec<Output>,
    touched: Vec<(i32, String, Known)>,
    offsets: Vec<(Partition, NextOffset)>,
    endings: Vec<Ending>,
    odd: OddEvents,
}

impl Session {
    /// Connects. Blocks.
    pub(super) fn start(config: Config, metrics: ProcessorMetrics) -> Result<Self, SessionError> {
        let topics = Topics::new(&config.kafka.topic_prefix);
        let group = topics.processor_group();
        let transactions = Arc::new(Transactions::start(&config)?);
        let consumer =
            Consumer::subscribe(&config, "processor", &group, &[&topics.raw()], DRAIN, metrics.consumers.of(&group).in_transactions())?;
        Ok(Self {
            normaliser: config.normaliser()?,
            policy: Policy::new(&config.policy),
            consumer,
            transactions,
            store: Store::new(metrics.clone()),
            stream_time: HashMap::new(),
            metrics,
            config,
        })
    }

    pub(super) async fn run(mut self, shutdown: &CancellationToken) -> Result<(), SessionError> {
        let result = self.serve(shutdown).await;
        self.consumer.close().await;
        result
    }

    async fn serve(&mut self, shutdown: &CancellationToken) -> Result<(), SessionError> {
        loop {
            let notice = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                notice = self.consumer.next() => notice,
            };
            match notice {
                None => return Ok(()),
                Some(Notice::Assigned(partitions)) => self.restore(&partitions).await?,
                Some(Notice::Records(records)) => self.process(records).await?,
                Some(Notice::Revoked(partitions, released)) => {
                    // Batches are finished one by one, so nothing of these partitions is open here.
                    for (_, partition) in partitions {
                        self.store.drop_partition(partition);
                        self.stream_time.remove(&partition);
                    }
                    drop(released);
                }
                Some(Notice::Failed(error)) => return Err(error.into()),
            }
        }
    }

    async fn restore(&mut self, assigned: &[Partition]) -> Result<(), SessionError> {
        let config = self.config.clone();
        let topic = Topics::new(&config.kafka.topic_prefix).profiles();
        let partitions: Vec<i32> = assigned.iter().map(|(_, partition)| *partition).collect();
        let started = Instant::now();
        let restored = tokio::task::spawn_blocking(move || {
            let mut people: BTreeMap<(i32, String), Option<Vec<u8>>> = BTreeMap::new();
            restore_partitions(&config, &topic, &partitions, |record| {
                people.insert((record.partition, record.key_text().into_owned()), record.value);
            })?;
            Ok::<_, RestoreError>(people)
        })
        .await??;
        for (_, partition) in assigned {
            self.store.drop_partition(*partition);
        }
        let mut count = 0;
        for ((partition, person), value) in restored {
            let Some(value) = value else { continue };
            self.store.put(partition, person, Known::read(&value)?);
            count += 1;
        }
        self.metrics.restored.inc_by(count);
        tracing::info!(people = count, partitions = assigned.len(), seconds = started.elapsed().as_secs_f64(), "state restored");
        Ok(())
    }

    async fn process(&mut self, records: Vec<Record>) -> Result<(), SessionError> {
        let started = Instant::now();
        let batch = self.fold(&records);
        let transactions = self.transactions.clone();
        let group = self.consumer.handle();
        let (outputs, offsets) = (batch.outputs, batch.offsets);
        let written = outputs.len();
        tokio::task::spawn_blocking(move || transactions.commit(&outputs, &offsets, &group)).await??;
        for (partition, person, known) in batch.touched {
            self.store.put(partition, person, known);
        }
        self.metrics.profiles.inc_by(written as u64);
        self.metrics.ended(&batch.endings);
        self.metrics.noted(&batch.odd);
        self.metrics.transaction_seconds.observe(started.elapsed().as_secs_f64());
        Ok(())
    }

    /// Works a batch out: one output for each person whose evidence changed.
    fn fold(&mut self, records: &[Record]) -> Batch {
        let mut touched: BTreeMap<(i32, String), Touched> = BTreeMap::new();
        let mut offsets: BTreeMap<Partition, NextOffset> = BTreeMap::new();
        let mut endings = Vec::with_capacity(records.len());
        let mut odd = OddEvents::default();
        for record in records {
            offsets.insert((record.topic.clone(), record.partition), NextOffset::after(record.offset));
            let received = Received::from_headers(record.headers(), record.timestamp);
            let stream_time = self.stream_time.entry(record.partition).or_default();
            *stream_time = (*stream_time).max(received.received_at);
            let now = *stream_time;
            endings.push(match self.read(record, &received, &mut odd) {
                Ok((person, observation)) => self.join(&mut touched, record.partition, person, &observation, now),
                Err(ending) => ending,
            });
        }
        let mut batch = Batch { outputs: Vec::new(), touched: Vec::new(), offsets: offsets.into_iter().collect(), endings, odd };
        for ((partition, key), person) in touched {
            if !person.changed {
                continue;
            }
            let as_of = person.as_of;
            let evaluation = evaluate(&person.state, &self.policy, as_of);
            let email = evaluation.state;
            let record = ProfileRecord {
                person: person.person,
                as_of,
                policy_version: self.policy.version,
                evaluation,
                state: person.state.encode(),
            };
            batch.outputs.push(Output { partition, key: key.clone(), timestamp: person.now, record });
            batch.touched.push((partition, key, Known { state: person.state, email, as_of }));
        }
        batch
    }

    fn read(&self, record: &Record, received: &Received, odd: &mut OddEvents) -> Result<(Person, Observation), Ending> {
        let event = self.normaliser.event(record.value.as_deref().unwrap_or_default()).map_err(|_| Ending::NotAnEvent)?;
        odd.note(&event);
        if event.oddities.contains(Oddity::TestEvent) {
            return Err(Ending::TestEvent);
        }
        let subject = Subject::of(&event, &self.normaliser.privacy);
        let person = subject.person(&received.workspace, &record.key_text()).ok_or(Ending::NoPerson)?;
        if event.oddities.contains(Oddity::Undocumented) {
            return Err(Ending::Undocumented);
        }
        let observation = Observation::of(&event, received.received_at, &self.normaliser).ok_or(Ending::Undated)?;
        Ok((person, observation))
    }

    fn join(
        &self,
        touched: &mut BTreeMap<(i32, String), Touched>,
        partition: i32,
        person: Person,
        observation: &Observation,
        now: i64,
    ) -> Ending {
        let key = person.to_string();
        let entry = touched.entry((partition, key)).or_insert_with_key(|(partition, key)| {
            let known = self.store.get(*partition, key);
            Touched {
                person,
                state: known.map(|known| known.state.clone()).unwrap_or_default(),
                changed: known.is_none(),
                now,
                as_of: known.map_or(0, |known| known.as_of).max(now / 1000),
            }
        });
        if !entry.state.observe(observation) {
            return Ending::Unchanged;
        }
        entry.changed = true;
        entry.now = now;
        entry.as_of = entry.as_of.max(now / 1000);
        Ending::Applied
    }
}

/// A person within a batch.
struct Touched {
    person: Person,
    state: State,
    /// Somebody new, or somebody of whom there is more to say.
    changed: bool,
    /// Stream time at the last change, Unix milliseconds.
    now: i64,
    /// When the person is judged, Unix seconds.
    as_of: i64,
}

#[cfg(test)]
mod tests {
    use aftersend_schemas::identity::Namespace;
    use aftersend_schemas::profile::ProfileRecord;

    use super::*;

    #[test]
    fn a_profile_or_a_state_of_a_newer_release_ends_the_processor_before_it_writes() {
        let state = State::default();
        let evaluation = evaluate(&state, &Policy::new(&aftersend_pipeline::config::Policy::default()), 0);
        let person = Person { workspace: "default".into(), namespace: Namespace::Id, id: "u-1".into() };
        let mut record = ProfileRecord { person, as_of: 7, policy_version: 1, evaluation, state: state.encode() };
        assert_eq!(Known::read(&record.encode()).unwrap().as_of, 7);

        let mut newer_profile = record.encode();
        newer_profile[0] += 1;
        record.state[0] += 1;
        for (value, what) in [(newer_profile, "profile"), (record.encode(), "state in a profile")] {
            let error = SessionError::from(Known::read(&value).map(|known| known.as_of).unwrap_err());
            assert!(error.is_final());
            assert_eq!(
                error.to_string(),
                format!(
                    "a record of profiles cannot be read: {what} of version 2: this release reads up to version 1, upgrade it to go on"
                )
            );
        }
    }
}

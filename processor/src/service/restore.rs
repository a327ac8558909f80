//! Brings a partition of the local store up to what is committed in `profiles`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use aftersend_pipeline::config::{Config, EmailPrivacy};
use aftersend_pipeline::consumer::Handle;
use aftersend_pipeline::offsets::NextOffset;
use aftersend_pipeline::record::Record;
use aftersend_pipeline::store::{self, Batch, Kept, Key, StoreError};
use aftersend_schemas::topics::Topics;
use xxhash_rust::xxh3::xxh3_64;

use super::input::Input;
use super::metrics::ProcessorMetrics;
use super::row::{Head, Row};
use super::session::SessionError;
use super::store::{Change, Checkpoint, Store, Tally, moved, timers};
use crate::score::Policies;

const TIMEOUT: Duration = Duration::from_secs(15);

/// What a restore needs.
#[derive(Clone)]
pub(super) struct Restorer {
    pub(super) config: Config,
    pub(super) policies: Arc<Policies>,
    pub(super) store: Store,
    pub(super) group: Handle<Input>,
    pub(super) metrics: ProcessorMetrics,
    /// Of `profiles`, in milliseconds: so long a tombstone can still be read.
    pub(super) delete_retention: i64,
}

/// Addresses may be in the store.
fn keeps_addresses(config: &Config) -> bool {
    config.privacy.email == EmailPrivacy::Plain
}

/// What a copy was made under, as a number.
fn rules(config: &Config) -> u64 {
    let mut text = format!("{:?}", config.policy);
    if keeps_addresses(config) {
        text.push_str(" with addresses");
    }
    xxh3_64(text.as_bytes())
}

/// Partitions that are up to date, and where the group stands in `operator`.
pub(super) struct Ready {
    pub(super) checkpoints: BTreeMap<i32, Checkpoint>,
    pub(super) operator: Vec<(i32, Option<NextOffset>)>,
}

impl Restorer {
    /// Blocks. Ends early, with what it has, once `stop` is set.
    pub(super) fn run(&self, partitions: &[i32], stop: &AtomicBool) -> Result<Ready, SessionError> {
        let started = Instant::now();
        let topics = Topics::new(&self.config.kafka.topic_prefix);
        let restorer = store::Restorer {
            config: &self.config,
            topic: &topics.profiles(),
            group: &self.group,
            store: &self.store.rows,
            kept: self,
            // Under other rules everybody is judged again.
            rules: rules(&self.config),
            tombstones: Some(self.delete_retention),
            discarded: &self.metrics.stores_discarded,
        };
        let operators: Arc<str> = topics.operator().into();
        let operator = partitions.iter().map(|&partition| {
            let committed = self.group.committed(&(operators.clone(), partition), TIMEOUT)?;
            Ok((partition, committed.next))
        });
        let operator = operator.collect::<Result<_, SessionError>>()?;
        let store::Ready { checkpoints, records } = restorer.run(partitions, stop)?;
        self.metrics.restored.inc_by(records);
        let people: i64 = checkpoints.values().flat_map(|checkpoint| checkpoint.tally).sum();
        tracing::info!(records, people, partitions = partitions.len(), seconds = started.elapsed().as_secs_f64(), "state restored");
        Ok(Ready { checkpoints, operator })
    }
}

impl Kept for Restorer {
    type Row = (Head, Row);
    type Tally = Tally;
    type Error = SessionError;

    fn read(&self, record: Record) -> Result<Option<Self::Row>, SessionError> {
        let Some(value) = &record.value else { return Ok(None) };
        Row::of_record(value, &self.policies, keeps_addresses(&self.config)).map(Some).map_err(SessionError::unreadable(&record))
    }

    fn put(&self, batch: &mut Batch, key: Key, row: Option<Self::Row>, tally: &mut Tally) -> Result<(), SessionError> {
        let before = self.store.get(&key)?.as_ref().and_then(Row::head);
        let after = row.as_ref().map(|(head, _)| *head);
        moved(tally, before.map(|head| head.email), after.map(|head| head.email));
        let (set, done) = timers(before.as_ref(), after.as_ref());
        self.store.stage(batch, &Change { key, row: row.map(|(_, row)| row), set, done });
        Ok(())
    }

    fn wipe(&self, partition: i32) -> Result<(), StoreError> {
        self.store.wipe(partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_with_addresses_is_not_taken_for_one_without() {
        let config = |email: &str| Config::parse(&format!("[privacy]\nemail = \"{email}\"\nhash_keys = [{{ key = \"k\" }}]"), []).unwrap();
        let [hash, plain, drop] = ["hash", "plain", "drop"].map(|email| rules(&config(email)));
        assert!(hash == drop && hash != plain);
    }
}

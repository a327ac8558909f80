use std::collections::HashMap;

use aftersend_schemas::DecodeError;
use aftersend_schemas::profile::{EmailState, ProfileRecord};

use super::metrics::ProcessorMetrics;
use crate::fold::State;

/// What is known of a person: evidence, and of the last verdict what the next one needs.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) state: State,
    pub(super) email: EmailState,
    /// When that verdict was made, Unix seconds: no later one is made for an earlier time, not even in a replay.
    pub(super) as_of: i64,
}

impl Known {
    /// Reads a record of `profiles`.
    pub(super) fn read(value: &[u8]) -> Result<Self, DecodeError> {
        let record = ProfileRecord::decode(value)?;
        Ok(Self { state: State::decode(&record.state)?, email: record.evaluation.state, as_of: record.as_of })
    }
}

/// The people of the assigned partitions, as last committed.
pub(super) struct Store {
    partitions: HashMap<i32, HashMap<String, Known>>,
    metrics: ProcessorMetrics,
}

impl Store {
    pub(super) fn new(metrics: ProcessorMetrics) -> Self {
        Self { partitions: HashMap::new(), metrics }
    }

    pub(super) fn get(&self, partition: i32, person: &str) -> Option<&Known> {
        self.partitions.get(&partition)?.get(person)
    }

    pub(super) fn put(&mut self, partition: i32, person: String, known: Known) {
        let email = known.email;
        let before = self.partitions.entry(partition).or_default().insert(person, known);
        self.metrics.moved(before.map(|before| before.email), Some(email));
    }

    /// Forgets a partition that went: its next owner writes it from now on.
    pub(super) fn drop_partition(&mut self, partition: i32) {
        for known in self.partitions.remove(&partition).into_iter().flat_map(HashMap::into_values) {
            self.metrics.moved(Some(known.email), None);
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        for partition in self.partitions.keys().copied().collect::<Vec<_>>() {
            self.drop_partition(partition);
        }
    }
}

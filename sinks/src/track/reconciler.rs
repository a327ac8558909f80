//! The people of the assigned partitions: the latest profile of those with something to do, and the ledger of all.

use std::collections::{BTreeSet, HashMap};

use aftersend_pipeline::consumer::Partition;
use aftersend_pipeline::offsets::{NextOffset, Prefix};
use aftersend_schemas::ledger::LedgerRecord;
use aftersend_schemas::profile::ProfileRecord;

/// A person in a partition.
pub(super) type PersonKey = (i32, String);

/// Somebody with something to do.
pub(super) struct Open {
    pub(super) profile: ProfileRecord,
    /// Offsets of the profiles that wait for this person to be in step.
    offsets: Vec<i64>,
    /// A call is under way.
    pub(super) calling: bool,
    /// Looked at again at this time (Unix milliseconds).
    pub(super) due: i64,
    /// A newer profile came while a call was under way.
    newer: Option<ProfileRecord>,
}

/// Everything this replica holds. No I/O.
#[derive(Default)]
pub(super) struct People {
    open: HashMap<PersonKey, Open>,
    /// People without a call under way, by when they are looked at.
    due: BTreeSet<(i64, PersonKey)>,
    ledger: HashMap<PersonKey, LedgerRecord>,
    prefixes: HashMap<i32, Prefix>,
}

impl People {
    /// A partition came, with its ledger.
    pub(super) fn assign(&mut self, partition: i32, ledger: impl Iterator<Item = LedgerRecord>) {
        self.revoke(partition);
        self.prefixes.insert(partition, Prefix::default());
        for record in ledger {
            self.ledger.insert((partition, record.person.to_string()), record);
        }
    }

    /// A partition went.
    pub(super) fn revoke(&mut self, partition: i32) {
        self.prefixes.remove(&partition);
        self.open.retain(|(known, _), _| *known != partition);
        self.due.retain(|(_, (known, _))| *known != partition);
        self.ledger.retain(|(known, _), _| *known != partition);
    }

    /// A profile came. A person's older one is not looked at any more.
    pub(super) fn profile(&mut self, partition: i32, offset: i64, profile: ProfileRecord) {
        let Some(prefix) = self.prefixes.get_mut(&partition) else { return };
        prefix.start(offset);
        let key = (partition, profile.person.to_string());
        match self.open.get_mut(&key) {
            Some(open) => {
                open.offsets.push(offset);
                if open.calling {
                    open.newer = Some(profile);
                } else {
                    open.profile = profile;
                    self.due.remove(&(open.due, key.clone()));
                    open.due = 0;
                    self.due.insert((0, key));
                }
            }
            None => {
                self.open.insert(key.clone(), Open { profile, offsets: vec![offset], calling: false, due: 0, newer: None });
                self.due.insert((0, key));
            }
        }
    }

    /// A record that asks for nothing.
    pub(super) fn skip(&mut self, partition: i32, offset: i64) {
        if let Some(prefix) = self.prefixes.get_mut(&partition) {
            prefix.start(offset);
            prefix.finish(offset);
        }
    }

    /// The next person to look at, if one is due.
    pub(super) fn next_due(&mut self, now: i64) -> Option<PersonKey> {
        let (due, _) = self.due.first()?;
        if *due > now { None } else { self.due.pop_first().map(|(_, key)| key) }
    }

    /// When the next person is due.
    pub(super) fn next_due_at(&self) -> Option<i64> {
        self.due.first().map(|(due, _)| *due)
    }

    pub(super) fn get(&self, key: &PersonKey) -> Option<(&Open, LedgerRecord)> {
        let open = self.open.get(key)?;
        let ledger = self.ledger.get(key).cloned().unwrap_or_else(|| LedgerRecord::new(open.profile.person.clone()));
        Some((open, ledger))
    }

    pub(super) fn calling(&mut self, key: &PersonKey) {
        if let Some(open) = self.open.get_mut(key) {
            open.calling = true;
        }
    }

    /// Looks at the person again at `due`.
    pub(super) fn wait(&mut self, key: PersonKey, due: i64) {
        if let Some(open) = self.open.get_mut(&key) {
            open.due = due;
            self.due.insert((due, key));
        }
    }

    /// A call was answered: the ledger is this now, and the person is looked at again.
    pub(super) fn answered(&mut self, key: PersonKey, ledger: LedgerRecord) {
        if let Some(open) = self.open.get_mut(&key) {
            open.calling = false;
            if let Some(newer) = open.newer.take() {
                open.profile = newer;
            }
            open.due = 0;
            self.due.insert((0, key.clone()));
            self.ledger.insert(key, ledger);
        }
    }

    /// Calls under way were given up: everybody concerned is looked at again.
    pub(super) fn abandon_calls(&mut self) {
        for (key, open) in self.open.iter_mut().filter(|(_, open)| open.calling) {
            open.calling = false;
            if let Some(newer) = open.newer.take() {
                open.profile = newer;
            }
            open.due = 0;
            self.due.insert((0, key.clone()));
        }
    }

    /// The partitions that are ours.
    pub(super) fn partitions(&self) -> impl Iterator<Item = i32> {
        self.prefixes.keys().copied()
    }

    /// There is nothing more to do for this person.
    pub(super) fn done(&mut self, key: &PersonKey) {
        if let (Some(open), Some(prefix)) = (self.open.remove(key), self.prefixes.get_mut(&key.0)) {
            for offset in open.offsets {
                prefix.finish(offset);
            }
        }
    }

    /// Offsets behind which everybody is in step, where they moved.
    pub(super) fn take_committable(&mut self, topic: &std::sync::Arc<str>) -> Vec<(Partition, NextOffset)> {
        let moved =
            self.prefixes.iter_mut().filter_map(|(partition, prefix)| Some(((topic.clone(), *partition), prefix.take_committable()?)));
        moved.collect()
    }

    /// People with something to do.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }
}

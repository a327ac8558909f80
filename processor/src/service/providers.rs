//! What this replica's partitions add to the windows of mailbox providers, and who must be looked at again when a quarantine changes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use aftersend_pipeline::record::Record;
use aftersend_pipeline::store::Key;
use aftersend_schemas::DecodeError;
use aftersend_schemas::address::ProviderId;

use super::transaction::Output;
use crate::providers::{Changed, Mailed, Standings, View, Window, WindowKey};

/// Windows of a partition that are added to; the oldest go first. Each is small, and mail that comes so late changes no verdict.
const WINDOWS: usize = 4_096;
/// People who bounced lately, by provider: those beyond are looked at again when their window is complete.
const BOUNCED: usize = 4_096;

/// Seconds, by the newest of all, for which a bounce is kept in memory.
const LATELY: u32 = 6 * 3_600;

/// When (Unix seconds), and who.
type Bounced = VecDeque<(u32, Key)>;

#[derive(Default)]
pub(super) struct Providers {
    standings: Standings,
    /// What each partition contributed, as written or, for our own, about to be.
    contributions: BTreeMap<i32, BTreeMap<WindowKey, Window>>,
    owned: BTreeSet<i32>,
    /// Windows that the batch has added to.
    touched: BTreeSet<(i32, WindowKey)>,
    /// Those that the transaction under way holds.
    flying: BTreeSet<(i32, WindowKey)>,
    bounced: HashMap<(Arc<str>, ProviderId), Bounced>,
    workspaces: HashSet<Arc<str>>,
}

impl Providers {
    /// A record of the topic: another partition's contribution, or ours as it was written before.
    pub(super) fn read(&mut self, record: &Record) -> Result<(), DecodeError> {
        let Some((key, value)) = WindowKey::decode(&record.key).zip(record.value.as_deref()) else { return Ok(()) };
        let window = Window::decode(value)?;
        let contributed = self.contributions.entry(record.partition).or_default();
        bound(contributed, &key);
        let known = contributed.entry(key.clone()).or_default();
        known.merge(&window);
        // A predecessor's was written over before it was read here: both are written once more, joined.
        if *known != window && self.owned.contains(&record.partition) {
            self.touched.insert((record.partition, key.clone()));
        }
        // With what was counted here before it was of interest.
        self.standings.merge(&key, known);
        Ok(())
    }

    /// A partition is ours: we write its contributions from now on.
    pub(super) fn take(&mut self, partition: i32) {
        self.owned.insert(partition);
    }

    pub(super) fn let_go(&mut self, partition: i32) {
        self.owned.remove(&partition);
        self.touched.retain(|(own, _)| *own != partition);
        self.flying.retain(|(own, _)| *own != partition);
        for bounced in self.bounced.values_mut() {
            bounced.retain(|(_, key)| key.partition() != partition);
        }
    }

    /// A mail to somebody.
    pub(super) fn observe(&mut self, partition: i32, person: &Key, mailed: &Mailed) {
        if mailed.provider == ProviderId::UNKNOWN {
            return;
        }
        let workspace = self.workspace(person.workspace());
        if mailed.hard.is_some() {
            let bounced = self.bounced.entry((workspace.clone(), mailed.provider)).or_default();
            if bounced.len() >= BOUNCED {
                bounced.pop_front();
            }
            bounced.push_back((mailed.at, person.clone()));
        }
        let key = WindowKey::of(&workspace, mailed);
        let contributed = self.contributions.entry(partition).or_default();
        bound(contributed, &key);
        let window = contributed.entry(key.clone()).or_default();
        let was_of_interest = window.has_bounces();
        if !window.observe(mailed) || !window.has_bounces() {
            return;
        }
        if was_of_interest {
            self.standings.observe(&key, mailed);
        } else {
            self.standings.merge(&key, window);
        }
        self.touched.insert((partition, key));
    }

    /// One name for each, shared.
    fn workspace(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.workspaces.get(name) {
            return known.clone();
        }
        let name: Arc<str> = name.into();
        self.workspaces.insert(name.clone());
        name
    }

    /// Works out what follows from everything that was joined. Whoever may stand differently now.
    pub(super) fn settle(&mut self) -> BTreeSet<Key> {
        let mut affected = BTreeSet::new();
        for Changed { workspace, provider, seconds, open } in self.standings.settle() {
            tracing::warn!(
                workspace = &*workspace,
                provider = provider.0,
                from = seconds.start,
                until = seconds.end,
                open,
                "quarantine of a mailbox provider"
            );
            let bounced = self.bounced.get(&(workspace, provider)).into_iter().flatten();
            affected.extend(bounced.filter(|(at, _)| seconds.contains(at)).map(|(_, key)| key.clone()));
        }
        affected
    }

    /// Contributions that the batch has changed, as records.
    pub(super) fn outputs(&mut self, topic: &Arc<str>, timestamp: i64) -> Vec<Output> {
        self.flying = std::mem::take(&mut self.touched);
        let output = |(partition, key): (i32, WindowKey)| {
            let value = self.contributions.get(&partition)?.get(&key)?.encode();
            Some(Output { topic: topic.clone(), partition, key: key.encode().into(), timestamp, value: Some(value) })
        };
        self.flying.iter().cloned().filter_map(output).collect()
    }

    /// The transaction came to nothing.
    pub(super) fn crash(&mut self) {
        self.touched.append(&mut self.flying);
    }

    pub(super) fn view(&self, workspace: &str) -> View<'_> {
        self.standings.view(workspace)
    }

    /// Forgets what can change no verdict any more.
    pub(super) fn forget_old(&mut self) {
        let newest = self.standings.forget_old();
        self.bounced.retain(|_, bounced| {
            bounced.retain(|(at, _)| at.saturating_add(LATELY) >= newest);
            !bounced.is_empty()
        });
    }

    /// Quarantines in force at a moment.
    pub(super) fn open_at(&self, seconds: i64) -> usize {
        u32::try_from(seconds).map_or(0, |second| self.standings.open_at(second))
    }
}

/// Makes room for a window: the oldest goes.
fn bound(windows: &mut BTreeMap<WindowKey, Window>, key: &WindowKey) {
    if windows.len() >= WINDOWS && !windows.contains_key(key) {
        windows.pop_first();
    }
}

//! What this replica's partitions add to the windows of mailbox providers, and who must be looked at again when a quarantine changes.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
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

#[derive(Default)]
pub(super) struct Providers {
    standings: Standings,
    /// What each partition contributed, as written or, for our own, about to be.
    contributions: BTreeMap<i32, BTreeMap<(u32, WindowKey), Window>>,
    owned: BTreeSet<i32>,
    /// Windows that the batch has added to.
    touched: BTreeSet<(i32, u32, WindowKey)>,
    /// Those that the transaction under way holds.
    flying: BTreeSet<(i32, u32, WindowKey)>,
    bounced: HashMap<(String, ProviderId), VecDeque<(u32, Key)>>,
}

impl Providers {
    /// A record of the topic: another partition's contribution, or ours as it was written before.
    pub(super) fn read(&mut self, record: &Record) -> Result<Vec<Key>, DecodeError> {
        let Some((key, value)) = WindowKey::decode(&record.key).zip(record.value.as_deref()) else { return Ok(Vec::new()) };
        let window = Window::decode(value)?;
        let place = (key.start, key.clone());
        let contributed = self.contributions.entry(record.partition).or_default();
        bound(contributed, &place);
        let known = contributed.entry(place).or_default();
        known.merge(&window);
        // A predecessor's was written over before it was read here: both are written once more, joined.
        if *known != window && self.owned.contains(&record.partition) {
            self.touched.insert((record.partition, key.start, key.clone()));
        }
        Ok(self.merge(&key, &window))
    }

    /// A partition is ours: we write its contributions from now on.
    pub(super) fn take(&mut self, partition: i32) {
        self.owned.insert(partition);
    }

    pub(super) fn let_go(&mut self, partition: i32) {
        self.owned.remove(&partition);
        self.touched.retain(|(own, ..)| *own != partition);
        self.flying.retain(|(own, ..)| *own != partition);
        for bounced in self.bounced.values_mut() {
            bounced.retain(|(_, key)| key.partition() != partition);
        }
    }

    /// A mail. Whoever stands differently now.
    pub(super) fn observe(&mut self, partition: i32, workspace: &str, mailed: &Mailed, person: &Key) -> Vec<Key> {
        if mailed.provider == ProviderId::UNKNOWN {
            return Vec::new();
        }
        let key = WindowKey::of(workspace, mailed);
        let place = (key.start, key.clone());
        let contributed = self.contributions.entry(partition).or_default();
        bound(contributed, &place);
        let window = contributed.entry(place).or_default();
        let changed = window.observe(mailed);
        if mailed.hard.is_some() {
            let bounced = self.bounced.entry((workspace.to_owned(), mailed.provider)).or_default();
            if bounced.len() >= BOUNCED {
                bounced.pop_front();
            }
            bounced.push_back((mailed.at, person.clone()));
        }
        if !changed || !window.has_bounces() {
            return Vec::new();
        }
        let window = window.clone();
        self.touched.insert((partition, key.start, key.clone()));
        self.merge(&key, &window)
    }

    fn merge(&mut self, key: &WindowKey, window: &Window) -> Vec<Key> {
        let Some(Changed { seconds, open }) = self.standings.merge(key, window) else { return Vec::new() };
        tracing::warn!(
            workspace = key.workspace,
            provider = key.provider.0,
            from = seconds.start,
            until = seconds.end,
            open,
            "quarantine of a mailbox provider"
        );
        let bounced = self.bounced.get(&(key.workspace.clone(), key.provider));
        bounced.into_iter().flatten().filter(|(at, _)| seconds.contains(at)).map(|(_, key)| key.clone()).collect()
    }

    /// Contributions that the batch has changed, as records.
    pub(super) fn outputs(&mut self, topic: &Arc<str>, timestamp: i64) -> Vec<Output> {
        self.flying = std::mem::take(&mut self.touched);
        let output = |(partition, start, key): (i32, u32, WindowKey)| {
            let value = self.contributions.get(&partition)?.get(&(start, key.clone()))?.encode();
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
fn bound(windows: &mut BTreeMap<(u32, WindowKey), Window>, place: &(u32, WindowKey)) {
    if windows.len() >= WINDOWS && !windows.contains_key(place) {
        windows.pop_first();
    }
}

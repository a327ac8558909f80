use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use aftersend_schemas::DecodeError;
use aftersend_schemas::address::ProviderId;

use super::quarantine::{BOUNCES, OPEN_FOR, Quarantine, QuarantineKey, QuarantineRecord, Quarantines, USUAL, difference, quarantines};
use super::window::{BUCKET, Mailed, Window, WindowKey};
use crate::score::Standing;

/// Seconds after a hard bounce at which its window is taken to be complete: shorter than any hold before something irreversible.
pub const SETTLE: i64 = 600;
/// Whose windows run ahead by so many seconds, as in a backlog, is looked at before they do.
const LOOK: u32 = 86_400;
/// Windows older than this, seen from the newest, are forgotten.
const KEEP: u32 = USUAL + OPEN_FOR;

/// The windows of one provider in one workspace, and what follows from them.
#[derive(Debug, Default)]
struct Provider {
    windows: BTreeMap<u32, Window>,
    /// When hard bounces are not to be believed.
    quarantines: Quarantines,
    /// First seconds of those that stay whatever is heard of their time.
    kept: BTreeSet<u32>,
    /// Read from their topic since the last were worked out; nothing for one that never was.
    recalled: BTreeMap<u32, Option<Quarantine>>,
    /// Windows have changed since the quarantines were worked out.
    is_stale: bool,
}

impl Provider {
    /// False for most providers always: they never come near a quarantine.
    fn may_change(&self, start: u32, settled: u32) -> bool {
        let around = self.windows.range(start.saturating_sub(BUCKET)..=start.saturating_add(BUCKET));
        let is_open = self.quarantines.last_key_value().is_some_and(|(_, last)| last.until > settled);
        start >= settled && (is_open || around.map(|(_, window)| window.hard()).sum::<f64>() >= BOUNCES)
    }

    /// The seconds that stand differently, and whether in quarantine now.
    fn settle(&mut self, settled: u32) -> Vec<(Range<u32>, bool)> {
        self.is_stale = false;
        let mut known = self.quarantines.clone();
        for (start, recalled) in std::mem::take(&mut self.recalled) {
            match recalled {
                Some(quarantine) => known.insert(start, quarantine),
                None => known.remove(&start),
            };
        }
        let found = quarantines(&known, &self.kept, &self.windows, settled);
        self.kept.retain(|start| found.contains_key(start));
        let before = std::mem::replace(&mut self.quarantines, found);
        difference(&before, &self.quarantines)
    }

    fn forget_old(&mut self) {
        let oldest = self.newest().unwrap_or_default().saturating_sub(KEEP);
        while let Some(first) = self.windows.first_entry().filter(|first| *first.key() < oldest) {
            first.remove();
        }
    }

    fn newest(&self) -> Option<u32> {
        self.windows.last_key_value().map(|(start, _)| *start)
    }

    fn quarantined(&self, at: u32) -> bool {
        self.quarantines.range(..=at).next_back().is_some_and(|(_, last)| at < last.until)
    }
}

/// The providers of one workspace.
#[derive(Debug, Default)]
struct Workspace {
    providers: HashMap<ProviderId, Provider>,
    /// The newest window that anybody knew of, and that of the last look.
    newest: u32,
    looked_at: u32,
}

impl Workspace {
    /// What began before is settled.
    fn settled(&self) -> u32 {
        self.newest.saturating_sub(OPEN_FOR)
    }

    /// Whoever writes it says when that is.
    fn record(&self, quarantine: Quarantine) -> QuarantineRecord {
        QuarantineRecord { quarantine, newest: self.newest, found_at: 0, written_at: 0 }
    }
}

/// How everybody's providers stand, as far as is known.
#[derive(Debug, Default)]
pub struct Standings {
    workspaces: HashMap<Arc<str>, Workspace>,
    /// Whose quarantines are to be worked out.
    stale: Vec<(Arc<str>, ProviderId)>,
    /// What has changed and was not told yet.
    changed: Vec<Changed>,
}

/// A quarantine that began, grew or shrank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Whose mail.
    pub workspace: Arc<str>,
    /// To whose mailboxes.
    pub provider: ProviderId,
    /// Unix seconds whose hard bounces stand differently now.
    pub seconds: Range<u32>,
    /// It is in force, or it is found never to have been.
    pub open: bool,
}

impl Standings {
    /// Joins a window. What follows from it is known when things are settled.
    pub fn merge(&mut self, key: &WindowKey, window: &Window) {
        self.change(key, |known| known.merge(window));
    }

    /// Joins one more mail to a window.
    pub fn observe(&mut self, key: &WindowKey, mailed: &Mailed) {
        self.change(key, |known| known.observe(mailed));
    }

    /// Joins a quarantine as it was written once; nothing is one that was found never to have been.
    pub fn recall(&mut self, key: &QuarantineKey, record: Option<QuarantineRecord>) {
        let workspace = self.workspaces.entry(key.workspace.clone()).or_default();
        workspace.newest = workspace.newest.max(record.map_or(0, |record| record.newest));
        let provider = workspace.providers.entry(key.provider).or_default();
        provider.recalled.insert(key.start, record.map(|record| record.quarantine));
        if record.is_some_and(|record| record.is_settled()) {
            provider.kept.insert(key.start)
        } else {
            provider.kept.remove(&key.start)
        };
        if !provider.is_stale {
            provider.is_stale = true;
            self.stale.push((key.workspace.clone(), key.provider));
        }
    }

    /// Joins a record of the topic, a window or a quarantine; what is neither is passed over.
    pub fn read(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), DecodeError> {
        if let Some(key) = QuarantineKey::decode(key) {
            self.recall(&key, value.map(QuarantineRecord::decode).transpose()?);
        } else if let Some((key, value)) = WindowKey::decode(key).zip(value) {
            self.merge(&key, &Window::decode(value)?);
        }
        Ok(())
    }

    /// Before mail of a window is counted that runs ahead of what was looked at: works out what follows from everything until then. Not for what is read from
    /// the topic: its oldest windows have lost the week before them.
    pub fn look_before(&mut self, key: &WindowKey) {
        if self.workspaces.get(&key.workspace).is_some_and(|workspace| workspace.looked_at.saturating_add(LOOK) < key.start) {
            self.work_out();
        }
    }

    /// True if anybody's mail of a window bounced: other windows are of no interest to anybody.
    pub fn has_bounces(&self, key: &WindowKey) -> bool {
        let provider = self.workspaces.get(&key.workspace).and_then(|workspace| workspace.providers.get(&key.provider));
        provider.and_then(|provider| provider.windows.get(&key.start)).is_some_and(Window::has_bounces)
    }

    fn change(&mut self, key: &WindowKey, join: impl FnOnce(&mut Window) -> bool) {
        let workspace = self.workspaces.entry(key.workspace.clone()).or_default();
        workspace.newest = workspace.newest.max(key.start);
        let settled = workspace.settled();
        let provider = workspace.providers.entry(key.provider).or_default();
        let grew = join(provider.windows.entry(key.start).or_default());
        provider.forget_old();
        if grew && !provider.is_stale && provider.may_change(key.start, settled) {
            provider.is_stale = true;
            self.stale.push((key.workspace.clone(), key.provider));
        }
    }

    /// Works out the quarantines of everybody whose windows changed: once, however much was joined. What stands differently now.
    pub fn settle(&mut self) -> Vec<Changed> {
        self.work_out();
        std::mem::take(&mut self.changed)
    }

    fn work_out(&mut self) {
        for (name, id) in std::mem::take(&mut self.stale) {
            let Some(workspace) = self.workspaces.get_mut(&name) else { continue };
            let settled = workspace.settled();
            let changed = workspace.providers.get_mut(&id).map(|provider| provider.settle(settled)).unwrap_or_default();
            let changed = changed.into_iter().map(|(seconds, open)| Changed { workspace: name.clone(), provider: id, seconds, open });
            self.changed.extend(changed);
        }
        for workspace in self.workspaces.values_mut() {
            workspace.looked_at = workspace.newest;
        }
    }

    /// Drops providers of whom nothing was heard for longer than windows are kept, by the newest of their workspace, and who never were in quarantine.
    pub fn forget_old(&mut self) {
        for Workspace { providers, newest, .. } in self.workspaces.values_mut() {
            let oldest = newest.saturating_sub(KEEP);
            let is_fresh = |provider: &Provider| provider.is_stale || provider.newest().is_some_and(|own| own >= oldest);
            providers.retain(|_, provider| !provider.quarantines.is_empty() || is_fresh(provider));
        }
    }

    /// One workspace's view.
    pub fn view<'s>(&'s self, workspace: &str) -> View<'s> {
        View(self.workspaces.get(workspace).map(|workspace| &workspace.providers))
    }

    /// All quarantines that are known, as they are to be kept.
    pub fn records(&self) -> impl Iterator<Item = (QuarantineKey, QuarantineRecord)> {
        self.workspaces.iter().flat_map(|(name, workspace)| {
            let record = |quarantine: &Quarantine| workspace.record(*quarantine);
            workspace.providers.iter().flat_map(move |(id, provider)| {
                let key = |start: &u32| QuarantineKey { workspace: name.clone(), provider: *id, start: *start };
                provider.quarantines.iter().map(move |(start, quarantine)| (key(start), record(quarantine)))
            })
        })
    }

    /// One of them.
    pub fn record(&self, key: &QuarantineKey) -> Option<QuarantineRecord> {
        let workspace = self.workspaces.get(&key.workspace)?;
        let quarantine = *workspace.providers.get(&key.provider)?.quarantines.get(&key.start)?;
        Some(workspace.record(quarantine))
    }

    /// Quarantines that cover a second, over all workspaces.
    pub fn open_at(&self, second: u32) -> usize {
        let providers = self.workspaces.values().flat_map(|workspace| workspace.providers.values());
        providers.filter(|provider| provider.quarantined(second)).count()
    }
}

/// See [`Standings::view`].
#[derive(Debug, Clone, Copy)]
pub struct View<'s>(Option<&'s HashMap<ProviderId, Provider>>);

impl Standing for View<'_> {
    fn quarantined(&self, provider: ProviderId, at: u32) -> bool {
        let provider = self.0.and_then(|providers| providers.get(&provider));
        provider.is_some_and(|provider| provider.quarantined(at))
    }
}

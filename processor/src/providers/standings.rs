use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use aftersend_schemas::address::ProviderId;

use super::window::{BUCKET, Mailed, Window, WindowKey};
use crate::score::Standing;

/// Seconds after a hard bounce at which its window is taken to be complete: shorter than any hold before something irreversible.
pub const SETTLE: i64 = 600;
/// Hard bounces in two windows without which nobody is in quarantine.
const BOUNCES: f64 = 30.0;
/// Share of the mail that must have bounced, and how many times more than usual.
const RATE: f64 = 0.05;
const LEAP: f64 = 8.0;
/// Share of the bounces with one text.
const ONE_TEXT: f64 = 0.7;
/// It ends after so many calm windows, an hour: below twice the usual rate, and below half of the rate that opens one.
const CALM_WINDOWS: u32 = 3600 / BUCKET;
const CALM_LEAP: f64 = 2.0;
/// What is usual is the median of so many seconds before.
const USUAL: u32 = 7 * 86_400;
/// Windows older than this, seen from the newest, are forgotten.
const KEEP: u32 = 8 * 86_400;

/// The windows of one provider in one workspace, and what follows from them.
#[derive(Debug, Default)]
struct Provider {
    windows: BTreeMap<u32, Window>,
    /// Unix seconds within which hard bounces are not to be believed.
    quarantines: Vec<Range<u32>>,
    /// Windows have changed since the quarantines were worked out.
    is_stale: bool,
}

impl Provider {
    /// False for most providers always: they never come near a quarantine.
    fn may_change(&self, start: u32) -> bool {
        let around = self.windows.range(start.saturating_sub(BUCKET)..=start.saturating_add(BUCKET));
        !self.quarantines.is_empty() || around.map(|(_, window)| window.hard()).sum::<f64>() >= BOUNCES
    }

    /// The seconds that stand differently, and whether in quarantine now.
    fn settle(&mut self) -> Option<(Range<u32>, bool)> {
        self.is_stale = false;
        let before = std::mem::replace(&mut self.quarantines, quarantines(&self.windows));
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
}

/// How everybody's providers stand, as far as is known.
#[derive(Debug, Default)]
pub struct Standings {
    workspaces: HashMap<Arc<str>, HashMap<ProviderId, Provider>>,
    /// Whose quarantines are to be worked out.
    stale: Vec<(Arc<str>, ProviderId)>,
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

    fn change(&mut self, key: &WindowKey, join: impl FnOnce(&mut Window) -> bool) {
        let provider = self.workspaces.entry(key.workspace.clone()).or_default().entry(key.provider).or_default();
        let grew = join(provider.windows.entry(key.start).or_default());
        provider.forget_old();
        if grew && !provider.is_stale && provider.may_change(key.start) {
            provider.is_stale = true;
            self.stale.push((key.workspace.clone(), key.provider));
        }
    }

    /// Works out the quarantines of everybody whose windows changed: once, however much was joined. What stands differently now.
    pub fn settle(&mut self) -> Vec<Changed> {
        let mut all = Vec::new();
        for (workspace, id) in std::mem::take(&mut self.stale) {
            let Some(provider) = self.workspaces.get_mut(&workspace).and_then(|providers| providers.get_mut(&id)) else { continue };
            if let Some((seconds, open)) = provider.settle() {
                all.push(Changed { workspace, provider: id, seconds, open });
            }
        }
        all
    }

    /// Drops providers of whom nothing was heard for longer than anything is kept, by the newest window of their workspace. The newest of all.
    pub fn forget_old(&mut self) -> u32 {
        let newest = |providers: &HashMap<ProviderId, Provider>| providers.values().filter_map(Provider::newest).max().unwrap_or_default();
        let mut of_all = 0;
        for providers in self.workspaces.values_mut() {
            let newest = newest(providers);
            of_all = of_all.max(newest);
            providers.retain(|_, provider| provider.newest().is_some_and(|own| own >= newest.saturating_sub(KEEP)));
        }
        of_all
    }

    /// One workspace's view.
    pub fn view<'s>(&'s self, workspace: &str) -> View<'s> {
        View(self.workspaces.get(workspace))
    }

    /// Quarantines that cover a second, over all workspaces.
    pub fn open_at(&self, second: u32) -> usize {
        let providers = self.workspaces.values().flat_map(HashMap::values);
        providers.filter(|provider| provider.quarantines.iter().any(|range| range.contains(&second))).count()
    }
}

/// See [`Standings::view`].
#[derive(Debug, Clone, Copy)]
pub struct View<'s>(Option<&'s HashMap<ProviderId, Provider>>);

impl Standing for View<'_> {
    fn quarantined(&self, provider: ProviderId, at: u32) -> bool {
        let provider = self.0.and_then(|providers| providers.get(&provider));
        provider.is_some_and(|provider| provider.quarantines.iter().any(|range| range.contains(&at)))
    }
}

/// When hard bounces leapt: a function of the windows alone, whenever they came.
fn quarantines(windows: &BTreeMap<u32, Window>) -> Vec<Range<u32>> {
    let mut found: Vec<Range<u32>> = Vec::new();
    let mut usual_before_last = 0.0;
    for (&start, window) in windows {
        if let Some(last) = found.last_mut().filter(|last| start < last.end) {
            if rate(window) >= (CALM_LEAP * usual_before_last).max(RATE / 2.0) {
                last.end = start.saturating_add(BUCKET * (CALM_WINDOWS + 1));
            }
            continue;
        }
        let before = start.saturating_sub(BUCKET);
        let earlier = windows.get(&before);
        // Exact where it is so small, and two have no more than both.
        if window.hard() + earlier.map_or(0.0, Window::hard) < BOUNCES {
            continue;
        }
        let mut two = window.clone();
        if let Some(earlier) = earlier {
            two.merge(earlier);
        }
        let leapt = || rate(&two) >= (LEAP * usual(windows, before)).max(RATE);
        if two.hard() >= BOUNCES && two.common() >= ONE_TEXT && leapt() {
            let end = start.saturating_add(BUCKET * (CALM_WINDOWS + 1));
            match found.last_mut().filter(|last| before < last.end) {
                Some(last) => last.end = end,
                None => {
                    usual_before_last = usual(windows, before);
                    found.push(before..end);
                }
            }
        }
    }
    found
}

fn rate(window: &Window) -> f64 {
    if window.mailed() > 0.0 { window.hard() / window.mailed() } else { 0.0 }
}

/// The median rate of the week before. Windows without a bounce are not written, and count as none.
fn usual(windows: &BTreeMap<u32, Window>, before: u32) -> f64 {
    let from = before.saturating_sub(USUAL);
    let mut rates: Vec<f64> = windows.range(from..before).map(|(_, window)| rate(window)).collect();
    let all = (USUAL / BUCKET) as usize;
    let (missing, middle) = (all.saturating_sub(rates.len()), all / 2);
    if missing > middle {
        return 0.0;
    }
    rates.sort_by(f64::total_cmp);
    rates.get(middle - missing).copied().unwrap_or_default()
}

fn difference(before: &[Range<u32>], after: &[Range<u32>]) -> Option<(Range<u32>, bool)> {
    let surplus = |of: &[Range<u32>], other: &[Range<u32>]| {
        let changed = of.iter().filter(|range| !other.contains(range));
        changed.cloned().reduce(|all, range| all.start.min(range.start)..all.end.max(range.end))
    };
    match (surplus(after, before), surplus(before, after)) {
        (Some(seconds), gone) => {
            let seconds = gone.map_or(seconds.clone(), |gone| gone.start.min(seconds.start)..gone.end.max(seconds.end));
            Some((seconds, true))
        }
        (None, Some(seconds)) => Some((seconds, false)),
        (None, None) => None,
    }
}

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use aftersend_schemas::address::ProviderId;

use super::window::{BUCKET, Window, WindowKey};
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
}

impl Provider {
    fn newest(&self) -> Option<u32> {
        self.windows.last_key_value().map(|(start, _)| *start)
    }
}

/// How everybody's providers stand, as far as is known.
#[derive(Debug, Default)]
pub struct Standings {
    workspaces: HashMap<String, HashMap<ProviderId, Provider>>,
}

/// A quarantine that began, grew or shrank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Unix seconds whose hard bounces stand differently now.
    pub seconds: Range<u32>,
    /// It is in force, or it is found never to have been.
    pub open: bool,
}

impl Standings {
    /// Joins a window. The seconds whose standing is another one now, if there are any.
    pub fn merge(&mut self, key: &WindowKey, window: &Window) -> Option<Changed> {
        let provider = self.workspaces.entry(key.workspace.clone()).or_default().entry(key.provider).or_default();
        if !provider.windows.entry(key.start).or_default().merge(window) {
            return None;
        }
        let newest = provider.windows.last_key_value().map_or(0, |(start, _)| *start);
        provider.windows = provider.windows.split_off(&newest.saturating_sub(KEEP));
        // Most providers never come near.
        let around = provider.windows.range(key.start.saturating_sub(BUCKET)..=key.start.saturating_add(BUCKET));
        if provider.quarantines.is_empty() && around.map(|(_, window)| window.hard()).sum::<f64>() < BOUNCES {
            return None;
        }
        let before = std::mem::replace(&mut provider.quarantines, quarantines(&provider.windows));
        difference(&before, &provider.quarantines)
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
    for (&start, window) in windows {
        if let Some(last) = found.last_mut().filter(|last| start < last.end) {
            let usual = usual(windows, last.start);
            if rate(window) >= (CALM_LEAP * usual).max(RATE / 2.0) {
                last.end = start.saturating_add(BUCKET * (CALM_WINDOWS + 1));
            }
            continue;
        }
        let mut two = window.clone();
        let before = start.saturating_sub(BUCKET);
        if let Some(earlier) = windows.get(&before) {
            two.merge(earlier);
        }
        let leapt = || rate(&two) >= (LEAP * usual(windows, before)).max(RATE);
        if two.hard() >= BOUNCES && two.common() >= ONE_TEXT && leapt() {
            let end = start.saturating_add(BUCKET * (CALM_WINDOWS + 1));
            match found.last_mut().filter(|last| before < last.end) {
                Some(last) => last.end = end,
                None => found.push(before..end),
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

fn difference(before: &[Range<u32>], after: &[Range<u32>]) -> Option<Changed> {
    let surplus = |of: &[Range<u32>], other: &[Range<u32>]| {
        let changed = of.iter().filter(|range| !other.contains(range));
        changed.cloned().reduce(|all, range| all.start.min(range.start)..all.end.max(range.end))
    };
    match (surplus(after, before), surplus(before, after)) {
        (Some(seconds), gone) => {
            let seconds = gone.map_or(seconds.clone(), |gone| gone.start.min(seconds.start)..gone.end.max(seconds.end));
            Some(Changed { seconds, open: true })
        }
        (None, Some(seconds)) => Some(Changed { seconds, open: false }),
        (None, None) => None,
    }
}

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use aftersend_schemas::DecodeError;
use aftersend_schemas::address::ProviderId;
use aftersend_schemas::versioned::Format;
use serde::{Deserialize, Serialize};

use super::window::{BUCKET, Window, key, read_key};

const FORMAT: Format = Format::new("provider quarantine", 1);
/// Before the start in a record's key.
const MARK: &str = "q";
/// Hard bounces in two windows without which nobody is in quarantine.
pub(super) const BOUNCES: f64 = 30.0;
/// Share of the mail that must have bounced, and how many times more than usual.
const RATE: f64 = 0.05;
const LEAP: f64 = 8.0;
/// Share of the bounces with one text.
const ONE_TEXT: f64 = 0.7;
/// It ends after so many calm windows, an hour: below twice the usual rate, and below half of the rate that opens one.
const CALM_WINDOWS: u32 = 3600 / BUCKET;
const CALM_LEAP: f64 = 2.0;
/// Quarantines that began so many seconds before the newest window of their workspace, or have stood so long, stay as they are: until then their windows have
/// a whole week before them. As long as Customer.io tries to deliver a webhook.
pub(super) const OPEN_FOR: u32 = 7 * 86_400;
/// What is usual is the median of so many seconds before.
pub(super) const USUAL: u32 = 7 * 86_400;
/// What is known of one provider: the oldest go first.
const KNOWN: usize = 64;

/// Seconds whose hard bounces from a provider are not to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Quarantine {
    /// The first second (Unix) after it.
    pub until: u32,
    /// The rate of hard bounces that was usual before it.
    pub usual: f32,
}

/// A quarantine as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct QuarantineRecord {
    /// What was found.
    pub quarantine: Quarantine,
    /// The newest window (Unix seconds) of its workspace at the time.
    pub newest: u32,
    /// When the clock (Unix seconds) saw it first as it is here, and when it was written.
    pub found_at: i64,
    /// See `found_at`.
    pub written_at: i64,
}

impl QuarantineRecord {
    /// True for one that has stayed as it is for so long that what is heard of its time now is a replay, or a part of what was heard.
    pub(super) fn is_settled(&self) -> bool {
        self.written_at.saturating_sub(self.found_at) >= i64::from(OPEN_FOR)
    }

    /// The record's value.
    pub fn encode(&self) -> Vec<u8> {
        FORMAT.encode(self)
    }

    /// Reads a value written by this or an earlier release.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let fields = FORMAT.open(bytes)?;
        match fields.version {
            1 => fields.read(),
            _ => Err(fields.malformed()),
        }
    }
}

/// Whose quarantine, and when it began.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct QuarantineKey {
    /// Workspaces never mix.
    pub workspace: Arc<str>,
    /// Whose mailboxes.
    pub provider: ProviderId,
    /// Unix seconds, a multiple of [`BUCKET`].
    pub start: u32,
}

impl QuarantineKey {
    /// The key of the record: `workspace:provider:qstart`, which is no key of a window. Kafka's own rule chooses its partition.
    pub fn encode(&self) -> Vec<u8> {
        key(&self.workspace, self.provider, MARK, self.start)
    }

    /// Reads a key.
    pub fn decode(key: &[u8]) -> Option<Self> {
        let (workspace, provider, start) = read_key(key, MARK)?;
        Some(Self { workspace, provider, start })
    }
}

/// The quarantines of one provider by their first second.
pub(super) type Quarantines = BTreeMap<u32, Quarantine>;

/// When hard bounces leapt. What began before `settled` stays as it is `known`, and so does what is among the `kept`, or no window says anything of any more;
/// the rest follows from the windows since, whenever they came.
pub(super) fn quarantines(known: &Quarantines, kept: &BTreeSet<u32>, windows: &BTreeMap<u32, Window>, settled: u32) -> Quarantines {
    let is_forgotten = |start: u32| windows.range(start..=start.saturating_add(BUCKET)).next().is_none();
    let stands = |(start, _): &(&u32, &Quarantine)| **start < settled || kept.contains(start) || is_forgotten(**start);
    let mut found: Quarantines = known.iter().filter(stands).map(|(start, quarantine)| (*start, *quarantine)).collect();
    if let Some((_, last)) = found.range_mut(..settled).next_back().filter(|(start, last)| last.until > settled && !kept.contains(start))
        && windows.range(settled..last.until).next().is_some()
    {
        // How far it reaches into what is looked at now is for the windows there to say.
        last.until = last.until.min(until(settled));
    }
    for (&start, window) in windows.range(settled..) {
        if let Some((_, last)) = found.range_mut(..=start).next_back().filter(|(_, last)| start < last.until) {
            if rate(window) >= (CALM_LEAP * f64::from(last.usual)).max(RATE / 2.0) {
                last.until = last.until.max(until(start));
            }
            continue;
        }
        let before = start.saturating_sub(BUCKET);
        let earlier = windows.get(&before);
        // Exact where it is so small, and two have no more than both.
        if before < settled || window.hard() + earlier.map_or(0.0, Window::hard) < BOUNCES {
            continue;
        }
        let mut two = window.clone();
        if let Some(earlier) = earlier {
            two.merge(earlier);
        }
        let usual = usual(windows, before);
        if two.hard() >= BOUNCES && two.common() >= ONE_TEXT && rate(&two) >= (LEAP * usual).max(RATE) {
            match found.range_mut(..=before).next_back().filter(|(_, last)| before < last.until) {
                Some((_, last)) => last.until = last.until.max(until(start)),
                None => {
                    found.insert(before, Quarantine { until: until(start), usual: usual as f32 });
                }
            }
        }
    }
    while found.len() > KNOWN {
        found.pop_first();
    }
    found
}

/// The end of a quarantine whose last window that is not calm is this one.
fn until(start: u32) -> u32 {
    start.saturating_add(BUCKET * (CALM_WINDOWS + 1))
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

/// The seconds that stand differently, quarantine by quarantine, and whether it is in force or was withdrawn.
pub(super) fn difference(before: &Quarantines, after: &Quarantines) -> Vec<(Range<u32>, bool)> {
    let changed = after.iter().filter_map(|(start, now)| match before.get(start) {
        Some(earlier) if earlier.until == now.until => None,
        Some(earlier) => Some((*start..now.until.max(earlier.until), true)),
        None => Some((*start..now.until, true)),
    });
    let gone = before.iter().filter(|(start, _)| !after.contains_key(start)).map(|(start, earlier)| (*start..earlier.until, false));
    changed.chain(gone).collect()
}

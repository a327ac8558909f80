use std::collections::BTreeMap;

use aftersend_schemas::bounce::BounceClass;

use super::{day, days_between};
use crate::fold::State;

/// Soft bounces since mail last got through, weighed by age: one per day at most, so that a short outage of the provider counts once.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct SoftPressure {
    /// Sum of decayed weights.
    pub(super) weight: f64,
    /// Distinct days.
    pub(super) days: usize,
    /// Days from the first to the last of them.
    pub(super) span: u32,
}

impl SoftPressure {
    pub(super) fn read(state: &State, last_success: u32, now: i64) -> Self {
        let mut by_day: BTreeMap<u32, f64> = BTreeMap::new();
        for bounce in state.bounces.iter().filter(|bounce| bounce.at > last_success && i64::from(bounce.at) <= now) {
            let Some((weight, half_life)) = weight(bounce.class, bounce.deferred) else { continue };
            let decayed = weight * (-days_between(bounce.at, now) / half_life).exp2();
            let strongest = by_day.entry(day(bounce.at)).or_default();
            *strongest = strongest.max(decayed);
        }
        let span = match (by_day.first_key_value(), by_day.last_key_value()) {
            (Some((first, _)), Some((last, _))) => last - first,
            _ => 0,
        };
        Self { weight: by_day.values().fold(0.0, |sum, weight| sum + weight), days: by_day.len(), span }
    }

    /// Repeated failures over days, never a single bad day.
    pub(super) fn is_failing(self) -> bool {
        self.weight >= 3.0 && self.days >= 3 && self.span >= 14
    }
}

/// Weight and half-life in days. Blocks, the sender's own faults and repeats of earlier verdicts never count against a person.
fn weight(class: u8, deferred: bool) -> Option<(f64, f64)> {
    let class = *BounceClass::ALL.get(usize::from(class))?;
    match class {
        _ if deferred => Some((0.1, 3.0)),
        BounceClass::MailboxFull => Some((1.0, 14.0)),
        BounceClass::Transient | BounceClass::Undetermined => Some((0.5, 7.0)),
        _ => None,
    }
}

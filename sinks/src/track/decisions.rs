//! What operators decided about people, as far as it concerns what is irreversible. Pure.

use std::collections::HashMap;

use aftersend_schemas::operator::{Decision, OperatorRecord};
use aftersend_schemas::profile::{Cause, Verdict};

/// Everybody about whom something was decided.
#[derive(Debug, Default)]
pub(super) struct Decisions(HashMap<String, Decided>);

/// What was decided about one person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Decided {
    /// Evidence up to then no longer counts, Unix seconds.
    complaints_until: Option<i64>,
    hard_bounces_until: Option<i64>,
    never: Option<(i64, bool)>,
    /// Unix milliseconds.
    unsuppressed_at: Option<i64>,
}

impl Decisions {
    /// Takes a record; the person it is about, as in keys.
    pub(super) fn take(&mut self, record: &OperatorRecord) -> String {
        let key = record.person.to_string();
        let decided = self.0.entry(key.clone()).or_default();
        let through = Some(record.through());
        match record.decision {
            Decision::LiftComplaint => decided.complaints_until = decided.complaints_until.max(through),
            Decision::LiftHardBounce => decided.hard_bounces_until = decided.hard_bounces_until.max(through),
            Decision::NeverSuppress => decided.never = decided.never.max(Some((record.at, true))),
            Decision::MaySuppress => decided.never = decided.never.max(Some((record.at, false))),
            Decision::Unsuppress => {
                decided.complaints_until = decided.complaints_until.max(through);
                decided.hard_bounces_until = decided.hard_bounces_until.max(through);
                decided.unsuppressed_at = decided.unsuppressed_at.max(Some(record.decided_at()));
            }
        }
        key
    }

    pub(super) fn about(&self, person: &str) -> Decided {
        self.0.get(person).copied().unwrap_or_default()
    }

    /// Whom operators have freed.
    pub(super) fn unsuppressed(&self) -> Vec<String> {
        self.0.iter().filter(|(_, decided)| decided.unsuppressed_at.is_some()).map(|(person, _)| person.clone()).collect()
    }
}

impl Decided {
    /// True if a verdict no longer counts.
    pub(super) fn lifts(&self, verdict: &Verdict) -> bool {
        let until = match verdict.cause {
            Cause::Complaint => self.complaints_until,
            Cause::HardBounce => self.hard_bounces_until,
        };
        until.is_some_and(|until| verdict.at <= until)
    }

    pub(super) fn never_suppress(&self) -> bool {
        self.never.is_some_and(|(_, never)| never)
    }

    /// True if what was suppressed at this time (Unix milliseconds) no longer is.
    pub(super) fn unsuppresses(&self, answered_at: i64) -> bool {
        self.unsuppressed_at.is_some_and(|at| answered_at <= at)
    }
}

#[cfg(test)]
mod tests {
    use aftersend_schemas::identity::{Namespace, Person};

    use super::*;

    #[test]
    fn decisions_are_joined_in_any_order_and_reach_back_only() {
        let person = Person { workspace: "default".into(), namespace: Namespace::Id, id: "u-1".into() };
        let record = |decision, at| OperatorRecord::new(person.clone(), decision, at);
        let records = [
            record(Decision::NeverSuppress, 5),
            record(Decision::MaySuppress, 9),
            record(Decision::LiftComplaint, 7),
            record(Decision::LiftComplaint, 3),
            record(Decision::Unsuppress, 4),
        ];
        let joined = |records: &mut dyn Iterator<Item = &OperatorRecord>| {
            let mut decisions = Decisions::default();
            let key = records.map(|record| decisions.take(record)).last().unwrap();
            decisions.about(&key)
        };
        let decided = joined(&mut records.iter());
        assert_eq!(decided, joined(&mut records.iter().rev()));
        let verdict = |cause, at| Verdict { cause, at, received_at: at * 1_000 };
        assert!(decided.lifts(&verdict(Cause::Complaint, 7)) && !decided.lifts(&verdict(Cause::Complaint, 8)));
        assert!(decided.lifts(&verdict(Cause::HardBounce, 4)) && !decided.lifts(&verdict(Cause::HardBounce, 5)));
        assert!(!decided.never_suppress() && joined(&mut records[..1].iter()).never_suppress());
        assert!(decided.unsuppresses(4_999) && !decided.unsuppresses(5_000));
        assert_eq!(Decisions::default().about("default:id:u-1"), Decided::default());

        // Evidence dated ahead, and a suppress within the same second.
        let ahead = OperatorRecord { millisecond: Some(300), through: Some(90), ..record(Decision::Unsuppress, 20) };
        let decided = joined(&mut [ahead].iter());
        assert!(decided.lifts(&verdict(Cause::Complaint, 90)) && !decided.lifts(&verdict(Cause::HardBounce, 91)));
        assert!(decided.unsuppresses(20_300) && !decided.unsuppresses(20_301));
    }
}

//! Whom a release of the brake would let go. Pure.

use std::collections::{BTreeMap, HashMap};

use aftersend_pipeline::config::Config;
use aftersend_schemas::ledger::LedgerRecord;
use aftersend_schemas::operator::OperatorRecord;
use aftersend_schemas::profile::{Cause, ProfileRecord};
use aftersend_schemas::track_call::Call;

use super::decisions::Decisions;
use super::plan::{self, Moment, Ruled, Step};

/// People who would be suppressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// By themselves, unless a brake is on.
    pub due: usize,
    /// If their old evidence is let go.
    pub old: usize,
}

/// The people of one workspace of whom something irreversible may be wanted. Records are given in the order of their topics, the ledger last.
pub struct Waiting {
    workspace: String,
    ruled: Ruled,
    decisions: Decisions,
    people: HashMap<String, Person>,
}

struct Person {
    profile: ProfileRecord,
    offset: i64,
    ledger: LedgerRecord,
}

impl Waiting {
    /// By the rules of a workspace as they are.
    pub fn new(config: &Config, workspace: &str) -> Self {
        let ruled = Ruled::new(config, workspace);
        Self { workspace: workspace.to_owned(), ruled, decisions: Decisions::default(), people: HashMap::new() }
    }

    /// What an operator decided.
    pub fn decided(&mut self, record: &OperatorRecord) {
        self.decisions.take(record);
    }

    /// Somebody's profile, and where it stands.
    pub fn profile(&mut self, offset: i64, mut profile: ProfileRecord) {
        let key = profile.person.to_string();
        if profile.person.workspace != self.workspace || profile.evaluation.verdict.is_none() {
            self.people.remove(&key);
            return;
        }
        profile.state = Vec::new();
        let ledger = LedgerRecord::new(profile.person.clone());
        self.people.insert(key, Person { profile, offset, ledger });
    }

    /// Somebody's profile ended.
    pub fn forgotten(&mut self, key: &str) {
        self.people.remove(key);
    }

    /// What Customer.io has acknowledged for somebody.
    pub fn acknowledged(&mut self, record: LedgerRecord) {
        if let Some(person) = self.people.get_mut(&record.person.to_string()) {
            person.ledger = record;
        }
    }

    /// How many people would be suppressed, by cause, if everything that had arrived by `now` (Unix milliseconds) were let go. What had arrived by
    /// `released_through` is let go already.
    pub fn by_cause(&self, now: i64, released_through: Option<i64>) -> BTreeMap<Cause, Count> {
        let mut counts = BTreeMap::<_, Count>::new();
        for (key, person) in &self.people {
            let unreleased = Moment { now, decided: self.decisions.about(key), released_through };
            let moment = Moment { released_through: Some(now), ..unreleased };
            let mut ledger = person.ledger.clone();
            while let Step::Call(planned) = plan::next(&person.profile, person.offset, &ledger, &self.ruled, &moment) {
                if let (Call::Suppress, Some(verdict)) = (planned.call, &person.profile.evaluation.verdict) {
                    let count = counts.entry(verdict.cause).or_default();
                    match plan::next(&person.profile, person.offset, &ledger, &self.ruled, &unreleased) {
                        Step::Call(_) => count.due += 1,
                        _ => count.old += 1,
                    }
                    break;
                }
                plan::acknowledged(&mut ledger, &planned, now);
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use aftersend_schemas::identity::{Namespace, Person};
    use aftersend_schemas::ledger::Standing;
    use aftersend_schemas::operator::Decision;

    use super::super::plan::tests::profile;
    use super::*;

    #[test]
    fn those_wait_whom_nothing_but_the_brake_or_their_age_protects() {
        let config =
            Config::parse("[privacy]\nemail = \"drop\"\n[policy]\nnever_suppress = [\"vip\"]\nhold_hard_bounce = \"1h\"\n", []).unwrap();
        let mut waiting = Waiting::new(&config, "default");
        let person = |id: &str| Person { workspace: "default".into(), namespace: Namespace::Id, id: id.into() };
        for id in ["old", "asked", "suppressed", "vip", "lifted", "forgotten"] {
            waiting.profile(1, profile(person(id), Some(Cause::HardBounce)));
        }
        waiting.profile(2, profile(person("angry"), Some(Cause::Complaint)));
        waiting.profile(3, profile(person("well"), None));
        waiting.profile(4, profile(person("alive"), Some(Cause::HardBounce)));
        waiting.profile(5, profile(person("alive"), None));
        waiting.profile(6, profile(Person { workspace: "shop".into(), ..person("other") }, Some(Cause::Complaint)));
        waiting.forgotten("default:id:forgotten");
        let received = profile(person("old"), Some(Cause::HardBounce)).evaluation.verdict.unwrap();
        let lift = OperatorRecord::new(person("lifted"), Decision::LiftHardBounce, received.at);
        waiting.decided(&lift);
        waiting.acknowledged(LedgerRecord { standing: Standing::Suppressed, ..LedgerRecord::new(person("suppressed")) });
        let days_later = received.received_at + 9 * 86_400_000;
        let (due, old) = (|people| Count { due: people, old: 0 }, |people| Count { due: 0, old: people });
        assert_eq!(waiting.by_cause(days_later, None), BTreeMap::from([(Cause::Complaint, old(1)), (Cause::HardBounce, old(2))]));
        let released = waiting.by_cause(days_later, Some(received.received_at));
        assert_eq!(released, BTreeMap::from([(Cause::Complaint, due(1)), (Cause::HardBounce, due(2))]), "these wait for no release");
        let soon = received.received_at + 60_000;
        assert_eq!(waiting.by_cause(soon, None), BTreeMap::from([(Cause::Complaint, due(1))]), "the others are held");
        let later = received.received_at + 2 * 3_600_000;
        assert_eq!(
            waiting.by_cause(later, None),
            BTreeMap::from([(Cause::Complaint, due(1)), (Cause::HardBounce, due(2))]),
            "due, and not old"
        );
    }
}

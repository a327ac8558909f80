use aftersend_schemas::DecodeError;
use aftersend_schemas::profile::{EmailState, Evaluation, ProfileRecord};
use fjall::Slice;
use serde::{Deserialize, Serialize};

use crate::fold::State;
use crate::providers::SETTLE;
use crate::score::{Policies, Policy};

/// What is kept of a person beside the evidence: of the last verdict, what the next one needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    /// When that verdict was made, Unix seconds: no later one is made for an earlier time, not even in a replay.
    pub(super) as_of: i64,
    /// What it was.
    pub(super) email: EmailState,
    /// When it changes by time alone, or the person is forgotten.
    pub(super) changes_at: Option<i64>,
    /// The timer in the index. It may be earlier than the change: it is moved when it fires, not each time an event puts the change off.
    pub(super) armed_at: Option<i64>,
}

impl Head {
    /// A verdict and the timer for whatever comes next, given the timer that is set.
    pub(super) fn after(evaluation: &Evaluation, state: &State, policy: &Policy, as_of: i64, armed_at: Option<i64>) -> Self {
        // A hard bounce is judged once more when everybody's mail of that time has been counted, which came no sooner than it did. Mail that is dated
        // ahead counts when it arrives.
        let arrived_at = state.hard.as_slice().iter().map(|(_, received_at)| received_at / 1000).max().filter(|at| *at > 0);
        let known_at = evaluation.facts.hard_bounced_at.map(|at| arrived_at.unwrap_or(at));
        let settles_at = known_at.map(|at| at.saturating_add(SETTLE)).filter(|at| *at > as_of);
        let changes_at = [evaluation.changes_at, state.forget_at(policy, as_of), settles_at].into_iter().flatten().min();
        Self::arm(as_of, evaluation.state, changes_at, armed_at)
    }

    /// A verdict and the timer for it, given the timer that is set.
    fn arm(as_of: i64, email: EmailState, changes_at: Option<i64>, armed_at: Option<i64>) -> Self {
        // Whatever is said to change at once is looked at again in a second.
        let changes_at = changes_at.map(|at| at.max(as_of + 1));
        let armed_at = match (changes_at, armed_at.filter(|armed| *armed > as_of)) {
            (Some(change), Some(armed)) => Some(change.min(armed)),
            (change, _) => change,
        };
        Self { as_of, email, changes_at, armed_at }
    }
}

/// Where the version of a state stands, it says that an address comes before the state. A release that knows no addresses takes it for a newer state, and
/// stops.
const ADDRESS: u8 = u8::MAX;

/// A person as stored: the head; the address, for whom it is kept in clear; then the evidence in its own encoding. Clones share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row(pub(super) Slice);

impl Row {
    pub(super) fn new(head: &Head, address: Option<&str>, state: &[u8]) -> Self {
        // Plain numbers and text into a growing buffer have no way to fail.
        let mut bytes = postcard::to_extend(head, Vec::with_capacity(state.len() + 24)).unwrap_or_default();
        if let Some(address) = address {
            bytes = postcard::to_extend(&(ADDRESS, address), bytes).unwrap_or_default();
        }
        bytes.extend_from_slice(state);
        Self(bytes.into())
    }

    /// A person as a record of `profiles` holds it; the address only if addresses are still kept in clear.
    pub(super) fn of_record(value: &[u8], policies: &Policies, keeps_addresses: bool) -> Result<(Head, Self), DecodeError> {
        let record = ProfileRecord::decode(value)?;
        let state = State::decode(&record.state)?;
        let policy = policies.of(&record.person.workspace);
        let address = record.address.as_deref().filter(|_| keeps_addresses);
        let head = if record.policy_version == policy.version && address == record.address.as_deref() {
            Head::after(&record.evaluation, &state, policy, record.as_of, None)
        } else {
            // Under other rules everybody is judged again, at once and one after the other. The record that this writes is without what must not be kept.
            Head::arm(record.as_of, record.evaluation.state, Some(record.as_of), None)
        };
        Ok((head, Self::new(&head, address, &record.state)))
    }

    /// Head, address and evidence. Nothing if these bytes are none of ours: then the store is in doubt.
    pub(super) fn parts(&self) -> Option<(Head, Option<&str>, &[u8])> {
        let (head, rest) = postcard::take_from_bytes(&self.0).ok()?;
        match rest.split_first() {
            Some((&ADDRESS, rest)) => postcard::take_from_bytes(rest).ok().map(|(address, state)| (head, Some(address), state)),
            _ => Some((head, None, rest)),
        }
    }

    pub(super) fn head(&self) -> Option<Head> {
        self.parts().map(|(head, ..)| head)
    }
}

#[cfg(test)]
mod tests {
    use aftersend_pipeline::config::Config;
    use aftersend_pipeline::record::{Record, RecordHeaders};
    use aftersend_schemas::address::ProviderId;
    use aftersend_schemas::bounce::BounceClass;
    use aftersend_schemas::identity::{Namespace, Person};

    use super::*;
    use crate::fold::{Fact, Observation};
    use crate::score::{NoQuarantine, evaluate};
    use crate::service::SessionError;

    fn record(policies: &Policies) -> ProfileRecord {
        let state = State::default();
        let policy = policies.of("default");
        let person = Person { workspace: "default".into(), namespace: Namespace::Id, id: "u-1".into() };
        let evaluation = evaluate(&state, policy, &NoQuarantine, 7);
        ProfileRecord { person, as_of: 7, policy_version: policy.version, evaluation, state: state.encode(), address: None }
    }

    #[test]
    fn a_profile_or_a_state_of_a_newer_release_ends_the_processor_before_it_writes() {
        let policies = Policies::new(&Config::default().policy);
        let mut record = record(&policies);
        let (head, row) = Row::of_record(&record.encode(), &policies, true).unwrap();
        assert_eq!((head.as_of, row.head()), (7, Some(head)));

        let mut newer_profile = record.encode();
        newer_profile[0] = 4;
        record.state[0] = 4;
        for (value, what, known) in [(newer_profile, "profile", 3), (record.encode(), "state in a profile", 3)] {
            let stored = Record {
                topic: "aftersend.profiles".into(),
                partition: 3,
                offset: 77,
                timestamp: 0,
                key: b"default:id:u-1".to_vec(),
                value: None,
                headers: RecordHeaders::default(),
            };
            let error = SessionError::unreadable(&stored)(Row::of_record(&value, &policies, true).unwrap_err());
            assert!(error.is_final());
            assert_eq!(
                error.to_string(),
                format!(
                    "a record of aftersend.profiles, partition 3, offset 77, cannot be read: {what} of version {}: this release reads up to version {known}, upgrade it to go on",
                    known + 1
                )
            );
        }
    }

    #[test]
    fn an_address_is_stored_beside_the_evidence_and_nobody_else_pays_for_it() {
        let policies = Policies::new(&Config::default().policy);
        let mut record = record(&policies);
        let (head, without) = Row::of_record(&record.encode(), &policies, true).unwrap();
        assert_eq!(without.parts(), Some((head, None, &record.state[..])));
        assert_eq!(without.0.len(), postcard::to_allocvec(&head).unwrap().len() + record.state.len());

        record.address = Some("ana@b.example".into());
        let (head, with) = Row::of_record(&record.encode(), &policies, true).unwrap();
        assert_eq!(with.parts(), Some((head, Some("ana@b.example"), &record.state[..])));
        // What a release does that knows no addresses.
        let (_, rest) = postcard::take_from_bytes::<Head>(&with.0).unwrap();
        assert!(matches!(State::decode(rest), Err(DecodeError::TooNew { .. })));
    }

    #[test]
    fn an_address_that_may_no_longer_be_kept_is_left_behind_and_written_over_at_once() {
        let policies = Policies::new(&Config::default().policy);
        let mut record = record(&policies);
        let lasting = Row::of_record(&record.encode(), &policies, false).unwrap().0.armed_at;
        assert_ne!(lasting, Some(8), "nothing to leave behind");
        record.address = Some("ana@b.example".into());
        let (head, row) = Row::of_record(&record.encode(), &policies, false).unwrap();
        assert_eq!((row.parts(), head.armed_at), (Some((head, None, &record.state[..])), Some(8)));
        assert_eq!(Row::of_record(&record.encode(), &policies, true).unwrap().0.armed_at, lasting);
    }

    #[test]
    fn people_judged_by_other_rules_are_judged_again_at_once() {
        let policies = Policies::new(&Config::default().policy);
        let mut record = record(&policies);
        record.policy_version += 1;
        let (head, _) = Row::of_record(&record.encode(), &policies, true).unwrap();
        assert_eq!(head.armed_at, Some(8));
    }

    #[test]
    fn people_who_are_read_back_end_when_they_would_have_ended() {
        let policies = Policies::new(&Config::default().policy);
        let policy = policies.of("default");
        let mut record = record(&policies);
        let (head, _) = Row::of_record(&record.encode(), &policies, true).unwrap();
        assert_eq!(head.armed_at, Some(7 + policy.forget_after), "nothing but that there is somebody");

        let mut state = State::default();
        state.observe(&Observation { at: 1_000, message: 1, address: 1, named: 1, fact: Fact::Delivered });
        (record.as_of, record.evaluation.changes_at, record.state) = (2_000, None, state.encode());
        let (head, _) = Row::of_record(&record.encode(), &policies, true).unwrap();
        assert_eq!(head.armed_at, Some(1_000 + policy.forget_after));

        record.evaluation.facts.hard_bounced_at = Some(1_900);
        let (head, _) = Row::of_record(&record.encode(), &policies, true).unwrap();
        assert_eq!(head.armed_at, Some(1_900 + SETTLE), "what everybody's mail says of the bounce is known by then");
        let (class, provider, delivery_id) = (BounceClass::HardRecipient, ProviderId(1), String::new());
        let hard = Fact::Bounced { class, confidence: 90, deferred: false, provider, delivery_id, received_at: 1_990_000 };
        state.observe(&Observation { at: 1_000, message: 1, address: 1, named: 0, fact: hard });
        (record.evaluation.facts.hard_bounced_at, record.state) = (Some(1_000), state.encode());
        let (head, _) = Row::of_record(&record.encode(), &policies, true).unwrap();
        assert_eq!(head.armed_at, Some(1_990 + SETTLE), "no sooner than it came");
        record.evaluation.facts.hard_bounced_at = Some(90_000);
        let (head, _) = Row::of_record(&record.encode(), &policies, true).unwrap();
        assert_eq!(head.armed_at, Some(1_990 + SETTLE), "nor later, whatever its date");
    }

    #[test]
    fn a_timer_stays_where_it_is_while_the_change_is_put_off_and_moves_when_it_comes_nearer() {
        let arm = |as_of, change, armed| Head::arm(as_of, EmailState::Healthy, change, armed).armed_at;
        assert_eq!(arm(10, Some(50), None), Some(50));
        assert_eq!(arm(20, Some(90), Some(50)), Some(50), "put off");
        assert_eq!(arm(20, Some(30), Some(50)), Some(30), "nearer");
        assert_eq!(arm(50, Some(90), Some(50)), Some(90), "fired");
        assert_eq!(arm(20, None, Some(50)), None);
        assert_eq!(arm(20, Some(3), None), Some(21), "never at once, or it would fire for ever");
    }
}

use aftersend_pipeline::config::Config;
use aftersend_schemas::identity::Person;
use aftersend_schemas::profile::{Cadence, ChannelReason, EmailState, Evaluation, Facts, Grounds, Verdict};

use super::*;

const RECEIVED: i64 = 1_770_000_000_000;
const MINUTE: i64 = 60_000;

fn rules(policy: &str) -> Rules {
    let text = format!("[policy]\n{policy}\n[privacy]\nemail = \"drop\"\n");
    Config::parse(&text, []).unwrap().policy.rules_for("default")
}

fn person(namespace: Namespace, id: &str) -> Person {
    Person { workspace: "default".into(), namespace, id: id.into() }
}

fn profile(person: Person, cause: Option<Cause>) -> ProfileRecord {
    let evaluation = Evaluation {
        score: 0,
        state: EmailState::Dead,
        email_deliverable: false,
        email_promotional_ok: false,
        email_transactional_ok: false,
        email_cadence: Cadence::Stop,
        best_channel: None,
        best_channel_reason: ChannelReason::NoneReached,
        never_suppress: false,
        grounds: Grounds::Worded { reason: "r".into(), contributions: Vec::new() },
        verdict: cause.map(|cause| Verdict { cause, at: RECEIVED / 1000, received_at: RECEIVED }),
        facts: Facts::default(),
        changes_at: None,
    };
    ProfileRecord { person, as_of: RECEIVED / 1000, policy_version: 1, evaluation, state: Vec::new() }
}

/// Makes every call until there is none, and says which.
fn run(profile: &ProfileRecord, ledger: &mut LedgerRecord, rules: &Rules, now: i64) -> (Vec<Call>, Step) {
    let mut calls = Vec::new();
    loop {
        match next(profile, ledger, rules, "p_", now) {
            Step::Call(planned) => {
                calls.push(planned.call);
                acknowledged(ledger, &planned, now);
            }
            other => return (calls, other),
        }
    }
}

fn hard(id: &str) -> (ProfileRecord, LedgerRecord) {
    let person = person(Namespace::Id, id);
    (profile(person.clone(), Some(Cause::HardBounce)), LedgerRecord::new(person))
}

#[test]
fn identify_is_acknowledged_before_suppress_which_waits_for_the_hold_and_comes_once() {
    let (profile, mut ledger) = hard("u-1");
    let rules = rules("");
    let hold = RECEIVED + 15 * MINUTE;
    assert_eq!(run(&profile, &mut ledger, &rules, RECEIVED), (vec![Call::Identify], Step::WaitUntil(hold)));
    assert_eq!(run(&profile, &mut ledger, &rules, hold), (vec![Call::Suppress], Step::Done(Done::Suppressed)));
    assert_eq!(run(&profile, &mut ledger, &rules, hold + MINUTE), (vec![], Step::Done(Done::Suppressed)));
}

#[test]
fn a_complaint_is_acted_on_at_once() {
    let person = person(Namespace::Id, "u-1");
    let profile = profile(person.clone(), Some(Cause::Complaint));
    let calls = run(&profile, &mut LedgerRecord::new(person), &rules(""), RECEIVED).0;
    assert_eq!(calls, [Call::Identify, Call::Suppress]);
}

#[test]
fn old_evidence_deletes_nobody() {
    let (profile, mut ledger) = hard("u-1");
    let late = RECEIVED + 48 * 60 * MINUTE + 1;
    assert_eq!(run(&profile, &mut ledger, &rules(""), late), (vec![Call::Identify], Step::Done(Done::TooOld)));
}

#[test]
fn the_policy_chooses_the_reaction() {
    let later = RECEIVED + 60 * MINUTE;
    for (policy, calls, end) in [
        ("on_hard_bounce = \"identify\"", vec![Call::Identify], Done::InStep),
        ("on_hard_bounce = \"unsubscribe\"", vec![Call::Unsubscribe], Done::InStep),
        ("never_suppress = [\"u-1\"]", vec![Call::Identify], Done::Never),
        ("[policy.workspaces.default]\non_hard_bounce = \"identify\"", vec![Call::Identify], Done::InStep),
    ] {
        let (profile, mut ledger) = hard("u-1");
        assert_eq!(run(&profile, &mut ledger, &rules(policy), later), (calls, Step::Done(end)), "{policy}");
    }
}

#[test]
fn people_who_cannot_be_addressed_get_no_call() {
    for (namespace, id, end) in [
        (Namespace::Email, "ab", Done::NoIdentifier),
        (Namespace::Id, ".", Done::UnusableId),
        (Namespace::Id, "..", Done::UnusableId),
        (Namespace::Id, "cio_ab", Done::UnusableId),
    ] {
        let person = person(namespace, id);
        let step = run(&profile(person.clone(), None), &mut LedgerRecord::new(person), &rules(""), RECEIVED);
        assert_eq!(step, (vec![], Step::Done(end)));
    }
}

#[test]
fn what_was_refused_is_not_tried_again_until_it_changes() {
    let (mut profile, mut ledger) = hard("u-1");
    let rules = rules("");
    let Step::Call(planned) = next(&profile, &ledger, &rules, "p_", RECEIVED) else { unreachable!("a call is wanted") };
    refused(&mut ledger, &planned, RECEIVED);
    profile.as_of += 100;
    assert_eq!(next(&profile, &ledger, &rules, "p_", RECEIVED), Step::Done(Done::Refused));
    profile.evaluation.grounds = Grounds::Worded { reason: "another".into(), contributions: Vec::new() };
    assert!(matches!(next(&profile, &ledger, &rules, "p_", RECEIVED), Step::Call(_)));
}

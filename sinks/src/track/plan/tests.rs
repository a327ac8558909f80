use aftersend_schemas::identity::{Namespace, Person};
use aftersend_schemas::profile::{Cadence, ChannelReason, EmailState, Evaluation, Facts, Grounds, Verdict};

use super::*;

const RECEIVED: i64 = 1_770_000_000_000;
const MINUTE: i64 = 60_000;

fn worded(reason: &str) -> Grounds {
    Grounds::Worded { reason: reason.into(), contributions: Vec::new() }
}

fn rules(policy: &str) -> Ruled {
    let text = format!("[policy]\n{policy}\n[privacy]\nemail = \"drop\"\n[track]\nattribute_prefix = \"p_\"\n");
    Ruled::new(&Config::parse(&text, []).unwrap(), "default")
}

fn person(namespace: Namespace, id: &str) -> Person {
    Person { workspace: "default".into(), namespace, id: id.into() }
}

pub(in crate::track) fn profile(person: Person, cause: Option<Cause>) -> ProfileRecord {
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
        grounds: worded("r"),
        verdict: cause.map(|cause| Verdict { cause, at: RECEIVED / 1000, received_at: RECEIVED }),
        facts: Facts::default(),
        changes_at: None,
    };
    ProfileRecord { person, as_of: RECEIVED / 1000, policy_version: 1, evaluation, state: Vec::new(), address: None }
}

fn at(now: i64) -> Moment {
    Moment { now, ..Moment::default() }
}

/// Makes every call until there is none, and says which.
fn run(profile: &ProfileRecord, ledger: &mut LedgerRecord, rules: &Ruled, now: i64) -> (Vec<Call>, Step) {
    let mut calls = Vec::new();
    loop {
        match next(profile, 0, ledger, rules, &at(now)) {
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
fn whoever_is_known_by_customer_ios_id_is_protected_by_it_with_and_without_its_prefix() {
    let person = person(Namespace::Cio, "b1f4");
    let profile = profile(person.clone(), Some(Cause::HardBounce));
    for (never, calls) in [("b1f4", 1), ("cio_b1f4", 1), ("cio_b1f", 2)] {
        let rules = rules(&format!("never_suppress = [\"{never}\"]"));
        let (made, _) = run(&profile, &mut LedgerRecord::new(person.clone()), &rules, RECEIVED + 60 * MINUTE);
        assert_eq!(made.len(), calls, "{never}");
    }
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
        ("never_suppress = [\"u-*\"]", vec![Call::Identify], Done::Never),
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
fn people_known_only_by_an_address_are_called_at_it_and_the_ledger_knows_them_by_its_hash() {
    let later = RECEIVED + 60 * MINUTE;
    let person = person(Namespace::Email, "e0133736c049df33bb251ff893de6ea7");
    let mut profile = profile(person.clone(), Some(Cause::HardBounce));
    profile.address = Some("a@b.example".into());
    let mut ledger = LedgerRecord::new(person.clone());
    let Step::Call(planned) = next(&profile, 0, &ledger, &rules(""), &at(later)) else { unreachable!("a call is wanted") };
    assert_eq!(planned.whom, Identifier::Email("a@b.example".into()));
    assert!(!format!("{planned:?}").contains('@'));
    assert_eq!(run(&profile, &mut ledger, &rules(""), later), (vec![Call::Identify, Call::Suppress], Step::Done(Done::Suppressed)));
    assert!(!String::from_utf8_lossy(&ledger.encode()).contains('@'));

    for never in ["a@b.example", "A@B.Example", "@B.example", "*@b.*", "e0133736c049df33bb251ff893de6ea7"] {
        let rules = rules(&format!("never_suppress = [\"{never}\"]"));
        let step = run(&profile, &mut LedgerRecord::new(person.clone()), &rules, later);
        assert_eq!(step, (vec![Call::Identify], Step::Done(Done::Never)), "{never}");
    }
    profile.address = Some("a b@c.example".into());
    assert_eq!(next(&profile, 0, &LedgerRecord::new(person), &rules(""), &at(later)), Step::Done(Done::UnusableId));
}

#[test]
fn what_was_refused_is_not_tried_again_until_it_changes() {
    let (mut profile, mut ledger) = hard("u-1");
    let rules = rules("");
    let Step::Call(planned) = next(&profile, 0, &ledger, &rules, &at(RECEIVED)) else { unreachable!("a call is wanted") };
    refused(&mut ledger, &planned, RECEIVED);
    profile.as_of += 100;
    assert_eq!(next(&profile, 0, &ledger, &rules, &at(RECEIVED)), Step::Done(Done::Refused));
    profile.evaluation.grounds = worded("another");
    assert!(matches!(next(&profile, 0, &ledger, &rules, &at(RECEIVED)), Step::Call(_)));
}

#[test]
fn a_refused_suppress_stays_refused_while_attributes_are_acknowledged() {
    let (mut profile, mut ledger) = hard("u-1");
    let (rules, later) = (rules(""), RECEIVED + 60 * MINUTE);
    run(&profile, &mut ledger, &rules, RECEIVED);
    let Step::Call(suppress) = next(&profile, 0, &ledger, &rules, &at(later)) else { unreachable!("a call is wanted") };
    refused(&mut ledger, &suppress, later);
    profile.evaluation.grounds = worded("another");
    profile.as_of += 5;
    assert_eq!(run(&profile, &mut ledger, &rules, later), (vec![Call::Identify], Step::Done(Done::Refused)));

    // Mail arrives, and much later somebody complains.
    let verdict = profile.evaluation.verdict.take();
    profile.evaluation.grounds = worded("delivered");
    profile.as_of += 5;
    assert_eq!(run(&profile, &mut ledger, &rules, later), (vec![Call::Identify], Step::Done(Done::InStep)));
    profile.evaluation.verdict = verdict.map(|verdict| Verdict { cause: Cause::Complaint, ..verdict });
    profile.as_of += 5;
    assert!(run(&profile, &mut ledger, &rules, later).0.contains(&Call::Suppress), "what was refused was for another reason");
}

#[test]
fn a_clock_that_goes_back_hides_no_suppress_that_is_open_and_keeps_none_open() {
    let mut ledger = LedgerRecord::new(person(Namespace::Id, "u-1"));
    ledger.answered(10_000);
    ledger.sends_suppress(5_000);
    assert!(ledger.awaits_suppress());
    ledger.answered(4_000);
    assert!(!ledger.awaits_suppress());
}

#[test]
fn a_suppress_that_may_have_been_sent_is_repeated_and_nothing_else_is_sent() {
    let (mut profile, mut ledger) = hard("u-1");
    let (rules, later) = (rules(""), RECEIVED + 60 * MINUTE);
    assert_eq!(run(&profile, &mut ledger, &rules, RECEIVED).0, [Call::Identify]);
    ledger.suppress_sent_at = later;
    profile.evaluation.grounds = worded("another");
    profile.as_of += 5;
    assert_eq!(run(&profile, &mut ledger, &rules, later).0, [Call::Suppress]);

    // Proof of life: the suppress may never have arrived, and then the person wants to be known.
    let (mut alive, mut ledger) = hard("u-2");
    run(&alive, &mut ledger, &rules, RECEIVED);
    ledger.suppress_sent_at = later;
    alive.evaluation.verdict = None;
    alive.evaluation.grounds = worded("clicked");
    assert_eq!(run(&alive, &mut ledger, &rules, later), (vec![Call::Identify], Step::Done(Done::InStep)));
    assert!(ledger.suppress_sent_at != 0, "what `track unsuppress` goes by");

    // It bounces anew: what Customer.io knows is out of date.
    let mut gone = hard("u-2").0;
    gone.evaluation.grounds = worded("bounced again");
    let again = later + MINUTE;
    gone.evaluation.verdict = Some(Verdict { cause: Cause::HardBounce, at: again / 1000, received_at: again });
    assert_eq!(run(&gone, &mut ledger, &rules, again), (vec![Call::Identify], Step::WaitUntil(again + 15 * MINUTE)));
    assert_eq!(run(&gone, &mut ledger, &rules, again + 15 * MINUTE).0, [Call::Suppress]);
}

#[test]
fn a_doubtful_bounce_waits_and_so_does_an_old_one_until_a_release() {
    let (mut profile, mut ledger) = hard("u-1");
    let rules = rules("");
    let late = RECEIVED + 50 * 60 * MINUTE;
    run(&profile, &mut ledger, &rules, late);
    let released = |through| Moment { now: late, released_through: Some(through), ..Moment::default() };
    let step = |profile: &ProfileRecord, moment| next(profile, 0, &ledger, &rules, &moment);
    assert_eq!(step(&profile, released(RECEIVED - 1)), Step::Done(Done::TooOld));
    assert!(matches!(step(&profile, released(RECEIVED)), Step::Call(Planned { call: Call::Suppress, .. })));
    profile.evaluation.state = EmailState::Grey;
    let Step::Call(planned) = step(&profile, released(RECEIVED)) else { unreachable!("the state changed") };
    assert_eq!(planned.call, Call::Identify);
    acknowledged(&mut ledger, &planned, late);
    assert_eq!(next(&profile, 0, &ledger, &rules, &released(RECEIVED)), Step::Done(Done::Withheld));
}

#[test]
fn an_older_profile_that_is_read_again_asks_for_nothing() {
    let (profile, mut ledger) = hard("u-1");
    let mut newer = profile.clone();
    newer.as_of += 1;
    newer.evaluation.grounds = worded("another");
    let rules = rules("");
    let Step::Call(planned) = next(&newer, 7, &ledger, &rules, &at(RECEIVED)) else { unreachable!("a call is wanted") };
    acknowledged(&mut ledger, &planned, RECEIVED);
    assert_eq!(next(&profile, 3, &ledger, &rules, &at(RECEIVED)), Step::Done(Done::Stale));
    let mut same_second = newer.clone();
    same_second.evaluation.grounds = worded("yet another");
    assert_eq!(next(&same_second, 6, &ledger, &rules, &at(RECEIVED)), Step::Done(Done::Stale));
    assert!(matches!(next(&same_second, 8, &ledger, &rules, &at(RECEIVED)), Step::Call(_)));
    same_second.policy_version += 1;
    assert!(matches!(next(&same_second, 6, &ledger, &rules, &at(RECEIVED)), Step::Call(_)), "a rebuild under another policy");
}

#[test]
fn our_own_unsubscribe_comes_back_and_causes_no_write_and_a_persons_own_is_mirrored() {
    let (mut profile, mut ledger) = hard("u-1");
    let rules = rules("on_hard_bounce = \"unsubscribe\"");
    assert_eq!(run(&profile, &mut ledger, &rules, RECEIVED).0, [Call::Unsubscribe]);
    let evaluation = &mut profile.evaluation;
    evaluation.state = EmailState::Unsubscribed;
    evaluation.best_channel_reason = ChannelReason::OptedOut;
    evaluation.grounds = worded("unsubscribed");
    evaluation.facts.unsubscribed_at = Some(RECEIVED / 1000 + 2);
    profile.as_of += 2;
    assert_eq!(run(&profile, &mut ledger, &rules, RECEIVED + MINUTE), (vec![], Step::Done(Done::InStep)));
    profile.evaluation.facts.unsubscribed_at = Some(RECEIVED / 1000 + 86_400);
    assert_eq!(run(&profile, &mut ledger, &rules, RECEIVED + MINUTE).0, [Call::Identify]);

    let person = person(Namespace::Id, "u-2");
    let mut theirs = super::tests::profile(person.clone(), None);
    theirs.evaluation.state = EmailState::Unsubscribed;
    theirs.evaluation.facts.unsubscribed_at = Some(RECEIVED / 1000);
    assert_eq!(run(&theirs, &mut LedgerRecord::new(person), &rules, RECEIVED).0, [Call::Identify], "never a write of `unsubscribed`");
}

/// Unsubscribed by us for a first bounce or complaint, and subscribed again.
fn subscribed_again(cause: Cause, rules: &Ruled) -> (ProfileRecord, LedgerRecord) {
    let mut profile = super::tests::profile(person(Namespace::Id, "u-1"), Some(cause));
    let facts = &mut profile.evaluation.facts;
    match cause {
        Cause::HardBounce => facts.hard_bounced_at = Some(RECEIVED / 1000),
        Cause::Complaint => facts.complaint_count = 1,
    }
    let mut ledger = LedgerRecord::new(profile.person.clone());
    assert_eq!(run(&profile, &mut ledger, rules, RECEIVED).0, [Call::Unsubscribe]);
    profile.as_of += 60;
    profile.evaluation.grounds = worded("subscribed again");
    assert_eq!(run(&profile, &mut ledger, rules, RECEIVED + MINUTE).0, [Call::Identify], "the reason is an old one");
    profile.as_of += 60;
    (profile, ledger)
}

const UNSUBSCRIBES: &str = "on_hard_bounce = \"unsubscribe\"\non_complaint = \"unsubscribe\"";

#[test]
fn whoever_subscribes_again_is_unsubscribed_again_for_a_new_reason_and_only_for_that() {
    let rules = rules(UNSUBSCRIBES);
    for cause in [Cause::HardBounce, Cause::Complaint] {
        let (mut profile, mut ledger) = subscribed_again(cause, &rules);
        // The verdict is that of the first one: nothing was delivered between.
        let facts = &mut profile.evaluation.facts;
        match cause {
            Cause::HardBounce => facts.hard_bounced_at = Some(RECEIVED / 1000 + 120),
            Cause::Complaint => facts.complaint_count = 2,
        }
        assert_eq!(run(&profile, &mut ledger, &rules, RECEIVED + 2 * MINUTE).0, [Call::Unsubscribe], "{cause:?}");
        assert_eq!(run(&profile, &mut ledger, &rules, RECEIVED + 3 * MINUTE).0, []);
    }
}

#[test]
fn a_bounce_that_is_dated_ahead_unsubscribes_at_once_and_once() {
    let rules = rules(UNSUBSCRIBES);
    let (mut profile, mut ledger) = subscribed_again(Cause::HardBounce, &rules);
    profile.evaluation.facts.hard_bounced_at = Some(RECEIVED / 1000 + 122);
    assert_eq!(run(&profile, &mut ledger, &rules, RECEIVED + 2 * MINUTE).0, [Call::Unsubscribe]);
    profile.as_of += 60;
    profile.evaluation.grounds = worded("subscribed once more");
    assert_eq!(run(&profile, &mut ledger, &rules, RECEIVED + 2 * MINUTE).0, [Call::Identify]);
}

#[test]
fn a_new_complaint_is_one_whatever_was_written_since_and_whatever_attributes_are_called() {
    for names in ["", "attribute_names = { complaint_count = \"complaints\" }", "attribute_names = { complaint_count = \"\" }"] {
        let text = format!("[policy]\n{UNSUBSCRIBES}\n[privacy]\nemail = \"drop\"\n[track]\n{names}\n");
        let rules = Ruled::new(&Config::parse(&text, []).unwrap(), "default");
        let (mut profile, mut ledger) = subscribed_again(Cause::Complaint, &rules);
        profile.evaluation.facts.complaint_count = 2;
        // Complained while unsubscribed by themselves: there is nothing to write but attributes.
        profile.evaluation.facts.unsubscribed_at = Some(RECEIVED / 1000 + 86_400);
        profile.evaluation.grounds = worded("complained again");
        assert_eq!(run(&profile, &mut ledger, &rules, RECEIVED + 2 * MINUTE).0, [Call::Identify], "{names}");
        profile.as_of += 60;
        profile.evaluation.facts.unsubscribed_at = None;
        assert_eq!(run(&profile, &mut ledger, &rules, RECEIVED + 3 * MINUTE).0, [Call::Unsubscribe], "{names}");
    }
}

#[test]
fn whom_a_release_unsubscribed_that_did_not_remember_for_what_is_judged_by_what_it_wrote() {
    let rules = rules(UNSUBSCRIBES);
    for cause in [Cause::HardBounce, Cause::Complaint] {
        let (mut profile, mut ledger) = subscribed_again(cause, &rules);
        ledger.unsubscribed_for = None;
        assert_eq!(run(&profile, &mut ledger, &rules, RECEIVED + 2 * MINUTE).0, []);
        let facts = &mut profile.evaluation.facts;
        match cause {
            Cause::HardBounce => facts.hard_bounced_at = Some(RECEIVED / 1000 + 1),
            Cause::Complaint => facts.complaint_count = 2,
        }
        assert_eq!(run(&profile, &mut ledger, &rules, RECEIVED + 2 * MINUTE).0, [Call::Unsubscribe], "{cause:?}");
    }
}

#[test]
fn operators_undo_verdicts_and_forbid_what_is_irreversible() {
    use aftersend_schemas::operator::{Decision, OperatorRecord};

    use super::super::decisions::Decisions;
    let (profile, ledger) = hard("u-1");
    let (rules, later) = (rules(""), RECEIVED + 60 * MINUTE);
    for (decision, at, end) in [
        (Decision::LiftHardBounce, RECEIVED / 1000, Done::InStep),
        (Decision::Unsuppress, RECEIVED / 1000, Done::InStep),
        (Decision::LiftHardBounce, RECEIVED / 1000 - 1, Done::Suppressed),
        (Decision::LiftComplaint, RECEIVED / 1000, Done::Suppressed),
        (Decision::NeverSuppress, 1, Done::Never),
        (Decision::MaySuppress, 1, Done::Suppressed),
    ] {
        let mut decisions = Decisions::default();
        let person = profile.person.clone();
        let key = decisions.take(&OperatorRecord::new(person, decision, at));
        let moment = Moment { now: later, decided: decisions.about(&key), released_through: None };
        let mut ledger = ledger.clone();
        let ended = loop {
            match next(&profile, 0, &ledger, &rules, &moment) {
                Step::Call(planned) => acknowledged(&mut ledger, &planned, later),
                other => break other,
            }
        };
        assert_eq!(ended, Step::Done(end), "{decision:?} {at}");
    }
}

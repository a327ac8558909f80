//! The state as it is written: every version is read, a newer one is refused, and a change without a version shows.

use aftersend_schemas::DecodeError;
use aftersend_schemas::bounce::BounceClass;
use proptest::prelude::*;

use super::*;

const FIRST: &str = include_str!("../../fixtures/state-v1.txt");

/// What the lines of a fixture hold, by their names.
fn held(about: &str) -> State {
    match about {
        "nothing" => State::default(),
        "everything" => everything(),
        about => panic!("nothing is known of {about}"),
    }
}

fn everything() -> State {
    let mail = |at: u32| Mail { at, message: u64::from(at) << 32, address: u64::MAX };
    let mut state = State {
        first_delivered_at: 1,
        unsubscribed_at: 1_770_000_000,
        subscribed_at: u32::MAX,
        address: (5, 6),
        last_bounce: (7, "dgTT7AkBAAABlWbVü".into()),
        ..State::default()
    };
    state.delivered.insert(mail(1));
    state.delivered.insert(mail(1_770_000_000));
    state.opened.insert(mail(2));
    state.clicked.insert(Click { mail: mail(3), link: 0, machine: false });
    state.clicked.insert(Click { mail: mail(3), link: u32::MAX, machine: true });
    state.converted.insert(mail(4));
    state.bounces.insert(Bounce { at: 5, message: 1, address: 2, class: 11, deferred: true });
    state.bounces.insert(Bounce { at: 6, message: 1, address: 2, class: 3, deferred: false });
    state.hard.insert_with(HardBounce { at: 7, message: 1, address: 2, domain: false, confidence: 95 }, 1_770_000_000_123);
    state.hard.insert_with(HardBounce { at: 8, message: 1, address: 2, domain: true, confidence: 0 }, -1);
    state.complaints.insert_with(Complaint { at: 9, message: 1 }, i64::MAX);
    state.channels.insert("push".into(), OtherChannel { reached_at: 10, bounced_at: 0 });
    state.channels.insert("sms".into(), OtherChannel { reached_at: 0, bounced_at: 11 });
    state
}

/// Names and bytes.
fn fixtures() -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    FIRST.lines().map(|line| {
        let (about, bytes) = line.split_once(' ').unwrap();
        (about, hex::decode(bytes).unwrap())
    })
}

#[test]
fn states_of_every_version_decode_to_what_they_held() {
    for (about, bytes) in fixtures() {
        assert_eq!(State::decode(&bytes), Ok(held(about)), "{about}");
    }
}

#[test]
fn states_are_written_as_the_newest_fixture_shows() {
    for (about, bytes) in fixtures() {
        let written = hex::encode(held(about).encode());
        assert_eq!(written, hex::encode(bytes), "{about} is written in another way: that is a new version, see schemas/README.md");
    }
}

#[test]
fn states_of_the_next_version_are_refused_with_both_versions_and_what_to_do() {
    let mut bytes = State::default().encode();
    bytes[0] += 1;
    let refused = State::decode(&bytes).unwrap_err();
    assert_eq!(refused.to_string(), "state in a profile of version 2: this release reads up to version 1, upgrade it to go on");
}

#[test]
fn states_that_break_off_or_go_on_are_malformed() {
    for (about, mut bytes) in fixtures() {
        for end in 0..bytes.len() {
            let read = State::decode(&bytes[..end]);
            assert!(matches!(read, Err(DecodeError::Malformed { .. })), "{about}, cut at {end}: {read:?}");
        }
        bytes.push(0);
        assert!(matches!(State::decode(&bytes), Err(DecodeError::Malformed { .. })), "{about} and a byte more");
    }
}

/// A bounce in the state names its class by its place.
#[test]
fn states_name_classes_by_places_that_do_not_change() {
    let places = BounceClass::ALL.map(BounceClass::as_str).join(" ");
    let known = "hard_recipient hard_domain suppressed mailbox_full transient block_reputation block_content policy_sender too_large \
                 auto_reply admin undetermined";
    assert_eq!(places, known);
}

proptest! {
    #[test]
    fn states_of_any_bytes_are_read_or_refused_without_a_panic(
        mut bytes in prop::collection::vec(any::<u8>(), 0..300),
        place in any::<prop::sample::Index>(),
        to in any::<u8>(),
    ) {
        let _ = State::decode(&bytes);
        bytes.insert(0, 1);
        let _ = State::decode(&bytes);
        for (_, mut bytes) in fixtures() {
            let at = place.index(bytes.len());
            bytes[at] = to;
            let _ = State::decode(&bytes);
        }
    }
}

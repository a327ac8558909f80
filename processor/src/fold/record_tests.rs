//! The state as it is written: every version is read, a newer one is refused, and a change without a version shows.

use aftersend_schemas::DecodeError;
use aftersend_schemas::address::ProviderId;
use aftersend_schemas::bounce::BounceClass;
use proptest::prelude::*;

use super::*;

/// Fixtures by version: a name and bytes on each line.
const VERSIONS: [&str; 3] =
    [include_str!("../../fixtures/state-v1.txt"), include_str!("../../fixtures/state-v2.txt"), include_str!("../../fixtures/state-v3.txt")];

/// What the lines of a fixture hold, by version and name.
fn held(version: usize, about: &str) -> State {
    match (version, about) {
        (_, "nothing") => State::default(),
        (1, "everything") => everything_of_the_first_version(),
        (2, "everything") => everything(),
        (2, "mail") => mail(),
        (3, "devices") => devices(),
        (_, about) => panic!("nothing is known of {about}"),
    }
}

/// Of the first version some things are left out (what machines clicked), some put together (bounce days).
fn everything_of_the_first_version() -> State {
    let mut state = State {
        first_delivered_at: 1,
        unsubscribed_at: 1_770_000_000,
        subscribed_at: u32::MAX,
        address: (5, 6),
        last_bounce: (7, "dgTT7AkBAAABlWbVü".into()),
        ..State::default()
    };
    for at in [1, 1_770_000_000] {
        state.delivered.insert(Mail { at, message: at });
        state.lives.insert(u64::MAX, at);
    }
    state.opened.insert(Response { at: 2, message: 2 });
    state.clicked.insert(Click { at: 3, message: 3, link: 0 });
    state.converted.insert(Response { at: 4, message: 4 });
    state.soft.insert(SoftDay { day: 0, address: 2, class: SoftClass::MailboxFull });
    for (at, domain, confidence, received_at) in [(7, false, 95, 1_770_000_000_123), (8, true, 0, -1)] {
        let bounce = HardBounce { at, message: 0, address: 2, provider: ProviderId::UNKNOWN, domain, confidence };
        state.hard.insert(bounce, received_at);
    }
    state.complaints.insert(Complaint { at: 9, message: 0 }, i64::MAX);
    state.channels[0] = OtherChannel { reached_at: 10, answered_at: 0, bounced_at: 0 };
    state.channels[1] = OtherChannel { reached_at: 0, answered_at: 0, bounced_at: 11 };
    state
}

fn everything() -> State {
    let mut state = everything_of_the_first_version();
    state.first_delivered_at = 0x0102_0304;
    state.lives.insert(0, 12);
    state.lives.insert(3, u32::MAX);
    for (place, class) in SoftClass::ALL.into_iter().enumerate() {
        state.soft.insert(SoftDay { day: 20_000 + place as u32, address: 4, class });
    }
    let bounce = HardBounce { at: 9, message: u32::MAX, address: 0, provider: ProviderId(u32::MAX), domain: false, confidence: 100 };
    state.hard.insert(bounce, i64::MIN);
    state.clicked.insert(Click { at: 1_770_000_001, message: 7, link: u32::MAX });
    for (place, channel) in state.channels.iter_mut().enumerate() {
        channel.answered_at = place as u32;
    }
    state.complaints_lifted_at = 13;
    state.hard_lifted_at = 14;
    state.never_suppress = (15, true);
    state
}

/// Everything, and devices.
fn devices() -> State {
    let mut state = everything();
    for (device, at) in [(1, 16), (u64::from(u32::MAX), 1_770_000_003)] {
        state.devices_reached.insert(device, at);
    }
    state.devices_failed.insert(0, 17);
    state
}

/// Somebody who gets mail.
fn mail() -> State {
    let mut state = State::default();
    for n in 0..3 {
        let at = 1_770_000_000 + n * 259_200;
        state.observe(&Observation {
            at,
            message: 0x0a0b_0c00 + n,
            address: 0x1122_3344_5566_7788,
            named: 0x1122_3344_5566_7788,
            fact: Fact::Delivered,
        });
    }
    state
}

/// Version, name and bytes.
fn fixtures() -> impl Iterator<Item = (usize, &'static str, Vec<u8>)> {
    let line = |(version, line): (usize, &'static str)| {
        let (about, bytes) = line.split_once(' ').unwrap();
        (version + 1, about, hex::decode(bytes).unwrap())
    };
    VERSIONS.into_iter().enumerate().flat_map(|(version, lines)| lines.lines().map(move |line| (version, line))).map(line)
}

#[test]
fn states_of_every_version_decode_to_what_they_held() {
    for (version, about, bytes) in fixtures() {
        assert_eq!(State::decode(&bytes), Ok(held(version, about)), "{about} of version {version}");
    }
}

#[test]
fn states_are_written_as_the_newest_fixture_shows() {
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        let newest = VERSIONS.len();
        let line = |line: &str| line.split(' ').next().map(|about| format!("{about} {}\n", hex::encode(held(newest, about).encode())));
        let path = format!("{}/fixtures/state-v{newest}.txt", env!("CARGO_MANIFEST_DIR"));
        return std::fs::write(path, VERSIONS[newest - 1].lines().filter_map(line).collect::<String>()).unwrap();
    }
    // Without devices the version before is written, which the release before reads.
    for (version, about, bytes) in fixtures().filter(|(version, ..)| *version > 1) {
        let written = hex::encode(held(version, about).encode());
        assert_eq!(written, hex::encode(bytes), "{about} is written in another way: that is a new version, see schemas/README.md");
    }
}

#[test]
fn states_of_the_next_version_are_refused_with_both_versions_and_what_to_do() {
    let mut bytes = devices().encode();
    bytes[0] += 1;
    let refused = State::decode(&bytes).unwrap_err();
    assert_eq!(refused.to_string(), "state in a profile of version 4: this release reads up to version 3, upgrade it to go on");
}

#[test]
fn states_that_break_off_or_go_on_are_malformed() {
    for (_, about, mut bytes) in fixtures() {
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
        for version in 1..=3 {
            bytes.insert(0, version);
            let _ = State::decode(&bytes);
            bytes.remove(0);
        }
        for (_, _, mut bytes) in fixtures() {
            let at = place.index(bytes.len());
            bytes[at] = to;
            let _ = State::decode(&bytes);
        }
    }
}

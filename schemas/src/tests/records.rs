use std::fmt::Debug;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::DecodeError;
use crate::identity::Namespace;
use crate::ledger::{self, AttributeValue, LedgerRecord, Standing};
use crate::operator::{Decision, OperatorRecord};
use crate::profile::{self, Cadence, Cause, Channel, ChannelReason, EmailState, Evaluation, Facts, Grounds, ProfileRecord, Reason};
use crate::track_call::{Call, Phase, TrackCall};

/// A record as some release wrote it, and what it held.
#[derive(Deserialize)]
struct Fixture<T> {
    about: String,
    bytes: String,
    value: T,
}

/// What the promises ask of a kind of record.
trait Kept: Debug + PartialEq + DeserializeOwned {
    const NAME: &'static str;
    const VERSION: u32;
    /// What has nothing of the newest version is written as this one.
    const OLDEST_WRITTEN: u32 = Self::VERSION;
    /// It is text, and fixtures show it as such.
    const IS_JSON: bool = false;
    fn encode(&self) -> Vec<u8>;
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError>;
    /// Bytes as a fixture shows them.
    fn show(bytes: &[u8]) -> String {
        if Self::IS_JSON { String::from_utf8(bytes.to_vec()).unwrap() } else { hex::encode(bytes) }
    }
    fn bytes(shown: &str) -> Vec<u8> {
        if Self::IS_JSON { shown.as_bytes().to_vec() } else { hex::decode(shown).unwrap() }
    }
    /// The same record as the next version would begin.
    fn next_version(mut bytes: Vec<u8>) -> Vec<u8> {
        if Self::IS_JSON {
            let version = |version: u32| format!(r#""version":{version},"#);
            return Self::bytes(&Self::show(&bytes).replacen(&version(Self::VERSION), &version(Self::VERSION + 1), 1));
        }
        bytes[0] += 1;
        bytes
    }
}

impl Kept for ProfileRecord {
    const NAME: &'static str = "profile";
    const VERSION: u32 = profile::FORMAT.version as u32;
    const OLDEST_WRITTEN: u32 = 2;
    fn encode(&self) -> Vec<u8> {
        self.encode()
    }
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::decode(bytes)
    }
}

impl Kept for LedgerRecord {
    const NAME: &'static str = "ledger";
    const VERSION: u32 = ledger::FORMAT.version as u32;
    const OLDEST_WRITTEN: u32 = 2;
    fn encode(&self) -> Vec<u8> {
        self.encode()
    }
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::decode(bytes)
    }
}

impl Kept for TrackCall {
    const NAME: &'static str = "track_call";
    const VERSION: u32 = Self::VERSION;
    const OLDEST_WRITTEN: u32 = 1;
    const IS_JSON: bool = true;
    fn encode(&self) -> Vec<u8> {
        self.encode()
    }
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::decode(bytes)
    }
}

impl Kept for OperatorRecord {
    const NAME: &'static str = "operator";
    const VERSION: u32 = Self::VERSION;
    const IS_JSON: bool = true;
    fn encode(&self) -> Vec<u8> {
        self.encode()
    }
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::decode(bytes)
    }
}

/// Of every version that is written.
fn newest<T: Kept>() -> Vec<Fixture<T>> {
    (T::OLDEST_WRITTEN..=T::VERSION).flat_map(|version| fixtures(T::NAME, version)).collect()
}

fn reads_every_version<T: Kept>() {
    for version in 1..=T::VERSION {
        for Fixture { about, bytes, value } in fixtures::<Fixture<T>>(T::NAME, version) {
            assert_eq!(T::decode(&T::bytes(&bytes)), Ok(value), "{} of version {version}: {about}", T::NAME);
        }
    }
}

#[test]
fn records_of_every_version_decode_to_what_they_held() {
    reads_every_version::<ProfileRecord>();
    reads_every_version::<LedgerRecord>();
    reads_every_version::<TrackCall>();
    reads_every_version::<OperatorRecord>();
}

fn writes_the_newest<T: Kept>() {
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        return fill_in::<T>();
    }
    for Fixture { about, bytes, value } in newest::<T>() {
        let written = T::show(&value.encode());
        assert_eq!(written, bytes, "{} ({about}) is written in another way: that is a new version, see schemas/README.md", T::NAME);
    }
}

/// Writes the bytes of fixtures that have none yet.
fn fill_in<T: Kept>() {
    let path = path(&format!("fixtures/records/{}-v{}.json", T::NAME, T::VERSION));
    let mut text = std::fs::read_to_string(&path).unwrap();
    for Fixture { value, .. } in fixtures::<Fixture<T>>(T::NAME, T::VERSION).into_iter().filter(|fixture| fixture.bytes.is_empty()) {
        text = text.replacen("\"bytes\": \"\"", &format!("\"bytes\": {:?}", T::show(&value.encode())), 1);
    }
    std::fs::write(path, text).unwrap();
}

#[test]
fn records_are_written_as_the_newest_fixtures_show() {
    writes_the_newest::<ProfileRecord>();
    writes_the_newest::<LedgerRecord>();
    writes_the_newest::<TrackCall>();
    writes_the_newest::<OperatorRecord>();
}

fn refuses_the_next<T: Kept>() -> String {
    let newer = T::next_version(T::bytes(&fixtures::<Fixture<T>>(T::NAME, T::VERSION)[0].bytes));
    let error = T::decode(&newer).unwrap_err();
    assert!(matches!(error, DecodeError::TooNew { found, known, .. } if found == T::VERSION + 1 && known == T::VERSION), "{error:?}");
    error.to_string()
}

#[test]
fn records_of_the_next_version_are_refused_with_both_versions_and_what_to_do() {
    let refused = |record: &str, version: u32| {
        format!("{record} of version {}: this release reads up to version {version}, upgrade it to go on", version + 1)
    };
    assert_eq!(refuses_the_next::<ProfileRecord>(), refused("profile", 3));
    assert_eq!(refuses_the_next::<LedgerRecord>(), refused("ledger record", 3));
    assert_eq!(refuses_the_next::<TrackCall>(), refused("track call", 2));
    assert_eq!(refuses_the_next::<OperatorRecord>(), refused("operator record", 1));
}

fn reads_nothing_but_the_whole<T: Kept>() {
    for fixture in newest::<T>() {
        let mut bytes = T::bytes(&fixture.bytes);
        for end in 0..bytes.len() {
            let read = T::decode(&bytes[..end]);
            assert!(matches!(read, Err(DecodeError::Malformed { .. })), "{} {}, cut at {end}: {read:?}", T::NAME, fixture.about);
        }
        bytes.push(b'1');
        assert!(matches!(T::decode(&bytes), Err(DecodeError::Malformed { .. })), "{} {} and a byte more", T::NAME, fixture.about);
    }
}

#[test]
fn records_that_break_off_or_go_on_are_malformed() {
    reads_nothing_but_the_whole::<ProfileRecord>();
    reads_nothing_but_the_whole::<LedgerRecord>();
    reads_nothing_but_the_whole::<TrackCall>();
    reads_nothing_but_the_whole::<OperatorRecord>();
}

/// Changes one byte of one fixture.
fn damaged<T: Kept>(place: prop::sample::Index, to: u8) -> Vec<u8> {
    let all = newest::<T>();
    let mut bytes = T::bytes(&all[place.index(all.len())].bytes);
    let at = place.index(bytes.len());
    bytes[at] = to;
    bytes
}

proptest! {
    #[test]
    fn records_of_any_bytes_are_read_or_refused_without_a_panic(
        mut bytes in prop::collection::vec(any::<u8>(), 0..200),
        place in any::<prop::sample::Index>(),
        to in any::<u8>(),
    ) {
        let _ = (ProfileRecord::decode(&bytes), LedgerRecord::decode(&bytes), TrackCall::decode(&bytes), OperatorRecord::decode(&bytes));
        bytes.insert(0, 1);
        let _ = (ProfileRecord::decode(&bytes), LedgerRecord::decode(&bytes));
        for version in 2..=3 {
            bytes[0] = version;
            let _ = ProfileRecord::decode(&bytes);
        }
        let _ = ProfileRecord::decode(&damaged::<ProfileRecord>(place, to));
        let _ = LedgerRecord::decode(&damaged::<LedgerRecord>(place, to));
        let _ = TrackCall::decode(&damaged::<TrackCall>(place, to));
        let _ = OperatorRecord::decode(&damaged::<OperatorRecord>(place, to));
    }
}

/// A person with an id costs no byte for what only others have, and stays readable for the release before.
#[test]
fn records_of_people_without_an_address_are_those_of_the_second_version() {
    let addressed = fixtures::<Fixture<ProfileRecord>>(ProfileRecord::NAME, 3).into_iter().map(|fixture| fixture.value);
    for mut profile in addressed {
        let with = profile.encode();
        profile.address = None;
        let without = profile.encode();
        assert_eq!((with[0], without[0]), (3, 2));
        assert!(with[1..].starts_with(&without[1..]));
    }
}

/// The release before reads all that it knows of.
#[test]
fn records_of_calls_are_of_the_second_version_only_where_the_first_has_no_word_for_them() {
    for version in 1..=TrackCall::VERSION {
        for Fixture { about, value, .. } in fixtures::<Fixture<TrackCall>>(TrackCall::NAME, version) {
            assert_eq!(TrackCall::version_of(value.call, value.phase), version, "{about}");
        }
    }
}

#[test]
fn records_of_calls_may_gain_members_within_a_version() {
    let [first, ..] = &newest::<TrackCall>()[..] else { panic!("no fixtures") };
    let more = first.bytes.replacen('{', r#"{"dreamt_up_later":[1],"#, 1);
    assert_eq!(TrackCall::decode(more.as_bytes()).as_ref(), Ok(&first.value));
    let unversioned = first.bytes.replacen(r#""version":1,"#, "", 1);
    assert_eq!(TrackCall::decode(unversioned.as_bytes()).as_ref(), Ok(&first.value));
}

/// Every variant of an enum without fields, as postcard counts them.
fn variants<T: DeserializeOwned>() -> impl Iterator<Item = T> {
    (0..=u8::MAX).map_while(|index| postcard::from_bytes(&[index]).ok())
}

fn holds_all<T: DeserializeOwned + Debug + PartialEq>(held: &[T]) {
    for variant in variants::<T>() {
        assert!(
            held.contains(&variant),
            "no fixture has {variant:?}; if it is new, so is the version of the record: see schemas/README.md"
        );
    }
}

/// A new variant leaves the bytes of all others as they were, so that only this shows it.
#[test]
fn records_in_fixtures_hold_every_variant() {
    let profiles: Vec<ProfileRecord> = newest().into_iter().map(|fixture| fixture.value).collect();
    holds_all::<Namespace>(&profiles.iter().map(|profile| profile.person.namespace).collect::<Vec<_>>());
    holds_all::<EmailState>(&profiles.iter().map(|profile| profile.evaluation.state).collect::<Vec<_>>());
    holds_all::<Cause>(&profiles.iter().filter_map(|profile| Some(profile.evaluation.verdict.as_ref()?.cause)).collect::<Vec<_>>());

    let evaluations = || profiles.iter().map(|profile| &profile.evaluation);
    holds_all::<Cadence>(&evaluations().map(|evaluation| evaluation.email_cadence).collect::<Vec<_>>());
    holds_all::<Channel>(&evaluations().filter_map(|evaluation| evaluation.best_channel).collect::<Vec<_>>());
    holds_all::<ChannelReason>(&evaluations().map(|evaluation| evaluation.best_channel_reason).collect::<Vec<_>>());
    let reasons: std::collections::BTreeSet<String> = evaluations()
        .filter_map(|evaluation| match evaluation.grounds {
            Grounds::Measured(reason, _) => Some(format!("{reason:?}").split(' ').next().unwrap_or_default().to_owned()),
            Grounds::Worded { .. } => None,
        })
        .collect();
    // Whoever adds a reason comes by here.
    match Reason::Unknown {
        Reason::Complained { .. } | Reason::Unsubscribed { .. } | Reason::HardBounced { .. } | Reason::Grey { .. } => {}
        Reason::Quarantined { .. } | Reason::Failing { .. } | Reason::Sunset { .. } | Reason::Recovering { .. } => {}
        Reason::Unknown | Reason::SoftBounces | Reason::Score => {}
    }
    assert_eq!(reasons.len(), 11, "{reasons:?}");
    assert!(evaluations().any(|evaluation| matches!(evaluation.grounds, Grounds::Worded { .. })));

    let operators: Vec<OperatorRecord> = newest().into_iter().map(|fixture| fixture.value).collect();
    holds_all::<Decision>(&operators.iter().map(|operator| operator.decision).collect::<Vec<_>>());

    let ledgers: Vec<LedgerRecord> = newest().into_iter().map(|fixture| fixture.value).collect();
    holds_all::<Standing>(&ledgers.iter().map(|ledger| ledger.standing).collect::<Vec<_>>());
    let values: Vec<_> = ledgers.iter().flat_map(|ledger| ledger.attributes.values()).collect();
    let has = |kind: fn(&AttributeValue) -> bool| values.iter().any(|value| kind(value));
    assert!(has(|value| matches!(value, AttributeValue::Bool(_))));
    assert!(has(|value| matches!(value, AttributeValue::Integer(_))));
    assert!(has(|value| matches!(value, AttributeValue::Text(_))));

    let calls: Vec<TrackCall> = newest().into_iter().map(|fixture| fixture.value).collect();
    holds_all::<Namespace>(&calls.iter().map(|call| call.person.namespace).collect::<Vec<_>>());
    holds_all::<Call>(&calls.iter().map(|call| call.call).collect::<Vec<_>>());
    holds_all::<Phase>(&calls.iter().map(|call| call.phase).collect::<Vec<_>>());
}

#[test]
fn records_in_fixtures_have_every_option_set_and_unset() {
    let both = |set: Vec<bool>| assert!(set.contains(&true) && set.contains(&false), "{set:?}");
    both(newest::<ProfileRecord>().iter().map(|fixture| fixture.value.address.is_some()).collect());
    let evaluations: Vec<Evaluation> = newest::<ProfileRecord>().into_iter().map(|fixture| fixture.value.evaluation).collect();
    both(evaluations.iter().map(|evaluation| evaluation.verdict.is_some()).collect());
    both(evaluations.iter().map(|evaluation| evaluation.changes_at.is_some()).collect());
    both(evaluations.iter().map(|evaluation| evaluation.best_channel.is_some()).collect());
    both(evaluations.iter().map(|evaluation| evaluation.never_suppress).collect());
    let facts: [fn(&Facts) -> bool; 6] = [
        |facts| facts.hard_bounced_at.is_some(),
        |facts| facts.bounced_at.is_some(),
        |facts| facts.complained_at.is_some(),
        |facts| facts.unsubscribed_at.is_some(),
        |facts| facts.last_click_at.is_some(),
        |facts| facts.last_engaged_at.is_some(),
    ];
    for fact in facts {
        both(evaluations.iter().map(|evaluation| fact(&evaluation.facts)).collect());
    }
    both(newest::<LedgerRecord>().iter().map(|fixture| fixture.value.refused.is_some()).collect());
}

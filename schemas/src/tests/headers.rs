use std::borrow::Cow;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::DecodeError;
use crate::headers::{Dead, Origin, Received};

/// The headers of a dead letter as some release wrote them.
#[derive(Deserialize)]
pub(super) struct Fixture {
    about: String,
    pub(super) headers: Vec<(String, String)>,
}

impl Fixture {
    fn bytes(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))
    }
}

pub(super) fn newest() -> Vec<Fixture> {
    fixtures("dead_headers", Dead::VERSION)
}

/// What the fixtures of the first version say, by what they are about.
fn held(about: &str) -> (Option<Received<'static>>, Dead) {
    let received = Received {
        source: "shop".into(),
        workspace: "eu".into(),
        received_at: 1_770_000_000_123,
        signature_timestamp: "1770000000".into(),
        content_type: "application/json".into(),
        ingest_id: "01KGDPA0000000000000000001".into(),
    };
    let dead =
        |reason: &str, stage: &str, error: &str| Dead { reason: reason.into(), stage: stage.into(), error: error.into(), origin: None };
    match about {
        "ingest: was never in a topic" => (Some(received), dead("body_not_json", "ingest", "")),
        "clickhouse sink, a record of raw" => {
            let origin = Origin { topic: "aftersend.raw".into(), partition: 3, offset: 17 };
            // Written before there were ingest ids.
            let received = Received { ingest_id: Cow::default(), ..received };
            (Some(received), Dead { origin: Some(origin), ..dead("not_an_event", "sink.clickhouse.message_outcomes", "") })
        }
        "track sink, a record of profiles" => {
            let origin = Origin { topic: "aftersend.profiles".into(), partition: 11, offset: u64::MAX };
            (None, Dead { origin: Some(origin), ..dead("unreadable_profile", "sink.track", "profile of version 1 is malformed") })
        }
        about => panic!("nothing is known of {about}"),
    }
}

#[test]
fn headers_of_dead_letters_of_every_version_are_read_as_they_were_meant() {
    for version in 1..=Dead::VERSION {
        for fixture in fixtures::<Fixture>("dead_headers", version) {
            let (received, dead) = held(&fixture.about);
            assert_eq!(Dead::from_headers(fixture.bytes()), Ok(dead), "{}", fixture.about);
            let unknown = Received { workspace: "default".into(), received_at: 5, ..Received::default() };
            assert_eq!(Received::from_headers(fixture.bytes(), 5), received.unwrap_or(unknown), "{}", fixture.about);
        }
    }
}

#[test]
fn headers_of_dead_letters_are_written_as_the_newest_fixtures_show() {
    for fixture in newest() {
        let (received, dead) = held(&fixture.about);
        let written = received.iter().flat_map(Received::to_headers).chain(dead.to_headers());
        let written: Vec<(String, String)> = written.map(|(name, value)| (name.to_owned(), value.into_owned())).collect();
        assert_eq!(written, fixture.headers, "{}: another name or form is a new version, see schemas/README.md", fixture.about);
    }
}

#[test]
fn headers_of_the_next_version_are_refused_and_more_headers_are_not() {
    let [mut first, ..] = <[_; 3]>::try_from(newest()).unwrap_or_else(|_| panic!("three fixtures"));
    let known = Dead::from_headers(first.bytes());
    first.headers.push(("dreamt_up_later".into(), "1".into()));
    assert_eq!(Dead::from_headers(first.bytes()), known);
    first.headers.push(("dead_version".into(), "2".into()));
    let refused = Dead::from_headers(first.bytes()).unwrap_err();
    assert_eq!(refused, DecodeError::TooNew { record: "dead letter", found: 2, known: 1 });
    assert_eq!(refused.to_string(), "dead letter of version 2: this release reads up to version 1, upgrade it to go on");
}

#[test]
fn headers_of_a_dead_letter_win_over_those_it_had() {
    let mut headers = vec![("reason", "before".into())];
    let (_, dead) = held("clickhouse sink, a record of raw");
    headers.extend(dead.to_headers());
    assert_eq!(Dead::from_headers(headers.iter().map(|(name, value)| (*name, value.as_bytes()))), Ok(dead));
}

proptest! {
    #[test]
    fn headers_of_any_bytes_are_read(names in prop::collection::vec(0..12_usize, 0..20), value in prop::collection::vec(any::<u8>(), 0..20)) {
        let known: Vec<_> = newest().into_iter().flat_map(|fixture| fixture.headers).map(|(name, _)| name).collect();
        let headers: Vec<_> = names.iter().map(|index| (known[*index].as_str(), value.as_slice())).collect();
        let _ = Received::from_headers(headers.iter().copied(), 0);
        let malformed = matches!(Dead::from_headers(headers.into_iter()), Err(DecodeError::Malformed { .. }));
        prop_assert!(!malformed);
    }
}

//! Calls that go with one request of the v2 API, within its limits. Pure.

use aftersend_schemas::track_call::Call;
use serde_json::{Value, json};

use super::calls::Attempt;
use super::identifier::Identifier;
use super::plan::Planned;

/// The API's 32 KB and 500 KB, whichever way they are counted, and a number of people that other clients use too.
const MAX_ITEM: usize = 32_000;
const MAX_BYTES: usize = 500_000;
const MAX_PEOPLE: usize = 1_000;
const OPEN: &str = r#"{"batch":["#;
const CLOSE: &str = "]}";

/// A call as the API wants it in a batch.
pub(super) struct Item(String);

impl Item {
    /// Nothing for what is sent alone: a suppress, since nobody knows in which order a batch is worked off, and what is too long.
    pub(super) fn of(planned: &Planned) -> Option<Self> {
        if planned.call == Call::Suppress {
            return None;
        }
        let kind = match planned.whom {
            Identifier::Id(_) => "id",
            Identifier::Cio(_) => "cio_id",
            Identifier::Email(_) => "email",
        };
        let text = json!({
            "type": "person",
            "identifiers": { kind: planned.whom.as_str() },
            "action": "identify",
            "attributes": attributes(planned),
            "timestamp": planned.seen.as_of,
        })
        .to_string();
        (text.len() <= MAX_ITEM).then_some(Self(text))
    }
}

/// What an identify sends. Only of existing people: an event may concern somebody who was deleted since.
pub(super) fn attributes(planned: &Planned) -> Value {
    let mut attributes = json!(planned.attributes);
    attributes["_update"] = true.into();
    if planned.call == Call::Unsubscribe {
        attributes["unsubscribed"] = true.into();
    }
    attributes
}

/// One request that fills.
#[derive(Default)]
pub(super) struct Batch {
    attempts: Vec<Attempt>,
    body: String,
}

impl Batch {
    /// Whether it can go into the same request as the others.
    pub(super) fn has_room(&self, item: &Item) -> bool {
        self.attempts.len() < MAX_PEOPLE && self.body.len() + item.0.len() + CLOSE.len() < MAX_BYTES
    }

    pub(super) fn push(&mut self, attempt: Attempt, Item(text): &Item) {
        self.body.push_str(if self.attempts.is_empty() { OPEN } else { "," });
        self.body.push_str(text);
        self.attempts.push(attempt);
    }

    /// The attempts, in order, and the body for them.
    pub(super) fn close(mut self) -> (Vec<Attempt>, String) {
        self.body.push_str(CLOSE);
        (self.attempts, self.body)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use aftersend_schemas::identity::{Namespace, Person};
    use aftersend_schemas::ledger::{AttributeValue, LedgerRecord, Reasons, Seen};
    use aftersend_schemas::profile::ProfileRecord;

    use super::super::people::PersonKey;
    use super::super::plan::tests::profile;
    use super::*;

    fn planned(whom: Identifier, call: Call, reason: &str) -> Planned {
        let attributes = BTreeMap::from([("a_reason".to_owned(), AttributeValue::Text(reason.to_owned()))]);
        let seen = Seen { as_of: 1_770_000_000, offset: 3, policy_version: 1 };
        let reasons = Reasons { complaints: 0, hard_bounced_at: None };
        Planned { whom, call, attributes, rule: "attributes", digest: 1, seen, reasons, has_verdict: false }
    }

    fn of(call: Call, reason: &str) -> Planned {
        planned(Identifier::Id("u".into()), call, reason)
    }

    fn attempt(profile: ProfileRecord) -> Attempt {
        let ledger = LedgerRecord::new(profile.person.clone());
        Attempt {
            key: PersonKey { partition: 0, person: "".into() },
            profile,
            planned: of(Call::Identify, "r"),
            ledger,
            intended: None,
            withdrawn: None,
            admitted: None,
        }
    }

    #[test]
    fn an_item_names_one_identifier_and_never_makes_anybody_anew() {
        let item = |whom, call| Item::of(&planned(whom, call, "r")).map(|item| item.0);
        let identify = r#"{"action":"identify","attributes":{"_update":true,"a_reason":"r"},"identifiers":{"id":"a/b"},"timestamp":1770000000,"type":"person"}"#;
        assert_eq!(item(Identifier::Id("a/b".into()), Call::Identify).as_deref(), Some(identify));
        let unsubscribe = r#"{"action":"identify","attributes":{"_update":true,"a_reason":"r","unsubscribed":true},"identifiers":{"cio_id":"a/b"},"timestamp":1770000000,"type":"person"}"#;
        assert_eq!(item(Identifier::Cio("a/b".into()), Call::Unsubscribe).as_deref(), Some(unsubscribe));
        let by_address = item(Identifier::Email("a@b.example".into()), Call::Identify).unwrap_or_default();
        assert!(by_address.contains(r#""identifiers":{"email":"a@b.example"}"#), "{by_address}");
    }

    #[test]
    fn a_suppress_and_what_is_too_long_go_alone() {
        assert!(Item::of(&of(Call::Suppress, "")).is_none());
        let of_length = |length: usize| {
            let rest = Item::of(&of(Call::Identify, "")).map_or(0, |item| item.0.len());
            Item::of(&of(Call::Identify, &"x".repeat(length - rest)))
        };
        assert!(of_length(MAX_ITEM).is_some());
        assert!(of_length(MAX_ITEM + 1).is_none());
    }

    #[test]
    fn a_batch_stays_within_its_limits() {
        for length in [10, 900, 20_000] {
            let mut batch = Batch::default();
            let item = Item::of(&of(Call::Identify, &"x".repeat(length))).unwrap();
            while batch.has_room(&item) {
                batch.push(attempt(profile(Person { workspace: "default".into(), namespace: Namespace::Id, id: "u".into() }, None)), &item);
            }
            let (attempts, body) = batch.close();
            assert!(attempts.len() == MAX_PEOPLE || body.len() + item.0.len() + 1 > MAX_BYTES, "{} in {}", attempts.len(), body.len());
            assert!(attempts.len() <= MAX_PEOPLE && body.len() <= MAX_BYTES, "{} in {}", attempts.len(), body.len());
            let read: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(read["batch"].as_array().unwrap().len(), attempts.len());
        }
    }
}

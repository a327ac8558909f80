//! Any bytes as the body of a webhook.

use std::sync::LazyLock;

use aftersend_schemas::address::Address;
use aftersend_schemas::bounce::BounceClass;
use aftersend_schemas::event::{Event, ID_BYTES};
use aftersend_schemas::headers::Received;
use aftersend_schemas::identity::{Person, Subject};
use aftersend_schemas::json::NotAnObject;
use aftersend_schemas::members::{Field, Scope};
use aftersend_schemas::normaliser::Normaliser;
use aftersend_schemas::oddity::Oddity;
use aftersend_schemas::privacy::{HashKey, HashKeys, Privacy};
use aftersend_schemas::row_binary::Block;
use aftersend_schemas::rows::{MessageOutcome, Position};
use aftersend_schemas::rudderstack;
use aftersend_schemas::test_events::{TestEvent, TestEvents};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_bytes::ByteBuf;
use serde_json::Value;
use serde_json::value::RawValue;

use super::classify::has_guard_phrase;

static HASHED: LazyLock<Normaliser> = LazyLock::new(|| Normaliser::new(Privacy::Hash(keys())));
static DROPPED: LazyLock<Normaliser> = LazyLock::new(|| Normaliser::new(Privacy::Drop));
/// Everything else that can be configured is, too.
static PLAIN: LazyLock<Normaliser> = LazyLock::new(|| {
    let marks = [("data.subject", "[TEST]*"), ("data.identifiers.id", "qa"), ("metric", "test")];
    let test_events = marks.into_iter().map(|(field, value)| TestEvent::new(field, value).expect("a mark")).collect();
    Normaliser { test_events: TestEvents(test_events), keeps_content: true, ..Normaliser::new(Privacy::Plain(keys())) }
});
static RECEIVED: LazyLock<Received<'static>> = LazyLock::new(|| Received { received_at: 1_770_000_000_000, ..Received::default() });

fn keys() -> HashKeys {
    HashKeys::new(vec![HashKey::new(b"one", 0), HashKey::new(b"two", 1_750_000_000)]).expect("two keys")
}

/// Any bytes as the body of a webhook.
pub fn event(body: &[u8]) {
    let read = Event::read(body);
    assert_eq!(read.as_ref().map(drop).map_err(Clone::clone), reference(body), "serde_json judges otherwise");
    let rows = [&*HASHED, &*DROPPED, &*PLAIN].map(|normaliser| {
        assert_eq!(normaliser.event(body).map(drop), reference(body));
        (normaliser, row(normaliser, body))
    });
    // In front another number of them for each length: the reader goes by blocks.
    check_padded(body, &[&b"\t".repeat(body.len() % 67), body, b"\n"].concat());
    let read = match read {
        Ok(read) => read,
        Err(reason) => return assert!(rows.iter().all(|(_, row)| row.as_ref() == Err(&reason)), "no event, and a row or another reason"),
    };
    check_members(&read, std::str::from_utf8(body).expect("an event is UTF-8"));
    let is_read_by_all = serde_json::from_slice::<Value>(body).is_ok();
    let [hashed, dropped, plain] = rows.map(|(normaliser, made)| {
        assert_eq!(made, row(normaliser, body), "the same body gives another row");
        let made = made.expect("an event has a row");
        check_row(&read, &made);
        check_metadata(&made.metadata, is_read_by_all);
        check_key(&read, &normaliser.privacy);
        if !normaliser.privacy.keeps_clear_text() {
            check_no_address(&read, &made);
        }
        made.email_hash
    });
    assert!(dropped.is_empty() && hashed == plain);
    check_repeated_address(&read);
    check_track(&read);
}

/// What `serde_json` makes of the same bytes, without its limit of depth.
fn reference(body: &[u8]) -> Result<(), NotAnObject> {
    let text = std::str::from_utf8(body).map_err(|_| NotAnObject::NotUtf8)?;
    if text.trim_matches([' ', '\t', '\r', '\n']).is_empty() {
        return Err(NotAnObject::Empty);
    }
    let value: &RawValue = serde_json::from_str(text).map_err(|_| NotAnObject::NotJson)?;
    if value.get().starts_with('{') { Ok(()) } else { Err(NotAnObject::NotAnObject) }
}

fn row<'a>(normaliser: &'a Normaliser, body: &'a [u8]) -> Result<MessageOutcome<'a>, NotAnObject> {
    normaliser.outcome(body, &RECEIVED, &Position { topic: "aftersend.raw", partition: 3, offset: 7 }, 0)
}

/// Blanks around the body change nothing but the id that is a hash of the body.
fn check_padded(body: &[u8], padded: &[u8]) {
    let (before, after) = match (Event::read(body), Event::read(padded)) {
        (Ok(before), Ok(after)) => (before, after),
        (before, after) => return assert_eq!(before.map(drop), after.map(drop)),
    };
    let is_hashed = before.oddities.contains(Oddity::EventIdMissing);
    let (key_before, key_after) = (Subject::of(&before, &HASHED.privacy), Subject::of(&after, &HASHED.privacy));
    assert!(key_before == key_after || is_hashed && matches!((key_before, key_after), (Subject::Event(_), Subject::Event(_))));
    let row_before = row(&HASHED, body).expect("an event has a row");
    let mut row_after = row(&HASHED, padded).expect("an event has a row");
    if is_hashed {
        assert_ne!(row_after.event_id, row_before.event_id);
        row_after.event_id = row_before.event_id.clone();
    }
    assert_eq!(row_before, row_after);
}

/// The members are those that `serde_json` finds, with the same names, values and texts.
fn check_members(event: &Event<'_>, body: &str) {
    check_scope(event, Scope::Top, Some(body));
    let last = |source: Option<&str>, name: &str| {
        let Listed(members) = serde_json::from_str(source?).ok()?;
        // The last that is an object counts.
        let is_it = |(other, value): &(Vec<u8>, &RawValue)| other == name.as_bytes() && value.get().starts_with('{');
        members.into_iter().rfind(is_it).map(|(_, value)| value.get().to_owned())
    };
    let data = last(Some(body), "data");
    check_scope(event, Scope::Data, data.as_deref());
    check_scope(event, Scope::Identifiers, last(data.as_deref(), "identifiers").as_deref());
    check_scope(event, Scope::TopIdentifiers, last(Some(body), "identifiers").as_deref());
}

fn check_scope(event: &Event<'_>, scope: Scope, object: Option<&str>) {
    let expected = object.and_then(|object| serde_json::from_str(object).ok()).unwrap_or(Listed(Vec::new()));
    let mut expected: Vec<_> = expected.0.into_iter().map(|(name, value)| (name, value.get())).collect();
    let found = event.members().filter(|member| member.scope() == scope);
    let mut found: Vec<_> = found.map(|member| (bytes_of(member.name().get()), member.value())).collect();
    for (name, value) in &found {
        match serde_json::from_str::<String>(value.get()) {
            Ok(text) => assert_eq!(value.string().as_deref(), Some(text.as_str()), "{name:?}"),
            Err(_) => assert_eq!(value.string().is_some(), value.get().starts_with('"'), "{name:?}: lone surrogates are shown as such"),
        }
    }
    // `data` and `identifiers` come behind their members.
    expected.sort();
    found.sort_by_key(|(name, value)| (name.clone(), value.get()));
    assert!(expected.into_iter().eq(found.into_iter().map(|(name, value)| (name, value.get()))), "{scope:?} has other members");
}

/// The content of a text, also where it has a lone surrogate.
fn bytes_of(literal: &str) -> Vec<u8> {
    serde_json::from_str::<ByteBuf>(literal).expect("a text").into_vec()
}

fn check_row(event: &Event<'_>, row: &MessageOutcome<'_>) {
    let mut block = Block::default();
    block.push(row).expect("a row has a form");
    assert_eq!(block.rows(), 1);
    assert!(block.bytes().len() > row.metadata.len() + row.failure_message.len());

    assert!(!row.event_id.is_empty());
    assert_eq!(row.event_id, event.event_id);
    assert_eq!(row.event_type, format!("{}_{}", row.channel, row.metric));
    if !event.oddities.contains(Oddity::Undocumented) {
        assert_eq!((&row.channel, &row.metric), (&event.object_type, &event.metric));
    }
    assert_eq!(i64::from(row.timestamp), event.time.seconds().unwrap_or_default(), "the time does not fit its column");
    for id in [&row.event_id, &row.customer_id, &row.cio_id, &row.message_id] {
        assert!(id.len() <= ID_BYTES);
    }

    for id in [&row.event_id, &row.cio_id, &row.message_id] {
        assert!(!id.contains('@'), "{id} is no id of Customer.io's");
    }
    let in_domain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._[:]".contains(&byte);
    assert!(row.recipient_domain.len() <= 253 && row.recipient_domain.bytes().all(in_domain), "{}", row.recipient_domain);

    let failure = event.failure_message();
    assert_eq!(failure.is_some(), !row.bounce_rule.is_empty());
    assert_eq!(row.bounce_table != 0, failure.is_some());
    let class = (!row.bounce_class.is_empty()).then(|| row.bounce_class.parse::<BounceClass>().expect("a class"));
    if let (Some(text), Some(class)) = (failure, class) {
        assert!(!class.is_hard() || !has_guard_phrase(&text), "{} by {} for {text:?}", row.bounce_class, row.bounce_rule);
    }
}

/// The members of an object in their order, repeated ones included. Names are bytes, for they may have lone surrogates.
struct Listed<'a>(Vec<(Vec<u8>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Listed<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Listed<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Listed<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<ByteBuf, _>()? {
                    members.push((name.into_vec(), value));
                }
                Ok(Listed(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

fn check_metadata(metadata: &str, is_read_by_all: bool) {
    let Listed(members) = serde_json::from_str(metadata).expect("metadata is a JSON object");
    let mut names: Vec<_> = members.iter().map(|(name, _)| name).collect();
    names.sort();
    assert!(names.is_sorted_by(|a, b| a < b), "a name stands twice: {metadata}");
    // Not so where the body is nested too deep for most readers, or has a lone surrogate or a number beyond `f64`.
    assert!(!is_read_by_all || serde_json::from_str::<Value>(metadata).is_ok(), "{metadata}");
}

fn check_key(event: &Event<'_>, privacy: &Privacy) {
    let subject = Subject::of(event, privacy);
    assert_eq!(subject, Subject::of(event, privacy), "the same event has another subject");
    let key = subject.key();
    assert!(!key.is_empty() && key.len() <= "cio_".len() + ID_BYTES, "a key of {} bytes", key.len());
    let is_hash = |hash: &str| hash.len() == 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    if let Subject::Email(hash) = &subject {
        assert!(is_hash(hash) && key.strip_prefix("email:") == Some(hash.as_str()), "{key}");
        assert!(!matches!(privacy, Privacy::Drop));
    }
    // A workspace may use addresses as ids of its own; nothing else brings one into the key.
    let own_id = event.customer_id().unwrap_or_default().to_lowercase();
    for address in addresses(event) {
        assert!(own_id.contains(&address) || !key.to_lowercase().contains(&address), "{address} in the key {key}");
    }
    if let Some(person) = subject.person("default", &key) {
        assert_eq!(Person::parse(&person.to_string()), Some(person));
    }
}

/// What the event says are addresses and what without doubt is one, in lower case.
fn addresses(event: &Event<'_>) -> Vec<String> {
    let fields = [Field::Recipient, Field::Email, Field::EmailAddress];
    let members = event.members().filter(|member| member.field().is_some_and(|field| fields.contains(&field)));
    members.filter_map(|member| member.value().text()).filter(|text| is_address(text)).map(|text| text.to_lowercase()).collect()
}

/// `local@domain`, neither in quotes nor with anything that may end a word in a free text.
fn is_address(text: &str) -> bool {
    let is_word = |text: &str, apart: &[char]| {
        let plain = |c: char| c.is_alphanumeric() || apart.contains(&c);
        text.chars().all(plain) && text.starts_with(char::is_alphanumeric) && text.ends_with(char::is_alphanumeric)
    };
    let parts = text.split_once('@').filter(|_| text.len() >= 5 && Address::read(text).is_some());
    parts.is_some_and(|(local, domain)| is_word(local, &LOCAL) && is_word(domain, &['.', '-', '_']))
}

/// What RFC 5322 allows in a local part beside letters and digits. Not `%` and `&`: `a%3C` is an `a` and a bracket.
const LOCAL: [char; 18] = ['.', '!', '#', '$', '\'', '*', '+', '-', '/', '=', '?', '^', '_', '`', '{', '|', '}', '~'];

/// Providers repeat the address in their texts, and shops in their links: fuzzing alone would hardly ever write the same one twice.
fn check_repeated_address(event: &Event<'_>) {
    let Some(address) = event.address().filter(|text| is_address(text)) else { return };
    let text = |text: String| Value::from(text).to_string();
    let body = format!(
        r#"{{"object_type":"email","metric":"bounced","data":{{"recipient":{},"failure_message":{},"href":{},"x":[{}],{}:1}}}}"#,
        text(address.to_string()),
        text(format!("550 5.1.1 <{address}>: no {address}")),
        text(format!("https://shop.example/{address}?to={address}&from={address}")),
        text(format!("{address},{address}")),
        text(address.to_string()),
    );
    let event = Event::read(body.as_bytes()).expect("an object");
    assert_eq!(addresses(&event), [address.to_lowercase()]);
    for normaliser in [&*HASHED, &*DROPPED] {
        check_no_address(&event, &row(normaliser, body.as_bytes()).expect("an event has a row"));
    }
}

/// Nothing that is shown holds an address.
fn check_no_address(event: &Event<'_>, row: &MessageOutcome<'_>) {
    let addresses = addresses(event);
    let shown = [&row.failure_message, &row.href, &row.event_type].map(|text| text.to_string());
    for text in shown.into_iter().chain(texts(&row.metadata)) {
        let lower = text.to_lowercase();
        for address in &addresses {
            assert!(!lower.contains(address), "{address} is left in {text:?}");
        }
        for (at, _) in text.match_indices('@') {
            let (before, after) = (&text.as_bytes()[..at], &text.as_bytes()[at + 1..]);
            let local = before.iter().rev().take_while(|byte| byte.is_ascii_alphanumeric()).count();
            // What looks like a word may be the rest of an escape.
            let is_escape = matches!(before[..before.len() - local].last(), Some(b'%' | b'&' | b'#' | b'\\'));
            let is_one = local > 0 && !is_escape && after.first().is_some_and(u8::is_ascii_alphanumeric);
            assert!(!is_one, "an address is left in {text:?}");
        }
    }
}

/// Every text and member name in a JSON document, as its reader sees it. Not by a tree, which depth or a lone surrogate would keep from growing.
fn texts(json: &str) -> Vec<String> {
    let mut texts = Vec::new();
    let mut rest = json;
    while let Some(open) = rest.find('"') {
        let mut literals = serde_json::Deserializer::from_str(&rest[open..]).into_iter::<ByteBuf>();
        let text = literals.next().and_then(Result::ok).expect("quotes enclose a text");
        texts.push(String::from_utf8_lossy(&text).into_owned());
        rest = &rest[open + literals.byte_offset()..];
    }
    texts
}

fn check_track(event: &Event<'_>) {
    let track = rudderstack::track(event);
    assert_eq!(track, rudderstack::track(event), "the same event gives another message");
    assert!(!track.message_id.is_empty() && !track.event.is_empty());
    let message = serde_json::to_string(&track).expect("a message has a form");
    let message: &RawValue = serde_json::from_str(&message).expect("a message is JSON");
    assert!(message.get().starts_with(r#"{"type":"track","#));
}

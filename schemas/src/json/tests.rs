use std::borrow::Cow;

use proptest::prelude::*;
use serde_json::value::RawValue;

use super::text::unescape;
use super::*;
use crate::members::{Members, Scope};

fn members(body: &[u8]) -> Result<Vec<(String, String)>, NotAnObject> {
    let members = Members::read(body)?;
    let of_top = members.iter().filter(|member| member.scope() == Scope::Top);
    Ok(of_top.map(|member| (member.name().get().to_owned(), member.value().get().to_owned())).collect())
}

fn whole(source: &str) -> Value<'_> {
    Value { source, is_escaped: false }
}

fn value<'a>(body: &'a str, name: &str) -> Value<'a> {
    whole(body).member(name).unwrap()
}

/// What `serde_json` makes of the same bytes, without its limit of depth.
fn reference(body: &[u8]) -> Result<(), NotAnObject> {
    let text = std::str::from_utf8(body).map_err(|_| NotAnObject::NotUtf8)?;
    let blanks = [' ', '\t', '\r', '\n'];
    if text.trim_matches(blanks).is_empty() {
        return Err(NotAnObject::Empty);
    }
    let value: &RawValue = serde_json::from_str(text).map_err(|_| NotAnObject::NotJson)?;
    if value.get().starts_with('{') { Ok(()) } else { Err(NotAnObject::NotAnObject) }
}

#[test]
fn only_one_json_object_is_an_event_and_every_other_body_has_a_reason() {
    let cases: [(&[u8], Option<NotAnObject>); 16] = [
        (b"{}", None),
        (b" \r\n{\"a\":1}\n", None),
        (b"{\"a\":\"\\ud800\"}", None),
        (b"{\"\\ud800\":1}", None),
        (b"", Some(NotAnObject::Empty)),
        (b" \n", Some(NotAnObject::Empty)),
        (b"[1]", Some(NotAnObject::NotAnObject)),
        (b"\"text\"", Some(NotAnObject::NotAnObject)),
        (b"null", Some(NotAnObject::NotAnObject)),
        (b"{\"a\":1", Some(NotAnObject::NotJson)),
        (b"{\"a\":1}x", Some(NotAnObject::NotJson)),
        (b"{} {}", Some(NotAnObject::NotJson)),
        (b"hello", Some(NotAnObject::NotJson)),
        (b"\xEF\xBB\xBF{}", Some(NotAnObject::NotJson)),
        (b"{\"a\":\"\xff\"}", Some(NotAnObject::NotUtf8)),
        (b"{\"a\":\"\x01\"}", Some(NotAnObject::NotJson)),
    ];
    for (body, reason) in cases {
        assert_eq!(members(body).err(), reason, "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn depth_stops_nothing() {
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(200_000), "]".repeat(200_000));
    assert_eq!(members(deep.as_bytes()).unwrap().len(), 1);
    let open = format!("{{\"a\":{}", "{\"a\":".repeat(200_000));
    assert_eq!(members(open.as_bytes()), Err(NotAnObject::NotJson));
}

#[test]
fn values_are_read_leniently() {
    let body = r#"{"n":20010245,"s":" x\u00e9 ","i":"31","b":true,"t":" True","f":"FALSE","one":1,"nil":null,"blank":"  ","big":123456789012345678901234567890,"a":1,"a":2,"l":"\ud800"}"#;
    let value = |name| value(body, name);
    assert_eq!(value("n").text().unwrap(), "20010245");
    assert_eq!(value("s").text().unwrap(), "xé");
    assert_eq!(value("i").integer(), Some(31));
    assert_eq!(value("b").boolean(), Some(true));
    assert_eq!(["t", "f", "one", "nil", "n"].map(|name| value(name).boolean()), [Some(true), Some(false), Some(true), None, None]);
    assert_eq!(value("nil").text(), None);
    assert_eq!(value("blank").text(), None);
    assert_eq!(value("big").text().unwrap(), "123456789012345678901234567890");
    assert_eq!(value("big").integer(), None);
    assert_eq!(value("a").integer(), Some(2), "the last of a repeated name counts");
    assert!(value("l").text().unwrap().starts_with('\u{fffd}'), "a lone surrogate is shown as such");
    assert_eq!(unescape(r#""a\ud800b\udc00\udbffc""#).as_deref(), Some("a\u{fffd}b\u{fffd}\u{fffd}c"), "each as one");
}

#[test]
fn a_document_that_is_one_text_is_read_whatever_its_escapes() {
    for (document, text) in [(r#""a""#, "a"), (r#" "bad\ud800" "#, "bad\u{fffd}"), (r#""\ud83d\ude00\n""#, "\u{1f600}\n"), ("\"\"", "")] {
        assert_eq!(text_of(document).as_deref(), Some(text));
    }
    for other in ["", "5", "[97]", "null", r#""a"#, r#""a" "b""#] {
        assert_eq!(text_of(other), None, "{other}");
    }
}

#[test]
fn lone_surrogates_are_mended_and_nothing_else_is_touched() {
    let source = r#"{"a\ud83d":[1.50,"x\udc00y\n","\ud83d\ude00","\\ud800"]}"#;
    let mended = without_lone_surrogates(source);
    assert!(serde_json::from_str::<serde_json::Value>(&mended).is_ok(), "{mended}");
    assert!(mended.contains(r#"[1.50,"#) && mended.contains(r#""\ud83d\ude00","\\ud800"]"#), "{mended}");
    assert_eq!(without_lone_surrogates(&mended), mended);
    assert!(matches!(without_lone_surrogates(r#"{"a":"\u00e9"}"#), Cow::Borrowed(_)));
}

#[test]
fn a_list_gives_its_items_and_nothing_else_does() {
    let items = |source| whole(source).items().map(Value::get).collect::<Vec<_>>();
    assert_eq!(items(r#"[1, {"a":[2]} ,"]"]"#), ["1", r#"{"a":[2]}"#, "\"]\""]);
    assert!(items("[]").is_empty() && items("[ ]").is_empty() && items("{}").is_empty() && items("1").is_empty());
}

/// JSON documents, well formed.
fn document() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::json!(null)),
        any::<bool>().prop_map(|b| serde_json::json!(b)),
        any::<i64>().prop_map(|n| serde_json::json!(n)),
        any::<f64>().prop_map(|n| serde_json::json!(n)),
        ".{0,12}".prop_map(|s| serde_json::json!(s)),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(serde_json::Value::Array),
            prop::collection::vec((".{0,4}", inner), 0..5).prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn whole_documents_are_judged_as_the_reference_does(document in document(), pretty in any::<bool>()) {
        let body = if pretty { serde_json::to_string_pretty(&document) } else { serde_json::to_string(&document) }.unwrap();
        prop_assert_eq!(members(body.as_bytes()).map(|_| ()), reference(body.as_bytes()), "{}", body);
        if let Ok(read) = members(body.as_bytes()) {
            let parsed = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
            let expected: Vec<_> = document.as_object().unwrap().iter().map(|(name, value)| {
                (serde_json::to_string(name).unwrap(), parsed(&value.to_string()))
            }).collect();
            let read: Vec<_> = read.into_iter().map(|(name, value)| (name, parsed(&value))).collect();
            prop_assert_eq!(read, expected);
        }
    }

    #[test]
    fn damaged_documents_are_judged_as_the_reference_does(
        document in document(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![
            any::<u8>(), prop::sample::select(b"{}[]\",:\\u01-+.eE tfn/\x1f\x20\x7f".to_vec())
        ], 0..3_u8), 1..4),
    ) {
        let mut body = format!("{{\"a\":{document}}}").into_bytes();
        for (place, byte, how) in damage {
            let at = place.index(body.len());
            match how {
                0 => body[at] = byte,
                1 => body.insert(at, byte),
                _ => { body.remove(at); }
            }
        }
        prop_assert_eq!(members(&body).map(|_| ()), reference(&body), "{}", String::from_utf8_lossy(&body));
    }

    #[test]
    fn any_bytes_are_judged_as_the_reference_does(body in prop::collection::vec(prop::sample::select(b"{}[]\",:\\u012-+.eE tfnrualse\n\x1f\xc3\xa9".to_vec()), 0..24)) {
        prop_assert_eq!(members(&body).map(|_| ()), reference(&body), "{}", String::from_utf8_lossy(&body));
    }
}

use proptest::prelude::*;

use super::*;
use crate::{bounce, privacy};

fn normaliser() -> Normaliser {
    Normaliser::new(privacy::for_tests())
}

fn with<R>(body: &[u8], check: impl FnOnce(Result<MessageOutcome<'_>, NotAnObject>) -> R) -> R {
    let received = Received { received_at: 1_770_000_000_000, ..Received::default() };
    check(normaliser().outcome(body, &received, &Position { topic: "aftersend.raw", partition: 3, offset: 7 }, 0))
}

fn metadata(body: &str) -> String {
    with(body.as_bytes(), |row| row.unwrap().metadata.into_owned())
}

#[test]
fn what_has_no_column_is_kept_in_the_metadata() {
    let sent = r#"{"event_id":"e","object_type":"email","metric":"sent","timestamp":1770000000,"extra":{"a":[1,"x@y.example"]},"href":"top",
            "data":{"customer_id":"u","campaign_id":"not a number","action_id":-1,"newsletter_id":7,"recipient":"x@y.example","content":"<html>",
            "extra":2,"href":"h","identifiers":{"id":"u","phone":"+15550100","email":"x@y.example"}}}"#;
    assert_eq!(
        metadata(sent),
        r#"{"action_id":-1,"campaign_id":"not a number","top.extra":{"a":[1,"[address]"]},"extra":2,"top.href":"top","identifiers.phone":"+15550100"}"#,
        "a name that stands at the top and in data keeps both"
    );
    with(sent.as_bytes(), |row| {
        let row = row.unwrap();
        assert_eq!((row.newsletter_id, row.campaign_id, row.href.as_ref()), (Some(7), None, "h"));
    });
    let ahead = r#"{"event_id":"e","object_type":"email","metric":"sent","timestamp":1770000301,"data":{}}"#;
    assert_eq!(metadata(ahead), r#"{"aftersend_oddities":["ahead_of_arrival"]}"#);
}

#[test]
fn members_whose_names_are_masked_do_not_take_each_others_place() {
    let body = r#"{"event_id":"e","object_type":"email","metric":"sent","timestamp":1770000000,"data":{"a@x.example":1,"b@x.example":2}}"#;
    assert_eq!(metadata(body), r#"{"[address]":1,"[address]#2":2}"#);
}

#[test]
fn nobody_can_pass_off_a_member_as_our_list_of_oddities() {
    let body = r#"{"event_id":"e","object_type":"email","metric":"sent","timestamp":1770000000,"data":{"aftersend_oddities":["forged"]}}"#;
    assert_eq!(metadata(body), r#"{"sent.aftersend_oddities":["forged"]}"#);
}

#[test]
fn no_member_takes_the_place_of_one_that_is_named_here() {
    let metadata =
        |data: &str| metadata(&format!(r#"{{"event_id":"e","object_type":"email","metric":"sent","timestamp":1770000000,"data":{data}}}"#));
    assert_eq!(
        metadata(r#"{"identifiers":{"phone":["x"]},"identifiers.phone":"y","sent.identifiers.phone":"z"}"#),
        r#"{"identifiers.phone":["x"],"sent.identifiers.phone":"y","sent.sent.identifiers.phone":"z"}"#
    );
    assert_eq!(
        metadata(r#"{"aftersend_oddities":1,"sent.aftersend_oddities":2}"#),
        r#"{"sent.aftersend_oddities":1,"sent.sent.aftersend_oddities":2}"#
    );
    assert_eq!(metadata(r#"{"identifiers":{"aftersend_oddities":1}}"#), r#"{"identifiers.aftersend_oddities":1}"#);
    assert_eq!(metadata(r#"{"[address]#2":1,"a@x.example":2,"[address]":3}"#), r#"{"[address]#2":2,"[address]#2#1":1,"[address]#3":3}"#);
}

#[test]
fn what_is_around_an_address_is_kept_and_a_name_beside_it_is_not() {
    let slack = |recipient: &str| {
        metadata(&format!(
            r#"{{"event_id":"e","object_type":"slack","metric":"sent","timestamp":1770000000,"data":{{"recipient":"{recipient}"}}}}"#
        ))
    };
    assert_eq!(slack("general, owner a@b.example"), r#"{"recipient":"general, owner [address]"}"#);
    for alone in ["a@b.example", "A@B.example", "Ann Lee <a@b.example>", "a@b.example (Ann Lee)"] {
        assert_eq!(slack(alone), "{}", "{alone}");
    }
    assert_eq!(slack("general, owner a\u{2605}@b.example"), "{}", "what cannot be masked is left out");
    for of_mail in ["Lee, Ann <a@b.example>", "Ann Lee a@b.example"] {
        let event = format!(
            r#"{{"event_id":"e","object_type":"email","metric":"sent","timestamp":1770000000,"data":{{"recipient":"{of_mail}"}}}}"#
        );
        assert_eq!(metadata(&event), "{}", "{of_mail}");
    }
}

#[test]
fn a_local_part_does_not_stay_without_its_at_sign() {
    let shown = |address: &str, text: &str| {
        let body = format!(
            r#"{{"event_id":"e","object_type":"email","metric":"bounced","data":{{"recipient":"{address}","failure_message":"{text}","href":"{text}"}}}}"#
        );
        with(body.as_bytes(), |row| {
            let row = row.unwrap();
            assert_eq!(row.failure_message, row.href);
            row.failure_message.into_owned()
        })
    };
    let domino = "User jane.doe (jane.doe@d.example) not listed in Domino Directory";
    assert_eq!(shown("Jane.Doe@d.example", domino), "User [address] ([address]) not listed in Domino Directory");
    assert_eq!(shown("zq45leak@d.example", "550 <ZQ45leak>... User unknown"), "550 <[address]>... User unknown");
    for (address, text) in
        [("jo@d.example", "550 <jo>... User unknown"), ("user@d.example", "550 no such user"), ("address@d.example", "550 no such address")]
    {
        assert_eq!(shown(address, text), text, "too short, or a word of every failure");
    }
    assert_eq!(shown("leakjane+news@d.example", "550 <leakjane>, leakjane+news"), "550 <[address]>, [address]");
    assert_eq!(shown("leakzoë@d.example", "550 LEAKZOË unknown"), "550 [address] unknown");
    let forwarded = br#"{"event_id":"e","object_type":"email","metric":"bounced",
        "data":{"recipient":"jane@d.example","identifiers":{"email":"leak.cust@d.example"},"failure_message":"550 <jane@d.example> leak.cust unknown"}}"#;
    with(forwarded, |row| assert_eq!(row.unwrap().failure_message, "550 <[address]> [address] unknown"));
    let link = br#"{"event_id":"e","object_type":"email","metric":"clicked","data":{"recipient":"shop@d.example","href":"https://shop.b.example/?to=shop"}}"#;
    with(link, |row| assert_eq!(row.unwrap().href, "https://shop.b.example/?to=[address]"));
    let plain = Normaliser { privacy: privacy::plain_for_tests(), ..normaliser() };
    let body =
        br#"{"event_id":"e","object_type":"email","metric":"bounced","data":{"recipient":"jane@d.example","failure_message":"no jane"}}"#;
    let received = Received::default();
    let row = plain.outcome(body, &received, &Position { topic: "t", partition: 0, offset: 0 }, 0).unwrap();
    assert_eq!(row.failure_message, "no jane");
}

#[test]
fn a_bounce_of_one_of_two_recipients_is_not_certain_of_either() {
    let confidence = |recipient: &str| {
        let body = format!(
            r#"{{"event_id":"e","object_type":"email","metric":"bounced","data":{{"recipient":"{recipient}","failure_message":"550 5.1.1 User unknown"}}}}"#
        );
        with(body.as_bytes(), |row| row.map(|row| (row.bounce_class, row.bounce_confidence)).unwrap())
    };
    assert_eq!(confidence("a@d.example"), ("hard_recipient", 95));
    assert_eq!(confidence("a@d.example, b@d.example"), ("hard_recipient", bounce::IN_DOUBT));
}

#[test]
fn a_recipient_that_is_no_address_is_kept() {
    let slack = r##"{"event_id":"e","object_type":"slack","metric":"sent","timestamp":1770000000,"data":{"recipient":"#general"}}"##;
    assert_eq!(metadata(slack), r##"{"recipient":"#general"}"##);
    let webhook = r#"{"event_id":"e","object_type":"webhook","metric":"sent","timestamp":1770000000,"data":{"recipient":"https://hooks.example/notify?user=ann@s.example&x=1"}}"#;
    assert_eq!(
        metadata(webhook),
        r#"{"recipient":"https://hooks.example/notify?user=[address]&x=1"}"#,
        "what is around an address is kept"
    );
}

#[test]
fn what_stands_for_an_address_and_cannot_be_read_as_one_is_shown_nowhere() {
    for written in [
        "jane @gmail.example",
        "jane@ gmail.example",
        "jane at gmail.example",
        "jane(at)gmail.example",
        r"\u003cjane(at)gmail.example\u003e",
        r"j\u00e4ne at gmail.example",
    ] {
        // Within lists only as we would write it.
        let note = if written.contains('\\') { "" } else { written };
        let body = format!(
            r#"{{"event_id":"e","object_type":"email","metric":"bounced","timestamp":1770000000,"data":{{"recipient":"{written}",
                "failure_message":"Unable to parse recipient address: '{written}'","note":["{note}"],"identifiers":{{"email":"{written}"}}}}}}"#
        );
        with(body.as_bytes(), |row| {
            let row = row.unwrap();
            assert!(!row.failure_message.contains("ne at") && !row.failure_message.contains("jane"), "{}", row.failure_message);
            assert!(
                !row.metadata.contains("ne at")
                    && !row.metadata.contains("jane")
                    && serde_json::from_str::<serde_json::Value>(&row.metadata).is_ok(),
                "{}",
                row.metadata
            );
        });
    }
}

#[test]
fn a_text_cut_within_an_emoji_is_still_understood() {
    let body = br#"{"event_id":"e","object_type":"email","metric":"bounced","timestamp":1770000000,"data":{"failure_message":"550 5.1.1 user unknown \ud83d","note":"\ud83d"}}"#;
    with(body, |row| {
        let row = row.unwrap();
        assert_eq!(row.bounce_class, "hard_recipient");
        let metadata: serde_json::Value = serde_json::from_str(&row.metadata).unwrap();
        assert!(metadata["note"].as_str().unwrap().starts_with('\u{fffd}'));
    });
}

#[test]
fn no_name_of_the_metadata_stands_twice() {
    let twins = metadata(r#"{"event_id":"e","metric":"x","extra":1,"href":"a","data":{"extra":2,"top.extra":3,"top.href":4,"href":"b"}}"#);
    assert_eq!(
        twins,
        r#"{"aftersend_oddities":["undocumented","undated"],"top.top.extra":1,"extra":2,"top.top.href":"a","top.extra":3,"top.href":4}"#
    );
    let named_alike = metadata(r#"{"event_id":"e","metric":"x","x":1,"top.x":2,"data":{"x":3,"top.x":4}}"#);
    assert_eq!(named_alike, r#"{"aftersend_oddities":["undocumented","undated"],"top.top.x":2,"top.x":4,"top.top.top.x":1,"x":3}"#);
}

#[test]
fn a_known_member_of_an_unknown_shape_is_not_lost() {
    let odd = metadata(r#"{"event_id":["e"],"metric":{"m":1},"data":[1,2],"identifiers":"none","timestamp":"soon","href":true}"#);
    for kept in [
        r#""data":[1,2]"#,
        r#""identifiers":"none""#,
        r#""event_id":["e"]"#,
        r#""metric":{"m":1}"#,
        r#""timestamp":"soon""#,
        r#""href":true"#,
    ] {
        assert!(odd.contains(kept), "{kept} is not in {odd}");
    }
    let long = "x".repeat(600);
    assert!(
        metadata(&format!(r#"{{"data":{{"customer_id":"{long}","identifiers":{{"id":"u"}}}}}}"#)).contains(&long),
        "too long for an id"
    );
    assert!(metadata(r#"{"metric":"sent","data":{"timestamp":5,"metric":"other"}}"#).contains(r#""metric":"other","timestamp":5"#));
}

#[test]
fn two_ids_of_one_event_are_both_kept_and_flagged() {
    let body = r#"{"event_id":"e","object_type":"email","metric":"sent","timestamp":1770000000,"data":{"customer_id":"a","identifiers":{"id":"b"}}}"#;
    assert_eq!(metadata(body), r#"{"aftersend_oddities":["identifiers_differ"],"identifiers.id":"b"}"#);
}

#[test]
fn a_verdict_names_its_rule_and_its_table() {
    let body =
        br#"{"event_id":"e","object_type":"email","metric":"bounced","data":{"failure_message":"550 5.1.1 <a@b.example> User unknown"}}"#;
    with(body, |row| {
        let row = row.unwrap();
        assert_eq!((row.bounce_class, row.failure_message.as_ref()), ("hard_recipient", "550 5.1.1 <[address]> User unknown"));
        assert!(!row.bounce_rule.is_empty() && row.bounce_confidence >= 90);
        assert_eq!(row.bounce_table, normaliser().bounces.generation());
    });
    with(br#"{"event_id":"e","object_type":"push","metric":"dropped"}"#, |row| {
        let row = row.unwrap();
        assert_eq!((row.bounce_class, row.bounce_rule.as_ref(), row.bounce_table), ("suppressed", "", 0));
    });
}

#[test]
fn an_address_in_the_name_of_a_kind_is_masked_too() {
    with(br#"{"event_id":"e","object_type":"a@b.example","metric":"c@d.example","data":{}}"#, |row| {
        let row = row.unwrap();
        assert_eq!((row.channel.as_ref(), row.metric.as_ref(), row.event_type.as_ref()), ("[address]", "[address]", "[address]_[address]"));
    });
}

#[test]
fn whole_mails_are_kept_only_where_asked_for() {
    let body =
        br#"{"event_id":"e","object_type":"email","metric":"sent","timestamp":1770000000,"data":{"content":"<p>","headers":{"X":["1"]}}}"#;
    let keeping = Normaliser { keeps_content: true, ..normaliser() };
    let received = Received { received_at: 1_770_000_000_000, ..Received::default() };
    let row = keeping.outcome(body, &received, &Position { topic: "t", partition: 0, offset: 0 }, 0).unwrap();
    assert_eq!(row.metadata, r#"{"content":"<p>","headers":{"X":["1"]}}"#);
    assert_eq!(metadata(std::str::from_utf8(body).unwrap()), "{}");
}

proptest! {
    #[test]
    fn any_object_gives_a_row_whose_metadata_is_json_without_addresses(
        values in prop::collection::vec((
            prop::sample::select(vec!["event_id", "metric", "object_type", "timestamp", "data", "customer_id", "campaign_id", "href",
                "failure_message", "identifiers", "recipient", "other"]),
            prop_oneof![
                Just(serde_json::json!(null)), Just(serde_json::json!("a@b.example")), any::<f64>().prop_map(|n| serde_json::json!(n)),
                any::<i64>().prop_map(|n| serde_json::json!(n)), ".{0,20}".prop_map(|s| serde_json::json!(s)),
                Just(serde_json::json!({"id": "x", "customer_id": 5, "deep": {"to": "c@d.example"}})), Just(serde_json::json!([[1], {}])),
            ],
        ), 0..12),
    ) {
        let members: Vec<String> = values.iter().map(|(name, value)| format!("{}:{value}", serde_json::json!(name))).collect();
        let metadata = metadata(&format!("{{{}}}", members.join(",")));
        let read: Result<serde_json::Value, _> = serde_json::from_str(&metadata);
        prop_assert!(read.is_ok_and(|metadata| metadata.is_object()), "{}", metadata);
        prop_assert!(!metadata.contains("b.example") && !metadata.contains("d.example"), "{}", metadata);
    }

    #[test]
    fn unknown_members_come_back_as_they_came(
        top in prop::collection::btree_map("[a-z]{1,3}", any::<i64>(), 0..6),
        data in prop::collection::btree_map("[a-z]{1,3}", "[ -?A-~]{0,8}", 0..6),
    ) {
        let body = serde_json::json!({"event_id": "e", "metric": "sent", "object_type": "email", "timestamp": 1_770_000_000, "data": data}).as_object().cloned();
        let mut body = body.unwrap();
        body.extend(top.iter().filter(|(name, _)| *name != "id").map(|(name, value)| (name.clone(), serde_json::json!(value))));
        let metadata: serde_json::Value = serde_json::from_str(&metadata(&serde_json::Value::Object(body).to_string())).unwrap();
        for (name, value) in data.iter().filter(|(name, value)| *name != "id" && !value.contains('%')) {
            prop_assert_eq!(&metadata[name], value);
        }
        for (name, value) in top.iter().filter(|(name, _)| *name != "id") {
            let name = if data.contains_key(name) { format!("top.{name}") } else { name.clone() };
            prop_assert_eq!(&metadata[&name], value);
        }
    }

    #[test]
    fn any_bytes_give_a_row_or_a_reason(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        with(&bytes, |row| assert!(row.is_err() || row.is_ok_and(|row| !row.event_id.is_empty())));
    }
}

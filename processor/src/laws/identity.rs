//! Who is who: events of one person under changing ids, addresses and wishes, and the profiles they end in, written by hand.

use std::collections::BTreeMap;

use aftersend_schemas::identity::Subject;
use aftersend_schemas::normaliser::Normaliser;
use aftersend_schemas::privacy::{HashKey, HashKeys, Privacy};
use aftersend_schemas::profile::EmailState;

use crate::fold::{Fact, Observation, Reach, State};
use crate::score::{NoQuarantine, evaluate};

const DAY: i64 = 86_400;
const START: i64 = 1_770_000_000;

fn normaliser() -> Normaliser {
    Normaliser::new(Privacy::Hash(HashKeys::new(vec![HashKey::new(b"a key of 32 bytes for these tests", 0)]).unwrap()))
}

/// Profiles by their keys, as the service keeps them: each event goes to the person of its own record.
fn profiles(events: &[(&str, i64, &str, &str)]) -> BTreeMap<String, State> {
    let normaliser = normaliser();
    let mut profiles: BTreeMap<String, State> = BTreeMap::new();
    for (place, (workspace, day, metric, data)) in events.iter().enumerate() {
        let at = START + day * DAY + i64::try_from(place).unwrap();
        let metric_and_type = match metric.split_once(' ') {
            Some((object_type, metric)) => format!(r#""object_type":"{object_type}","metric":"{metric}""#),
            None => format!(r#""object_type":"email","metric":"{metric}""#),
        };
        let body = format!(r#"{{{metric_and_type},"event_id":"e{place}","timestamp":{at},"data":{{"delivery_id":"d{place}",{data}}}}}"#);
        let event = normaliser.event(body.as_bytes()).unwrap();
        let subject = Subject::of(&event, &normaliser.privacy);
        let Some(person) = subject.person(workspace, &subject.key()) else { continue };
        let observation = Observation::of(&event, at * 1000, &normaliser).unwrap();
        profiles.entry(person.to_string()).or_default().observe(&observation);
    }
    profiles
}

/// What a table says of a profile: key, state, deliverable, promotional, mails delivered.
fn table(events: &[(&str, i64, &str, &str)]) -> Vec<String> {
    let policy = super::policy("");
    let told = |(key, state): (&String, &State)| {
        let told = evaluate(state, &policy, &NoQuarantine, START + 30 * DAY);
        let yes = |flag| if flag { "yes" } else { "no" };
        let key = match key.split_once(":email:") {
            Some((workspace, _)) => format!("{workspace}:email:*"),
            None => key.clone(),
        };
        let (state, deliverable, promotional) = (told.state, told.email_deliverable, told.email_promotional_ok);
        format!("{key} | {} | {} | {} | {}", EmailState::as_str(state), yes(deliverable), yes(promotional), told.facts.delivered_90d)
    };
    profiles(events).iter().map(told).collect()
}

const ANA: &str = r#""customer_id":"ana","identifiers":{"id":"ana","cio_id":"c1"},"recipient":"ana@old.example""#;
const ANA_MOVED: &str = r#""customer_id":"ana","identifiers":{"id":"ana","cio_id":"c1"},"recipient":"ana@new.example""#;
const ANA_RENAMED: &str = r#""customer_id":"ana-2","identifiers":{"id":"ana-2","cio_id":"c1"},"recipient":"ana@old.example""#;
const BY_CIO: &str = r#""customer_id":"","identifiers":{"cio_id":"c1"},"recipient":"ana@old.example""#;
const BY_ADDRESS: &str = r#""recipient":"ana@old.example""#;
const GONE: &str = r#""failure_message":"550 5.1.1 User unknown","#;

#[test]
fn events_end_in_the_profiles_that_the_table_says() {
    let gone = |data: &str| format!("{GONE}{data}");
    let (gone_ana, gone_moved) = (gone(ANA), gone(ANA_MOVED));

    // Two workspaces with the same ids never mix.
    assert_eq!(
        table(&[("eu", 0, "delivered", ANA), ("us", 1, "bounced", &gone_ana), ("eu", 2, "delivered", ANA)]),
        ["eu:id:ana | healthy | yes | yes | 2", "us:id:ana | dead | no | no | 0"]
    );
    // A new address starts clean: the bounce stays with the old one.
    assert_eq!(
        table(&[("eu", 0, "delivered", ANA), ("eu", 1, "bounced", &gone_ana), ("eu", 2, "delivered", ANA_MOVED)]),
        ["eu:id:ana | healthy | yes | yes | 2"]
    );
    // Going back to the address that is gone brings the bounce back, until mail to it arrives.
    let back = [("eu", 1, "bounced", gone_ana.as_str()), ("eu", 2, "delivered", ANA_MOVED), ("eu", 3, "sent", ANA)];
    assert_eq!(table(&back), ["eu:id:ana | dead | no | no | 1"]);
    assert_eq!(table(&[&back[..], &[("eu", 4, "delivered", ANA)]].concat()), ["eu:id:ana | healthy | yes | yes | 2"]);
    // What an event says of the person comes before whom the mail went to: a late bounce of the old address, a bounce of a copy to somebody else.
    let moved = |recipient: &str| {
        format!(r#""customer_id":"ana","identifiers":{{"id":"ana","cio_id":"c1","email":"ana@new.example"}},"recipient":"{recipient}""#)
    };
    let (late, to_new, of_old, of_copy) =
        (gone(&moved("ana@old.example")), moved("ana@new.example"), moved("ana@old.example"), gone(&moved("accountant@firm.example")));
    assert_eq!(
        table(&[("eu", 0, "sent", ANA), ("eu", 1, "delivered", &to_new), ("eu", 2, "bounced", &late)]),
        ["eu:id:ana | healthy | yes | yes | 1"]
    );
    assert_eq!(table(&[("eu", 1, "delivered", &to_new), ("eu", 2, "bounced", &of_copy)]), ["eu:id:ana | healthy | yes | yes | 1"]);
    // Its own address is gone all the same, whomever copies go to.
    let own = gone(&to_new);
    assert_eq!(
        table(&[("eu", 1, "bounced", &own), ("eu", 2, "sent", &of_copy), ("eu", 3, "delivered", &moved("accountant@firm.example"))]),
        ["eu:id:ana | dead | no | no | 1"]
    );
    // Whoever opens, follows or answers an old mail has not moved back; nor has whom a machine opens one for.
    for late in ["opened", "converted", "unsubscribed", "dropped", "clicked"] {
        let history = [("eu", 1, "bounced", gone_ana.as_str()), ("eu", 2, "delivered", &to_new), ("eu", 3, late, &of_old)];
        assert!(!table(&history)[0].contains("dead"), "{late}");
    }
    for late in ["opened", "converted", "dropped"] {
        let history = [("eu", 1, "bounced", gone_ana.as_str()), ("eu", 2, "delivered", ANA_MOVED), ("eu", 3, late, ANA)];
        assert!(!table(&history)[0].contains("dead"), "{late}, and the event says nothing of the person");
    }
    // Any event may tell of a new address, of whatever channel.
    assert_eq!(table(&[("eu", 1, "bounced", &gone_ana), ("eu", 2, "push delivered", &to_new)]), ["eu:id:ana | unknown | yes | yes | 0"]);
    // A bounce of an address that nobody saw in use counts, too; it names no address.
    assert_eq!(table(&[("eu", 0, "delivered", ANA), ("eu", 1, "bounced", &gone_moved)]), ["eu:id:ana | dead | no | no | 1"]);
    // Complaint and wish belong to the person: a new address lifts neither.
    assert_eq!(table(&[("eu", 0, "spammed", ANA), ("eu", 2, "delivered", ANA_MOVED)]), ["eu:id:ana | complained | no | no | 1"]);
    assert_eq!(
        table(&[("eu", 0, "customer unsubscribed", ANA), ("eu", 2, "delivered", ANA_MOVED)]),
        ["eu:id:ana | unsubscribed | yes | no | 1"]
    );
    assert_eq!(
        table(&[("eu", 0, "customer unsubscribed", ANA), ("eu", 2, "customer subscribed", ANA_MOVED), ("eu", 3, "delivered", ANA)]),
        ["eu:id:ana | healthy | yes | yes | 1"]
    );
    // Somebody whose id changes begins anew under the new one; what was known stays under the old one.
    assert_eq!(
        table(&[("eu", 0, "delivered", ANA), ("eu", 1, "bounced", &gone_ana), ("eu", 2, "delivered", ANA_RENAMED)]),
        ["eu:id:ana | dead | no | no | 1", "eu:id:ana-2 | healthy | yes | yes | 1"]
    );
    // Somebody known by Customer.io's id before there is one of the workspace's is two profiles; by an address alone, a third.
    assert_eq!(
        table(&[("eu", 0, "delivered", BY_CIO), ("eu", 1, "delivered", ANA), ("eu", 2, "delivered", BY_ADDRESS)]),
        ["eu:cio:c1 | healthy | yes | yes | 1", "eu:email:* | healthy | yes | yes | 1", "eu:id:ana | healthy | yes | yes | 1"]
    );
    // Blank ids are none, and a message to nobody makes no profile.
    assert_eq!(
        table(&[
            ("eu", 0, "delivered", r#""customer_id":" ","identifiers":{"id":" ","cio_id":"c1"}"#),
            ("eu", 1, "delivered", r#""subject":"s""#)
        ]),
        ["eu:cio:c1 | healthy | yes | yes | 1"]
    );
}

#[test]
fn a_push_that_bounced_says_nothing_of_the_devices_at_which_it_did_not() {
    let devices = |metric: &str, recipients: &str| {
        let body = format!(
            r#"{{"object_type":"push","metric":"{metric}","event_id":"e","timestamp":{START},"data":{{"customer_id":"ana","recipients":{recipients}}}}}"#
        );
        let normaliser = normaliser();
        match Observation::of(&normaliser.event(body.as_bytes()).unwrap(), 0, &normaliser).unwrap().fact {
            Fact::Elsewhere { devices, .. } => devices,
            other => panic!("{other:?}"),
        }
    };
    let (tablet, phone) = (r#"{"device_id":"tablet"}"#, r#"{"device_id":"phone","failure_message":"NotRegistered"}"#);
    let reached = devices("delivered", &format!("[{tablet},{phone}]"));
    assert_eq!(reached.len(), 2);
    assert_eq!(devices("bounced", &format!("[{tablet},{phone}]")).as_slice(), &reached[1..]);
    assert_eq!(devices("bounced", phone).as_slice(), &reached[1..], "without a list");
    assert_eq!(devices("bounced", &format!("[{tablet}]")).as_slice(), &reached[..1], "no reason given");
    assert!(devices("bounced", "null").is_empty());
}

#[test]
fn a_carrier_that_says_that_a_number_is_dead_counts_whether_the_message_bounced_or_failed() {
    let has_failed = |kind: &str, metric: &str, text: &str| {
        let body = format!(
            r#"{{"object_type":"{kind}","metric":"{metric}","event_id":"e","timestamp":{START},"data":{{"customer_id":"ana","failure_message":"{text}"}}}}"#
        );
        let normaliser = normaliser();
        let fact = Observation::of(&normaliser.event(body.as_bytes()).unwrap(), 0, &normaliser).unwrap().fact;
        matches!(fact, Fact::Elsewhere { reach: Reach::Failed, .. })
    };
    let dead = "30005 Unknown destination handset";
    assert!(has_failed("sms", "bounced", dead) && has_failed("sms", "failed", dead) && has_failed("whatsapp", "failed", dead));
    assert!(!has_failed("sms", "failed", "template did not render"), "our own fault");
    assert!(!has_failed("email", "failed", "550 5.1.1 User unknown") && !has_failed("push", "failed", dead));
}

use aftersend_schemas::address::ProviderId;
use proptest::prelude::*;

use super::*;
use crate::score::Standing as _;

/// 2020-12-14 21:00 UTC: for some hours Gmail refused mail to addresses that existed.
const INCIDENT: u32 = 1_607_979_600;
const GMAIL_TEXT: &str = "550-5.1.1 The email account that you tried to reach does not exist. Please try 550-5.1.1 double-checking the recipient's email address";

fn gmail() -> ProviderId {
    ProviderId::of_domain("gmail.com")
}

fn mail(provider: ProviderId, at: u32, message: u64, text: Option<&str>) -> Mailed {
    let message = (xxhash_rust::xxh3::xxh3_64(&message.to_le_bytes()) >> 32) as u32;
    Mailed { provider, at, message, hard: text.map(text_of) }
}

/// Mail every few seconds for a day, `hard` of a thousand of it bounced for reasons of its own; in between, two hours of the incident.
fn incident(provider: ProviderId, hard: u64) -> Vec<Mailed> {
    let mut mails = Vec::new();
    for (n, at) in (INCIDENT - 43_200..INCIDENT + 43_200).step_by(5).enumerate() {
        let n = n as u64;
        let leapt = (INCIDENT..INCIDENT + 7_200).contains(&at) && n.is_multiple_of(3);
        let text = format!("550 5.1.1 User unknown {}", ["here", "there", "anywhere", "today"][(n % 4) as usize]);
        let own = (n % 1000 < hard).then_some(text.as_str());
        mails.push(mail(provider, at, n, if leapt { Some(GMAIL_TEXT) } else { own }));
    }
    mails
}

fn standings(mails: &[Mailed], partitions: u32) -> Standings {
    let mut standings = Standings::default();
    let mut windows: std::collections::BTreeMap<(u32, WindowKey), Window> = std::collections::BTreeMap::new();
    for mailed in mails {
        windows.entry((mailed.message % partitions, WindowKey::of(&"default".into(), mailed))).or_default().observe(mailed);
    }
    for ((_, key), window) in windows.iter().filter(|(_, window)| window.has_bounces()) {
        let window = Window::decode(&window.encode()).unwrap();
        standings.merge(&WindowKey::decode(&key.encode()).unwrap(), &window);
    }
    standings.settle();
    standings
}

#[test]
fn the_gmail_incident_of_december_2020_is_not_believed_and_ends_an_hour_after_it_was_over() {
    let standings = standings(&incident(gmail(), 3), 12);
    let view = standings.view("default");
    assert!(!view.quarantined(gmail(), INCIDENT - 3_600), "an hour before");
    for minute in 0..120 {
        assert!(view.quarantined(gmail(), INCIDENT + minute * 60), "minute {minute}");
    }
    assert!(!view.quarantined(gmail(), INCIDENT + 7_200 + 3_600 + 900));
    assert!(!view.quarantined(ProviderId::of_domain("outlook.com"), INCIDENT + 60), "nobody else");
    assert!(!standings.view("other").quarantined(gmail(), INCIDENT + 60), "no other workspace");
    assert_eq!((standings.open_at(INCIDENT + 60), standings.open_at(INCIDENT - 3_600)), (1, 0));
}

#[test]
fn quarantines_are_the_same_however_much_is_joined_between_two_looks() {
    let mails = incident(gmail(), 3);
    let at_once = standings(&mails, 1);
    let mut one_by_one = Standings::default();
    let mut told = Vec::new();
    for (n, mailed) in mails.iter().enumerate() {
        one_by_one.observe(&WindowKey::of(&"default".into(), mailed), mailed);
        if n % 7 == 0 {
            told.extend(one_by_one.settle());
        }
    }
    told.extend(one_by_one.settle());
    assert!(one_by_one.settle().is_empty(), "nothing was joined since");
    assert!(told.first().is_some_and(|first| first.open && first.provider == gmail() && first.seconds.contains(&INCIDENT)));
    for second in (INCIDENT - 43_200..INCIDENT + 43_200).step_by(60) {
        let [one, other] = [&at_once, &one_by_one].map(|standings| standings.view("default").quarantined(gmail(), second));
        assert_eq!(one, other, "{second}");
    }
}

#[test]
fn many_bounces_for_many_reasons_or_few_bounces_are_believed() {
    let own: Vec<Mailed> = (0..600_u32)
        .map(|n| {
            let text = format!("550 {} unknown", ["alpha", "beta", "gamma", "delta"][(n % 4) as usize]);
            mail(gmail(), INCIDENT + n, u64::from(n), n.is_multiple_of(5).then_some(text.as_str()))
        })
        .collect();
    assert!(!standings(&own, 12).view("default").quarantined(gmail(), INCIDENT + 60), "a bad list has many texts");
    let few: Vec<Mailed> = (0..29).map(|n| mail(gmail(), INCIDENT + n, u64::from(n), Some(GMAIL_TEXT))).collect();
    assert!(!standings(&few, 12).view("default").quarantined(gmail(), INCIDENT + 10));
}

#[test]
fn what_differs_from_mail_to_mail_does_not_make_a_text_another_one() {
    let one = "550-5.1.1 The email account that you tried to reach does not exist. a1si1234.56 - gsmtp";
    let other = "550-5.1.1 The email account that you tried to reach does not exist. zz9yy777.12 - gsmtp";
    assert_eq!(text_of(one), text_of(other));
    assert_ne!(text_of(one), text_of("552 5.2.2 mailbox full"));
}

proptest! {
    #[test]
    fn windows_are_a_join(
        mails in prop::collection::vec((0_u32..900, 0_u64..300, any::<bool>()), 1..400),
        order in any::<u64>(),
        split in 1_u32..12,
    ) {
        let mails: Vec<Mailed> =
            mails.into_iter().map(|(at, message, hard)| mail(gmail(), INCIDENT + at, message, hard.then_some(GMAIL_TEXT))).collect();
        let mut shuffled = mails.clone();
        shuffled.extend(mails.iter().copied());
        shuffled.sort_by_key(|mail| u64::from(mail.message).wrapping_mul(order | 1) ^ u64::from(mail.at));
        let (one, other) = (standings(&mails, 1), standings(&shuffled, split));
        for second in (INCIDENT - 600..INCIDENT + 6_000).step_by(60) {
            prop_assert_eq!(one.view("default").quarantined(gmail(), second), other.view("default").quarantined(gmail(), second));
        }
    }
}

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

const DAY: u32 = 86_400;

/// A mail every five minutes for so many days, `hard` of a hundred bounced with one text: what makes time pass.
fn quiet(standings: &mut Standings, from: u32, days: u32, hard: u64) {
    for (n, at) in (from..from + days * DAY).step_by(BUCKET as usize).enumerate() {
        let n = 1_000_000 + n as u64;
        let mailed = mail(gmail(), at, n, (n % 100 < hard).then_some("550 5.1.1 User unknown"));
        standings.observe(&WindowKey::of(&"default".into(), &mailed), &mailed);
        standings.settle();
    }
}

fn known(standings: &Standings) -> Vec<(u32, Quarantine)> {
    standings.records().map(|(key, record)| (key.start, record.quarantine)).collect()
}

#[test]
fn a_quarantine_is_known_for_good_also_by_its_record_alone() {
    let mut lived = standings(&incident(gmail(), 3), 12);
    let during = known(&lived);
    assert_eq!(during.len(), 1);
    quiet(&mut lived, INCIDENT + 43_200, 30, 3);
    lived.forget_old();
    assert_eq!(known(&lived), during);

    let mut told = Standings::default();
    for (key, record) in lived.records() {
        told.read(&key.encode(), Some(&record.encode())).unwrap();
    }
    assert!(told.settle()[0].open);
    for second in (INCIDENT - 43_200..INCIDENT + 43_200).step_by(60) {
        let [one, other] = [&lived, &told].map(|standings| standings.view("default").quarantined(gmail(), second));
        assert_eq!(one, other, "{second}");
    }
    // Read again, with nothing else known of that time.
    for mailed in incident(gmail(), 3).iter().filter(|mailed| mailed.message % 3 == 0) {
        told.observe(&WindowKey::of(&"default".into(), mailed), mailed);
    }
    assert_eq!((told.settle(), known(&told)), (vec![], during));
    let (key, _) = told.records().next().unwrap();
    assert!(WindowKey::decode(&key.encode()).is_none(), "an earlier release passes over it");
    told.read(&key.encode(), None).unwrap();
    assert!(!told.settle()[0].open);
    assert_eq!(known(&told), []);
}

/// Read again from its beginning while today's windows are known.
#[test]
fn a_replay_of_mail_older_than_any_window_finds_the_same_quarantines() {
    let mails = incident(gmail(), 3);
    let mut standings = standings(&mails, 12);
    quiet(&mut standings, INCIDENT + 43_200, 20, 3);
    let before = known(&standings);
    for mailed in &mails {
        standings.observe(&WindowKey::of(&"default".into(), mailed), mailed);
    }
    assert!(standings.settle().is_empty());
    assert_eq!(known(&standings), before);
}

/// With two of a hundred bounced for weeks eight are no leap, and do not become one when the week before them is forgotten.
#[test]
fn what_was_no_leap_in_its_week_becomes_none_when_that_week_is_forgotten() {
    let mut standings = Standings::default();
    for window in 0..24 * 288 {
        let at = INCIDENT - INCIDENT % BUCKET + window * BUCKET;
        for n in 0..200_u64 {
            let text = match window {
                // Once a day for many reasons, so that everything is looked at again.
                _ if window % 288 == 144 => {
                    (n < 40).then(|| format!("550 {} unknown", ["alpha", "beta", "gamma", "delta"][(n % 4) as usize]))
                }
                2_304 | 2_305 => (n < 16).then(|| "550 5.1.1 User unknown".to_owned()),
                _ => (n < 4).then(|| "550 5.1.1 User unknown".to_owned()),
            };
            let mailed = mail(gmail(), at, u64::from(window) * 1000 + n, text.as_deref());
            standings.observe(&WindowKey::of(&"default".into(), &mailed), &mailed);
        }
        standings.settle();
        assert_eq!(known(&standings), [], "window {window}");
    }
}

/// Nothing bounced after it, its windows were forgotten, and its record was written while it was new.
#[test]
fn a_quarantine_of_a_quiet_workspace_stands_by_its_record_also_when_its_windows_are_gone() {
    let lived = standings(&incident(gmail(), 0), 12);
    let mut told = Standings::default();
    for (key, record) in lived.records() {
        told.read(&key.encode(), Some(&record.encode())).unwrap();
    }
    assert_eq!(told.settle().len(), 1);
    assert_eq!(known(&told), known(&lived));

    // Parts of that time are read again: they say less than all of it did, and are believed for as long as it is new.
    let (key, record) = lived.records().next().unwrap();
    for (written_at, stands) in [(6 * i64::from(DAY), false), (7 * i64::from(DAY), true)] {
        told.read(&key.encode(), Some(&QuarantineRecord { written_at, ..record }.encode())).unwrap();
        for mailed in incident(gmail(), 0).iter().filter(|mailed| mailed.message % 16 == 0) {
            told.observe(&WindowKey::of(&"default".into(), mailed), mailed);
        }
        told.settle();
        assert_eq!(known(&told) == known(&lived), stands, "written {written_at} s after it was found");
    }
}

/// Days of them are joined before anybody looks.
#[test]
fn a_backlog_of_a_month_finds_the_quarantines_that_were_found_live() {
    let mut mails = incident(gmail(), 3);
    for (n, at) in (INCIDENT + 43_200..INCIDENT + 30 * DAY).step_by(3_600).enumerate() {
        mails.push(mail(gmail(), at, 2_000_000 + n as u64, Some("550 5.1.1 User unknown")));
    }
    let mut live = Standings::default();
    let mut backlog = Standings::default();
    for mailed in &mails {
        let key = WindowKey::of(&"default".into(), mailed);
        live.observe(&key, mailed);
        live.settle();
        backlog.look_before(&key);
        backlog.observe(&key, mailed);
    }
    assert!(backlog.settle().iter().any(|changed| changed.open && changed.seconds.contains(&INCIDENT)));
    assert_eq!(known(&backlog), known(&live));
    assert_eq!(known(&backlog).len(), 1);
}

#[test]
fn webhooks_that_are_six_days_late_make_a_quarantine_as_if_they_had_come_in_time() {
    let in_time = standings(&incident(gmail(), 3), 12);
    let mut late = Standings::default();
    quiet(&mut late, INCIDENT + 43_200, 6, 3);
    for mailed in &incident(gmail(), 3) {
        late.observe(&WindowKey::of(&"default".into(), mailed), mailed);
    }
    late.settle();
    assert_eq!(known(&late), known(&in_time));
}

#[test]
fn a_quarantine_of_two_days_ends_as_if_all_of_it_were_looked_at() {
    let mut standings = Standings::default();
    let text = |at: u32| if (INCIDENT..INCIDENT + 2 * DAY).contains(&at) { Some(GMAIL_TEXT) } else { None };
    for (n, at) in (INCIDENT - DAY..INCIDENT + 5 * DAY).step_by(10).enumerate() {
        let mailed = mail(gmail(), at, n as u64, text(at).filter(|_| n % 2 == 0));
        standings.observe(&WindowKey::of(&"default".into(), &mailed), &mailed);
        if n % 10 == 0 {
            standings.settle();
        }
    }
    let last = INCIDENT + 2 * DAY - 1;
    let until = last - last % BUCKET + BUCKET * 13;
    assert_eq!(known(&standings), [(INCIDENT - INCIDENT % BUCKET, Quarantine { until, usual: 0.0 })]);
}

#[test]
fn what_differs_from_mail_to_mail_does_not_make_a_text_another_one() {
    let one = "550-5.1.1 The email account that you tried to reach does not exist. a1si1234.56 - gsmtp";
    let other = "550-5.1.1 The email account that you tried to reach does not exist. zz9yy777.12 - gsmtp";
    assert_eq!(text_of(one), text_of(other));
    assert_ne!(text_of(one), text_of("552 5.2.2 mailbox full"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// Whoever starts with what is written knows what those know who have seen everything, at any time.
    #[test]
    fn records_and_the_windows_of_a_week_tell_as_much_as_everything_that_was_seen(
        leaps in prop::collection::vec((0_u32..18, 0_u32..288, 1_u32..400, 2_u64..8), 1..6),
        usual in 0_u64..5,
        stop in 1_u32..20,
    ) {
        let begin = INCIDENT - INCIDENT % DAY;
        let mut lived = Standings::default();
        let mut windows: Vec<(WindowKey, Window)> = Vec::new();
        for slot in 0..stop * 288 {
            let at = begin + slot * BUCKET;
            let mut window = Window::default();
            let leapt = leaps.iter().find(|(day, first, length, _)| (day * 288 + first..day * 288 + first + length).contains(&slot));
            for n in 0..40_u64 {
                let id = u64::from(slot) * 100 + n;
                let text = match leapt {
                    Some((.., every)) if n.is_multiple_of(*every) => Some(GMAIL_TEXT),
                    _ => (id % 100 < usual).then_some("550 5.1.1 User unknown"),
                };
                window.observe(&mail(gmail(), at, id, text));
            }
            if window.has_bounces() {
                windows.push((WindowKey { start: at, workspace: "default".into(), provider: gmail() }, window));
                lived.merge(&windows[windows.len() - 1].0, &windows[windows.len() - 1].1);
            }
            lived.settle();
        }
        let mut told = Standings::default();
        for (key, record) in lived.records() {
            told.read(&key.encode(), Some(&record.encode())).unwrap();
        }
        let newest = windows.last().map_or(0, |(key, _)| key.start);
        for (key, window) in windows.iter().filter(|(key, _)| key.start + 14 * DAY >= newest) {
            told.read(&key.encode(), Some(&window.encode())).unwrap();
        }
        told.settle();
        prop_assert_eq!(known(&told), known(&lived));
    }
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

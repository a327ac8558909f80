//! The worked examples of `docs/score.md`: a history in a few words, and what comes of it. The page is the test.

use aftersend_schemas::address::ProviderId;
use aftersend_schemas::bounce::BounceClass;
use aftersend_schemas::operator::Decision;
use aftersend_schemas::profile::Channel;

use super::{Incident, NOW, folded, policy};
use crate::fold::{Fact, Observation, Reach};
use crate::score::evaluate;

const PAGE: &str = include_str!("../../../docs/score.md");
const DAY: i64 = 86_400;

/// `12 delivered every 7d; clicked 3d ago` and the like: each part is a count, what happened, and when.
fn history(words: &str) -> Vec<Observation> {
    let mut message = 0;
    let mut history = Vec::new();
    for part in words.split(';').map(str::trim).filter(|part| *part != "nothing") {
        let words: Vec<&str> = part.split(' ').collect();
        let (count, words) = match words[0].parse::<i64>() {
            Ok(count) => (count, &words[1..]),
            Err(_) => (1, &words[..]),
        };
        let number = |text: &str| text.trim_end_matches('d').parse::<i64>().unwrap_or_else(|_| panic!("no days: {text} in {part:?}"));
        let after = |word: &str| words.iter().position(|known| *known == word).map(|place| words[place + 1]);
        let every = after("every").map_or(0, number);
        let last = words.iter().position(|word| *word == "ago").map_or(0, |place| number(words[place - 1]));
        let address = if words.contains(&"elsewhere") { 2 } else { 1 };
        let confidence = after("confidence").map_or(95, |percent| u8::try_from(number(percent)).unwrap());
        let bounced = |class, deferred| Fact::Bounced {
            class,
            confidence,
            deferred,
            provider: ProviderId(1),
            delivery_id: String::new(),
            received_at: 0,
        };
        let fact = match words[0] {
            "delivered" => Fact::Delivered,
            "opened" => Fact::Opened { machine: false },
            "clicked" => Fact::Clicked { link: 1, machine: false },
            "converted" => Fact::Converted,
            "hard" => bounced(BounceClass::HardRecipient, false),
            "domain" => bounced(BounceClass::HardDomain, false),
            "full" => bounced(BounceClass::MailboxFull, false),
            "transient" => bounced(BounceClass::Transient, false),
            "deferred" => bounced(BounceClass::Transient, true),
            "blocked" => bounced(BounceClass::BlockReputation, false),
            "complained" => Fact::Complained { received_at: 0 },
            "unsubscribed" => Fact::Unsubscribed,
            "subscribed" => Fact::Subscribed,
            "lifted" => Fact::Decided(Decision::Unsuppress),
            "push" => Fact::Elsewhere { channel: Channel::Push, reach: Reach::Arrived, devices: Default::default() },
            other => panic!("{other} is nothing that happens, in {part:?}"),
        };
        for n in 0..count {
            message += 1;
            // Everything a minute after the mail before it, so that nothing looks like a machine's.
            let at = u32::try_from(NOW - (last + n * every) * DAY - 3_600 + i64::from(message) * 60).unwrap();
            let named = if matches!(fact, Fact::Bounced { .. } | Fact::Elsewhere { .. } | Fact::Decided(_)) { 0 } else { address };
            history.push(Observation { at, message, address, named, fact: fact.clone() });
        }
    }
    history
}

/// Rows of the tables whose first column is a history.
fn rows() -> Vec<Vec<&'static str>> {
    let mut rows = Vec::new();
    let mut is_example = false;
    for line in PAGE.lines() {
        if line.starts_with("| history |") {
            is_example = true;
        } else if !line.starts_with('|') {
            is_example = false;
        } else if is_example && !line.starts_with("|---") {
            rows.push(line.trim_matches('|').split('|').map(str::trim).collect());
        }
    }
    rows
}

#[test]
fn every_example_of_the_documentation_is_what_comes_out() {
    let nobody = Incident { provider: 0, from: 0, to: 0 };
    let quarantine = Incident { provider: 1, from: 0, to: u32::MAX };
    let rows = rows();
    assert!(rows.len() >= 30, "{} examples", rows.len());
    let mut wrong = Vec::new();
    for row in rows {
        let (words, expected) = (row[0], row[1..].join(" | "));
        let (words, standing) = match words.strip_suffix(", in quarantine") {
            Some(words) => (words, quarantine),
            None => (words, nobody),
        };
        let evaluation = evaluate(&folded(&history(words)), &policy(""), &standing, NOW);
        let parts = evaluation.contributions();
        let points = |place: usize| format!("{:.1}", f64::from(parts[place].tenths) / 10.0);
        let next = match evaluation.changes_at {
            Some(at) => format!("{} days", (at - NOW + DAY / 2) / DAY),
            None => "never".to_owned(),
        };
        let ok = |ok| if ok { "yes" } else { "no" };
        let found = [
            points(0),
            points(1),
            points(2),
            evaluation.score.to_string(),
            evaluation.state.as_str().to_owned(),
            ok(evaluation.email_promotional_ok).to_owned(),
            ok(evaluation.email_transactional_ok).to_owned(),
            evaluation.email_cadence.as_str().to_owned(),
            evaluation.best_channel.map_or("-", Channel::as_str).to_owned(),
            next,
        ]
        .join(" | ");
        if found != expected {
            wrong.push(format!("| {} | {found} |", row[0]));
        }
    }
    assert!(wrong.is_empty(), "docs/score.md should say:\n{}", wrong.join("\n"));
}

/// The numbers that the page gives as defaults are the defaults.
#[test]
fn every_default_of_the_documentation_is_the_default() {
    let rules = format!("{:?}", policy("").rules);
    let mut checked = 0;
    for line in PAGE.lines() {
        // Rows of the form: | `key` | value | meaning |
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        let (Some(key), Some(value)) = (cells.next(), cells.next()) else { continue };
        let Some(key) = key.strip_prefix('`').and_then(|key| key.strip_suffix('`')) else { continue };
        let Ok(number) = value.parse::<f64>() else { continue };
        let name = key.rsplit('.').next().unwrap_or(key);
        let is_so = [format!("{name}: {number:?}"), format!("{name}: {number}")].iter().any(|text| {
            rules.match_indices(text.as_str()).any(|(at, _)| {
                let rest = &rules[at + text.len()..];
                rest.starts_with([',', ' ', '}'])
            })
        });
        assert!(is_so, "{key} is not {value} by default: {rules}");
        checked += 1;
    }
    assert!(checked >= 35, "{checked} defaults");
}

//! Events as they might come, and what the views should say of them, worked out one by one.

use std::collections::{BTreeMap, BTreeSet};

use rand::Rng as _;
use rand::rngs::StdRng;

pub(super) const HOUR: u64 = 3_600;
pub(super) const DAY: u64 = 24 * HOUR;
const CLASSES: [&str; 5] = ["hard_recipient", "hard_domain", "mailbox_full", "block_reputation", "policy_sender"];

/// What a row says, without where it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) workspace: &'static str,
    pub(super) id: String,
    pub(super) metric: &'static str,
    pub(super) channel: &'static str,
    /// Unix seconds; 0 if undated.
    pub(super) at: u64,
    pub(super) customer: String,
    pub(super) cio: String,
    pub(super) message: String,
    pub(super) kind: &'static str,
    pub(super) campaign: u64,
    pub(super) provider: &'static str,
    pub(super) class: &'static str,
    pub(super) machine: bool,
}

/// A row of `message_outcomes`.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) event: Event,
    pub(super) epoch: u32,
}

/// One delivery in `now - 13 days .. now`, and what became of it.
pub(super) fn delivery(random: &mut StdRng, number: usize, now: u64) -> Vec<Event> {
    let sent = now - random.random_range(HOUR..13 * DAY);
    let kind = pick(random, &["campaign", "newsletter", "broadcast", "transactional", ""]);
    let base = Event {
        workspace: ["shop", "club"][number % 2],
        id: String::new(),
        metric: "sent",
        channel: if random.random_bool(0.9) { "email" } else { "sms" },
        at: sent,
        customer: if random.random_bool(0.8) { format!("u-{}", random.random_range(0..40)) } else { String::new() },
        cio: format!("c{}", random.random_range(0..40)),
        message: if random.random_bool(0.97) { format!("message {number}") } else { String::new() },
        kind,
        campaign: if kind.is_empty() { 0 } else { random.random_range(1..4) },
        provider: pick(random, &["google", "microsoft"]),
        class: "",
        machine: false,
    };
    let wanted = match random.random_range(0..20) {
        0 => vec!["sent"],
        1 => vec!["delivered"],
        2..5 => vec!["sent", "bounced"],
        5 => vec!["sent", "deferred", "bounced"],
        6 => vec!["attempted", "failed"],
        7 => vec!["sent", "delivered", "spammed", "unsubscribed"],
        8..12 => vec!["sent", "delivered", "opened", "clicked", "clicked", "converted"],
        _ => vec!["sent", "delivered", "opened"],
    };
    let mut at = sent;
    wanted
        .into_iter()
        .map(|metric| {
            let mut event = Event { metric, at, ..base.clone() };
            event.machine = matches!(metric, "opened" | "clicked") && random.random_bool(0.3);
            if metric == "bounced" {
                event.class = pick(random, &CLASSES);
            }
            event.id = if random.random_bool(0.9) { ulid(at, random) } else { format!("evt-{:x}", random.random::<u64>()) };
            if random.random_bool(0.02) {
                // Undated. No ULID then, or its time would count.
                (event.at, event.id) = (0, format!("undated-{:x}", random.random::<u64>()));
            }
            at += random.random_range(1..HOUR);
            event
        })
        .collect()
}

fn pick(random: &mut StdRng, from: &[&'static str]) -> &'static str {
    from[random.random_range(0..from.len())]
}

fn ulid(at: u64, random: &mut StdRng) -> String {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let value = (u128::from(at * 1000) << 80) | (random.random::<u128>() >> 48);
    (0..26).rev().map(|digit| char::from(DIGITS[(value >> (5 * digit)) as usize & 31])).collect()
}

/// The same event as a release that reads it otherwise gives it.
pub(super) fn read_otherwise(event: &Event, random: &mut StdRng) -> Event {
    let mut event = event.clone();
    match random.random_range(0..4) {
        0 if event.metric == "bounced" => event.class = pick(random, &CLASSES),
        1 if event.at > 0 => event.at -= 2 * HOUR,
        2 if !event.kind.is_empty() => event.campaign += 1,
        _ => event.provider = "yahoo",
    }
    event
}

/// Of each event the row of its newest epoch.
pub(super) fn current(rows: &[Row]) -> Vec<&Event> {
    let mut newest: BTreeMap<(&str, &str), &Row> = BTreeMap::new();
    for row in rows {
        let held = newest.entry((row.event.workspace, &row.event.id)).or_insert(row);
        if row.epoch >= held.epoch {
            *held = row;
        }
    }
    newest.into_values().map(|row| &row.event).collect()
}

/// Sums of one group.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) sent: u64,
    pub(super) delivered: u64,
    pub(super) deferred: u64,
    pub(super) opened: u64,
    /// Deliveries.
    pub(super) clicked: BTreeSet<String>,
    /// Clicks.
    pub(super) clicks: u64,
    pub(super) converted: BTreeSet<String>,
    pub(super) bounced: u64,
    pub(super) by_class: BTreeMap<String, u64>,
    pub(super) failed: u64,
    pub(super) complained: u64,
    pub(super) unsubscribed: u64,
}

impl Sums {
    pub(super) fn add(&mut self, event: &Event) {
        let delivery = if event.message.is_empty() { &event.id } else { &event.message }.clone();
        match event.metric {
            "sent" => self.sent += 1,
            "delivered" => self.delivered += 1,
            "deferred" => self.deferred += 1,
            "opened" if !event.machine => self.opened += 1,
            "clicked" if !event.machine => {
                self.clicks += 1;
                self.clicked.insert(delivery);
            }
            "converted" => {
                self.converted.insert(delivery);
            }
            "bounced" => {
                self.bounced += 1;
                *self.by_class.entry(event.class.into()).or_default() += 1;
            }
            "failed" => self.failed += 1,
            "spammed" => self.complained += 1,
            "unsubscribed" => self.unsubscribed += 1,
            _ => {}
        }
    }

    pub(super) fn of(&self, classes: &[&str]) -> u64 {
        classes.iter().filter_map(|class| self.by_class.get(*class)).sum()
    }

    pub(super) fn hard(&self) -> u64 {
        self.of(&["hard_recipient", "hard_domain"])
    }
}

pub(super) fn group<K: Ord>(events: &[&Event], key: impl Fn(&Event) -> Option<K>) -> BTreeMap<K, Sums> {
    let mut groups: BTreeMap<K, Sums> = BTreeMap::new();
    for event in events {
        if let Some(key) = key(event) {
            groups.entry(key).or_default().add(event);
        }
    }
    groups
}

/// P(rate > limit) for a beta distribution, by the continued fraction of the incomplete beta function.
pub(super) fn beta_above(a: f64, b: f64, limit: f64) -> f64 {
    // Converges fast on the far side of the mean.
    if limit < (a + 1.0) / (a + b + 2.0) { 1.0 - incomplete_beta(a, b, limit) } else { incomplete_beta(b, a, 1.0 - limit) }
}

fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    let front = (a * x.ln() + b * (-x).ln_1p() + ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b)).exp() / a;
    let (mut c, mut d) = (1.0, 1.0 / (1.0 - (a + b) * x / (a + 1.0)));
    let mut fraction = d;
    for m in 1..500 {
        let m = f64::from(m);
        for factor in
            [m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m)), -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0))]
        {
            d = 1.0 / (1.0 + factor * d);
            c = 1.0 + factor / c;
            fraction *= c * d;
        }
    }
    front * fraction
}

/// Stirling's series, shifted to where it is exact to fifteen digits.
fn ln_gamma(mut x: f64) -> f64 {
    let mut shift = 0.0;
    while x < 15.0 {
        shift -= x.ln();
        x += 1.0;
    }
    let r = 1.0 / (x * x);
    let series = (1.0 / 12.0 - r * (1.0 / 360.0 - r * (1.0 / 1260.0 - r / 1680.0))) / x;
    shift + (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series
}

#[test]
fn the_beta_distribution_is_right_where_it_is_known() {
    assert!((beta_above(1.0, 1.0, 0.3) - 0.7).abs() < 1e-12, "uniform");
    assert!((beta_above(1.0, 5.0, 0.2) - 0.8_f64.powi(5)).abs() < 1e-12, "the smallest of five");
    assert!((beta_above(3.0, 1.0, 0.5) - 0.875).abs() < 1e-12, "the largest of three");
}

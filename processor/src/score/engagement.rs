use std::collections::{BTreeMap, BTreeSet};

use super::days_between;
use crate::fold::{Click, Mail, State};

/// Opens and clicks this soon after delivery are a scanner's.
const MACHINE_OPEN_SECONDS: u32 = 5;
const MACHINE_CLICK_SECONDS: u32 = 3;
/// So many distinct links of one mail within this many seconds, too.
const BURST_LINKS: usize = 3;
const BURST_SECONDS: u32 = 2;
/// Days over which exposure counts.
const EXPOSURE_DAYS: f64 = 90.0;

/// What a person did with the mail that arrived.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Engagement {
    /// Decayed conversions, clicks and opens, at most 1.5 a mail.
    pub(super) mass: f64,
    /// Distinct mails delivered within 90 days.
    pub(super) delivered_90d: u32,
    /// Of these, those after the last click or conversion.
    pub(super) unanswered: u32,
    /// Last click by a human.
    pub(super) last_click_at: Option<u32>,
    /// Last click or conversion.
    pub(super) last_answer_at: Option<u32>,
    /// Last click, conversion or open, and which it was.
    pub(super) last_engaged: Option<(u32, &'static str)>,
}

impl Engagement {
    pub(super) fn read(state: &State, now: i64) -> Self {
        let past = |mail: &&Mail| i64::from(mail.at) <= now;
        let mut arrived: BTreeMap<u64, u32> = BTreeMap::new();
        for mail in state.delivered.iter().filter(past) {
            arrived.entry(mail.message).or_insert(mail.at);
        }
        let soon = |mail: &Mail, seconds: u32| arrived.get(&mail.message).is_some_and(|at| mail.at.saturating_sub(*at) <= seconds);

        let clicks = human_clicks(state, now, &soon);
        let conversions: Vec<Mail> = state.converted.iter().filter(past).copied().collect();
        let opens: Vec<Mail> = state.opened.iter().filter(past).filter(|mail| !soon(mail, MACHINE_OPEN_SECONDS)).copied().collect();

        let mut mass: BTreeMap<u64, f64> = BTreeMap::new();
        for (mails, weight, half_life) in [(&conversions, 1.5, 60.0), (&clicks, 1.0, 45.0), (&opens, 0.15, 21.0)] {
            let mut latest: BTreeMap<u64, u32> = BTreeMap::new();
            for mail in mails {
                latest.insert(mail.message, mail.at);
            }
            for (message, at) in latest {
                *mass.entry(message).or_default() += weight * (-days_between(at, now) / half_life).exp2();
            }
        }

        let last = |mails: &[Mail]| mails.iter().map(|mail| mail.at).max();
        let (last_click_at, last_conversion_at) = (last(&clicks), last(&conversions));
        let last_answer_at = last_click_at.max(last_conversion_at);
        let last_engaged = [(last_conversion_at, "converted"), (last_click_at, "clicked"), (last(&opens), "opened")]
            .into_iter()
            .filter_map(|(at, metric)| Some((at?, metric)))
            .max_by_key(|(at, _)| *at);
        let recent: Vec<u32> = arrived.values().copied().filter(|at| days_between(*at, now) <= EXPOSURE_DAYS).collect();
        let unanswered = recent.iter().filter(|at| last_answer_at.is_none_or(|answer| **at > answer)).count();
        Self {
            mass: mass.into_values().fold(0.0, |sum, mass| sum + mass.min(1.5)),
            delivered_90d: u32::try_from(recent.len()).unwrap_or(u32::MAX),
            unanswered: u32::try_from(unanswered).unwrap_or(u32::MAX),
            last_click_at,
            last_answer_at,
            last_engaged,
        }
    }
}

fn human_clicks(state: &State, now: i64, soon: &impl Fn(&Mail, u32) -> bool) -> Vec<Mail> {
    let clicks: Vec<&Click> = state.clicked.iter().filter(|click| i64::from(click.mail.at) <= now && !click.machine).collect();
    let burst = |click: &Click| {
        let links: BTreeSet<u32> = clicks
            .iter()
            .filter(|other| other.mail.message == click.mail.message && other.mail.at.abs_diff(click.mail.at) <= BURST_SECONDS)
            .map(|other| other.link)
            .collect();
        links.len() >= BURST_LINKS
    };
    clicks.iter().filter(|click| !soon(&click.mail, MACHINE_CLICK_SECONDS) && !burst(click)).map(|click| click.mail).collect()
}

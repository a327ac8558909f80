use std::time::Duration;

use aftersend_schemas::profile::Channel;
use serde::Deserialize;

use super::{BounceMode, Overrides, Policy};
use crate::config::ConfigError;

/// Longest time that rules look back: the state forgets what is older than 400 days.
const LONGEST_DAYS: u16 = 365;
/// So many days a soft bounce counts: who is not tried for longer would be kept from mail by nothing.
const SOFT_DAYS: u16 = 180;

/// `[policy.soft]`: soft bounces, counted by days.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Soft {
    /// Weight of a day with a full mailbox. Default: 1.0.
    pub mailbox_full_weight: f64,
    /// Days after which it counts half. Default: 14.
    pub mailbox_full_half_life_days: f64,
    /// Weight of a day with a passing or unclear failure. Default: 0.5.
    pub transient_weight: f64,
    /// Days after which it counts half. Default: 7.
    pub transient_half_life_days: f64,
    /// Weight of a day with a deferral only. Default: 0.1.
    pub deferred_weight: f64,
    /// Days after which it counts half. Default: 3.
    pub deferred_half_life_days: f64,
    /// Weight from which an address is failing. Default: 3.0.
    pub failing_weight: f64,
    /// Bounce days that it takes. Default: 3.
    pub failing_days: u16,
    /// Days that must lie between the first and the last of them. Default: 14.
    pub failing_span_days: u16,
    /// Days until the next try. Each failed try doubles them. Default: 30.
    pub retry_days: u16,
    /// Most days until the next try. Default: 120.
    pub retry_max_days: u16,
}

/// `[policy.score]`: the formula's numbers.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Score {
    /// Points for a valid address. Default: 45.
    pub validity: f64,
    /// Points for what was done with mail. Default: 40.
    pub engagement: f64,
    /// Points for patience with mail that went unanswered. Default: 15.
    pub patience: f64,
    /// Weight of a conversion. Default: 1.5.
    pub conversion_weight: f64,
    /// Days after which it counts half. Default: 60.
    pub conversion_half_life_days: f64,
    /// Weight of a human click. Default: 1.0.
    pub click_weight: f64,
    /// Days after which it counts half. Default: 45.
    pub click_half_life_days: f64,
    /// Weight of a human open. Default: 0.15.
    pub open_weight: f64,
    /// Days after which it counts half. Default: 21.
    pub open_half_life_days: f64,
    /// Most that one mail may weigh. Default: 1.5.
    pub mail_cap: f64,
    /// What a delivered mail weighs against engagement. Default: 0.08.
    pub exposure_weight: f64,
    /// How strongly newcomers are held in the middle. Default: 2.0.
    pub prior: f64,
    /// Unanswered mails that patience forgives, and after as many more of which it halves. Default: 12.
    pub patience_mails: u16,
    /// Score from which somebody is healthy. Default: 70.
    pub healthy: u8,
    /// Score from which somebody is to be watched, below which degraded. Default: 40.
    pub watch: u8,
    /// What is left of the score while a hard bounce is uncertain. Default: 0.35.
    pub grey_factor: f64,
    /// An open this soon after delivery is a machine's. Default: 5.
    pub machine_open_seconds: u32,
    /// A click this soon after delivery is a machine's. Default: 3.
    pub machine_click_seconds: u32,
    /// So many distinct links of one mail within `burst_seconds` were clicked by a machine. Default: 3.
    pub burst_links: u16,
    /// See `burst_links`. Default: 2.
    pub burst_seconds: u32,
}

impl Default for Soft {
    fn default() -> Self {
        Self {
            mailbox_full_weight: 1.0,
            mailbox_full_half_life_days: 14.0,
            transient_weight: 0.5,
            transient_half_life_days: 7.0,
            deferred_weight: 0.1,
            deferred_half_life_days: 3.0,
            failing_weight: 3.0,
            failing_days: 3,
            failing_span_days: 14,
            retry_days: 30,
            retry_max_days: 120,
        }
    }
}

impl Default for Score {
    fn default() -> Self {
        Self {
            validity: 45.0,
            engagement: 40.0,
            patience: 15.0,
            conversion_weight: 1.5,
            conversion_half_life_days: 60.0,
            click_weight: 1.0,
            click_half_life_days: 45.0,
            open_weight: 0.15,
            open_half_life_days: 21.0,
            mail_cap: 1.5,
            exposure_weight: 0.08,
            prior: 2.0,
            patience_mails: 12,
            healthy: 70,
            watch: 40,
            grey_factor: 0.35,
            machine_open_seconds: 5,
            machine_click_seconds: 3,
            burst_links: 3,
            burst_seconds: 2,
        }
    }
}

/// The scoring rules of one workspace, with every default in its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Scoring {
    /// See [`Policy::bounces`].
    pub bounces: BounceMode,
    /// See [`Policy::active_days`].
    pub active_days: u16,
    /// See [`Policy::cooling_days`].
    pub cooling_days: u16,
    /// See [`Policy::sunset_after_days`].
    pub sunset_after_days: u16,
    /// See [`Policy::sunset_min_delivered`].
    pub sunset_min_delivered: u16,
    /// See [`Policy::hysteresis_days`].
    pub hysteresis_days: u16,
    /// See [`Policy::grey_days`].
    pub grey_days: u16,
    /// See [`Policy::channels`].
    pub channels: Vec<Channel>,
    /// See [`Policy::forget_after`].
    pub forget_after: Duration,
    /// See [`Soft`].
    pub soft: Soft,
    /// See [`Score`].
    pub score: Score,
}

impl Scoring {
    /// The rules of a workspace: its own where it has any, else those that all share.
    pub(super) fn of(policy: &Policy, own: Option<&Overrides>) -> Self {
        let or = |own: Option<u16>, shared: Option<u16>| own.or(shared);
        // A cadence of its own replaces shared limits that were meant for another.
        let own_cadence = own.and_then(|own| own.cadence);
        let shared = |days: Option<u16>| days.filter(|_| own_cadence.is_none());
        let [active, cooling, sunset] = own_cadence.unwrap_or(policy.cadence).days();
        let own = own.cloned().unwrap_or_default();
        Self {
            bounces: own.bounces.unwrap_or(policy.bounces),
            active_days: or(own.active_days, shared(policy.active_days)).unwrap_or(active),
            cooling_days: or(own.cooling_days, shared(policy.cooling_days)).unwrap_or(cooling),
            sunset_after_days: or(own.sunset_after_days, shared(policy.sunset_after_days)).unwrap_or(sunset),
            sunset_min_delivered: own.sunset_min_delivered.unwrap_or(policy.sunset_min_delivered),
            hysteresis_days: own.hysteresis_days.unwrap_or(policy.hysteresis_days),
            grey_days: own.grey_days.unwrap_or(policy.grey_days),
            channels: own.channels.unwrap_or_else(|| policy.channels.clone()),
            forget_after: own.forget_after.unwrap_or(policy.forget_after).0,
            soft: own.soft.unwrap_or_else(|| policy.soft.clone()),
            score: own.score.unwrap_or_else(|| policy.score.clone()),
        }
    }

    /// `at` is the table: `policy`, or `policy.workspaces.NAME`.
    pub(super) fn validate(&self, at: &str) -> Result<(), ConfigError> {
        let check = Check { at };
        let Self { active_days, cooling_days, sunset_after_days, soft, score, .. } = self;
        check.within("sunset_after_days", *sunset_after_days, 7..=LONGEST_DAYS, "days")?;
        check.within("active_days", *active_days, 1..=LONGEST_DAYS, "days")?;
        check.that(active_days < cooling_days, "cooling_days", cooling_days, &format!("use more than active_days ({active_days})"))?;
        check.that(
            cooling_days < sunset_after_days,
            "sunset_after_days",
            sunset_after_days,
            &format!("use more than cooling_days ({cooling_days})"),
        )?;
        check.within("sunset_min_delivered", self.sunset_min_delivered, 1..=200, "mails")?;
        check.within("hysteresis_days", self.hysteresis_days, 0..=30, "days")?;
        check.within("grey_days", self.grey_days, 1..=90, "days")?;
        check.that(!self.channels.contains(&Channel::Email), "channels", &"email", "leave e-mail out: it always comes first")?;
        let least = Duration::from_secs(u64::from(LONGEST_DAYS) * 86_400);
        check.that(self.forget_after >= least, "forget_after", &crate::config::Span(self.forget_after), "use at least 365d")?;
        soft.validate(&check)?;
        score.validate(&check)
    }
}

impl Soft {
    fn validate(&self, check: &Check<'_>) -> Result<(), ConfigError> {
        let weights = [
            ("soft.mailbox_full_weight", self.mailbox_full_weight),
            ("soft.transient_weight", self.transient_weight),
            ("soft.deferred_weight", self.deferred_weight),
        ];
        let half_lives = [
            ("soft.mailbox_full_half_life_days", self.mailbox_full_half_life_days),
            ("soft.transient_half_life_days", self.transient_half_life_days),
            ("soft.deferred_half_life_days", self.deferred_half_life_days),
        ];
        check.falling(weights, 0.0, 10.0)?;
        check.falling(half_lives, 0.1, 90.0)?;
        check.number("soft.failing_weight", self.failing_weight, 0.1, 100.0)?;
        check.within("soft.failing_days", self.failing_days, 1..=30, "days")?;
        check.within("soft.failing_span_days", self.failing_span_days, 0..=90, "days")?;
        check.within("soft.retry_days", self.retry_days, 1..=SOFT_DAYS, "days")?;
        check.within("soft.retry_max_days", self.retry_max_days, 1..=SOFT_DAYS, "days")?;
        let longer = self.retry_max_days >= self.retry_days;
        check.that(longer, "soft.retry_max_days", &self.retry_max_days, &format!("use at least retry_days ({})", self.retry_days))
    }
}

impl Score {
    fn validate(&self, check: &Check<'_>) -> Result<(), ConfigError> {
        let points = [("score.validity", self.validity), ("score.engagement", self.engagement), ("score.patience", self.patience)];
        for (key, value) in points {
            check.number(key, value, 0.0, 100.0)?;
        }
        let total = self.validity + self.engagement + self.patience;
        check.that(
            (total - 100.0).abs() < 1e-9,
            "score.validity",
            &self.validity,
            &format!("validity, engagement and patience must make 100 points, not {total}"),
        )?;
        check.falling(
            [
                ("score.conversion_weight", self.conversion_weight),
                ("score.click_weight", self.click_weight),
                ("score.open_weight", self.open_weight),
            ],
            0.0,
            10.0,
        )?;
        check.falling(
            [
                ("score.conversion_half_life_days", self.conversion_half_life_days),
                ("score.click_half_life_days", self.click_half_life_days),
                ("score.open_half_life_days", self.open_half_life_days),
            ],
            0.1,
            365.0,
        )?;
        check.number("score.mail_cap", self.mail_cap, self.click_weight, 100.0)?;
        check.number("score.exposure_weight", self.exposure_weight, 0.0, 10.0)?;
        check.number("score.prior", self.prior, 0.1, 100.0)?;
        check.number("score.grey_factor", self.grey_factor, 0.0, 1.0)?;
        check.within("score.patience_mails", self.patience_mails, 1..=200, "mails")?;
        check.within("score.healthy", self.healthy, 1..=100, "points")?;
        let rising = self.watch < self.healthy && self.watch > 0;
        check.that(rising, "score.watch", &self.watch, &format!("use more than 0 and less than healthy ({})", self.healthy))?;
        check.within("score.machine_open_seconds", self.machine_open_seconds, 0..=3_600, "seconds")?;
        check.within("score.machine_click_seconds", self.machine_click_seconds, 0..=3_600, "seconds")?;
        check.within("score.burst_links", self.burst_links, 2..=100, "links")?;
        check.within("score.burst_seconds", self.burst_seconds, 0..=60, "seconds")
    }
}

/// Names the key of what is wrong.
struct Check<'a> {
    at: &'a str,
}

impl Check<'_> {
    fn that(&self, holds: bool, key: &str, value: &dyn std::fmt::Display, fix: &str) -> Result<(), ConfigError> {
        if holds { Ok(()) } else { Err(ConfigError::value(format!("{}.{key}", self.at), value.to_string(), fix)) }
    }

    fn within<T>(&self, key: &str, value: T, range: std::ops::RangeInclusive<T>, unit: &str) -> Result<(), ConfigError>
    where
        T: PartialOrd + std::fmt::Display,
    {
        let fix = format!("use {} to {} {unit}", range.start(), range.end());
        self.that(range.contains(&value), key, &value, &fix)
    }

    /// Refuses what is no number, too.
    fn number(&self, key: &str, value: f64, least: f64, most: f64) -> Result<(), ConfigError> {
        self.that((least..=most).contains(&value), key, &value, &format!("use {least} to {most}"))
    }

    /// Each within the limits, and none above the one before it.
    fn falling(&self, values: [(&str, f64); 3], least: f64, most: f64) -> Result<(), ConfigError> {
        let mut above: Option<(&str, f64)> = None;
        for (key, value) in values {
            self.number(key, value, least, most)?;
            if let Some((name, limit)) = above {
                let name = name.rsplit('.').next().unwrap_or(name);
                self.that(value <= limit, key, &value, &format!("use at most {name} ({limit})"))?;
            }
            above = Some((key, value));
        }
        Ok(())
    }
}

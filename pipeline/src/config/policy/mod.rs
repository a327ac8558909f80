mod scoring;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aftersend_schemas::profile::Channel;
use serde::Deserialize;

use super::{ConfigError, Span};
pub use scoring::{Score, Scoring, Soft};

/// `[policy]`: rules of the score, and of what is done about it. `[policy.workspaces.NAME]` replaces the rules of one workspace.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// How sure a hard bounce must be. Default: strict.
    pub bounces: BounceMode,
    /// How often promotional mail is sent: chooses the limits of the next three. Default: several_per_week.
    pub cadence: Cadences,
    /// Days since the last click up to which somebody gets all promotional mail. Default: 15, 30, 60 or 90 by `cadence`.
    pub active_days: Option<u16>,
    /// Days since the last click up to which somebody gets half of it. Default: 30, 60, 120 or 180 by `cadence`.
    pub cooling_days: Option<u16>,
    /// Days without a click after which promotional mail stops. Default: 60, 90, 180 or 270 by `cadence`.
    pub sunset_after_days: Option<u16>,
    /// Messages that must have been delivered in these days (90 at least) before these limits apply. Default: 8.
    pub sunset_min_delivered: u16,
    /// Days for which more promotional mail must be deserved before it is sent. Default: 7.
    pub hysteresis_days: u16,
    /// Days for which an uncertain hard bounce stops mail. Default: 7.
    pub grey_days: u16,
    /// Channels that everybody agreed to who can be reached there, best first: used where e-mail is not fine. Default: push.
    pub channels: Vec<Channel>,
    /// Time without evidence after which somebody is forgotten of whom no complaint, wish, hard bounce or decision is known. Default: 730d.
    pub forget_after: Span,
    /// Soft bounces.
    pub soft: Soft,
    /// The formula's numbers.
    pub score: Score,
    /// What is done about a hard bounce. `suppress` deletes the person at Customer.io for good. Default: suppress.
    pub on_hard_bounce: Reaction,
    /// What is done about a complaint. Default: suppress.
    pub on_complaint: Reaction,
    /// Wait before a `suppress` for a hard bounce, from the arrival of the event. Default: 15m.
    pub hold_hard_bounce: Span,
    /// Wait before a `suppress` for a complaint. Default: 0s.
    pub hold_complaint: Span,
    /// A verdict whose event arrived longer ago than this suppresses nobody by itself: a late start or a rebuild must not delete people. Default: 48h.
    pub irreversible_max_age: Span,
    /// Person ids that are never suppressed.
    pub never_suppress: Vec<String>,
    /// Rules of single workspaces.
    pub workspaces: BTreeMap<String, Overrides>,
}

/// How sure a hard bounce must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BounceMode {
    /// The first certain hard bounce counts.
    #[default]
    Strict,
    /// Always a second hard bounce on another day.
    Grey,
}

/// How often promotional mail is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cadences {
    /// Every day.
    Daily,
    /// On several days of a week.
    #[default]
    SeveralPerWeek,
    /// Once a week.
    Weekly,
    /// Once a month.
    Monthly,
}

impl Cadences {
    /// Days since the last click up to which somebody is active, cooling, and not yet sunset.
    fn days(self) -> [u16; 3] {
        match self {
            Self::Daily => [15, 30, 60],
            Self::SeveralPerWeek => [30, 60, 90],
            Self::Weekly => [60, 120, 180],
            Self::Monthly => [90, 180, 270],
        }
    }
}

/// What is done to a person at Customer.io.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reaction {
    /// Attributes, then `suppress`: the person is deleted and blocked.
    #[default]
    Suppress,
    /// Attributes and `unsubscribed: true`.
    Unsubscribe,
    /// Attributes only.
    Identify,
}

/// `[policy.workspaces.NAME]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Overrides {
    bounces: Option<BounceMode>,
    cadence: Option<Cadences>,
    active_days: Option<u16>,
    cooling_days: Option<u16>,
    sunset_after_days: Option<u16>,
    sunset_min_delivered: Option<u16>,
    hysteresis_days: Option<u16>,
    grey_days: Option<u16>,
    channels: Option<Vec<Channel>>,
    forget_after: Option<Span>,
    soft: Option<Soft>,
    score: Option<Score>,
    on_hard_bounce: Option<Reaction>,
    on_complaint: Option<Reaction>,
    hold_hard_bounce: Option<Span>,
    hold_complaint: Option<Span>,
    irreversible_max_age: Option<Span>,
    never_suppress: Option<Vec<String>>,
}

/// The write-back rules of one workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// See [`Policy::on_hard_bounce`].
    pub on_hard_bounce: Reaction,
    /// See [`Policy::on_complaint`].
    pub on_complaint: Reaction,
    /// See [`Policy::hold_hard_bounce`].
    pub hold_hard_bounce: Span,
    /// See [`Policy::hold_complaint`].
    pub hold_complaint: Span,
    /// See [`Policy::irreversible_max_age`].
    pub irreversible_max_age: Span,
    /// See [`Policy::never_suppress`].
    pub never_suppress: Vec<String>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            bounces: BounceMode::default(),
            cadence: Cadences::default(),
            active_days: None,
            cooling_days: None,
            sunset_after_days: None,
            sunset_min_delivered: 8,
            hysteresis_days: 7,
            grey_days: 7,
            channels: vec![Channel::Push],
            forget_after: Span(Duration::from_secs(730 * 86_400)),
            soft: Soft::default(),
            score: Score::default(),
            on_hard_bounce: Reaction::default(),
            on_complaint: Reaction::default(),
            hold_hard_bounce: Span(Duration::from_secs(15 * 60)),
            hold_complaint: Span(Duration::ZERO),
            irreversible_max_age: Span(Duration::from_secs(48 * 3600)),
            never_suppress: Vec::new(),
            workspaces: BTreeMap::new(),
        }
    }
}

/// An entry that can match nobody protects nobody, and whoever wrote it believes that it does.
fn protects(table: &str, never_suppress: &[String]) -> Result<(), ConfigError> {
    for entry in never_suppress {
        let fix = match entry.strip_prefix('@') {
            _ if entry.trim() != entry => "ids have no blanks at their ends: leave them out",
            None if entry.len() > 150 || entry == "cio_" || entry.bytes().all(|byte| byte == b'.') && !entry.is_empty() => {
                "nobody has this id: ids have up to 150 bytes, and not only dots"
            }
            None if entry.is_empty() => "name an id, a domain as \"@example.com\", or a pattern",
            Some("") => "name the domain behind the @",
            Some(domain) if domain.contains(['*', '?']) => {
                "a pattern is compared with the whole id: begin it with *, as in \"*@*.example.com\""
            }
            _ => continue,
        };
        return Err(ConfigError::value(format!("{table}.never_suppress"), entry, fix));
    }
    Ok(())
}

impl Policy {
    /// `workspaces`: those that there are.
    pub(super) fn validate(&self, workspaces: &BTreeSet<&str>) -> Result<(), ConfigError> {
        Scoring::of(self, None).validate("policy")?;
        protects("policy", &self.never_suppress)?;
        for (name, own) in &self.workspaces {
            // Rules that nobody is judged by would leave people to those of everybody.
            if !workspaces.is_empty() && !workspaces.contains(name.as_str()) {
                let known: Vec<&str> = workspaces.iter().copied().collect();
                let fix = format!("no source and no credentials belong to this workspace: name one of {}", known.join(", "));
                return Err(ConfigError::missing(format!("policy.workspaces.{name}"), fix));
            }
            protects(&format!("policy.workspaces.{name}"), own.never_suppress.as_deref().unwrap_or_default())?;
            Scoring::of(self, Some(own)).validate(&format!("policy.workspaces.{name}"))?;
        }
        let tables = self.workspaces.keys().map(|name| (format!("policy.workspaces.{name}"), name.as_str()));
        for (table, workspace) in tables.chain([("policy".to_owned(), "")]) {
            let rules = self.rules_for(workspace);
            if rules.irreversible_max_age.0 <= rules.hold_hard_bounce.0.max(rules.hold_complaint.0) {
                let age = rules.irreversible_max_age.to_string();
                let fix = "must be longer than the holds, or nobody would ever be suppressed";
                return Err(ConfigError::value(format!("{table}.irreversible_max_age"), age, fix));
            }
        }
        Ok(())
    }

    /// The scoring rules of a workspace: its own where it has any.
    pub fn scoring_for(&self, workspace: &str) -> Scoring {
        Scoring::of(self, self.workspaces.get(workspace))
    }

    /// The rules for a workspace: its own where it has any.
    pub fn rules_for(&self, workspace: &str) -> Rules {
        let own = self.workspaces.get(workspace);
        let or = |pick: fn(&Overrides) -> Option<Reaction>, shared| own.and_then(pick).unwrap_or(shared);
        let span = |pick: fn(&Overrides) -> Option<Span>, shared| own.and_then(pick).unwrap_or(shared);
        Rules {
            on_hard_bounce: or(|own| own.on_hard_bounce, self.on_hard_bounce),
            on_complaint: or(|own| own.on_complaint, self.on_complaint),
            hold_hard_bounce: span(|own| own.hold_hard_bounce, self.hold_hard_bounce),
            hold_complaint: span(|own| own.hold_complaint, self.hold_complaint),
            irreversible_max_age: span(|own| own.irreversible_max_age, self.irreversible_max_age),
            never_suppress: own.and_then(|own| own.never_suppress.clone()).unwrap_or_else(|| self.never_suppress.clone()),
        }
    }
}

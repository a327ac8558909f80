use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::{ConfigError, Span};

/// `[policy]`: rules of the score, and of what is done about it. `[policy.workspaces.NAME]` replaces the rules of one workspace.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// How sure a hard bounce must be. Default: strict.
    pub bounces: BounceMode,
    /// Days without a click after which promotional mail stops. Default: 90.
    pub sunset_after_days: u16,
    /// Messages that must have been delivered in these days before that rule applies. Default: 8.
    pub sunset_min_delivered: u16,
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
            sunset_after_days: 90,
            sunset_min_delivered: 8,
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

impl Policy {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        if !(7..=170).contains(&self.sunset_after_days) {
            return Err(ConfigError::value("policy.sunset_after_days", self.sunset_after_days.to_string(), "use 7 to 170 days"));
        }
        if self.irreversible_max_age.0 < self.hold_hard_bounce.0 || self.irreversible_max_age.0 < self.hold_complaint.0 {
            return Err(ConfigError::missing(
                "policy.irreversible_max_age",
                "must be at least as long as the holds, or nobody would ever be suppressed",
            ));
        }
        Ok(())
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

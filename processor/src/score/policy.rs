use std::collections::HashMap;

use aftersend_pipeline::config::{self, Scoring};
use xxhash_rust::xxh3::xxh3_64;

use super::DAY;

/// The formula itself is part of every policy: raise this number with it.
const FORMULA: u32 = 5;

/// The rules of the score in one workspace, and a version that changes with them.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// The rules.
    pub rules: Scoring,
    /// Seconds without evidence after which somebody is forgotten of whom nothing lasting is known.
    pub forget_after: i64,
    /// Written into every result.
    pub version: u32,
}

impl Policy {
    /// The policy of a workspace.
    pub fn new(config: &config::Policy, workspace: &str) -> Self {
        let rules = config.scoring_for(workspace);
        let text = format!("formula {FORMULA} {rules:?}");
        let version = (xxh3_64(text.as_bytes()) >> 32) as u32;
        Self { forget_after: i64::try_from(rules.forget_after.as_secs()).unwrap_or(i64::MAX), version, rules }
    }

    /// Seconds over which the deliveries count that sunset needs.
    pub(super) fn sunset_window(&self) -> i64 {
        i64::from(self.rules.sunset_after_days.max(90)) * DAY
    }
}

/// The policy of each workspace.
#[derive(Debug, Clone)]
pub struct Policies {
    shared: Policy,
    own: HashMap<String, Policy>,
}

impl Policies {
    /// From `[policy]` and `[policy.workspaces.NAME]`.
    pub fn new(config: &config::Policy) -> Self {
        let own = config.workspaces.keys().map(|name| (name.clone(), Policy::new(config, name))).collect();
        Self { shared: Policy::new(config, ""), own }
    }

    /// The policy of a workspace: its own where it has one.
    pub fn of(&self, workspace: &str) -> &Policy {
        self.own.get(workspace).unwrap_or(&self.shared)
    }
}

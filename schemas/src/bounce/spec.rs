//! Rules as people write them: the built-in file and overrides in configuration share one form.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::class::BounceClass;
use super::error::TableError;

/// The built-in table, part of the binary.
const BUILTIN: &str = include_str!("../../bounce/rules.toml");

/// When a rule is asked. Earlier stages win whatever the order in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Throttle, block, policy and other texts that must never be called hard. Hard classes are refused here.
    Guard,
    /// Rules on the enhanced code, with or without words.
    Code,
    /// Rules on words alone, or on words and the basic code.
    Phrase,
    /// Rules on the basic code alone.
    Basic,
}

/// One rule as written. A text matches when every condition that is given holds; within a list any entry is enough.
///
/// `phrases` and `also` are matched as whole words, ignoring ASCII case and punctuation; `*` at the end leaves the last word open
/// (`blacklist*`), and `@name` stands for a group of the built-in file. `codes` are enhanced codes (`5.1.1`, `5.7.*`), `basic`
/// are reply codes (`550`, `4**`). `channels` empty means all.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSpec {
    /// Stable name, in verdicts and in stored rows. Lower case letters, digits and hyphens.
    pub id: String,
    /// In overrides: remove the built-in rule of this id. Other fields are then ignored.
    #[serde(default)]
    pub disabled: bool,
    /// Required unless disabled.
    pub stage: Option<Stage>,
    /// Required unless disabled.
    pub class: Option<BounceClass>,
    /// Required unless disabled. Percent, 0 to 100. Below 80 a hard verdict is grey: no irreversible call by itself.
    pub confidence: Option<i64>,
    /// Any of these words must appear.
    #[serde(default)]
    pub phrases: Vec<String>,
    /// And any of these.
    #[serde(default)]
    pub also: Vec<String>,
    /// And the first enhanced code is one of these.
    #[serde(default)]
    pub codes: Vec<String>,
    /// And the first basic code is one of these.
    #[serde(default)]
    pub basic: Vec<String>,
    /// And the message went out on one of these channels, or the channel is not known.
    #[serde(default)]
    pub channels: Vec<String>,
    /// Texts this rule must decide. Checked when a table with overrides is built.
    #[serde(default)]
    pub tests: Vec<String>,
    /// Where the texts were seen.
    pub source: Option<String>,
}

/// The built-in file: named groups of phrases, then rules in the order they are asked within their stage.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleFile {
    #[serde(default)]
    pub groups: BTreeMap<String, Vec<String>>,
    #[serde(rename = "rule")]
    pub rules: Vec<RuleSpec>,
}

impl RuleFile {
    /// The rules that ship with the binary.
    pub(super) fn builtin() -> Result<Self, TableError> {
        Ok(toml::from_str(BUILTIN)?)
    }

    /// Applies overrides: the same id replaces in place, `disabled` removes, new rules are asked before the built-in ones of their
    /// stage, in the order given.
    pub(super) fn apply(&mut self, overrides: Vec<RuleSpec>) -> Result<(), TableError> {
        let mut added: Vec<RuleSpec> = Vec::new();
        let mut seen: Vec<String> = Vec::new();
        for spec in overrides {
            if seen.contains(&spec.id) {
                return Err(TableError::Duplicate { rule: spec.id });
            }
            seen.push(spec.id.clone());
            match self.rules.iter().position(|rule| rule.id == spec.id) {
                Some(at) if spec.disabled => {
                    self.rules.remove(at);
                }
                Some(at) => self.rules[at] = spec,
                None if spec.disabled => return Err(TableError::Unknown { rule: spec.id }),
                None => added.push(spec),
            }
        }
        self.rules.splice(0..0, added);
        Ok(())
    }
}

use std::sync::Arc;

use aftersend_schemas::bounce::{RuleSpec, Table};
use serde::Deserialize;

use super::ConfigError;

/// `[bounce]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bounce {
    /// Rules beside the built-in ones: `[[bounce.rule]]`. The id of a built-in rule replaces it, `disabled = true` removes it.
    #[serde(rename = "rule")]
    pub rules: Vec<RuleSpec>,
}

impl Bounce {
    /// The built-in rules with these changes.
    pub fn table(&self) -> Result<Arc<Table>, ConfigError> {
        if self.rules.is_empty() {
            return Ok(Arc::clone(Table::builtin()));
        }
        Table::with_overrides(self.rules.clone()).map(Arc::new).map_err(|error| ConfigError::missing("bounce.rule", error.to_string()))
    }
}

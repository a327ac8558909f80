//! The configured sources, ready for requests.

use std::collections::HashMap;

use aftersend_pipeline::config;

use crate::signature::SigningKeys;

/// The source of the short path.
pub(crate) const DEFAULT: &str = "default";

/// One reporting webhook.
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) workspace: String,
    pub(crate) keys: SigningKeys,
}

/// By name.
pub(crate) struct Sources(HashMap<String, Source>);

impl Sources {
    pub(crate) fn new(sources: &[config::Source]) -> Self {
        let by_name = sources.iter().map(|source| {
            let keys = SigningKeys::new(source.keys());
            (source.name.clone(), Source { name: source.name.clone(), workspace: source.workspace.clone(), keys })
        });
        Self(by_name.collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Source> {
        self.0.get(name)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

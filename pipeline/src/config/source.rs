use std::collections::HashSet;
use std::path::PathBuf;

use serde::Deserialize;

use super::{ConfigError, Secrets};

/// `[[source]]`: one reporting webhook.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Last part of the path it posts to; `default` also has the short path.
    pub name: String,
    /// Signing keys that are accepted, as shown in Customer.io: several while a key is being changed.
    #[serde(default)]
    pub signing_keys: Secrets,
    /// File with further keys, one a line.
    #[serde(default)]
    pub signing_keys_file: Option<PathBuf>,
    /// Data centre of the workspace. Default: us.
    #[serde(default)]
    pub region: Region,
    /// The Customer.io workspace behind it. Several sources may share one. Default: default.
    #[serde(default = "default_workspace")]
    pub workspace: String,
}

/// A Customer.io data centre.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Region {
    /// United States.
    #[default]
    Us,
    /// European Union.
    Eu,
}

fn default_workspace() -> String {
    "default".into()
}

impl Source {
    /// The accepted keys as the bytes of their text; at least one.
    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.signing_keys.0.iter().map(|key| key.reveal().as_bytes())
    }
}

/// Checks names and reads key files.
pub(super) fn validate(sources: &mut [Source]) -> Result<(), ConfigError> {
    let mut names = HashSet::new();
    for source in sources {
        let legal = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        if !legal(&source.name) {
            return Err(ConfigError::value("source.name", &source.name, "use letters, digits, '-' and '_': it is part of a path"));
        }
        if !legal(&source.workspace) {
            return Err(ConfigError::value("source.workspace", &source.workspace, "use letters, digits, '-' and '_'"));
        }
        if !names.insert(source.name.clone()) {
            return Err(ConfigError::value("source.name", &source.name, "every source needs a name of its own"));
        }
        source.signing_keys.read_file("source.signing_keys_file", source.signing_keys_file.as_ref())?;
        if source.signing_keys.0.is_empty() || source.signing_keys.0.iter().any(super::Secret::is_empty) {
            let key = format!("source {:?}", source.name);
            return Err(ConfigError::missing(
                key,
                "signing_keys needs at least one key, none of them empty: it is shown on the page of the reporting webhook in Customer.io",
            ));
        }
    }
    Ok(())
}

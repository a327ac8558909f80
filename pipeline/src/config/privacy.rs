use std::path::PathBuf;

use aftersend_schemas::privacy::{HashKey, HashKeys, Privacy};
use serde::Deserialize;

use super::{ConfigError, Secret};

/// `[privacy]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrivacyConfig {
    /// What happens to addresses outside the original bytes. Default: hash.
    pub email: EmailPrivacy,
    /// True to keep `content` and `headers` of `sent` events in the metadata of their outcomes. Default: only in the original bytes.
    pub keep_content: bool,
    /// Keys of the hash; needed unless `email = "drop"`. Keep old keys: gates set under them hold only while they are here.
    pub hash_keys: Vec<HashKeyConfig>,
}

/// What happens to addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EmailPrivacy {
    /// Stored as a keyed hash.
    #[default]
    Hash,
    /// Stored in clear, beside the hash; people known only by an address are written back to at it.
    Plain,
    /// Not stored.
    Drop,
}

/// One key of the address hash.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HashKeyConfig {
    /// The key, or `key_file`.
    pub key: Secret,
    /// File that holds the key.
    pub key_file: Option<PathBuf>,
    /// RFC 3339 time from which events use it. Default: always.
    pub valid_from: Option<String>,
}

impl PrivacyConfig {
    pub(super) fn validate(&mut self) -> Result<(), ConfigError> {
        for key in &mut self.hash_keys {
            key.key.read_file("privacy.hash_keys.key", key.key_file.as_ref())?;
            if key.key.is_empty() {
                return Err(ConfigError::missing(
                    "privacy.hash_keys",
                    "every entry needs a key or a key_file; make one with `openssl rand -hex 32`",
                ));
            }
        }
        self.privacy().map(|_| ())
    }

    /// As the rules use it.
    pub fn privacy(&self) -> Result<Privacy, ConfigError> {
        let keys = self.hash_keys.iter().map(HashKeyConfig::read).collect::<Result<Vec<_>, _>>()?;
        match (self.email, HashKeys::new(keys)) {
            (EmailPrivacy::Drop, _) => Ok(Privacy::Drop),
            (EmailPrivacy::Hash, Some(keys)) => Ok(Privacy::Hash(keys)),
            (EmailPrivacy::Plain, Some(keys)) => Ok(Privacy::Plain(keys)),
            (_, None) => Err(ConfigError::missing(
                "privacy.hash_keys",
                "add hash_keys = [{ key = \"...\" }] (make one with `openssl rand -hex 32`), or set privacy.email = \"drop\"",
            )),
        }
    }
}

impl HashKeyConfig {
    fn read(&self) -> Result<HashKey, ConfigError> {
        let valid_from = match &self.valid_from {
            None => 0,
            Some(text) => humantime::parse_rfc3339_weak(text)
                .ok()
                .and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok())
                .and_then(|since| i64::try_from(since.as_secs()).ok())
                .ok_or_else(|| ConfigError::value("privacy.hash_keys.valid_from", text, "use a time such as 2026-01-31T00:00:00Z"))?,
        };
        Ok(HashKey::new(self.key.reveal().as_bytes(), valid_from))
    }
}

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, de};

use super::ConfigError;

/// A text that is never printed: not by `Debug`, not in errors.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// True if nothing was given.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Fills an empty secret from a file (one trailing line break is not part of it).
    pub(super) fn read_file(&mut self, key: &str, file: Option<&PathBuf>) -> Result<(), ConfigError> {
        let Some(path) = file else { return Ok(()) };
        if !self.is_empty() {
            return Err(ConfigError::missing(key, format!("give {key} or {key}_file, not both")));
        }
        self.0 = read(&format!("{key}_file"), path)?.trim_end_matches(['\r', '\n']).to_owned();
        Ok(())
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "(not set)" } else { "(secret)" })
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Serde's own message would quote the value.
        let Ok(value) = toml::Value::deserialize(deserializer) else { return Err(de::Error::custom("expected a secret as text")) };
        match value {
            toml::Value::String(text) => Ok(Self(text)),
            _ => Err(de::Error::custom("expected a secret as text: put it between quotes")),
        }
    }
}

/// A list of secrets; one may be given as a text.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Secrets(pub Vec<Secret>);

impl Secrets {
    /// Blanks around a key are none of it: keys are pasted.
    pub(super) fn trim(&mut self) {
        for Secret(key) in &mut self.0 {
            *key = key.trim().to_owned();
        }
    }

    /// Adds the lines of a file.
    pub(super) fn read_file(&mut self, key: &str, file: Option<&PathBuf>) -> Result<(), ConfigError> {
        if let Some(path) = file {
            let text = read(key, path)?;
            self.0.extend(text.lines().filter(|line| !line.trim().is_empty()).map(|line| Secret(line.to_owned())));
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Secrets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wrong = || de::Error::custom("expected a secret as text, or a list of such");
        let Ok(value) = toml::Value::deserialize(deserializer) else { return Err(wrong()) };
        // A variable is a text, and may hold the list as it stands in the file. No key begins like one.
        let list = |text: &str| format!("list = {text}").parse::<toml::Table>().ok()?.remove("list").filter(toml::Value::is_array);
        let value = match value {
            toml::Value::String(text) if text.trim_start().starts_with('[') => list(&text).ok_or_else(wrong)?,
            value => value,
        };
        match value {
            toml::Value::String(text) => Ok(Self(vec![Secret(text)])),
            toml::Value::Array(items) => items
                .into_iter()
                .map(|item| match item {
                    toml::Value::String(text) => Ok(Secret(text)),
                    _ => Err(wrong()),
                })
                .collect::<Result<_, _>>()
                .map(Self),
            _ => Err(wrong()),
        }
    }
}

fn read(key: &str, path: &Path) -> Result<String, ConfigError> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| ConfigError::value(key, path.display().to_string(), format!("cannot be read: {error}")))?;
    // A byte order mark, as editors on Windows put it there, is no part of any secret.
    Ok(text.trim_start_matches('\u{feff}').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_order_mark_and_line_ends_are_no_part_of_a_secret() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("secret");
        std::fs::write(&file, "\u{feff}first\r\nsecond\r\n").unwrap();
        let mut keys = Secrets::default();
        keys.read_file("keys_file", Some(&file)).unwrap();
        assert_eq!(keys.0.iter().map(Secret::reveal).collect::<Vec<_>>(), ["first", "second"]);

        std::fs::write(&file, "\u{feff}s3cret\r\n").unwrap();
        let mut secret = Secret::default();
        secret.read_file("secret", Some(&file)).unwrap();
        assert_eq!(secret.reveal(), "s3cret");
    }
}

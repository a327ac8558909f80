use std::path::PathBuf;

/// What is wrong with the configuration: the key, the value where it may be shown, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path:?}: {source}; give the file with --config or AFTERSEND_CONFIG")]
    Unreadable {
        /// Path as given.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML. The line itself is not shown, since it may hold a secret.
    #[error("{file}, line {line}: not valid TOML: {message}")]
    Syntax {
        /// File name, or `configuration`.
        file: String,
        /// Line, from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// A key that is unknown, or a value of the wrong type.
    #[error("{key}: {message}")]
    Shape {
        /// Dotted path of the key.
        key: String,
        /// What is wrong.
        message: String,
    },
    /// A value that cannot be used.
    #[error("{key} = {value:?}: {fix}")]
    Value {
        /// Dotted path of the key.
        key: String,
        /// The value.
        value: String,
        /// What to write instead.
        fix: String,
    },
    /// A value that is needed and missing, or a secret that cannot be used.
    #[error("{key}: {fix}")]
    Missing {
        /// Dotted path of the key.
        key: String,
        /// What to write.
        fix: String,
    },
}

impl ConfigError {
    /// A value that cannot be used. Never for secrets.
    pub fn value(key: impl Into<String>, value: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::Value { key: key.into(), value: value.into(), fix: fix.into() }
    }

    /// A value that is missing, or that must not be shown.
    pub fn missing(key: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::Missing { key: key.into(), fix: fix.into() }
    }
}

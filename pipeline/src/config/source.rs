use std::collections::HashSet;
use std::path::PathBuf;

use serde::Deserialize;

use super::{ConfigError, Secret, Secrets};

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
    /// A further path it posts to, such as the one of an earlier receiver. Default: none.
    #[serde(default)]
    pub path: Option<String>,
    /// A header that every request must have, beside the signature or, without `signing_keys`, instead of it.
    #[serde(default)]
    pub secret_header: Option<SecretHeader>,
    /// HTTP basic authentication, on the same terms.
    #[serde(default)]
    pub basic_auth: Option<BasicAuth>,
    /// Data centre of the workspace: whose addresses `customerio` in the allowlist stands for. Default: us.
    #[serde(default)]
    pub region: Region,
    /// The Customer.io workspace behind it. Several sources may share one. Default: default.
    #[serde(default = "default_workspace")]
    pub workspace: String,
}

/// A header with a secret value.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretHeader {
    /// Name of the header.
    pub name: String,
    /// Its value, or `value_file`.
    #[serde(default)]
    pub value: Secret,
    /// File that holds the value.
    #[serde(default)]
    pub value_file: Option<PathBuf>,
}

/// User and password, as in `https://user:password@host/`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    /// May not hold a colon.
    pub user: String,
    /// The password, or `password_file`.
    #[serde(default)]
    pub password: Secret,
    /// File that holds the password.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
}

/// A Customer.io data centre.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
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
    /// True if its requests are known by a secret alone: nothing proves that the body is Customer.io's.
    pub fn is_unsigned(&self) -> bool {
        self.signing_keys.0.is_empty()
    }

    /// The accepted keys as the bytes of their text; none if it [is unsigned](Self::is_unsigned).
    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.signing_keys.0.iter().map(|key| key.reveal().as_bytes())
    }
}

/// Headers that cannot carry a secret, since the request itself needs them.
const TAKEN_HEADERS: [&str; 9] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "transfer-encoding",
    "x-cio-signature",
    "x-cio-timestamp",
];

/// Checks names and reads key files.
pub(super) fn validate(sources: &mut [Source]) -> Result<(), ConfigError> {
    let (mut names, mut paths) = (HashSet::new(), HashSet::new());
    for source in sources {
        source.validate()?;
        if !names.insert(source.name.clone()) {
            return Err(ConfigError::value("source.name", &source.name, "every source needs a name of its own"));
        }
        if let Some(path) = &source.path
            && !paths.insert(path.clone())
        {
            return Err(ConfigError::value("source.path", path, "every source needs a path of its own"));
        }
    }
    Ok(())
}

impl Source {
    fn validate(&mut self) -> Result<(), ConfigError> {
        let legal = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        if !legal(&self.name) {
            return Err(ConfigError::value("source.name", &self.name, "use letters, digits, '-' and '_': it is part of a path"));
        }
        if self.name == "unknown" {
            return Err(ConfigError::value("source.name", &self.name, "choose another: metrics call requests so that belong to no source"));
        }
        if !legal(&self.workspace) {
            return Err(ConfigError::value("source.workspace", &self.workspace, "use letters, digits, '-' and '_'"));
        }
        if let Some(path) = &self.path {
            let legal = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte));
            if !legal || !path.starts_with('/') || path.ends_with('/') {
                let fix = "use letters, digits, '-', '.', '_', '~' and '/', with a slash in front and none at the end";
                return Err(ConfigError::value("source.path", path, fix));
            }
            if path.starts_with("/v1/webhooks/customerio/reporting") {
                return Err(ConfigError::value("source.path", path, "the paths below /v1/webhooks/customerio/reporting go by source.name"));
            }
        }
        self.validate_secrets()
    }

    fn validate_secrets(&mut self) -> Result<(), ConfigError> {
        let of = |key: &str| format!("source {:?}: {key}", self.name);
        self.signing_keys.read_file("source.signing_keys_file", self.signing_keys_file.as_ref())?;
        if self.signing_keys.0.iter().any(|key| key.reveal().trim_start().starts_with('#')) {
            let fix = "one begins with #, and no key of Customer.io does: every line of signing_keys_file is a key, so leave comments out";
            return Err(ConfigError::missing("source.signing_keys", fix));
        }
        self.signing_keys.trim();
        if let Some(header) = &mut self.secret_header {
            header.value.read_file("source.secret_header.value", header.value_file.as_ref())?;
            let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            if header.name.is_empty() || !header.name.bytes().all(token) {
                return Err(ConfigError::value(of("secret_header.name"), &header.name, "this is no name of a header"));
            }
            if TAKEN_HEADERS.iter().any(|taken| header.name.eq_ignore_ascii_case(taken)) {
                return Err(ConfigError::value(
                    of("secret_header.name"),
                    &header.name,
                    "this header has a meaning of its own: choose another",
                ));
            }
            if self.basic_auth.is_some() && header.name.eq_ignore_ascii_case("authorization") {
                let fix = "basic_auth needs this header: a request cannot have both, leave one out";
                return Err(ConfigError::value(of("secret_header.name"), &header.name, fix));
            }
            if header.value.reveal().trim().is_empty() {
                return Err(ConfigError::missing(of("secret_header.value"), "needs a value, or value_file"));
            }
            let value = header.value.reveal();
            if value.trim() != value || value.chars().any(char::is_control) {
                let fix = "holds blanks at an end, or characters that no header can have: no request would ever match it";
                return Err(ConfigError::missing(of("secret_header.value"), fix));
            }
        }
        if let Some(basic) = &mut self.basic_auth {
            basic.password.read_file("source.basic_auth.password", basic.password_file.as_ref())?;
            if basic.user.contains(':') {
                return Err(ConfigError::value(of("basic_auth.user"), &basic.user, "a user has no colon"));
            }
            if basic.password.is_empty() {
                return Err(ConfigError::missing(of("basic_auth.password"), "needs a password, or password_file"));
            }
        }
        let known_otherwise = self.secret_header.is_some() || self.basic_auth.is_some();
        if self.signing_keys.0.iter().any(Secret::is_empty) || (self.is_unsigned() && !known_otherwise) {
            let fix = "needs at least one key, none of them empty: it is shown on the page of the reporting webhook in Customer.io";
            return Err(ConfigError::missing(format!("source {:?}", self.name), format!("signing_keys {fix}")));
        }
        Ok(())
    }
}

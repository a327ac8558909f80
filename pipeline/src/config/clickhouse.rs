use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use super::{ConfigError, Secret, socket_address};

/// `[clickhouse]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClickHouse {
    /// HTTP(S) address of the server. Default: http://127.0.0.1:8123.
    pub url: String,
    /// Database; created by `migrate`. Default: aftersend.
    pub database: String,
    /// User. Default: default.
    pub user: String,
    /// Password, or `password_file`.
    pub password: Secret,
    /// File that holds the password.
    pub password_file: Option<PathBuf>,
    /// Where `/livez`, `/readyz` and `/metrics` of the sink are served. Default: 127.0.0.1:9103.
    pub admin: String,
}

impl Default for ClickHouse {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:8123".into(),
            database: "aftersend".into(),
            user: "default".into(),
            password: Secret::default(),
            password_file: None,
            admin: "127.0.0.1:9103".into(),
        }
    }
}

impl ClickHouse {
    pub(super) fn validate(&mut self) -> Result<(), ConfigError> {
        if self.url.contains('@') {
            return Err(ConfigError::missing(
                "clickhouse.url",
                "must hold no user or password: set clickhouse.user and clickhouse.password",
            ));
        }
        if !self.url.starts_with("http://") && !self.url.starts_with("https://") {
            return Err(ConfigError::value("clickhouse.url", &self.url, "use http://host:8123 or https://host:8443"));
        }
        let mut letters = self.database.chars();
        let starts_well = letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        if !starts_well || !letters.all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(ConfigError::value(
                "clickhouse.database",
                &self.database,
                "use letters, digits and '_', not starting with a digit",
            ));
        }
        self.password.read_file("clickhouse.password", self.password_file.as_ref())
    }

    /// The address of the admin pages.
    pub fn admin_address(&self) -> Result<SocketAddr, ConfigError> {
        socket_address("clickhouse.admin", &self.admin)
    }
}

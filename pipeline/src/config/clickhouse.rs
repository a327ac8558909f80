use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use aftersend_schemas::columns::TABLES;
use aftersend_schemas::migrations::LONGEST_DAYS;
use serde::Deserialize;

use super::{ConfigError, Secret, Span, http_url, socket_address};

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
    /// Cluster of replicas on which `migrate` makes everything. Default: none, one server.
    pub cluster: Option<String>,
    /// Tables that the sink fills. Default: all.
    pub tables: Vec<String>,
    /// How long rows are kept.
    pub retention: Retention,
    /// How often outcomes that came since are counted. Default: 30 s.
    pub count_every: Span,
    /// How often deliveries and people are audited. Default: 1 h.
    pub audit_every: Span,
    /// Where `/livez`, `/readyz` and `/metrics` of the sink are served. Default: 127.0.0.1:9103.
    pub admin: String,
}

/// `[clickhouse.retention]`: whole days, each counted from arrival or writing.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Default: 730 days.
    pub message_outcomes: Span,
    /// 7 to 30 days. Default: 30.
    pub raw_events: Span,
    /// Default: 730 days; complaints, consent and dead addresses stay.
    pub profiles: Span,
    /// Default: 30 days.
    pub dead_letters: Span,
    /// Default: 730 days.
    pub track_calls: Span,
    /// Of what outcomes came to; at least as long as they are kept. Default: 1095 days.
    pub counts: Span,
}

const DAY: Duration = Duration::from_secs(86_400);

impl Default for Retention {
    fn default() -> Self {
        let days = |days: u32| Span(DAY * days);
        Self {
            message_outcomes: days(730),
            raw_events: days(30),
            profiles: days(730),
            dead_letters: days(30),
            track_calls: days(730),
            counts: days(1095),
        }
    }
}

impl Retention {
    /// Days of a table; none for a name that has no retention of its own.
    pub fn days(&self, table: &str) -> Option<u32> {
        let table = if table.ends_with("_counts") { "counts" } else { table };
        let (_, span, ..) = self.rules().into_iter().find(|(name, ..)| *name == table)?;
        u32::try_from(span.0.as_secs() / DAY.as_secs()).ok()
    }

    /// Table, span, and the fewest and most days it may have.
    fn rules(&self) -> [(&'static str, Span, u32, u32); 6] {
        [
            ("message_outcomes", self.message_outcomes, 1, LONGEST_DAYS),
            ("raw_events", self.raw_events, 7, 30),
            ("profiles", self.profiles, 1, LONGEST_DAYS),
            ("dead_letters", self.dead_letters, 1, LONGEST_DAYS),
            ("track_calls", self.track_calls, 1, LONGEST_DAYS),
            ("counts", self.counts, 1, LONGEST_DAYS),
        ]
    }

    fn validate(&self) -> Result<(), ConfigError> {
        for (table, Span(span), least, most) in self.rules() {
            let whole = span.as_secs().is_multiple_of(DAY.as_secs()) && span.subsec_nanos() == 0;
            if !whole || span < DAY * least || span > DAY * most {
                return Err(ConfigError::value(
                    format!("clickhouse.retention.{table}"),
                    Span(span).to_string(),
                    format!("use whole days, \"{least}d\" to \"{most}d\""),
                ));
            }
        }
        if self.counts.0 < self.message_outcomes.0 {
            // A slice that was counted once is not counted again.
            let fix = "keep counts at least as long as message_outcomes";
            return Err(ConfigError::value("clickhouse.retention.counts", self.counts.to_string(), fix));
        }
        Ok(())
    }
}

impl Default for ClickHouse {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:8123".into(),
            database: "aftersend".into(),
            user: "default".into(),
            password: Secret::default(),
            password_file: None,
            cluster: None,
            tables: TABLES.iter().map(|table| table.name.to_owned()).collect(),
            retention: Retention::default(),
            count_every: Span(Duration::from_secs(30)),
            audit_every: Span(Duration::from_secs(3600)),
            admin: "127.0.0.1:9103".into(),
        }
    }
}

impl ClickHouse {
    pub(super) fn validate(&mut self) -> Result<(), ConfigError> {
        http_url::validate(
            "clickhouse.url",
            &self.url,
            "clickhouse.user and clickhouse.password",
            "http://host:8123 or https://host:8443",
        )?;
        identifier("clickhouse.database", &self.database)?;
        if ["system", "information_schema"].iter().any(|taken| self.database.eq_ignore_ascii_case(taken)) {
            return Err(ConfigError::value("clickhouse.database", &self.database, "this is the server's own: name another"));
        }
        if let Some(cluster) = &self.cluster {
            identifier("clickhouse.cluster", cluster)?;
        }
        let known = || TABLES.iter().map(|table| table.name);
        if let Some(unknown) = self.tables.iter().find(|name| !known().any(|known| known == name.as_str())) {
            let fix = format!("use some of {}", known().collect::<Vec<_>>().join(", "));
            return Err(ConfigError::value("clickhouse.tables", unknown, fix));
        }
        self.tables.sort();
        self.tables.dedup();
        if self.tables.is_empty() {
            return Err(ConfigError::missing("clickhouse.tables", "name at least one table, or leave the key out for all"));
        }
        self.retention.validate()?;
        for (key, every) in [("clickhouse.count_every", self.count_every), ("clickhouse.audit_every", self.audit_every)] {
            if every.0 < Duration::from_secs(1) {
                return Err(ConfigError::value(key, every.to_string(), "use at least \"1s\""));
            }
        }
        self.password.read_file("clickhouse.password", self.password_file.as_ref())
    }

    /// True if the sink is to fill this table.
    pub fn fills(&self, table: &str) -> bool {
        self.tables.iter().any(|name| name == table)
    }

    /// The address of the admin pages.
    pub fn admin_address(&self) -> Result<SocketAddr, ConfigError> {
        socket_address("clickhouse.admin", &self.admin)
    }
}

/// A name that needs no quoting in SQL.
fn identifier(key: &str, name: &str) -> Result<(), ConfigError> {
    let mut letters = name.chars();
    let starts_well = letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    if starts_well && letters.all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Ok(());
    }
    Err(ConfigError::value(key, name, "use letters, digits and '_', not starting with a digit"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_kept_for_longer_than_the_server_can_count() {
        let keeping = |days: u32| Retention { profiles: Span(DAY * days), ..Retention::default() };
        assert!(keeping(LONGEST_DAYS).validate().is_ok());
        let error = keeping(LONGEST_DAYS + 1).validate().unwrap_err().to_string();
        assert!(error.contains("clickhouse.retention.profiles") && error.contains("\"1d\" to \"18250d\""), "{error}");
    }
}

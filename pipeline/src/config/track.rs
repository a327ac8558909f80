use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use aftersend_schemas::ledger::ATTRIBUTES;
use serde::Deserialize;

use super::{ConfigError, Region, Secret, Span, http_url, socket_address};

/// Bytes that Customer.io allows.
const MAX_NAME: usize = 150;
/// Names by which Customer.io knows people and their consent, or which change what a call does.
const RESERVED: [&str; 11] = [
    "id",
    "email",
    "phone",
    "cio_id",
    "created_at",
    "anonymous_id",
    "unsubscribed",
    "cio_subscription_preferences",
    "cio_relationships",
    "_update",
    "_timestamp",
];
const MAX_COALESCE: Duration = Duration::from_secs(3_600);

/// `[track]`. The credentials here serve the workspace `default`; `[track.workspaces.NAME]` those of the others. A workspace without any gets no call.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Track {
    /// Whether calls are made. Default: dry-run.
    pub mode: TrackMode,
    /// Where this replica keeps its copy of the ledger, so that a restart reads only what it missed. Default: a temporary directory, and every start
    /// reads the whole of its partitions.
    pub state_dir: Option<PathBuf>,
    /// Data centre. Default: us.
    pub region: Region,
    /// Address of the API; overrides the region's.
    pub url: Option<String>,
    /// Site id of the workspace `default`.
    pub site_id: Option<String>,
    /// Track API key of the workspace `default`, or `api_key_file`.
    pub api_key: Secret,
    /// File that holds the key.
    pub api_key_file: Option<PathBuf>,
    /// Credentials of further workspaces.
    pub workspaces: BTreeMap<String, TrackCredentials>,
    /// Upper limit over all workspaces and all replicas: each has the share that its partitions are of all. Default: 100.
    pub max_requests_per_second: u32,
    /// Requests at a time to one workspace's API, at most: fewer while it struggles. Default: 64.
    pub max_concurrency: u16,
    /// Whether identify calls go many at a time, to `/api/v2/batch`. Default: false, for Customer.io does not say whether that honours `_update`: it may
    /// make people anew who were deleted.
    pub batch: bool,
    /// How long a change of the score waits for more of them. Complaints, consent and bounces do not wait. Default: 1m.
    pub coalesce: Span,
    /// More people of a workspace and cause to be suppressed within an hour than this, over all replicas, stop that lane until `aftersend track release`.
    /// Default: 5000.
    pub max_irreversible_per_hour: u32,
    /// The same as a share of the people known, once there are 50; 1 for no such limit. Default: 0.005.
    pub max_irreversible_share: f64,
    /// First part of the name of every attribute. Default: aftersend_.
    pub attribute_prefix: String,
    /// Other names for single attributes, by their names without the prefix; an empty name leaves one out.
    pub attribute_names: BTreeMap<String, String>,
    /// Where `/livez`, `/readyz` and `/metrics` are served. Default: 127.0.0.1:9104.
    pub admin: String,
}

/// Whether Customer.io is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrackMode {
    /// Writes what it would do to `track-calls`, and calls nothing.
    #[default]
    DryRun,
    /// Calls the API.
    Live,
    /// Consumes nothing.
    Off,
}

/// `[track.workspaces.NAME]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrackCredentials {
    /// Data centre. Default: us.
    pub region: Region,
    /// Address of the API; overrides the region's.
    pub url: Option<String>,
    /// Site id.
    pub site_id: String,
    /// Track API key, or `api_key_file`.
    pub api_key: Secret,
    /// File that holds the key.
    pub api_key_file: Option<PathBuf>,
}

impl Default for Track {
    fn default() -> Self {
        Self {
            mode: TrackMode::default(),
            state_dir: None,
            region: Region::default(),
            url: None,
            site_id: None,
            api_key: Secret::default(),
            api_key_file: None,
            workspaces: BTreeMap::new(),
            max_requests_per_second: 100,
            max_concurrency: 64,
            batch: false,
            coalesce: Span(Duration::from_secs(60)),
            max_irreversible_per_hour: 5_000,
            max_irreversible_share: 0.005,
            attribute_prefix: "aftersend_".into(),
            attribute_names: BTreeMap::new(),
            admin: "127.0.0.1:9104".into(),
        }
    }
}

impl Track {
    pub(super) fn validate(&mut self) -> Result<(), ConfigError> {
        self.api_key.read_file("track.api_key", self.api_key_file.as_ref())?;
        if let Some(site_id) = &self.site_id {
            if self.workspaces.contains_key("default") {
                let fix = "is there twice, since track.site_id serves it: keep one of them";
                return Err(ConfigError::missing("track.workspaces.default", fix));
            }
            let credentials = TrackCredentials {
                region: self.region,
                url: self.url.clone(),
                site_id: site_id.clone(),
                api_key: self.api_key.clone(),
                api_key_file: None,
            };
            self.workspaces.insert("default".into(), credentials);
        }
        for (name, credentials) in &mut self.workspaces {
            let is_own = name == "default" && self.site_id.is_some();
            let table = if is_own { "track".to_owned() } else { format!("track.workspaces.{name}") };
            credentials.validate(&table)?;
        }
        if self.mode == TrackMode::Live && self.workspaces.is_empty() {
            return Err(ConfigError::missing("track.site_id", "mode is \"live\": give site_id and api_key, or set mode = \"dry-run\""));
        }
        if self.max_requests_per_second == 0 {
            return Err(ConfigError::value("track.max_requests_per_second", "0", "use at least 1, or mode = \"off\""));
        }
        if self.max_concurrency == 0 {
            return Err(ConfigError::value("track.max_concurrency", "0", "use at least 1, or mode = \"off\""));
        }
        if !(0.0..=1.0).contains(&self.max_irreversible_share) {
            let share = self.max_irreversible_share.to_string();
            return Err(ConfigError::value("track.max_irreversible_share", share, "use a share from 0 to 1, such as 0.005"));
        }
        if self.coalesce.0 > MAX_COALESCE {
            let coalesce = self.coalesce.to_string();
            return Err(ConfigError::value("track.coalesce", coalesce, "use at most 1h: scores are to be known within the hour"));
        }
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if self.attribute_prefix.is_empty() || self.attribute_prefix.len() > 100 || !self.attribute_prefix.chars().all(legal) {
            return Err(ConfigError::value("track.attribute_prefix", &self.attribute_prefix, "use 1 to 100 letters, digits and '_'"));
        }
        self.validate_names()
    }

    fn validate_names(&self) -> Result<(), ConfigError> {
        let mut taken = BTreeSet::new();
        for (ours, theirs) in &self.attribute_names {
            let key = format!("track.attribute_names.{ours}");
            if !ATTRIBUTES.contains(&ours.as_str()) {
                return Err(ConfigError::value(key, theirs, format!("is no attribute: use one of {}", ATTRIBUTES.join(", "))));
            }
            if RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(theirs.trim())) {
                return Err(ConfigError::value(key, theirs, "is a name that Customer.io gives a meaning: use another"));
            }
            let legal = |c: char| c.is_ascii_alphanumeric() || "_-. ".contains(c);
            if theirs.len() > MAX_NAME || !theirs.chars().all(legal) || theirs.trim() != theirs {
                let fix = "use at most 150 letters, digits, '_', '-', '.' and spaces, none at its ends, or \"\" to leave it out";
                return Err(ConfigError::value(key, theirs, fix));
            }
        }
        for name in ATTRIBUTES.iter().filter_map(|ours| self.attribute_name(ours)) {
            if let Some(name) = taken.replace(name) {
                return Err(ConfigError::value("track.attribute_names", name, "is the name of two attributes: give one of them another"));
            }
        }
        Ok(())
    }

    /// What one of [`ATTRIBUTES`] is called at Customer.io; nothing if it is left out.
    pub fn attribute_name(&self, ours: &str) -> Option<String> {
        match self.attribute_names.get(ours) {
            Some(theirs) => (!theirs.is_empty()).then(|| theirs.clone()),
            None => Some(format!("{}{ours}", self.attribute_prefix)),
        }
    }

    /// [`Track::max_irreversible_share`] in millionths.
    pub fn share_ppm(&self) -> u32 {
        // From 0 to 1, as was checked.
        (self.max_irreversible_share * 1_000_000.0) as u32
    }

    /// The address of the admin pages.
    pub fn admin_address(&self) -> Result<SocketAddr, ConfigError> {
        socket_address("track.admin", &self.admin)
    }
}

impl TrackCredentials {
    /// `table`: where they stand.
    fn validate(&mut self, table: &str) -> Result<(), ConfigError> {
        let key = |name: &str| format!("{table}.{name}");
        self.api_key.read_file(&key("api_key"), self.api_key_file.as_ref())?;
        if self.site_id.is_empty() {
            return Err(ConfigError::missing(key("site_id"), "give the site id beside the API key"));
        }
        if self.api_key.is_empty() {
            return Err(ConfigError::missing(key("api_key"), "give the Track API key that belongs to the site id, or api_key_file"));
        }
        let odd = |c: char| c.is_whitespace() || c.is_control();
        if self.site_id.contains(|c| c == ':' || odd(c)) {
            let fix = "has no colon and no blanks: copy it from Customer.io, Settings, API credentials, Tracking API keys";
            return Err(ConfigError::value(key("site_id"), &self.site_id, fix));
        }
        if self.api_key.reveal().contains(odd) {
            return Err(ConfigError::missing(key("api_key"), "holds blanks or control characters: copy it again"));
        }
        match &self.url {
            Some(url) => http_url::validate(&key("url"), url, "site_id and api_key", "https://track.customer.io, or leave it out"),
            None => Ok(()),
        }
    }

    /// The address of the API, without a slash at its end.
    pub fn base_url(&self) -> String {
        let url = self.url.as_deref().unwrap_or(match self.region {
            Region::Us => "https://track.customer.io",
            Region::Eu => "https://track-eu.customer.io",
        });
        url.trim_end_matches('/').to_owned()
    }
}

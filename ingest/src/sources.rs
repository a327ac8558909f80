//! The configured sources, ready for requests.

use std::collections::HashMap;
use std::sync::Arc;

use aftersend_pipeline::config;

use crate::metrics::{IngestMetrics, SourceMetrics};
use crate::secrets::Secrets;
use crate::signature::SigningKeys;

/// Webhooks are posted here, or one level below with the name of the source.
pub(crate) const PATH: &str = "/v1/webhooks/customerio/reporting";
/// The source of the short path.
const DEFAULT: &str = "default";

/// One reporting webhook.
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) workspace: String,
    pub(crate) region: config::Region,
    /// Nothing if its requests are known by a secret alone.
    pub(crate) keys: Option<SigningKeys>,
    pub(crate) secrets: Secrets,
    pub(crate) metrics: Arc<SourceMetrics>,
    pub(crate) key_matches: Vec<prometheus::IntCounter>,
}

/// All of them, and by path.
pub(crate) struct Sources {
    all: Vec<Arc<Source>>,
    by_path: HashMap<String, Arc<Source>>,
}

impl Sources {
    pub(crate) fn new(sources: &[config::Source], metrics: &IngestMetrics) -> Self {
        let mut by_path = HashMap::new();
        let mut all = Vec::new();
        for config in sources {
            let source = Arc::new(Source {
                name: config.name.clone(),
                workspace: config.workspace.clone(),
                region: config.region,
                keys: (!config.is_unsigned()).then(|| SigningKeys::new(config.keys())),
                secrets: Secrets::new(config),
                metrics: metrics.source(&config.name),
                key_matches: (0..config.keys().count()).map(|place| metrics.key_matches(&config.name, place)).collect(),
            });
            if config.name == DEFAULT {
                by_path.insert(PATH.to_owned(), source.clone());
            }
            by_path.extend(config.path.iter().map(|path| (path.clone(), source.clone())));
            by_path.insert(format!("{PATH}/{}", config.name), source.clone());
            all.push(source);
        }
        Self { all, by_path }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Source>> {
        self.all.iter()
    }

    /// The source of a path. A slash too many at its end must not cost an hour.
    pub(crate) fn find(&self, path: &str) -> Option<&Arc<Source>> {
        self.by_path.get(path).or_else(|| self.by_path.get(path.strip_suffix('/')?))
    }
}

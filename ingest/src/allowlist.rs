//! Who may send, where `[ingest.allowlist]` is set: a second line behind the signature.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use aftersend_pipeline::config::{self, AllowedAddresses, Network, Region};
use aftersend_pipeline::retry::Backoff;
use arc_swap::ArcSwap;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::metrics::IngestMetrics;

/// As published in 2026; the lists change, so they can be refreshed.
const US: [&str; 10] = [
    "35.188.196.183",
    "104.198.177.219",
    "104.154.232.87",
    "130.211.229.195",
    "104.198.221.24",
    "104.197.27.15",
    "35.194.9.154",
    "104.154.144.51",
    "104.197.210.12",
    "35.225.6.73",
];
const EU: [&str; 10] = [
    "34.76.143.229",
    "34.78.91.47",
    "34.77.94.252",
    "35.187.188.242",
    "34.78.122.90",
    "35.195.137.235",
    "130.211.108.156",
    "104.199.50.18",
    "34.78.44.80",
    "35.205.31.154",
];

/// Longest answer that is read.
const ANSWER_BYTES: usize = 64 * 1024;
const TIMEOUT: Duration = Duration::from_secs(10);
/// The first wait after a failure; each is twice as long, up to the usual one.
const RETRY: Duration = Duration::from_secs(5);

/// The configured entries, and what Customer.io publishes.
pub(crate) struct Allowlist {
    entries: Vec<AllowedAddresses>,
    published: Arc<Published>,
    /// Who is asked for them, if anybody is.
    asked_at: Option<Option<String>>,
    _refresh: Option<DropGuard>,
}

/// Addresses by region. What is refreshed is added to the built-in list: the signature decides in the end, and a list that lost an address would stop
/// a stream for an hour.
struct Published {
    us: ArcSwap<Vec<Network>>,
    eu: ArcSwap<Vec<Network>>,
}

impl Default for Published {
    fn default() -> Self {
        Self { us: ArcSwap::from_pointee(built_in(Region::Us)), eu: ArcSwap::from_pointee(built_in(Region::Eu)) }
    }
}

impl Published {
    fn of(&self, region: Region) -> &ArcSwap<Vec<Network>> {
        match region {
            Region::Us => &self.us,
            Region::Eu => &self.eu,
        }
    }
}

fn built_in(region: Region) -> Vec<Network> {
    let list = match region {
        Region::Us => US,
        Region::Eu => EU,
    };
    list.iter().filter_map(|address| Network::parse(address)).collect()
}

impl Allowlist {
    /// Begins to refresh what is published, if that is asked for; ends with the value. What was learned `before` a reload counts as long as the same
    /// is asked.
    pub(crate) fn new(config: &config::Allowlist, before: Option<&Self>, metrics: &IngestMetrics) -> Self {
        let asked_at = config.refresh.is_some().then(|| config.refresh_url.clone());
        let published = before.filter(|before| before.asked_at == asked_at).map(|before| before.published.clone()).unwrap_or_default();
        let refresh = config.refresh.map(|every| {
            let stop = CancellationToken::new();
            let asked = Asked { config: config.clone(), every: every.0, published: published.clone(), metrics: metrics.clone() };
            tokio::spawn(stop.clone().run_until_cancelled_owned(asked.refresh_for_ever()));
            stop.drop_guard()
        });
        Self { entries: config.addresses.clone(), published, asked_at, _refresh: refresh }
    }

    /// True if `address` may send to a source whose workspace lives in `region`.
    pub(crate) fn allows(&self, address: IpAddr, region: Region) -> bool {
        let publishes = |region| self.published.of(region).load().iter().any(|network| network.contains(address));
        self.entries.iter().any(|entry| match entry {
            AllowedAddresses::Source => publishes(region),
            AllowedAddresses::Region(region) => publishes(*region),
            AllowedAddresses::Network(network) => network.contains(address),
        })
    }
}

/// The question for Customer.io's addresses, asked again and again.
struct Asked {
    config: config::Allowlist,
    every: Duration,
    published: Arc<Published>,
    metrics: IngestMetrics,
}

#[derive(serde::Deserialize)]
struct Addresses {
    ip_addresses: Vec<IpAddr>,
}

impl Asked {
    async fn refresh_for_ever(self) {
        let client = match reqwest::Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none()).build() {
            Ok(client) => client,
            Err(error) => {
                tracing::error!(%error, "the allowlist is not refreshed");
                return;
            }
        };
        let fresh = || Backoff::new(RETRY.min(self.every), self.every);
        let mut backoff = fresh();
        loop {
            let mut all_done = true;
            for region in [Region::Us, Region::Eu] {
                let result = match self.ask(&client, region).await {
                    Ok(addresses) => {
                        let count = addresses.len();
                        self.published.of(region).store(Arc::new(built_in(region).into_iter().chain(addresses).collect()));
                        tracing::info!(?region, addresses = count, "the allowlist is refreshed");
                        "done"
                    }
                    Err(reason) => {
                        all_done = false;
                        tracing::warn!(?region, reason, "the allowlist could not be refreshed; the last one counts");
                        "failed"
                    }
                };
                self.metrics.allowlist_refreshes.with_label_values(&[result]).inc();
            }
            let wait = if all_done {
                backoff = fresh();
                self.every
            } else {
                backoff.next_delay()
            };
            tokio::time::sleep(wait).await;
        }
    }

    async fn ask(&self, client: &reqwest::Client, region: Region) -> Result<Vec<Network>, String> {
        let (name, own) = match region {
            Region::Us => ("us", "https://api.customer.io/v1/info/ip_addresses"),
            Region::Eu => ("eu", "https://api-eu.customer.io/v1/info/ip_addresses"),
        };
        let url = self.config.refresh_url.as_ref().map_or_else(|| own.to_owned(), |url| url.replace("{region}", name));
        let mut request = client.get(url);
        if !self.config.app_api_key.is_empty() {
            request = request.bearer_auth(self.config.app_api_key.reveal());
        }
        // A URL may hold a password.
        let failed = |error: reqwest::Error| error.without_url().to_string();
        let mut response = request.send().await.map_err(failed)?.error_for_status().map_err(failed)?;
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(failed)? {
            body.extend_from_slice(&piece);
            if body.len() > ANSWER_BYTES {
                return Err(format!("the answer is longer than {ANSWER_BYTES} bytes"));
            }
        }
        let answer: Addresses = serde_json::from_slice(&body).map_err(|_| "the answer holds no list of ip_addresses".to_owned())?;
        if answer.ip_addresses.is_empty() {
            return Err("the list is empty".to_owned());
        }
        Ok(answer.ip_addresses.into_iter().map(Network::from).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_stands_for_the_region_of_the_source_for_a_region_or_for_itself() {
        let list = |entry| Allowlist { entries: vec![entry], published: Arc::default(), asked_at: None, _refresh: None };
        let (us, eu): (IpAddr, IpAddr) = (US[0].parse().unwrap(), EU[9].parse().unwrap());
        let source = list(AllowedAddresses::Source);
        assert!(source.allows(us, Region::Us) && source.allows(eu, Region::Eu));
        assert!(!source.allows(us, Region::Eu) && !source.allows(eu, Region::Us));
        let region = list(AllowedAddresses::Region(Region::Us));
        assert!(region.allows(us, Region::Eu) && !region.allows(eu, Region::Eu));
        let network = list(AllowedAddresses::Network(Network::parse("10.0.0.0/8").unwrap()));
        assert!(network.allows("10.1.2.3".parse().unwrap(), Region::Us) && !network.allows(us, Region::Us));
        assert!(built_in(Region::Us).len() == 10 && built_in(Region::Eu).len() == 10, "every published address is one");
    }
}

//! SIGHUP: sources, keys and who may send are read again, while requests go on.

use std::sync::Arc;

use aftersend_pipeline::config::{Config, ConfigError};

use crate::door::Door;
use crate::rules::Rules;
use crate::tls::Certificates;

/// Reads the configuration of a running ingest again and swaps the rules, and the certificate. What cannot be used changes nothing: neither rules because of the
/// certificate, nor the other way round.
pub(crate) fn reload(running: &Config, door: &Door, certificates: Option<&mut Certificates>) {
    let rules = read(running, door).inspect_err(|error| tracing::error!(%error, "the configuration was not reloaded; the last one counts"));
    let certificate = certificates.is_none_or(Certificates::reload);
    let result = match (rules, certificate) {
        (Ok(()), true) => "done",
        (Ok(()), false) => "done_without_certificate",
        (Err(_), _) => "refused",
    };
    door.metrics.reloads.with_label_values(&[result]).inc();
}

fn read(running: &Config, door: &Door) -> Result<(), ConfigError> {
    let new = running.reload()?;
    let rules = Arc::new(Rules::new(&new, Some(&door.rules.load()), &door.metrics)?);
    let old = door.rules.swap(rules);
    for gone in old.sources.iter().filter(|old| new.sources.iter().all(|source| source.name != old.name)) {
        door.metrics.forget_silence(&gone.name);
    }
    let fixed = fixed(running, &new);
    if !fixed.is_empty() {
        tracing::warn!(keys = fixed.join(", "), "these have changed, and count only after a restart");
    }
    tracing::info!(sources = new.sources.len(), "the configuration was reloaded");
    Ok(())
}

/// Settings of ingest that a running process cannot change.
fn fixed(old: &Config, new: &Config) -> Vec<&'static str> {
    let (a, b) = (&old.ingest, &new.ingest);
    [
        ("instance", old.instance != new.instance),
        ("ingest.listen", a.listen != b.listen),
        ("ingest.admin", a.admin != b.admin),
        ("ingest.max_body_bytes", a.max_body_bytes != b.max_body_bytes),
        ("ingest.hard_limit_bytes", a.hard_limit_bytes != b.hard_limit_bytes),
        ("ingest.max_in_flight_requests", a.max_in_flight_requests != b.max_in_flight_requests),
        ("ingest.max_in_flight_bytes", a.max_in_flight_bytes != b.max_in_flight_bytes),
        ("ingest.max_connections", a.max_connections != b.max_connections),
        ("ingest.drain", a.drain != b.drain),
        ("ingest.handover", a.handover != b.handover),
        ("ingest.tls", a.tls != b.tls),
        ("kafka.brokers", old.kafka.brokers != new.kafka.brokers),
        ("kafka.topic_prefix", old.kafka.topic_prefix != new.kafka.topic_prefix),
        ("kafka.allow_single_replica", old.kafka.allow_single_replica != new.kafka.allow_single_replica),
        ("kafka.properties", old.kafka.properties.0 != new.kafka.properties.0),
    ]
    .into_iter()
    .filter_map(|(key, changed)| changed.then_some(key))
    .collect()
}

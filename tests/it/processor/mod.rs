//! The processor against real Kafka: kills, zombies, rebalances, restores, timers, identities.

mod addresses;
mod endings;
mod identity;
mod kills;
mod operators;
mod quarantine;
mod restore;
mod timers;
mod zombie;

use std::collections::BTreeMap;
use std::time::Duration;

use aftersend_pipeline::config::Config;
use aftersend_pipeline::record::Record;
use aftersend_processor::fold::State;
use aftersend_processor::score::{NoQuarantine, Policies, evaluate};
use aftersend_schemas::identity::Person;
use aftersend_schemas::profile::ProfileRecord;
use aftersend_schemas::topics::Topics;
use aftersend_tests::{RawLog, eventually, open_transactions, read_topic};
use anyhow::{Context as _, ensure};

/// Every committed record of `profiles`, partition by partition.
fn records(config: &Config) -> anyhow::Result<Vec<Record>> {
    read_topic(config, &Topics::new(&config.kafka.topic_prefix).profiles())
}

/// The last record of everybody.
fn latest(records: &[Record]) -> anyhow::Result<BTreeMap<String, ProfileRecord>> {
    let mut people = BTreeMap::new();
    for record in records {
        let key = record.key_text().into_owned();
        match &record.value {
            Some(value) => people.insert(key, ProfileRecord::decode(value)?),
            None => people.remove(&key),
        };
    }
    Ok(people)
}

/// Waits until `profiles` says of everybody what the reference fold says, byte for byte; then every score at one time is the same, too.
async fn agrees(config: &Config, log: &RawLog, limit: Duration) -> anyhow::Result<Vec<Record>> {
    log.flush()?;
    let reference = log.reference()?;
    let policies = Policies::new(&config.policy);
    let at = aftersend_pipeline::unix_millis() / 1000;
    eventually(limit, async || {
        let records = records(config)?;
        let people = latest(&records)?;
        ensure!(people.len() == reference.len(), "{} of {} people", people.len(), reference.len());
        let others = people.iter().filter(|(key, profile)| reference[*key].encode() != profile.state).count();
        ensure!(others == 0, "{others} of {} states are not those of the reference", people.len());
        for (key, profile) in &people {
            let policy = policies.of(&Person::parse(key).context("no person")?.workspace);
            let (ours, expected) = (State::decode(&profile.state)?, &reference[key]);
            ensure!(evaluate(&ours, policy, &NoQuarantine, at) == evaluate(expected, policy, &NoQuarantine, at), "{key}");
        }
        Ok(records)
    })
    .await
}

/// Waits until no transaction on `profiles` is open. The broker looks for those that are too old every ten seconds.
async fn none_hangs(config: &Config) -> anyhow::Result<()> {
    let profiles = Topics::new(&config.kafka.topic_prefix).profiles();
    eventually(Duration::from_secs(40), async || {
        let open = open_transactions(config, &profiles)?;
        ensure!(open.is_empty(), "a transaction is open in {open:?}");
        Ok(())
    })
    .await
}

/// Each record is explained by its inputs: it says no more than all of them do, and no less than the record before it.
fn explained(records: &[Record], reference: &BTreeMap<String, State>) -> anyhow::Result<()> {
    let mut before: BTreeMap<String, State> = BTreeMap::new();
    for record in records {
        let key = record.key_text().into_owned();
        let profile = ProfileRecord::decode(record.value.as_deref().context("a tombstone")?)?;
        let state = State::decode(&profile.state)?;
        ensure!(profile.person.to_string() == key, "a record of somebody else");
        let all = reference.get(&key).with_context(|| format!("{key} was never written to"))?.encode();
        let mut joined = State::decode(&all)?;
        joined.merge(state.clone());
        ensure!(joined.encode() == all, "{key} at {}/{} says more than was said", record.partition, record.offset);
        if let Some(earlier) = before.insert(key.clone(), state.clone()) {
            let mut joined = state.clone();
            joined.merge(earlier);
            ensure!(joined.encode() == state.encode(), "{key} at {}/{} has forgotten something", record.partition, record.offset);
        }
    }
    Ok(())
}

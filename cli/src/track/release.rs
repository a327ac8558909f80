//! `aftersend track release`: says how many people wait for an operator, and lets them go.

use std::collections::BTreeMap;

use aftersend_pipeline::config::{Config, TrackMode};
use aftersend_pipeline::consumer::restore_partitions;
use aftersend_pipeline::unix_millis;
use aftersend_schemas::brake::BrakeRelease;
use aftersend_schemas::ledger::LedgerRecord;
use aftersend_schemas::operator::OperatorRecord;
use aftersend_schemas::profile::ProfileRecord;
use aftersend_schemas::topics::{PARTITIONS, Topics, partition_of};
use aftersend_sinks::track::{Count, Waiting};
use anyhow::bail;

use super::{brakes, producer, reason, say, write};
use crate::args::TrackReleaseOptions;
use crate::customer::check_workspace;

pub(super) async fn run(options: &TrackReleaseOptions, config: &Config) -> anyhow::Result<()> {
    let TrackReleaseOptions { workspace, dry_run, decider } = options;
    check_workspace(workspace, config)?;
    if !config.track.workspaces.contains_key(workspace) && config.track.mode != TrackMode::DryRun {
        bail!("workspace {workspace:?} has no credentials in [track]: nobody is called there");
    }
    let brakes = brakes(config).await?;
    let waiting = waiting(config, workspace, brakes.released_through(workspace, unix_millis())).await?;
    let held: Vec<_> = brakes.tripped().filter(|(of, ..)| of == workspace).collect();
    for (_, cause, ..) in &held {
        let Count { due, old } = waiting.get(cause).copied().unwrap_or_default();
        say(&format!("the brake is on for {cause}: {} people wait", due + old));
    }
    if held.is_empty() {
        let old: usize = waiting.values().map(|count| count.old).sum();
        say(&format!("no brake is on: {old} people wait whose verdicts are older than policy.irreversible_max_age"));
    }
    if *dry_run {
        say("nobody was released: that is for the command without --dry-run");
        return Ok(());
    }
    let release = BrakeRelease { workspace: workspace.clone(), at: unix_millis(), by: decider.by.clone(), reason: reason(config, decider) };
    let key = release.key();
    let topic = Topics::new(&config.kafka.topic_prefix).operator();
    write(&producer(config, "operator")?, &topic, partition_of(key.as_bytes()), &key, &release.encode()).await?;
    say("released: what had arrived by now is let go for 24 hours, by the rules of the policy; what comes later is counted anew");
    Ok(())
}

/// Whom the release lets go. Reads every profile of every workspace.
async fn waiting(config: &Config, workspace: &str, released_through: Option<i64>) -> anyhow::Result<BTreeMap<&'static str, Count>> {
    let (config, workspace) = (config.clone(), workspace.to_owned());
    let read = tokio::task::spawn_blocking(move || {
        let topics = Topics::new(&config.kafka.topic_prefix);
        let partitions: Vec<i32> = (0..PARTITIONS).collect();
        let mut waiting = Waiting::new(&config, &workspace);
        let mut failed = None;
        restore_partitions(&config, &topics.operator(), &partitions, |record| {
            // Others decide about brakes; they have a partition each like these.
            if let Some(decided) = record.value.as_deref().and_then(|value| OperatorRecord::decode(value).ok()) {
                waiting.decided(&decided);
            }
        })?;
        restore_partitions(&config, &topics.profiles(), &partitions, |record| match record.value.as_deref().map(ProfileRecord::decode) {
            Some(Ok(profile)) => waiting.profile(record.offset, profile),
            Some(Err(error)) => failed = Some(error),
            None => waiting.forgotten(&String::from_utf8_lossy(&record.key)),
        })?;
        restore_partitions(&config, &topics.track_ledger(), &partitions, |record| {
            match record.value.as_deref().map(LedgerRecord::decode) {
                Some(Ok(ledger)) => waiting.acknowledged(ledger),
                Some(Err(error)) => failed = Some(error),
                None => {}
            }
        })?;
        match failed {
            Some(error) => Err(error.into()),
            None => anyhow::Ok(waiting.by_cause(unix_millis(), released_through)),
        }
    });
    read.await?
}

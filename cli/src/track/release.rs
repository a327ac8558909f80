//! `aftersend track release`: says how many people wait for an operator, and lets them go.

use std::collections::BTreeMap;

use aftersend_pipeline::config::{Config, TrackMode};
use aftersend_pipeline::consumer::restore_partitions;
use aftersend_pipeline::unix_millis;
use aftersend_schemas::brake::BrakeRelease;
use aftersend_schemas::ledger::LedgerRecord;
use aftersend_schemas::operator::OperatorRecord;
use aftersend_schemas::profile::{Cause, ProfileRecord};
use aftersend_schemas::topics::{PARTITIONS, Topics, partition_of};
use aftersend_sinks::track::{Count, Waiting};
use anyhow::bail;

use super::{Unreadable, brakes, producer, reason, say, write};
use crate::args::TrackReleaseOptions;
use crate::customer::check_workspace;

pub(super) async fn run(options: &TrackReleaseOptions, config: &Config) -> anyhow::Result<()> {
    let TrackReleaseOptions { workspace, dry_run, decider } = options;
    check_workspace(workspace, config)?;
    if !config.track.workspaces.contains_key(workspace) && config.track.mode != TrackMode::DryRun {
        bail!("workspace {workspace:?} has no credentials in [track]: nobody is called there");
    }
    let brakes = brakes(config).await?;
    let (waiting, passed_over) = waiting(config, workspace, brakes.released_through(workspace, unix_millis())).await?;
    let mut held: Vec<Cause> = brakes.tripped().filter(|(of, ..)| of == workspace).map(|(_, cause, _)| cause).collect();
    held.sort_unstable_by_key(|cause| cause.as_str());
    for cause in &held {
        let Count { due, old } = waiting.get(cause).copied().unwrap_or_default();
        say(&format!("the brake is on for {}: {} people wait", cause.as_str(), due + old));
    }
    if held.is_empty() {
        let old: usize = waiting.values().map(|count| count.old).sum();
        say(&format!("no brake is on: {old} people wait whose verdicts are older than policy.irreversible_max_age"));
    }
    if passed_over > 0 {
        say(&format!("{passed_over} records cannot be read and were passed over, as the sink does: who stands in them is not counted"));
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

/// Whom the release lets go, and how many records nobody can read. Reads every profile of every workspace.
async fn waiting(config: &Config, workspace: &str, released_through: Option<i64>) -> anyhow::Result<(BTreeMap<Cause, Count>, usize)> {
    let (config, workspace) = (config.clone(), workspace.to_owned());
    let read = tokio::task::spawn_blocking(move || {
        let topics = Topics::new(&config.kafka.topic_prefix);
        let partitions: Vec<i32> = (0..PARTITIONS).collect();
        let (mut waiting, mut unreadable) = (Waiting::new(&config, &workspace), Unreadable::default());
        restore_partitions(&config, &topics.operator(), &partitions, |record| {
            // Others decide about brakes; they have a partition each like these.
            if BrakeRelease::workspace_of(&record.key_text()).is_none()
                && let Some(decided) = unreadable.decode(&record, OperatorRecord::decode)
            {
                waiting.decided(&decided);
            }
        })?;
        restore_partitions(&config, &topics.profiles(), &partitions, |record| {
            if record.value.is_none() {
                waiting.forgotten(&record.key_text());
            } else if let Some(profile) = unreadable.decode(&record, ProfileRecord::decode) {
                waiting.profile(record.offset, profile);
            }
        })?;
        // Without what was acknowledged nobody can be called: the sink stops at such a record, too.
        let mut damaged = None;
        restore_partitions(&config, &topics.track_ledger(), &partitions, |record| {
            match record.value.as_deref().map(LedgerRecord::decode) {
                Some(Ok(ledger)) => waiting.acknowledged(ledger),
                Some(Err(error)) => damaged = Some((error, record.partition, record.offset)),
                None => {}
            }
        })?;
        if let Some((error, partition, offset)) = damaged {
            bail!("{error} (partition {partition}, offset {offset} of the ledger): the sink stops there, so nobody is let go");
        }
        let passed_over = unreadable.count()?;
        anyhow::Ok((waiting.by_cause(unix_millis(), released_through), passed_over))
    });
    read.await?
}

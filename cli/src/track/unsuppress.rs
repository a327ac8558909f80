//! `aftersend track unsuppress`: frees a suppressed customer's identifiers, and leaves a trace of it.

use std::time::Instant;

use aftersend_pipeline::config::{Config, TrackMode};
use aftersend_pipeline::unix_millis;
use aftersend_processor::fold::State;
use aftersend_schemas::ledger::{LedgerRecord, Standing};
use aftersend_schemas::operator::{Decision, OperatorRecord};
use aftersend_schemas::profile::ProfileRecord;
use aftersend_schemas::topics::Topics;
use aftersend_schemas::track_call::{Call, Phase, TrackCall};
use aftersend_sinks::track::{Api, Identifier, NotFreed, Unaddressable};
use anyhow::{Context as _, bail};

use super::{ledger, producer, profile, reason, say, write};
use crate::args::TrackUnsuppressOptions;
use crate::customer::Meant;

pub(super) async fn run(options: &TrackUnsuppressOptions, config: &Config) -> anyhow::Result<()> {
    let TrackUnsuppressOptions { customer, decider, force } = options;
    let Meant { person, partition, address } = Meant::by(customer, config)?;
    let credentials = config.track.workspaces.get(&person.workspace);
    let credentials = credentials.with_context(|| format!("workspace {:?} has no credentials in [track]", person.workspace))?;
    if config.track.mode == TrackMode::DryRun {
        bail!("track.mode is \"dry-run\", in which nothing is called; set AFTERSEND__TRACK__MODE=live for this command");
    }
    let whom = match Identifier::of(&person, address.as_deref()) {
        Ok(whom) => whom,
        Err(Unaddressable::NoIdentifier) => bail!("Customer.io can be asked by the address only: give it, as email:ADDRESS"),
        Err(error @ Unaddressable::Unusable) => bail!("Customer.io cannot be asked about {:?}: {error}", customer.customer),
    };
    let ledger = ledger(config, &person, partition).await?;
    let is_ours = |ledger: &LedgerRecord| ledger.standing == Standing::Suppressed || ledger.suppress_sent_at != 0;
    if !ledger.as_ref().is_some_and(is_ours) && !force {
        bail!("the ledger does not know that we suppressed this customer; --force asks Customer.io all the same");
    }
    let is_open = ledger.as_ref().is_some_and(LedgerRecord::awaits_suppress);
    let evidence = profile(config, &person, partition).await?.and_then(|(_, profile)| latest_evidence(&profile));
    let (topics, producer) = (Topics::new(&config.kafka.topic_prefix), producer(config, "operator")?);
    let (topic, key) = (topics.track_calls(), person.to_string());
    let intent = TrackCall {
        version: TrackCall::version_of(Call::Unsuppress, Phase::Intent),
        person: person.clone(),
        call: Call::Unsuppress,
        phase: Phase::Intent,
        rule: "operator".into(),
        evidence: reason(config, decider),
        policy_version: 0,
        at: unix_millis(),
        status: 0,
        latency_ms: 0,
        received_at: 0,
        error: String::new(),
    };
    write(&producer, &topic, partition, &key, &intent.encode()).await?;
    let asked = Instant::now();
    let freed = Api::new(credentials)?.unsuppress(&whom).await;
    let (phase, status, error) = match &freed {
        Ok(status) => (Phase::Acknowledged, *status, String::new()),
        Err(NotFreed::Refused { status, words }) => (Phase::Refused, *status, words.clone()),
        Err(NotFreed::Stopped { status }) => (Phase::Withdrawn, *status, String::new()),
        Err(NotFreed::Unanswered(error)) => (Phase::Withdrawn, 0, error.clone()),
    };
    let latency_ms = u32::try_from(asked.elapsed().as_millis()).unwrap_or(u32::MAX);
    let outcome = TrackCall { phase, status, latency_ms, error, at: unix_millis(), ..intent };
    write(&producer, &topic, partition, &key, &outcome.encode()).await?;
    freed?;
    let now = unix_millis();
    let record = OperatorRecord {
        millisecond: u16::try_from(now.rem_euclid(1_000)).ok(),
        // What is known already is meant, however it is dated.
        through: evidence.filter(|evidence| *evidence > now / 1_000),
        by: decider.by.clone(),
        reason: reason(config, decider),
        ..OperatorRecord::new(person, Decision::Unsuppress, now.div_euclid(1_000))
    };
    let written = write(&producer, &topics.operator(), partition, &record.key(), &record.encode()).await;
    written.context("Customer.io has freed the identifiers, and our ledger does not know: run this command once more")?;
    say(
        "unsuppressed: the identifiers are free; the deleted profile does not come back. Complaints and hard bounces up to now no longer count",
    );
    if is_open {
        say("a suppress of ours had no answer yet and may still arrive after this: look at `aftersend track status` in a minute");
    }
    Ok(())
}

/// Unix seconds of the latest evidence in a profile, which may be ahead of the clock. Where the state cannot be read the verdict has to do: nobody is kept
/// suppressed by it.
fn latest_evidence(profile: &ProfileRecord) -> Option<i64> {
    let verdict = profile.evaluation.verdict.as_ref().map(|verdict| verdict.at);
    let state = State::decode(&profile.state).ok().and_then(|state| state.last_evidence_at()).map(i64::from);
    verdict.max(state)
}

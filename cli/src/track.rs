//! `aftersend track`: what Customer.io was told about one customer, and what operators decide about it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use aftersend_pipeline::config::Config;
use aftersend_pipeline::consumer::restore_partitions;
use aftersend_pipeline::kafka::producer_config;
use aftersend_pipeline::record::Record;
use aftersend_pipeline::unix_millis;
use aftersend_schemas::address::Address;
use aftersend_schemas::brake::{BrakeEntry, BrakeRelease};
use aftersend_schemas::identity::{Person, Subject};
use aftersend_schemas::ledger::{AttributeValue, LedgerRecord, Standing};
use aftersend_schemas::operator::{Decision, OperatorRecord};
use aftersend_schemas::privacy::Privacy;
use aftersend_schemas::profile::ProfileRecord;
use aftersend_schemas::topics::{PARTITIONS, Topics, partition_of};
use aftersend_schemas::track_call::TrackCall;
use aftersend_sinks::track::{Api, Brakes, Identifier, Unaddressable, Waiting};
use anyhow::{Context as _, bail};
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::json;

use crate::args::{Customer, TrackCommand, TrackReleaseOptions, TrackStatusOptions, TrackUnsuppressOptions};

/// Runs one of them.
pub async fn run(command: &TrackCommand, config: &Config) -> anyhow::Result<()> {
    match command {
        TrackCommand::Status(options) => status(options, config).await,
        TrackCommand::Release(options) => release(options, config).await,
        TrackCommand::Unsuppress(options) => unsuppress(options, config).await,
    }
}

fn say(text: &str) {
    // Whoever reads may have read enough.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Whom an operator means.
struct Meant {
    /// As known everywhere.
    person: Person,
    /// Of all that is known of them.
    partition: i32,
    /// Given by the operator.
    address: Option<String>,
}

impl Meant {
    fn by(Customer { customer, workspace }: &Customer, privacy: &Privacy) -> anyhow::Result<Self> {
        let by_address = customer.strip_prefix("email:").map(|rest| (rest, Address::read(rest)));
        let is_hash = |text: &str| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let (subject, address) = match (by_address, customer.strip_prefix("cio_")) {
            (Some((_, Some(address))), _) => {
                let hash = privacy.identity(&address);
                let hash = hash.context("with [privacy] email = \"drop\" nobody is known by an address")?;
                (Subject::Email(hash), Some(address.as_str().to_owned()))
            }
            (Some((hash, None)), _) if is_hash(hash) => (Subject::Email(hash.into()), None),
            (_, Some(id)) => (Subject::Cio(id.into()), None),
            _ => (Subject::Id(customer.into()), None),
        };
        let key = subject.key();
        let person = subject.person(workspace, &key).context("nobody is meant")?;
        Ok(Self { person, partition: partition_of(key.as_bytes()), address })
    }
}

/// The values of a partition in order, of these keys only.
async fn read(
    config: &Config,
    topic: String,
    partition: i32,
    keep: impl Fn(&Record) -> bool + Send + 'static,
) -> anyhow::Result<Vec<Record>> {
    let config = config.clone();
    let read = tokio::task::spawn_blocking(move || {
        let mut records = Vec::new();
        restore_partitions(&config, &topic, &[partition], |record| {
            if keep(&record) {
                records.push(record);
            }
        })?;
        anyhow::Ok(records)
    });
    read.await?
}

async fn write(config: &Config, topic: &str, partition: i32, key: &str, value: &[u8]) -> anyhow::Result<()> {
    let producer: FutureProducer = producer_config(config, "operator", 10_000).create()?;
    let record = FutureRecord::to(topic).partition(partition).key(key).payload(value);
    producer.send(record, Duration::from_secs(10)).await.map_err(|(error, _)| error).with_context(|| format!("cannot write to {topic}"))?;
    Ok(())
}

async fn status(options: &TrackStatusOptions, config: &Config) -> anyhow::Result<()> {
    let topics = Topics::new(&config.kafka.topic_prefix);
    let Meant { person, partition, .. } = Meant::by(&options.customer, &config.privacy.privacy()?)?;
    let key = person.to_string();
    let is_theirs = {
        let key = key.clone();
        move |record: &Record| record.key == key.as_bytes()
    };
    let ledger = read(config, topics.track_ledger(), partition, is_theirs.clone()).await?;
    let ledger = ledger.last().and_then(|record| record.value.as_deref()).map(LedgerRecord::decode).transpose()?;
    let calls = read(config, topics.track_calls(), partition, is_theirs).await?;
    let calls: Vec<TrackCall> = calls.iter().filter_map(|record| TrackCall::decode(record.value.as_deref()?).ok()).collect();
    let calls = &calls[calls.len().saturating_sub(options.calls)..];
    let decided = read(config, topics.operator(), partition, |record| record.value.is_some()).await?;
    let decided = decided.iter().filter_map(|record| OperatorRecord::decode(record.value.as_deref()?).ok());
    let decided: Vec<OperatorRecord> = decided.filter(|record| record.person == person).collect();
    if options.json {
        let ledger = ledger.as_ref().map(|ledger| {
            json!({
                "standing": ledger.standing,
                "attributes": ledger.attributes,
                "refused": ledger.refused.is_some(),
                "answered_at": ledger.answered_at,
                "as_of": ledger.seen.as_of,
                "suppress_sent_at": (ledger.suppress_sent_at != 0).then_some(ledger.suppress_sent_at),
            })
        });
        say(&json!({"person": key, "ledger": ledger, "calls": calls, "decisions": decided}).to_string());
    } else {
        say(plain(&key, ledger.as_ref(), calls, &decided).trim_end());
    }
    Ok(())
}

fn plain(key: &str, ledger: Option<&LedgerRecord>, calls: &[TrackCall], decided: &[OperatorRecord]) -> String {
    // An id may hold anything: a line of its own, or codes of the terminal.
    let mut text = format!("{}\n", key.escape_debug());
    // Writing to a text has no way to fail.
    let _ = match ledger {
        None => writeln!(text, "Customer.io has acknowledged nothing"),
        Some(ledger) => {
            let refused = if ledger.refused.is_some() { "; the last call was refused" } else { "" };
            let sent = ledger.suppress_sent_at != 0 && ledger.standing < Standing::Suppressed;
            let sent = if sent { "; a suppress may have been sent" } else { "" };
            writeln!(text, "{}, last answer {}{refused}{sent}", ledger.standing.as_str(), time(ledger.answered_at))
        }
    };
    for (name, value) in ledger.into_iter().flat_map(|ledger| &ledger.attributes) {
        let value = match value {
            AttributeValue::Bool(value) => value.to_string(),
            AttributeValue::Integer(value) => value.to_string(),
            AttributeValue::Text(value) => value.clone(),
        };
        let _ = writeln!(text, "  {name} = {value}");
    }
    for call in calls {
        let TrackCall { at, call, phase, rule, evidence, status, error, .. } = call;
        let _ = write!(text, "{}  {:<11} {:<12} {rule}", time(*at), call.as_str(), phase.as_str());
        let _ = match *status {
            0 => writeln!(text, ": {evidence}"),
            _ => writeln!(text, ", {status} {error}"),
        };
    }
    for OperatorRecord { at, decision, by, reason, .. } in decided {
        let _ = writeln!(text, "{}  {} by {by:?}: {reason}", time(*at * 1_000), json!(decision).as_str().unwrap_or_default());
    }
    text
}

/// RFC 3339, in UTC.
fn time(millis: i64) -> String {
    jiff::Timestamp::from_millisecond(millis).map_or_else(|_| millis.to_string(), |time| time.to_string())
}

async fn release(options: &TrackReleaseOptions, config: &Config) -> anyhow::Result<()> {
    let TrackReleaseOptions { workspace, decider } = options;
    if !config.track.workspaces.contains_key(workspace) {
        bail!("workspace {workspace:?} has no credentials in [track]: nobody is called there");
    }
    let topics = Topics::new(&config.kafka.topic_prefix);
    let mut brakes = Brakes::default();
    for record in read(config, topics.track_brake(), 0, |_| true).await? {
        let entry = record.value.as_deref().map(BrakeEntry::decode).transpose()?;
        if let Some(entry) = entry {
            brakes.apply(record.offset, record.timestamp, &entry);
        }
    }
    let waiting = waiting(config, workspace).await?;
    let held: Vec<_> = brakes.tripped().filter(|(of, ..)| of == workspace).collect();
    for (_, cause, ..) in &held {
        say(&format!("the brake is on for {cause}: {} people wait", waiting.get(cause).copied().unwrap_or_default()));
    }
    if held.is_empty() {
        let old: usize = waiting.values().sum();
        say(&format!(
            "no brake is on: {old} people wait whose verdicts are older than policy.irreversible_max_age, or are being called right now"
        ));
    }
    let release = BrakeRelease { workspace: workspace.clone(), at: unix_millis(), by: decider.by.clone(), reason: decider.reason.clone() };
    let key = release.key();
    write(config, &topics.operator(), partition_of(key.as_bytes()), &key, &release.encode()).await?;
    say("released: what had arrived by now is let go for 24 hours, by the rules of the policy; what comes later is counted anew");
    Ok(())
}

/// Whom the release lets go. Reads every profile of every workspace.
async fn waiting(config: &Config, workspace: &str) -> anyhow::Result<BTreeMap<&'static str, usize>> {
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
            None => anyhow::Ok(waiting.by_cause(unix_millis())),
        }
    });
    read.await?
}

async fn unsuppress(options: &TrackUnsuppressOptions, config: &Config) -> anyhow::Result<()> {
    let TrackUnsuppressOptions { customer, decider, force } = options;
    let Meant { person, partition, address } = Meant::by(customer, &config.privacy.privacy()?)?;
    let credentials = config.track.workspaces.get(&person.workspace);
    let credentials = credentials.with_context(|| format!("workspace {:?} has no credentials in [track]", person.workspace))?;
    let whom = match Identifier::of(&person, address.as_deref()) {
        Ok(whom) => whom,
        Err(Unaddressable::NoIdentifier) => bail!("Customer.io can be asked by the address only: give it, as email:ADDRESS"),
        Err(error @ Unaddressable::Unusable) => bail!("Customer.io cannot be asked about {:?}: {error}", customer.customer),
    };
    let topics = Topics::new(&config.kafka.topic_prefix);
    let key = person.to_string();
    let ledger = read(config, topics.track_ledger(), partition, move |record| record.key == key.as_bytes()).await?;
    let ledger = ledger.last().and_then(|record| record.value.as_deref()).map(LedgerRecord::decode).transpose()?;
    let is_ours = ledger.is_some_and(|ledger| ledger.standing == Standing::Suppressed || ledger.suppress_sent_at != 0);
    if !is_ours && !force {
        bail!("the ledger does not know that we suppressed this customer; --force asks Customer.io all the same");
    }
    if let Err(error) = Api::new(credentials)?.unsuppress(&whom).await {
        bail!("the track API did not unsuppress: {error}");
    }
    let record = OperatorRecord {
        version: OperatorRecord::VERSION,
        person,
        decision: Decision::Unsuppress,
        at: unix_millis() / 1_000,
        by: decider.by.clone(),
        reason: decider.reason.clone(),
    };
    write(config, &topics.operator(), partition, &record.key(), &record.encode()).await?;
    say(
        "unsuppressed: the identifiers are free; the deleted profile does not come back. Complaints and hard bounces up to now no longer count",
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use aftersend_schemas::privacy::{HashKey, HashKeys};
    use aftersend_schemas::track_call::{Call, Phase};

    use super::*;

    fn meant(customer: &str, privacy: &Privacy) -> anyhow::Result<Meant> {
        Meant::by(&Customer { customer: customer.into(), workspace: "default".into() }, privacy)
    }

    #[test]
    fn customers_are_named_by_their_id_customer_ios_id_or_an_address() {
        let hashed = Privacy::Hash(HashKeys::new(vec![HashKey::new(b"test key", 0)]).unwrap());
        let hash = "e0133736c049df33bb251ff893de6ea7";
        for (customer, person, key) in [
            ("u-1", "default:id:u-1", "u-1"),
            ("cio_ab", "default:cio:ab", "cio_ab"),
            ("A@b.example", "default:id:A@b.example", "A@b.example"),
            ("email:7", "default:id:email:7", "email:7"),
            ("email:A@b.example", &format!("default:email:{hash}"), &format!("email:{hash}")),
            (&format!("email:{hash}"), &format!("default:email:{hash}"), &format!("email:{hash}")),
        ] {
            let meant = meant(customer, &hashed).unwrap();
            assert_eq!((meant.person.to_string().as_str(), meant.partition), (person, partition_of(key.as_bytes())), "{customer}");
            assert_eq!(meant.address.as_deref(), customer.starts_with("email:A").then_some("a@b.example"), "{customer}");
        }
        assert!(meant("email:a@b.example", &Privacy::Drop).is_err());
    }

    #[test]
    fn a_status_says_what_was_acknowledged_what_was_called_and_what_was_decided() {
        let someone = meant("u-1", &Privacy::Drop).unwrap().person;
        let mut ledger = LedgerRecord::new(someone.clone());
        ledger.attributes.insert("aftersend_email_score".into(), AttributeValue::Integer(40));
        ledger.answered_at = 1_770_000_000_000;
        ledger.suppress_sent_at = 1;
        let call = TrackCall {
            version: 1,
            person: someone.clone(),
            call: Call::Identify,
            phase: Phase::Refused,
            rule: "attributes".into(),
            evidence: "hard bounce".into(),
            policy_version: 1,
            at: 1_770_000_000_000,
            status: 400,
            latency_ms: 1,
            received_at: 0,
            error: "too long".into(),
        };
        let decided = OperatorRecord {
            version: 1,
            person: someone,
            decision: Decision::NeverSuppress,
            at: 1_770_000_000,
            by: "ops".into(),
            reason: "board".into(),
        };
        let text = plain("default:id:u-1", Some(&ledger), &[call], &[decided]);
        let expected = "default:id:u-1\n\
                        identified, last answer 2026-02-02T02:40:00Z; a suppress may have been sent\n\
                        \x20 aftersend_email_score = 40\n\
                        2026-02-02T02:40:00Z  identify    refused      attributes, 400 too long\n\
                        2026-02-02T02:40:00Z  never_suppress by \"ops\": board\n";
        assert_eq!(text, expected);
        assert!(plain("k", None, &[], &[]).contains("acknowledged nothing"));
    }
}

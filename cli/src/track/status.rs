//! `aftersend track status`: what Customer.io was told about a customer, why, and what comes next.

use std::fmt::Write as _;

use aftersend_pipeline::config::{Config, TrackMode};
use aftersend_pipeline::unix_millis;
use aftersend_schemas::ledger::{AttributeValue, LedgerRecord, Standing};
use aftersend_schemas::operator::OperatorRecord;
use aftersend_schemas::topics::Topics;
use aftersend_schemas::track_call::TrackCall;
use aftersend_sinks::track::{Outlook, outlook};
use serde_json::{Value, json};

use super::{brakes, is_of, ledger, profile, read, say, time};
use crate::args::TrackStatusOptions;
use crate::customer::Meant;

/// What is known of a customer.
struct Status {
    key: String,
    ledger: Option<LedgerRecord>,
    next: Outlook,
    mode: TrackMode,
    calls: Vec<TrackCall>,
    decided: Vec<OperatorRecord>,
}

pub(super) async fn run(options: &TrackStatusOptions, config: &Config) -> anyhow::Result<()> {
    let topics = Topics::new(&config.kafka.topic_prefix);
    let Meant { person, partition, .. } = Meant::by(&options.customer, config)?;
    let ledger = ledger(config, &person, partition).await?;
    let calls = read(config, topics.track_calls(), partition, is_of(&person)).await?;
    let calls: Vec<TrackCall> = calls.iter().filter_map(|record| TrackCall::decode(record.value.as_deref()?).ok()).collect();
    let calls = calls[calls.len().saturating_sub(options.calls)..].to_vec();
    let decided = read(config, topics.operator(), partition, |record| record.value.is_some()).await?;
    let decided = decided.iter().filter_map(|record| OperatorRecord::decode(record.value.as_deref()?).ok());
    let decided: Vec<OperatorRecord> = decided.filter(|record| record.person == person).collect();
    let next = match profile(config, &person, partition).await? {
        None => Outlook::Nothing("no_profile"),
        Some((offset, profile)) => outlook(config, (&profile, offset), ledger.as_ref(), &decided, &brakes(config).await?, unix_millis()),
    };
    let status = Status { key: person.to_string(), ledger, next, mode: config.track.mode, calls, decided };
    say(if options.json { status.json().to_string() } else { status.plain() }.trim_end());
    Ok(())
}

impl Status {
    fn json(&self) -> Value {
        let ledger = self.ledger.as_ref().map(|ledger| {
            json!({
                "standing": is_acknowledged(ledger).then_some(ledger.standing),
                "attributes": ledger.attributes,
                "refused": ledger.refused.is_some(),
                "answered_at": ledger.answered_at,
                "as_of": ledger.seen.as_of,
                "suppress_sent_at": (ledger.suppress_sent_at != 0).then_some(ledger.suppress_sent_at),
            })
        });
        let next = match self.next {
            Outlook::Nothing(why) => json!({"nothing": why}),
            Outlook::Call(call) => json!({"call": call}),
            Outlook::HeldUntil(at) => json!({"call": "suppress", "held_until": at}),
            Outlook::Braked(cause) => json!({"call": "suppress", "brake": cause.as_str()}),
        };
        json!({"person": self.key, "mode": mode(self.mode), "ledger": ledger, "next": next, "calls": self.calls, "decisions": self.decided})
    }

    fn plain(&self) -> String {
        // An id may hold anything: a line of its own, or codes of the terminal.
        let mut text = format!("{}\n", self.key.escape_debug());
        // Writing to a text has no way to fail.
        let _ = match &self.ledger {
            None => writeln!(text, "Customer.io has acknowledged nothing"),
            Some(ledger) => {
                let standing = if is_acknowledged(ledger) { ledger.standing.as_str() } else { "nothing acknowledged" };
                let refused = if ledger.refused.is_some() { "; a call was refused" } else { "" };
                let sent = ledger.suppress_sent_at != 0 && ledger.standing < Standing::Suppressed;
                let sent = if sent { "; a suppress may have been sent" } else { "" };
                let answered = if ledger.answered_at == 0 { "none".into() } else { time(ledger.answered_at) };
                writeln!(text, "{standing}, last answer {answered}{refused}{sent}")
            }
        };
        for (name, value) in self.ledger.iter().flat_map(|ledger| &ledger.attributes) {
            let value = match value {
                AttributeValue::Bool(value) => value.to_string(),
                AttributeValue::Integer(value) => value.to_string(),
                AttributeValue::Text(value) => value.escape_debug().to_string(),
            };
            let _ = writeln!(text, "  {name} = {value}");
        }
        let _ = match self.next {
            Outlook::Nothing(why @ "too_old_to_suppress") => write!(text, "next: nothing ({why}) until `aftersend track release`"),
            Outlook::Nothing(why) => write!(text, "next: nothing ({why})"),
            Outlook::Call(call) => write!(text, "next: {}", call.as_str()),
            Outlook::HeldUntil(at) => write!(text, "next: suppress, held until {}", time(at)),
            Outlook::Braked(cause) => {
                write!(text, "next: suppress, once the brake for {} is let go with `aftersend track release`", cause.as_str())
            }
        };
        text.push_str(match self.mode {
            TrackMode::Live => "\n",
            TrackMode::DryRun => "; a dry run: nothing is called\n",
            TrackMode::Off => "; track.mode is \"off\": nothing is done\n",
        });
        for call in &self.calls {
            let TrackCall { at, call, phase, rule, evidence, status, error, .. } = call;
            let _ = write!(text, "{}  {:<11} {:<12} {rule}", time(*at), call.as_str(), phase.as_str());
            let _ = match *status {
                0 => writeln!(text, ": {}", evidence.escape_debug()),
                _ => writeln!(text, ", {status} {}", error.escape_debug()),
            };
        }
        for OperatorRecord { at, decision, by, reason, .. } in &self.decided {
            let decision = json!(decision);
            let _ = writeln!(text, "{}  {} by {by:?}: {}", time(*at * 1_000), decision.as_str().unwrap_or_default(), reason.escape_debug());
        }
        text
    }
}

/// False for whom nothing but a refusal is known.
fn is_acknowledged(ledger: &LedgerRecord) -> bool {
    ledger.standing > Standing::Identified || !ledger.attributes.is_empty()
}

/// As it is configured.
fn mode(mode: TrackMode) -> &'static str {
    match mode {
        TrackMode::DryRun => "dry-run",
        TrackMode::Live => "live",
        TrackMode::Off => "off",
    }
}

#[cfg(test)]
mod tests {
    use aftersend_schemas::identity::{Namespace, Person};
    use aftersend_schemas::operator::Decision;
    use aftersend_schemas::profile::Cause;
    use aftersend_schemas::track_call::{Call, Phase};

    use super::*;

    fn status(ledger: Option<LedgerRecord>, next: Outlook, mode: TrackMode) -> Status {
        Status { key: "default:id:u-1".into(), ledger, next, mode, calls: Vec::new(), decided: Vec::new() }
    }

    #[test]
    fn a_status_says_what_was_acknowledged_what_comes_next_what_was_called_and_what_was_decided() {
        let someone = Person { workspace: "default".into(), namespace: Namespace::Id, id: "u-1".into() };
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
        let said = OperatorRecord::new(someone, Decision::NeverSuppress, 1_770_000_000);
        let decided = OperatorRecord { by: "ops".into(), reason: "board".into(), ..said };
        let known = status(Some(ledger), Outlook::Braked(Cause::Complaint), TrackMode::Live);
        let text = Status { calls: vec![call], decided: vec![decided], ..known }.plain();
        let expected = "default:id:u-1\n\
                        identified, last answer 2026-02-02T02:40:00Z; a suppress may have been sent\n\
                        \x20 aftersend_email_score = 40\n\
                        next: suppress, once the brake for complaint is let go with `aftersend track release`\n\
                        2026-02-02T02:40:00Z  identify    refused      attributes, 400 too long\n\
                        2026-02-02T02:40:00Z  never_suppress by \"ops\": board\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_status_tells_somebody_unknown_from_somebody_who_was_only_refused() {
        let nobody = status(None, Outlook::Nothing("no_profile"), TrackMode::Off).plain();
        let expected =
            "default:id:u-1\nCustomer.io has acknowledged nothing\nnext: nothing (no_profile); track.mode is \"off\": nothing is done\n";
        assert_eq!(nobody, expected);
        let person = Person { workspace: "default".into(), namespace: Namespace::Id, id: "u-1".into() };
        let refused = LedgerRecord { refused: Some(1), answered_at: 1_770_000_000_000, ..LedgerRecord::new(person) };
        let refused = status(Some(refused), Outlook::HeldUntil(1_770_000_000_000), TrackMode::DryRun);
        let expected = "default:id:u-1\nnothing acknowledged, last answer 2026-02-02T02:40:00Z; a call was refused\n\
                        next: suppress, held until 2026-02-02T02:40:00Z; a dry run: nothing is called\n";
        assert_eq!(refused.plain(), expected);
        assert_eq!(refused.json()["next"], json!({"call": "suppress", "held_until": 1_770_000_000_000_i64}));
    }
}

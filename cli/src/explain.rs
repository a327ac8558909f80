//! `aftersend explain`

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use aftersend_pipeline::config::Config;
use aftersend_pipeline::consumer::restore_partitions;
use aftersend_processor::fold::State;
use aftersend_processor::providers::Standings;
use aftersend_processor::score::{Explanation, Policies};
use aftersend_schemas::identity::Person;
use aftersend_schemas::profile::{Evaluation, ProfileRecord};
use aftersend_schemas::topics::{PARTITIONS, Topics};
use anyhow::Context as _;

use crate::args::ExplainOptions;
use crate::customer::Meant;

/// Finds somebody's profile and prints what the evidence in it amounts to now, why, and what time alone will make of it.
///
/// Reads the whole of `profiles` and `providers`: this is for one question at a time.
pub async fn run(config: &Config, options: &ExplainOptions) -> anyhow::Result<()> {
    let Meant { person, .. } = Meant::by(&options.customer, config)?;
    let now = match options.at {
        Some(at) => at,
        None => i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?,
    };
    let (config, key) = (config.clone(), person.to_string());
    let policies = Policies::new(&config.policy);
    let (found, standings) = tokio::task::spawn_blocking(move || {
        let (mut found, mut standings, mut unreadable) = (None, Standings::default(), None);
        let topics = Topics::new(&config.kafka.topic_prefix);
        let partitions: Vec<i32> = (0..PARTITIONS).collect();
        restore_partitions(&config, &topics.profiles(), &partitions, |record| {
            if record.key_text() == key {
                found = record.value;
            }
        })?;
        restore_partitions(&config, &topics.providers(), &partitions, |record| {
            if let Err(error) = standings.read(&record.key, record.value.as_deref()) {
                unreadable = Some(error);
            }
        })?;
        if let Some(error) = unreadable {
            return Err(error.into());
        }
        standings.settle();
        anyhow::Ok((found, standings))
    })
    .await??;
    let value = found.with_context(|| format!("nothing is known of {person}: is that the workspace and the id?"))?;
    let state = State::decode(&ProfileRecord::decode(&value)?.state)?;
    let explanation = aftersend_processor::explain(&state, policies.of(&person.workspace), &standings.view(&person.workspace), now);
    match std::io::stdout().lock().write_all(text(&person, &explanation).as_bytes()) {
        // Whoever read us has had enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

fn text(person: &Person, explanation: &Explanation) -> String {
    let evaluation = &explanation.evaluation;
    let mut lines = vec![format!("{person}: {} {}", evaluation.score, evaluation.state.as_str()), format!("  {}", explanation.reason)];
    let part = |points: i32, name: &str, evidence: &str| format!("  {:+6.1} {name:<10} {evidence}", f64::from(points) / 10.0);
    lines.extend(explanation.contributions.iter().map(|of| part(of.tenths, &of.name, &of.evidence)));
    let advice_now = advice(evaluation);
    lines.push(format!("  {}", advice_now.join(", ")));
    lines.push(match &explanation.next {
        Some(next) => {
            let at = jiff::Timestamp::from_second(next.at).map(|at| at.to_string()).unwrap_or_default();
            let then = &next.evaluation;
            let other: Vec<String> = advice(then).into_iter().filter(|one| !advice_now.contains(one)).collect();
            let other = if other.is_empty() { String::new() } else { format!(", {}", other.join(", ")) };
            format!("  if nothing happens: {} {}{other} from {at} on ({})", then.score, then.state.as_str(), next.reason)
        }
        None => "  if nothing happens: it stays so".to_owned(),
    });
    lines.push(format!("  policy {}", explanation.policy_version));
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// What may be sent, how often, and where.
fn advice(evaluation: &Evaluation) -> [String; 5] {
    let yes = |flag| if flag { "yes" } else { "no" };
    let channel = evaluation.best_channel.map_or("none", |channel| channel.as_str());
    [
        format!("deliverable {}", yes(evaluation.email_deliverable)),
        format!("promotional {}", yes(evaluation.email_promotional_ok)),
        format!("transactional {}", yes(evaluation.email_transactional_ok)),
        format!("cadence {}", evaluation.email_cadence.as_str()),
        format!("channel {channel} ({})", evaluation.best_channel_reason.as_str()),
    ]
}

#[cfg(test)]
mod tests {
    use aftersend_processor::fold::{Fact, Observation};
    use aftersend_processor::score::NoQuarantine;
    use aftersend_schemas::identity::Namespace;

    use super::*;

    #[test]
    fn an_explanation_says_why_and_what_comes_next() {
        let mut state = State::default();
        for n in 0..20 {
            state.observe(&Observation { at: 1_760_000_000 + n * 604_800, message: n, address: 1, named: 1, fact: Fact::Delivered });
        }
        let policies = Policies::new(&aftersend_pipeline::config::Policy::default());
        let explanation = aftersend_processor::explain(&state, policies.of("default"), &NoQuarantine, 1_771_500_000);
        let text = text(&Person { workspace: "default".into(), namespace: Namespace::Id, id: "u-1".into() }, &explanation);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "default:id:u-1: 72 sunset");
        assert_eq!(lines[1], "  13 mails delivered in 90 days and no click for over 90 days");
        assert_eq!(lines[2], "   +45.0 validity   0 soft bounce days since mail last got through, weight 0.00");
        assert_eq!(lines[5], "  deliverable yes, promotional no, transactional yes, cadence stop, channel none (none_reached)");
        assert!(lines[6].starts_with("  if nothing happens: ") && lines[6].contains(" healthy, promotional yes, cadence "), "{}", lines[6]);
        assert!(!lines[6].contains("transactional") && lines[6].contains(" from 2026-"), "what stays as it is: {}", lines[6]);
    }
}

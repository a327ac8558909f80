//! What a person sees. Standard error, but for the one JSON line.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use aftersend_pipeline::config::Config;
use aftersend_schemas::profile::ContributionJson;
use aftersend_schemas::topics::Topics;

use super::Latency;
use super::measured::Measured;
use super::track_api::TrackApi;
use crate::traffic::Story;

/// A step that was reached.
pub(super) fn step(text: &str) {
    eprintln!("  {text}");
}

/// Where a step stands; written over by the next on a terminal, and left out elsewhere.
pub(super) fn progress(text: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[2K{}{text}", if text.is_empty() { "" } else { "  " });
        let _ = std::io::stderr().flush();
    }
}

/// The machine-readable line.
#[expect(clippy::print_stdout, reason = "the command's result")]
pub(super) fn result(line: &str) {
    println!("{line}");
}

pub(super) fn show(measured: &Measured, stories: &[Story], track_api: &TrackApi, latency: &Latency, elapsed: Duration) {
    eprintln!("\n  {:>6} webhooks accepted, each on Kafka before it was answered", measured.accepted);
    eprintln!("  {:>6} events in message_outcomes", measured.outcomes);
    eprintln!("  {:>6} duplicates recognised", measured.duplicates);
    eprintln!("  {:>6} signed bodies that were no event, kept in dead_letters", measured.dead);
    eprintln!("         {} + {} + {} = {}\n", measured.outcomes, measured.duplicates, measured.dead, measured.accepted);

    eprintln!("  rows in ClickHouse");
    for (table, rows) in &measured.rows {
        eprintln!("  {rows:>8} {table}");
    }

    eprintln!("\n  {} people scored; five of them:", measured.people.len());
    for story in stories {
        let Some(person) = measured.people.get(story.customer) else { continue };
        eprintln!("\n  {:>5}  {:<11} {} ({})", person.score, person.state, person.person_id, story.title);
        eprintln!("         {}", person.reason);
        for part in serde_json::from_str::<Vec<ContributionJson<'_>>>(&person.contributions).unwrap_or_default() {
            eprintln!("         {:>+6.1} {:<11} {}", part.points, part.name, part.evidence);
        }
    }

    let asked = track_api.asked();
    let suppressed: Vec<&str> = asked.iter().filter(|asked| asked.call == "suppress").map(|asked| asked.person.as_str()).collect();
    eprintln!("\n  {} calls to the Track API: {} identify, {} suppress", asked.len(), asked.len() - suppressed.len(), suppressed.len());
    eprintln!("  suppressed after an acknowledged identify: {}", suppressed.join(", "));
    eprintln!(
        "\n  one complaint on its own: {:.0} ms from webhook to row, {:.0} ms from webhook to suppress",
        latency.row.as_secs_f64() * 1000.0,
        latency.call.as_secs_f64() * 1000.0
    );
    eprintln!("  all of this took {:.1} s\n", elapsed.as_secs_f64());
}

/// Addresses and queries to go on with.
pub(super) fn where_to_look(config: &Config) {
    let topics = Topics::new(&config.kafka.topic_prefix);
    let database = &config.clickhouse.database;
    eprintln!("  where to look next");
    eprintln!("  webhooks   POST http://{}/v1/webhooks/customerio/reporting", config.ingest.listen);
    for (service, admin) in [
        ("ingest", &config.ingest.admin),
        ("processor", &config.processor.admin),
        ("clickhouse", &config.clickhouse.admin),
        ("track", &config.track.admin),
    ] {
        eprintln!("  metrics    http://{admin}/metrics ({service})");
    }
    eprintln!("  topics     {}, {}, {}", topics.raw(), topics.profiles(), topics.track_calls());
    for query in [
        format!("SELECT state, count(), round(avg(score)) FROM {database}.profiles_current GROUP BY state FORMAT PrettyCompact"),
        format!(
            "SELECT event_type, bounce_class, count() FROM {database}.message_outcomes_current GROUP BY ALL ORDER BY 3 DESC FORMAT PrettyCompact"
        ),
        format!(
            "SELECT at, person_id, call, phase, rule, evidence FROM {database}.track_calls_current WHERE call = 'suppress' ORDER BY at FORMAT Vertical"
        ),
    ] {
        eprintln!("  curl       curl {} --data-binary \"{query}\"", config.clickhouse.url);
    }
    eprintln!("\n  running until Ctrl-C");
}

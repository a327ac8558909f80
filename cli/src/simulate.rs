//! `aftersend simulate`

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

use aftersend_pipeline::unix_millis;
use tokio_util::sync::CancellationToken;

use crate::args::SimulateOptions;
use crate::traffic::{Crowd, Outcome, Sender, disturb};

/// Sends the traffic and prints one JSON line about it. Exit code 1 if anything was not accepted.
pub async fn run(options: &SimulateOptions, shutdown: CancellationToken) -> anyhow::Result<ExitCode> {
    let crowd =
        Crowd { customers: options.customers, days: options.days, bad_percent: options.bad, now: unix_millis() / 1000, seed: options.seed };
    let events = crowd.events(options.count);
    let bodies = disturb(events, options.duplicates, options.disorder as usize, options.seed);
    let total = bodies.len();
    let sender = Sender::new(&options.url, &options.signing_key)?;
    let started = Instant::now();
    let sending = sender.send_all(bodies, usize::from(options.connections), options.rate, &shutdown);
    tokio::pin!(sending);
    let mut tick = tokio::time::interval(std::time::Duration::from_secs(2));
    let mut has_told_why = false;
    let sent = loop {
        tokio::select! {
            sent = &mut sending => break sent,
            _ = tick.tick() => eprintln!("{} of {total} accepted", sender.accepted()),
        }
        if let Some(failure) = sender.last_failure().filter(|_| !has_told_why) {
            eprintln!("trying again: {failure}");
            has_told_why = true;
        }
    };
    let seconds = started.elapsed().as_secs_f64();
    let count = |wanted: fn(&Outcome) -> bool| sent.iter().filter(|sent| wanted(&sent.outcome)).count();
    let accepted = count(|outcome| *outcome == Outcome::Accepted);
    let lost = count(|outcome| *outcome == Outcome::Lost);
    let mut refusals: BTreeMap<u16, usize> = BTreeMap::new();
    for sent in &sent {
        if let Outcome::Answered(status) = sent.outcome {
            *refusals.entry(status).or_default() += 1;
        }
    }
    let summary = serde_json::json!({
        "sent": total - count(|outcome| *outcome == Outcome::Unsent),
        "accepted": accepted,
        "distinct": options.count,
        "refused": count(|outcome| matches!(outcome, Outcome::Answered(_))),
        "refused_by_status": refusals,
        "lost": lost,
        "last_failure": sender.last_failure().filter(|_| lost > 0),
        "seconds": (seconds * 1000.0).round() / 1000.0,
        "per_second": (accepted as f64 / seconds.max(0.001)).round(),
    });
    print_line(&summary.to_string());
    Ok(if accepted == total { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[expect(clippy::print_stdout, reason = "the command's result")]
fn print_line(line: &str) {
    println!("{line}");
}

//! What changes without a request: gauges, and the one log line that a burst of refused requests gets.

use std::collections::HashMap;
use std::time::Duration;

use actix_web::web::Data;
use aftersend_pipeline::unix_millis;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::answer::Answer;
use crate::door::Door;
use crate::metrics::UNKNOWN;

const TICK: Duration = Duration::from_secs(1);
/// Refusals are summed up so often.
const REPORT: Duration = Duration::from_secs(60);

/// What to do about an ending that is summed up. The others are no refusals, or have a line each.
fn advice(answer: Answer) -> Option<&'static str> {
    Some(match answer {
        Answer::Accepted | Answer::Dead | Answer::Incomplete | Answer::Panicked => return None,
        Answer::SignatureWrong => "if a key was changed at Customer.io, add it to signing_keys; else a stranger knocks",
        Answer::SignatureMissing => "these are not from Customer.io, or a proxy drops its headers",
        Answer::TimestampOutside => "widen ingest.timestamp_window, or take it away: Customer.io waits an hour after each 401",
        Answer::SecretWrong => "the secret at Customer.io is not the one in the configuration",
        Answer::AddressRefused => "if Customer.io sends from new addresses, add them to ingest.allowlist",
        Answer::UnknownSource => {
            "if the reporting webhook at Customer.io has this path, correct it there, or add the [[source]]; else a stranger knocks"
        }
        Answer::WrongMethod => "these are not from Customer.io, or a proxy or redirect in front changes POST to GET",
        Answer::TooLarge => "Customer.io's stream waits behind this event: raise ingest.hard_limit_bytes",
        Answer::TooSlow => "bodies come too slowly: the network, or a proxy in front that passes them on in pieces",
        Answer::Overloaded => "more replicas, or higher ingest.max_in_flight_requests and max_in_flight_bytes",
        Answer::PartitionOverloaded => "the brokers are slow for some partitions, or one customer is too busy",
        Answer::TooManyConnections => "raise ingest.max_connections, or find out who holds them",
        Answer::QueueFull => "the brokers have been too slow for long: their disks, the network",
        Answer::NotAcknowledged => "are the brokers up, with enough in-sync replicas? These requests come again",
        Answer::ProduceFailed => "why is in the lines of the kafka client",
    })
}

/// Runs until `stop`, and has then told of every refusal.
pub(crate) async fn watch(door: Data<Door>, stop: CancellationToken) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut refusals = Refusals::default();
    let mut reported = None::<Instant>;
    while let Some(now) = stop.run_until_cancelled(ticks.tick()).await {
        let metrics = &door.metrics;
        metrics.in_flight_requests.set(gauge(door.admission.requests()));
        metrics.in_flight_bytes.set(gauge(door.admission.bytes()));
        metrics.queued_records.set(door.publisher.queued().into());
        for source in door.rules.load().sources.iter() {
            source.metrics.tick(unix_millis());
        }
        // The first of a burst is told at once, the others once a minute.
        if reported.is_none_or(|last| now - last >= REPORT) {
            reported = refusals.report(&door).then_some(now);
        }
    }
    refusals.report(&door);
}

/// What was told, by source.
#[derive(Default)]
struct Refusals(HashMap<String, [u64; Answer::ALL.len()]>);

impl Refusals {
    /// Logs what was refused since the last time. True if anything was.
    fn report(&mut self, door: &Door) -> bool {
        let mut refused = false;
        let mut report = |source: &str, count: &dyn Fn(Answer) -> u64| {
            let told = self.0.entry(source.to_owned()).or_default();
            for (answer, told) in Answer::ALL.iter().zip(told) {
                let Some(advice) = advice(*answer) else { continue };
                let total = count(*answer);
                let requests = total - std::mem::replace(told, total);
                if requests > 0 {
                    refused = true;
                    tracing::warn!(source.name = source, result = answer.as_str(), requests, advice, "requests were refused");
                }
            }
        };
        for source in door.rules.load().sources.iter() {
            report(&source.name, &|answer| source.metrics.count(answer));
        }
        report(UNKNOWN, &|answer| door.metrics.unknown_count(answer));
        refused
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

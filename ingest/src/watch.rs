//! What changes without a request: gauges, and the one log line that a burst of refused requests gets.

use std::collections::HashMap;
use std::time::Duration;

use aftersend_pipeline::unix_millis;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::answer::Answer;
use crate::door::Door;
use crate::metrics::UNKNOWN;

const TICK: Duration = Duration::from_secs(1);
/// Refusals are summed up so often.
const REPORT: Duration = Duration::from_secs(60);
/// What is summed up, and what to do about it.
const REPORTED: [(Answer, &str); 10] = [
    (Answer::SignatureWrong, "if a key was changed at Customer.io, add it to signing_keys; else a stranger knocks"),
    (Answer::SignatureMissing, "these are not from Customer.io, or a proxy drops its headers"),
    (Answer::TimestampOutside, "widen ingest.timestamp_window, or take it away: Customer.io waits an hour after each 401"),
    (Answer::SecretWrong, "the secret at Customer.io is not the one in the configuration"),
    (Answer::AddressRefused, "if Customer.io sends from new addresses, add them to ingest.allowlist"),
    (
        Answer::UnknownSource,
        "if the reporting webhook at Customer.io has this path, correct it there, or add the [[source]]; else a stranger knocks",
    ),
    (Answer::WrongMethod, "these are not from Customer.io, or a proxy or redirect in front changes POST to GET"),
    (Answer::TooLarge, "Customer.io's stream waits behind this event: raise ingest.hard_limit_bytes"),
    (Answer::Overloaded, "more replicas, or higher ingest.max_in_flight_requests and max_in_flight_bytes"),
    (Answer::PartitionOverloaded, "the brokers are slow for some partitions, or one customer is too busy"),
];

/// Runs until it is dropped.
pub(crate) async fn watch(door: actix_web::web::Data<Door>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut seen: HashMap<String, [u64; REPORTED.len()]> = HashMap::new();
    let mut reported = None::<Instant>;
    loop {
        let now = ticks.tick().await;
        let metrics = &door.metrics;
        metrics.in_flight_requests.set(gauge(door.admission.requests()));
        metrics.in_flight_bytes.set(gauge(door.admission.bytes()));
        metrics.queued_records.set(door.publisher.queued().into());
        let reports = reported.is_none_or(|last| now - last >= REPORT);
        let mut refused = false;
        let mut report = |source: &str, count: &dyn Fn(Answer) -> u64| {
            let counts = seen.entry(source.to_owned()).or_default();
            for ((answer, advice), seen) in REPORTED.iter().zip(counts) {
                let total = count(*answer);
                let requests = total - std::mem::replace(seen, total);
                if requests > 0 {
                    refused = true;
                    tracing::warn!(source.name = source, result = answer.as_str(), requests, advice, "requests were refused");
                }
            }
        };
        for source in door.rules.load().sources.iter() {
            source.metrics.tick(unix_millis());
            if reports {
                report(&source.name, &|answer| source.metrics.count(answer));
            }
        }
        if reports {
            report(UNKNOWN, &|answer| metrics.unknown_count(answer));
        }
        // The first of a burst is told at once, the others once a minute.
        if refused {
            reported = Some(now);
        } else if reports {
            reported = None;
        }
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

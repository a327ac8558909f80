//! `aftersend demo`: every service in one process, a stand-in for the Track API, traffic with known endings, and what came of it.

mod expected;
mod measured;
mod namespace;
mod pipeline;
mod summary;
pub mod track_api;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use aftersend_pipeline::unix_millis;
use anyhow::{Context as _, bail};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::args::DemoOptions;
use crate::traffic::{Body, Crowd, Outcome, Sender, disturb, samples, stories};
use expected::Expected;
use measured::Measured;
use namespace::Namespace;
use pipeline::Pipeline;
use track_api::TrackApi;

const SEED: u64 = 20;
const CONNECTIONS: usize = 32;
const CROWD_CUSTOMERS: u32 = 250;
const CROWD_EVENTS: usize = 3_000;
/// Between two looks at what has arrived: longer than a batch may stay open.
const LOOK: Duration = Duration::from_millis(800);
/// Looks without anything new, 90 s or more, after which nothing is waited for any more. Counted, since a machine that was put to sleep has lost no webhook.
const IDLE_LOOKS: u32 = 112;
/// Looks after which it is over whatever moves: a quarter of an hour.
const ALL_LOOKS: u32 = 1_125;
/// Looks for the probe, 5 ms apart and each with a query.
const PROBE_LOOKS: u32 = 6_000;
/// Signed bodies that are no event.
const JUNK: [&[u8]; 4] = [b"not json at all", b"[{\"event_id\":\"in a list\"}]", b"\"text\"", b"{\"event_id\":\"cut off"];

/// Runs the demo; with `--once` the exit code says whether everything was as expected.
pub async fn run(options: &DemoOptions, shutdown: CancellationToken) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let now = unix_millis() / 1000;
    let track_api = TrackApi::start().context("cannot start the stand-in for the Track API")?;
    let namespace = Namespace::new(options, &track_api.url(), now, aftersend_pipeline::config::variables()?)?;
    summary::step("making topics and tables");
    namespace.create().await?;
    let pipeline = Pipeline::start(&namespace.config).await?;
    summary::step("ingest, processor, clickhouse sink and track sink are running");

    let result = tokio::select! {
        result = play(&namespace, &track_api, now, started) => result,
        () = shutdown.cancelled() => Err(anyhow::anyhow!("interrupted")),
        error = pipeline.failed() => Err(error),
    };
    let code = match &result {
        Ok(differences) if differences.is_empty() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    };
    if result.is_ok() && !options.once {
        summary::where_to_look(&namespace.config);
        shutdown.cancelled().await;
        summary::step("stopping");
    }
    pipeline.stop().await;
    track_api.stop().await;
    namespace.delete_topics().await;
    match result {
        Err(_) if shutdown.is_cancelled() => Ok(ExitCode::from(130)),
        Err(error) => Err(error),
        Ok(_) if !options.once => Ok(ExitCode::SUCCESS),
        Ok(_) => Ok(code),
    }
}

/// Sends, waits, measures, compares, and shows. Returns the differences.
async fn play(namespace: &Namespace, track_api: &TrackApi, now: i64, started: Instant) -> anyhow::Result<Vec<String>> {
    let stories = stories(now, SEED);
    let crowd = Crowd { customers: CROWD_CUSTOMERS, days: 60, bad_percent: 0, now, seed: SEED }.events(CROWD_EVENTS);
    let junk = JUNK.iter().map(|bytes| Body::junk(bytes));
    let bodies: Vec<Body> = stories.iter().flat_map(|story| story.events.clone()).chain(crowd).chain(junk).collect();
    let mut bodies = disturb(bodies, 5, 2_000, SEED);
    // The samples bring a duplicate of their own.
    bodies.extend(samples());
    let mut expected = Expected::of(&bodies, &stories);

    let sender = Sender::new(&namespace.webhook_url(), namespace::SIGNING_KEY)?;
    refuse_forgeries(&sender).await?;
    summary::step(&format!("sending {} signed webhooks, out of order, some of them twice", bodies.len()));
    let stop = CancellationToken::new();
    let total = bodies.len();
    let sending = sender.send_all(bodies, CONNECTIONS, 0, &stop);
    tokio::pin!(sending);
    let mut tick = tokio::time::interval(Duration::from_millis(500));
    let sent = loop {
        tokio::select! {
            sent = &mut sending => break sent,
            _ = tick.tick() => summary::progress(&format!("{} of {total} accepted", sender.accepted())),
        }
    };
    summary::progress("");
    if let Some(other) = sent.iter().find(|sent| sent.outcome != Outcome::Accepted) {
        bail!("a signed webhook was not accepted: {:?}", other.outcome);
    }
    summary::step("all accepted; waiting for rows, profiles and calls");

    let (measured, differences) = settle(namespace, track_api, &expected, sender.accepted()).await?;
    if !differences.is_empty() {
        return Ok(report(&measured, differences, track_api));
    }
    let latency = probe(namespace, track_api, &sender, now, &mut expected).await?;
    let (measured, differences) = settle(namespace, track_api, &expected, sender.accepted()).await?;
    summary::show(&measured, &stories, track_api, &latency, started.elapsed());
    Ok(report(&measured, differences, track_api))
}

/// Prints the differences and the last line, and gives the differences back.
fn report(measured: &Measured, differences: Vec<String>, track_api: &TrackApi) -> Vec<String> {
    for difference in &differences {
        summary::step(&format!("DIFFERENT: {difference}"));
    }
    let line = json!({
        "accepted": measured.accepted,
        "outcomes": measured.outcomes,
        "duplicates": measured.duplicates,
        "dead": measured.dead,
        "profiles": measured.people.len(),
        "track_calls": track_api.asked().len(),
        "ok": differences.is_empty(),
    });
    summary::result(&line.to_string());
    differences
}

/// Waits until what is measured is what is expected and nothing moves any more, or until nothing has come for long enough; then says how it stands.
async fn settle(
    namespace: &Namespace,
    track_api: &TrackApi,
    expected: &Expected,
    accepted: usize,
) -> anyhow::Result<(Measured, Vec<String>)> {
    let mut last = None;
    let (mut looks, mut idle) = (0, 0);
    loop {
        let measured = Measured::take(&namespace.config, accepted).await?;
        let differences = expected.differences(&measured, track_api);
        let now = Some((measured.rows.clone(), track_api.asked().len()));
        idle = if now == last { idle + 1 } else { 0 };
        looks += 1;
        if differences.is_empty() && idle > 0 || idle >= IDLE_LOOKS || looks >= ALL_LOOKS {
            summary::progress("");
            return Ok((measured, differences));
        }
        last = now;
        summary::progress(&format!(
            "{} rows in message_outcomes, {} people scored, {} calls",
            measured.outcomes,
            measured.people.len(),
            track_api.asked().len()
        ));
        tokio::time::sleep(LOOK).await;
    }
}

/// Unsigned and wrongly signed requests must get 401 and leave nothing behind.
async fn refuse_forgeries(sender: &Sender) -> anyhow::Result<()> {
    let timestamp = (unix_millis() / 1000).to_string();
    for signature in ["", &"0".repeat(64)] {
        let status = sender.post(b"{\"event_id\":\"forged\"}", &timestamp, signature).await?;
        if status != 401 {
            bail!("a forged webhook was answered {status}, not 401");
        }
    }
    Ok(())
}

/// How long one webhook took.
pub(crate) struct Latency {
    /// To its row in ClickHouse.
    pub(crate) row: Duration,
    /// To the suppress at the Track API.
    pub(crate) call: Duration,
}

/// One complaint on its own, watched until it is a row and a call.
async fn probe(namespace: &Namespace, track_api: &TrackApi, sender: &Sender, now: i64, expected: &mut Expected) -> anyhow::Result<Latency> {
    const PERSON: &str = "probe-petra";
    let mut random = <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(SEED);
    let body = Body::email(PERSON, &format!("probe-{now}"), "spammed", now, json!({}), &mut random);
    expected.add(&body);
    expected.suppressed.insert(PERSON.to_owned());
    expected.identified.insert(PERSON.to_owned());
    let event_id = body.event_id.clone().unwrap_or_default();
    let sent = Instant::now();
    if sender.send(&body).await != Outcome::Accepted {
        bail!("the probe was not accepted");
    }
    let (mut row, mut call) = (None, None);
    for _ in 0..PROBE_LOOKS {
        if row.is_some() && call.is_some() {
            break;
        }
        if call.is_none() && track_api.asked().iter().any(|asked| asked.person == PERSON && asked.call == "suppress") {
            call = Some(sent.elapsed());
        }
        if row.is_none() && measured::has_row(&namespace.config, &event_id).await? {
            row = Some(sent.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    match (row, call) {
        (Some(row), Some(call)) => Ok(Latency { row, call }),
        _ => bail!("the probe did not arrive: row {row:?}, call {call:?}"),
    }
}

/// People, by the name under which the Track API is asked about them.
pub(crate) type Names = BTreeSet<String>;

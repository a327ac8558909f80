//! The Track sink against a workspace that answers as badly as it can.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::{Duration, Instant};

use aftersend::demo::track_api::Asked;
use aftersend_pipeline::kafka::producer_config;
use aftersend_pipeline::unix_millis;
use aftersend_schemas::identity::{Namespace, Person};
use aftersend_schemas::ledger::{LedgerRecord, Standing};
use aftersend_schemas::profile::{Cadence, Cause, Channel, ChannelReason, EmailState, Evaluation, Facts, Grounds, ProfileRecord, Verdict};
use aftersend_schemas::topics::partition_of;
use aftersend_schemas::track_call::{Phase, TrackCall};
use aftersend_sinks::track::{Names, wanted_attributes};
use aftersend_tests::{Process, Service, Setup, binary, eventually, read_topic};
use anyhow::{Context as _, ensure};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::json;

/// One version of somebody's profile; `change` makes it differ from every other.
fn worded(reason: &str) -> Grounds {
    Grounds::Worded { reason: reason.to_owned(), contributions: Vec::new() }
}

pub(super) fn profile(id: &str, change: i64, verdict: Option<Verdict>) -> ProfileRecord {
    let state = match (&verdict, id.starts_with("grey")) {
        (_, true) => EmailState::Grey,
        (Some(verdict), _) if verdict.cause == Cause::Complaint => EmailState::Complained,
        (Some(_), _) => EmailState::Dead,
        (None, _) => EmailState::Healthy,
    };
    let evaluation = Evaluation {
        score: u8::try_from(change % 100).unwrap_or_default(),
        state,
        email_deliverable: verdict.is_none(),
        email_promotional_ok: verdict.is_none(),
        best_channel: Some(Channel::Email),
        best_channel_reason: ChannelReason::EmailWorks,
        email_cadence: Cadence::Full,
        email_transactional_ok: true,
        never_suppress: false,
        grounds: worded(&format!("change {change}")),
        verdict,
        facts: Facts::default(),
        changes_at: None,
    };
    let person = Person { workspace: "default".into(), namespace: Namespace::Id, id: id.into() };
    ProfileRecord { person, as_of: 1_770_000_000 + change, policy_version: 1, evaluation, state: vec![0; 64], address: None }
}

/// Writes profiles as the processor would: to the partition of the person.
pub(super) struct Profiles {
    producer: FutureProducer,
    topic: String,
}

impl Profiles {
    pub(super) fn new(setup: &Setup) -> anyhow::Result<Self> {
        Ok(Self { producer: producer_config(&setup.config, "profiles", 10_000).create()?, topic: setup.topics().profiles() })
    }

    pub(super) async fn write(&self, profiles: &[ProfileRecord]) -> anyhow::Result<()> {
        let mut sent = FuturesUnordered::new();
        for profile in profiles {
            let (key, value) = (profile.person.to_string(), profile.encode());
            let partition = partition_of(profile.person.id.as_bytes());
            let record = FutureRecord::to(&self.topic).partition(partition).key(&key).payload(&value);
            sent.push(self.producer.send_result(record).map_err(|(error, _)| error)?);
        }
        while let Some(delivered) = sent.next().await {
            delivered?.map_err(|(error, _)| error)?;
        }
        Ok(())
    }
}

/// Starts a replica of the sink beside the first.
fn second_replica(setup: &Setup, variables: &[(&str, &str)]) -> anyhow::Result<Process> {
    let mut command = Command::new(binary()?);
    command.args(["sink", "track", "--config"]).arg(setup.file()).envs(variables.iter().copied());
    command.env("AFTERSEND__INSTANCE", "test-2").env("AFTERSEND__TRACK__ADMIN", "127.0.0.1:0");
    Process::spawn("sink track 2".into(), &mut command, setup.directory().join("Track2.log"))
}

/// Runs a command of the operator's; what it prints.
pub(crate) fn operator(setup: &Setup, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(binary()?).arg("track").args(arguments).arg("--config").arg(setup.file()).output()?;
    ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

const BUDGET: usize = 600;
/// Requests that may come closer to each other on their way than they left.
const BURST: usize = BUDGET / 4;

#[tokio::test(flavor = "multi_thread")]
async fn the_workspace_ends_as_wanted_whatever_the_api_answers_and_however_often_two_replicas_are_killed() -> anyhow::Result<()> {
    let track = "max_irreversible_per_hour = 100000\nmax_irreversible_share = 1.0\n";
    let mut setup = Setup::tracking(track, "[policy]\nhold_hard_bounce = \"0s\"\nnever_suppress = [\"vip-*\"]\n").await?;
    let budget = BUDGET.to_string();
    // Each keeps its cache of the ledger over its deaths.
    let caches = [1, 2].map(|replica| setup.directory().join(format!("track-{replica}")).to_string_lossy().into_owned());
    // One of them sends batches.
    let variables = |cache, batch| {
        [
            ("AFTERSEND__TRACK__MAX_REQUESTS_PER_SECOND", budget.as_str()),
            ("AFTERSEND__TRACK__STATE_DIR", cache),
            ("AFTERSEND__TRACK__BATCH", batch),
        ]
    };
    let [first_variables, second_variables] = [variables(caches[0].as_str(), "false"), variables(caches[1].as_str(), "true")];
    let profiles = Profiles::new(&setup)?;
    let mut random = StdRng::seed_from_u64(8);
    let ids: Vec<String> = (0..2_000)
        .map(|number| match number % 20 {
            0 => format!("vip-{number}"),
            1 => format!("grey/{number}"),
            _ => format!("u {number}"),
        })
        .collect();
    let mut last: BTreeMap<String, ProfileRecord> = BTreeMap::new();

    setup.track_api.misbehave(Some((6, 8)));
    setup.launch_with(Service::Track, &first_variables)?;
    let mut second = Some(second_replica(&setup, &second_variables)?);
    let changes: i64 = 20_000;
    let per_wave: i64 = 1_000;
    let began = Instant::now();
    for wave in 0..changes / per_wave {
        let mut batch = Vec::new();
        for change in wave * per_wave..(wave + 1) * per_wave {
            let id = &ids[random.random_range(0..ids.len())];
            // Verdicts of these stay: for a complaint until an operator lifts it.
            let before = last.get(id).and_then(|profile| profile.evaluation.verdict.clone());
            let cause = if random.random_bool(0.5) { Cause::Complaint } else { Cause::HardBounce };
            let now = unix_millis();
            let verdict = before.or_else(|| random.random_bool(0.03).then_some(Verdict { cause, at: now / 1000, received_at: now }));
            let next = profile(id, change, verdict);
            last.insert(id.clone(), next.clone());
            batch.push(next);
        }
        profiles.write(&batch).await?;
        // One of the two every time; both now and then.
        if wave % 2 == 0 || wave % 5 == 0 {
            setup.kill(Service::Track)?;
            setup.launch_with(Service::Track, &first_variables)?;
        }
        if wave % 2 == 1 || wave % 5 == 0 {
            second.take().context("it runs")?.kill()?;
            second = Some(second_replica(&setup, &second_variables)?);
        }
        match wave {
            6 => setup.track_api.answer_with(Some(401)),
            11 => setup.track_api.answer_with(Some(302)),
            _ => setup.track_api.answer_with(None),
        }
        tokio::time::sleep(Duration::from_millis(2_000)).await;
    }
    eprintln!("{changes} changes in {:.0} s", began.elapsed().as_secs_f64());
    setup.track_api.misbehave(None);

    let wants_suppress = |profile: &ProfileRecord| {
        let id = &profile.person.id;
        profile.evaluation.verdict.is_some() && !id.starts_with("vip") && (!id.starts_with("grey") || is_complaint(profile))
    };
    let names = Names::new(&setup.config.track);
    eventually(Duration::from_secs(60), async || {
        let people = setup.track_api.people();
        for (id, profile) in &last {
            let kept = people.get(id).with_context(|| format!("{id} is not known"))?;
            ensure!(kept.suppressed == wants_suppress(profile), "{id}: {kept:?} instead of {profile:?}");
            if !kept.suppressed {
                let mut wanted = json!(wanted_attributes(profile, &names));
                wanted["_update"] = true.into();
                wanted["_timestamp"] = profile.as_of.into();
                ensure!(json!(kept.attributes) == wanted, "{id}: {:?} instead of {wanted:?}", kept.attributes);
            }
        }
        Ok(())
    })
    .await?;
    eprintln!("in step after {:.0} s", began.elapsed().as_secs_f64());
    eventually(Duration::from_secs(20), async || {
        ensure!(setup.metric(Service::Track, "aftersend_track_open_people").await? == 0.0);
        Ok(())
    })
    .await?;

    let asked = setup.track_api.asked();
    in_order(&asked, &last, wants_suppress)?;
    let requests: Vec<&Asked> = asked.chunk_by(|one, other| one.request == other.request).filter_map(<[_]>::first).collect();
    assert!(requests.len() < asked.len(), "nothing was sent in batches");
    within_budget(&requests)?;
    let suppressed = last.values().filter(|profile| wants_suppress(profile)).count();
    assert!(suppressed > 300, "{suppressed} people were to be suppressed");

    // Every call has its reason.
    let calls = read_topic(&setup.config, &setup.topics().track_calls())?;
    let calls = calls.iter().map(|record| TrackCall::decode(record.value.as_deref().unwrap_or_default()));
    let calls: Vec<TrackCall> = calls.collect::<Result<_, _>>()?;
    let mut intents: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    for call in calls.iter().filter(|call| call.phase == Phase::Intent) {
        let first = intents.entry((call.person.id.as_str(), call.call.as_str())).or_insert(call.at);
        *first = call.at.min(*first);
    }
    for Asked { call, person, at, .. } in &asked {
        let intent = intents.get(&(person.as_str(), call.as_str())).with_context(|| format!("{call} of {person} is not explained"))?;
        assert!(intent <= at, "{call} of {person} was made before it was written down");
    }

    // A replay of everything makes no call.
    second.take().context("it runs")?.kill()?;
    setup.stop(Service::Track).await?;
    let admin: AdminClient<DefaultClientContext> = producer_config(&setup.config, "test", 10_000).create()?;
    let group = setup.topics().track_group();
    eventually(Duration::from_secs(30), async || {
        let deleted = admin.delete_groups(&[&group], &AdminOptions::new()).await?;
        deleted.into_iter().try_for_each(|result| result.map(|_| ()).map_err(|(name, code)| anyhow::anyhow!("{name}: {code}")))
    })
    .await?;
    setup.start(Service::Track).await?;
    eventually(Duration::from_secs(60), async || {
        let read = setup.metric(Service::Track, "aftersend_consumer_records_total").await?;
        ensure!(read >= changes as f64, "{read} of {changes} read again");
        ensure!(setup.metric(Service::Track, "aftersend_track_open_people").await? == 0.0);
        ensure!(setup.metric(Service::Track, "aftersend_consumer_lag_records").await? == 0.0);
        Ok(())
    })
    .await?;
    assert_eq!(setup.track_api.asked().len(), asked.len(), "nobody was called again");
    eprintln!("{} calls in {} requests, {suppressed} suppressed, {:.0} s", asked.len(), requests.len(), began.elapsed().as_secs_f64());
    setup.finish().await
}

fn is_complaint(profile: &ProfileRecord) -> bool {
    profile.evaluation.verdict.as_ref().is_some_and(|verdict| verdict.cause == Cause::Complaint)
}

/// Identify is acknowledged before suppress; after it there is nothing but the same again; and nobody is suppressed who should not be.
fn in_order(
    asked: &[Asked],
    last: &BTreeMap<String, ProfileRecord>,
    wants_suppress: impl Fn(&ProfileRecord) -> bool,
) -> anyhow::Result<()> {
    let mut identified: BTreeSet<&str> = BTreeSet::new();
    let mut suppressed: BTreeSet<&str> = BTreeSet::new();
    for Asked { call, person, status, .. } in asked {
        match call.as_str() {
            "identify" => {
                ensure!(!suppressed.contains(person.as_str()), "{person} was identified after a suppress");
                if *status == 200 {
                    identified.insert(person);
                }
            }
            "suppress" => {
                ensure!(identified.contains(person.as_str()), "{person} was suppressed before an identify was acknowledged");
                ensure!(last.get(person).is_some_and(&wants_suppress), "{person} should not have been suppressed");
                suppressed.insert(person);
            }
            other => anyhow::bail!("nobody asked for {other}"),
        }
    }
    Ok(())
}

/// Within any second.
fn within_budget(asked: &[&Asked]) -> anyhow::Result<()> {
    let mut most = 0;
    let mut first = 0;
    for (index, call) in asked.iter().enumerate() {
        while call.at - asked[first].at >= 1_000 {
            first += 1;
        }
        most = most.max(index - first + 1);
    }
    eprintln!("at most {most} requests in a second, of {BUDGET}");
    ensure!(most <= BUDGET + BURST, "{most} requests within a second");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mass_of_false_hard_bounces_trips_the_brake_over_all_replicas_until_an_operator_releases_it() -> anyhow::Result<()> {
    const ALLOWED: usize = 60;
    let track = format!("max_irreversible_per_hour = {ALLOWED}\nmax_irreversible_share = 1.0\n");
    let mut setup = Setup::tracking(&track, "[policy]\nhold_hard_bounce = \"0s\"\n").await?;
    let profiles = Profiles::new(&setup)?;
    let now = unix_millis();
    let old = now - 3 * 86_400_000;
    let bounced =
        |id: String, received_at: i64| profile(&id, 1, Some(Verdict { cause: Cause::HardBounce, at: received_at / 1000, received_at }));
    let people: Vec<ProfileRecord> = (0..600).map(|number| bounced(format!("u-{number}"), if number < 20 { old } else { now })).collect();
    setup.launch(Service::Track)?;
    let second = second_replica(&setup, &[])?;
    // Members that both die within a rebalance would leave partitions with nobody until the next one.
    eventually(Duration::from_secs(60), async || {
        for log in [setup.process(Service::Track)?.log(), second.log()] {
            ensure!(log.contains("partitions assigned"), "not both of them have partitions");
        }
        Ok(())
    })
    .await?;
    profiles.write(&people).await?;
    let suppressed = || setup.track_api.people().values().filter(|kept| kept.suppressed).count();
    eventually(Duration::from_secs(30), async || {
        ensure!(suppressed() > ALLOWED / 3);
        Ok(())
    })
    .await?;
    // Both die in the middle of it.
    second.kill()?;
    setup.kill(Service::Track)?;
    setup.launch(Service::Track)?;
    let second = second_replica(&setup, &[])?;
    eventually(Duration::from_secs(60), async || {
        ensure!(setup.metric(Service::Track, "aftersend_track_brake{cause=\"hard_bounce\"").await? == 1.0, "the brake is not on");
        let known = setup.track_api.people().len();
        ensure!(known == people.len(), "{known} people were identified");
        Ok(())
    })
    .await?;
    let held = setup.track_api.asked().into_iter().filter(|asked| asked.call == "suppress").map(|asked| asked.person);
    let held: BTreeSet<String> = held.collect();
    assert!(held.len() <= ALLOWED, "{} people were suppressed", held.len());
    assert!((0..20).all(|number| !held.contains(&format!("u-{number}"))), "old verdicts wait");

    // Another cause goes on.
    let complaint = profile("angry", 1, Some(Verdict { cause: Cause::Complaint, at: now / 1000, received_at: unix_millis() }));
    profiles.write(std::slice::from_ref(&complaint)).await?;
    eventually(Duration::from_secs(20), async || {
        ensure!(setup.track_api.people().get("angry").is_some_and(|kept| kept.suppressed));
        Ok(())
    })
    .await?;
    let before = setup.track_api.people().values().filter(|kept| kept.suppressed).count();
    assert!(before <= ALLOWED + 1);
    let kept = setup.track_api.people();
    let waits = (20..600).map(|number| format!("u-{number}")).find(|id| !kept[id].suppressed).context("somebody waits")?;
    let status = operator(&setup, &["status", &waits])?;
    assert!(status.contains("next: suppress, once the brake for hard_bounce is let go"), "{status}");
    let status = operator(&setup, &["status", "u-7"])?;
    assert!(status.contains("next: nothing (too_old_to_suppress)"), "{status}");

    // What nobody can read keeps nobody else waiting.
    let garbled: FutureProducer = producer_config(&setup.config, "garbled", 10_000).create()?;
    for topic in [setup.topics().profiles(), setup.topics().track_brake()] {
        let record = FutureRecord::to(&topic).partition(0).key("default:id:garbled").payload(b"\x01");
        garbled.send(record, Duration::from_secs(10)).await.map_err(|(error, _)| error)?;
    }

    // Of some who were suppressed the answer was lost with a replica: they wait like the others.
    let mut acknowledged = BTreeMap::new();
    for record in read_topic(&setup.config, &setup.topics().track_ledger())? {
        let ledger = LedgerRecord::decode(record.value.as_deref().unwrap_or_default())?;
        acknowledged.insert(record.key, ledger.standing == Standing::Suppressed);
    }
    // One of them complained.
    let waiting = people.len() + 1 - acknowledged.values().filter(|suppressed| **suppressed).count();
    let said = operator(&setup, &["release", "--by", "ops", "--reason", "looked at them"])?;
    assert!(said.contains(&format!("the brake is on for hard_bounce: {waiting} people wait")), "{waiting}: {said}");
    assert!(said.contains("1 records cannot be read"), "{said}");
    eventually(Duration::from_secs(60), async || {
        let suppressed = setup.track_api.people().values().filter(|kept| kept.suppressed).count();
        ensure!(suppressed == people.len() + 1, "{suppressed} suppressed");
        ensure!(setup.metric(Service::Track, "aftersend_track_brake").await? == 0.0, "the brake is still on");
        Ok(())
    })
    .await?;

    // One of them was wrong.
    let status = operator(&setup, &["status", "u-7", "--json"])?;
    let status: serde_json::Value = serde_json::from_str(&status)?;
    assert_eq!(status["ledger"]["standing"], "suppressed");
    let last = status["calls"].as_array().and_then(|calls| calls.last()).context("calls")?;
    assert_eq!((&last["call"], &last["phase"], &last["rule"]), (&json!("suppress"), &json!("acknowledged"), &json!("on_hard_bounce")));
    let mut rehearsal = Command::new(binary()?);
    rehearsal.args(["track", "unsuppress", "u-7", "--config"]).arg(setup.file()).env("AFTERSEND__TRACK__MODE", "dry-run");
    let rehearsed = rehearsal.output()?;
    assert!(!rehearsed.status.success() && String::from_utf8_lossy(&rehearsed.stderr).contains("set AFTERSEND__TRACK__MODE=live"));
    assert!(setup.track_api.people()["u-7"].suppressed, "nothing is called in a dry run");
    operator(&setup, &["unsuppress", "u-7", "--by", "ops", "--reason", "not theirs"])?;
    assert!(!setup.track_api.people()["u-7"].suppressed);
    let text = eventually(Duration::from_secs(20), async || {
        let text = operator(&setup, &["status", "u-7"])?;
        ensure!(text.contains("nothing acknowledged, last answer none"), "{text}");
        Ok(text)
    })
    .await?;
    assert!(text.contains("unsuppress by \"ops\": not theirs"), "{text}");
    assert!(text.contains("unsuppress  intent       operator: not theirs"), "{text}");
    assert!(text.contains("unsuppress  acknowledged operator, 200"), "{text}");
    // The same verdict, in a newer profile: it no longer counts.
    let mut again = people[7].clone();
    (again.as_of, again.evaluation.grounds) = (again.as_of + 9, worded("later"));
    profiles.write(&[again]).await?;
    eventually(Duration::from_secs(20), async || {
        let kept = setup.track_api.people().remove("u-7").context("u-7 is known")?;
        ensure!(kept.attributes.get("aftersend_reason") == Some(&json!("later")), "{kept:?}");
        ensure!(!kept.suppressed);
        Ok(())
    })
    .await?;
    second.terminate().await?;
    setup.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_an_error_of_the_configuration_and_an_api_that_is_away_is_none() -> anyhow::Result<()> {
    let mut setup = Setup::new("").await?;
    setup.launch_with(Service::Track, &[("AFTERSEND__TRACK__API_KEY", "wrong")])?;
    let log = setup.failed(Service::Track).await?;
    assert!(log.contains("track.workspaces.default: credentials refused: check site_id and api_key"), "{log}");
    setup.launch_with(Service::Track, &[("AFTERSEND__TRACK__URL", "http://127.0.0.1:1")])?;
    setup.ready(Service::Track).await?;
    let log = setup.process(Service::Track)?.log();
    assert!(log.contains("going on: calls are made once the track API answers"), "{log}");
    setup.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_api_refuses_is_kept_with_its_words_and_tried_again_only_when_it_changes() -> anyhow::Result<()> {
    let mut setup = Setup::new("").await?;
    let profiles = Profiles::new(&setup)?;
    setup.track_api.answer_with(Some(400));
    setup.start(Service::Track).await?;
    profiles.write(&[profile("u-1", 1, None)]).await?;
    let status = eventually(Duration::from_secs(20), async || {
        let status: serde_json::Value = serde_json::from_str(&operator(&setup, &["status", "u-1", "--json"])?)?;
        ensure!(status["calls"][1]["phase"] == "refused" && status["ledger"]["refused"] == true, "{status}");
        Ok(status)
    })
    .await?;
    assert_eq!(status["calls"][1]["error"], "attribute too long for …");
    let mut same = profile("u-1", 2, None);
    (same.evaluation.grounds, same.evaluation.score) = (worded("change 1"), 1);
    profiles.write(&[same]).await?;
    setup.track_api.answer_with(None);
    profiles.write(&[profile("u-1", 3, None)]).await?;
    eventually(Duration::from_secs(20), async || {
        ensure!(setup.track_api.people().contains_key("u-1"));
        Ok(())
    })
    .await?;
    let asked: Vec<u16> = setup.track_api.asked().iter().map(|asked| asked.status).collect();
    assert!(asked == [400, 200], "{asked:?}");
    setup.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_batch_only_what_was_refused_is_kept_apart_and_a_batch_that_is_refused_whole_is_sent_one_by_one() -> anyhow::Result<()> {
    let mut setup = Setup::tracking("batch = true\n", "[policy]\nhold_hard_bounce = \"0s\"\n").await?;
    let profiles = Profiles::new(&setup)?;
    setup.track_api.refuse(Some("bad"));
    let people = |prefix: &str| (0..40).map(|number| profile(&format!("{prefix}-{number}"), 1, None)).collect::<Vec<_>>();
    profiles.write(&[people("u"), people("bad")].concat()).await?;
    setup.start(Service::Track).await?;
    let in_step = async |answered: f64| {
        let calls = async |result: &str| {
            setup.metric(Service::Track, &format!("aftersend_track_calls_total{{call=\"identify\",result=\"{result}\"")).await
        };
        let found = calls("acknowledged").await? + calls("refused").await?;
        ensure!(found == answered, "{found} of {answered} calls are answered");
        ensure!(setup.metric(Service::Track, "aftersend_track_open_people").await? == 0.0);
        Ok(())
    };
    eventually(Duration::from_secs(20), async || in_step(80.0).await).await?;
    let asked = setup.track_api.asked();
    assert_eq!(asked.len(), 80, "each once");
    let requests = setup.metric(Service::Track, "aftersend_track_requests_total").await?;
    assert!(requests < 40.0, "{requests} requests for 80 calls");
    assert_eq!(asked.last().map(|asked| asked.request as f64), Some(requests));
    assert!(people("u").iter().all(|profile| setup.track_api.people().contains_key(&profile.person.id)));
    assert_eq!(setup.metric(Service::Track, "aftersend_track_calls_total{call=\"identify\",result=\"refused\"}").await?, 40.0);
    let status: serde_json::Value = serde_json::from_str(&operator(&setup, &["status", "bad-7", "--json"])?)?;
    let last = status["calls"].as_array().and_then(|calls| calls.last()).context("calls")?;
    assert_eq!((&last["phase"], &last["error"]), (&json!("refused"), &json!("attributes; too long for …; invalid")), "{status}");

    setup.track_api.answer_with(Some(413));
    profiles.write(&people("v")).await?;
    let refused = "aftersend_track_calls_total{call=\"identify\",result=\"refused\"}";
    eventually(Duration::from_secs(20), async || {
        ensure!(setup.metric(Service::Track, refused).await? == 80.0);
        in_step(120.0).await
    })
    .await?;
    assert!(setup.metric(Service::Track, "aftersend_track_calls_total{call=\"identify\",result=\"split\"}").await? > 1.0);
    setup.track_api.answer_with(None);

    // A suppress goes alone, after its identify.
    let now = unix_millis();
    let bounced = Verdict { cause: Cause::HardBounce, at: now / 1000, received_at: now };
    profiles.write(&(0..20).map(|number| profile(&format!("u-{number}"), 2, Some(bounced.clone()))).collect::<Vec<_>>()).await?;
    eventually(Duration::from_secs(20), async || {
        ensure!((0..20).all(|number| setup.track_api.people().get(&format!("u-{number}")).is_some_and(|kept| kept.suppressed)));
        in_step(140.0).await
    })
    .await?;
    let asked = setup.track_api.asked();
    let suppresses = asked.iter().filter(|asked| asked.call == "suppress");
    assert!(suppresses.clone().all(|suppress| asked.iter().filter(|other| other.request == suppress.request).count() == 1));
    assert_eq!(suppresses.count(), 20);
    setup.finish().await
}

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aftersend::traffic::sign;
use aftersend_tests::{Process, SIGNING_KEY, Service, Setup, Wire, eventually, read_topic, signed};
use anyhow::{Context as _, ensure};
use tokio::task::JoinSet;

use super::{event, http2};

/// Senders that go on until they are stopped: each event once, on a connection kept for as long as the door keeps it, or on a new one each time.
struct Load {
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicUsize>,
    senders: JoinSet<anyhow::Result<Vec<String>>>,
}

impl Load {
    fn start(address: &str, kept: usize, fresh: usize) -> Self {
        let (stop, accepted, mut senders) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), JoinSet::new());
        for sender in 0..kept + fresh {
            let (address, stop, accepted) = (address.to_owned(), stop.clone(), accepted.clone());
            senders.spawn(async move {
                let (mut wire, mut sent) = (None, Vec::new());
                while !stop.load(Ordering::Relaxed) {
                    let body = event(&format!("{sender}-{}", sent.len()));
                    let mut open = match wire.take() {
                        Some(open) => open,
                        None => Wire::connect(&address).await.context("refused")?,
                    };
                    let answer = open.ask(&signed(body.as_bytes(), "")).await.with_context(|| format!("sender {sender}"))?;
                    ensure!(answer.status == 200, "{answer:?}");
                    accepted.fetch_add(1, Ordering::Relaxed);
                    sent.push(body);
                    wire = (sender < kept && !answer.head.contains("connection: close")).then_some(open);
                }
                Ok(sent)
            });
        }
        Self { stop, accepted, senders }
    }

    /// More senders, each on HTTP/2 connections that it keeps for as long as it may.
    fn over_http_2(mut self, url: &str, count: usize) -> Self {
        for sender in 0..count {
            let (url, stop, accepted) = (url.to_owned(), self.stop.clone(), self.accepted.clone());
            self.senders.spawn(async move {
                let client = reqwest::Client::builder().http2_prior_knowledge().build()?;
                let mut sent = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let body = event(&format!("http2-{sender}-{}", sent.len()));
                    let signature = sign(SIGNING_KEY.as_bytes(), "1770000000", body.as_bytes());
                    let request = client.post(&url).header("X-CIO-Timestamp", "1770000000").header("X-CIO-Signature", signature);
                    let response = request.body(body.clone()).send().await.with_context(|| format!("HTTP/2 sender {sender}"))?;
                    ensure!(response.status() == 200 && response.version() == reqwest::Version::HTTP_2, "{response:?}");
                    accepted.fetch_add(1, Ordering::Relaxed);
                    sent.push(body);
                }
                Ok(sent)
            });
        }
        self
    }

    /// Waits until so many more were accepted.
    async fn go_on(&self, events: usize) -> anyhow::Result<()> {
        let until = self.accepted.load(Ordering::Relaxed) + events;
        eventually(Duration::from_secs(20), async || {
            ensure!(self.accepted.load(Ordering::Relaxed) >= until, "the senders are stuck");
            Ok(())
        })
        .await
    }

    /// Every body that was accepted. Fails if any was not, or a connection was refused or broken.
    async fn finish(mut self) -> anyhow::Result<Vec<String>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut sent = Vec::new();
        while let Some(ended) = self.senders.join_next().await {
            sent.extend(ended??);
        }
        Ok(sent)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ingest_is_replaced_under_load_without_a_refused_connection_or_another_answer() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("ingest.sock");
    let mut setup = Setup::configured(&format!("handover = {socket:?}\ndrain = \"4s\""), "").await?;
    setup.start(Service::Ingest).await?;
    let load = Load::start(&setup.config.ingest.listen, 16, 16).over_http_2(&setup.webhook_url("default"), 4);
    load.go_on(500).await?;
    let file = setup.file().display().to_string();
    for generation in 0..4 {
        // What started before leaves by itself when this one is ready.
        let log = directory.path().join(format!("{generation}.log"));
        let before = setup.replace(Service::Ingest, Process::start(&["ingest", "--config", &file], log)?)?;
        let status = before.ended().await?;
        ensure!(status.success(), "{status}");
        load.go_on(500).await?;
    }
    setup.ready(Service::Ingest).await?;
    let sent = load.finish().await?;
    let stored: BTreeMap<Vec<u8>, usize> =
        read_topic(&setup.config, &setup.topics().raw())?.into_iter().fold(BTreeMap::new(), |mut counts, record| {
            *counts.entry(record.value.unwrap_or_default()).or_default() += 1;
            counts
        });
    assert_eq!(stored.len(), sent.len());
    assert!(sent.iter().all(|body| stored.get(body.as_bytes()) == Some(&1)), "each once, as sent");
    setup.finish().await?;
    assert!(!socket.exists(), "the last one takes its socket away");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_that_cannot_start_changes_nothing() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("ingest.sock");
    let mut setup = Setup::configured(&format!("handover = {socket:?}"), "").await?;
    setup.start(Service::Ingest).await?;
    let load = Load::start(&setup.config.ingest.listen, 4, 4);
    load.go_on(50).await?;
    // It takes the ports, and dies before Kafka answers it.
    let file = setup.file().display().to_string();
    let mut command = std::process::Command::new(aftersend_tests::binary()?);
    command.args(["ingest", "--config", &file]).env("AFTERSEND__KAFKA__TOPIC_PREFIX", "there-is-no-such-topic");
    let failed = Process::spawn("successor".into(), &mut command, directory.path().join("failed.log"))?;
    ensure!(!failed.ended().await?.success());
    setup.process(Service::Ingest)?.check()?;
    load.go_on(200).await?;

    // Another waits for a broker that is not there. It answers nobody until it is ready, so what it is asked is left to the first.
    let mut command = std::process::Command::new(aftersend_tests::binary()?);
    command.args(["ingest", "--config", &file]).env("AFTERSEND__KAFKA__BROKERS", "127.0.0.1:1");
    let waiting = Process::spawn("successor".into(), &mut command, directory.path().join("waiting.log"))?;
    eventually(Duration::from_secs(20), async || {
        ensure!(waiting.log().contains("waiting for kafka"), "it has not tried yet");
        Ok(())
    })
    .await?;
    load.go_on(200).await?;
    for _ in 0..20 {
        ensure!(reqwest::get(format!("http://{}/readyz", setup.config.ingest.admin)).await?.status().is_success(), "not ready");
    }
    waiting.kill()?;
    load.go_on(200).await?;
    load.finish().await?;

    // Nothing but a socket is ever replaced, and the addresses stay.
    let precious = directory.path().join("precious");
    std::fs::write(&precious, "x")?;
    for (variable, value, why) in [
        ("AFTERSEND__INGEST__HANDOVER", precious.display().to_string(), "nothing there but the socket"),
        ("AFTERSEND__INGEST__HANDOVER", "/no/such/directory/ingest.sock".into(), "a directory that exists"),
        ("AFTERSEND__INGEST__LISTEN", "127.0.0.1:1".into(), "listens elsewhere"),
    ] {
        let mut command = std::process::Command::new(aftersend_tests::binary()?);
        let output = command.args(["ingest", "--config", &file]).env(variable, value).output()?;
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(64) && log.contains(why), "{} {log}", output.status);
    }
    ensure!(std::fs::read_to_string(&precious)? == "x");
    setup.process(Service::Ingest)?.check()?;
    setup.finish().await
}

/// An ingest that would take over, and waits for a Kafka that is not there.
async fn waiting_successor(setup: &Setup) -> anyhow::Result<Process> {
    let mut command = std::process::Command::new(aftersend_tests::binary()?);
    command.arg("ingest").arg("--config").arg(setup.file()).env("AFTERSEND__KAFKA__BROKERS", "127.0.0.1:1");
    let successor = Process::spawn("successor".into(), &mut command, setup.directory().join("successor.log"))?;
    eventually(Duration::from_secs(20), async || {
        ensure!(successor.log().contains("waiting for kafka"), "it has not tried yet");
        Ok(())
    })
    .await?;
    Ok(successor)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_that_is_not_ready_answers_once_its_predecessor_has_died_and_can_be_replaced() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let mut setup = Setup::configured(&format!("handover = {:?}", directory.path().join("ingest.sock")), "").await?;
    setup.start(Service::Ingest).await?;
    let address = setup.config.ingest.listen.clone();
    let successor = waiting_successor(&setup).await?;

    setup.kill(Service::Ingest)?;
    let started = Instant::now();
    let answer = Wire::connect(&address).await?.ask(&signed(event("1").as_bytes(), "")).await?;
    assert!(answer.status == 503 && started.elapsed() < Duration::from_secs(4), "{answer:?} after {:?}", started.elapsed());

    setup.start(Service::Ingest).await?;
    assert!(successor.ended().await?.success(), "it gives the ports away although it was never ready");
    let answer = Wire::connect(&address).await?.ask(&signed(event("2").as_bytes(), "")).await?;
    assert_eq!(answer.status, 200, "{answer:?}");
    setup.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_readiness_and_goes_on_answering_for_the_drain_time() -> anyhow::Result<()> {
    let mut setup = Setup::configured("drain = \"2s\"", "").await?;
    setup.start(Service::Ingest).await?;
    let address = setup.config.ingest.listen.clone();
    let mut kept = Wire::connect(&address).await?;
    assert!(!kept.ask(&signed(event("1").as_bytes(), "")).await?.head.contains("connection: close"));
    // Nothing is in flight on it, so nobody waits for it.
    let _unused = Wire::connect(&address).await?;
    let started = Instant::now();
    // Twice, as `timeout` sends it: once to the process, once to its group.
    setup.process(Service::Ingest)?.signal("TERM")?;
    setup.process(Service::Ingest)?.signal("TERM")?;
    let ready = format!("http://{}/readyz", setup.config.ingest.admin);
    eventually(Duration::from_secs(1), async || {
        ensure!(reqwest::get(&ready).await?.status().as_u16() == 503, "still ready");
        Ok(())
    })
    .await?;
    let answer = kept.ask(&signed(event("2").as_bytes(), "")).await?;
    assert!(answer.status == 200 && answer.head.contains("connection: close"), "{answer:?}");
    kept.closed().await?;
    let answer = Wire::connect(&address).await?.ask(&signed(event("3").as_bytes(), "")).await?;
    assert!(answer.status == 200 && answer.head.contains("connection: close"), "{answer:?}");
    let status = setup.ended(Service::Ingest).await?;
    let took = started.elapsed();
    assert!(status.success() && took >= Duration::from_secs(2) && took < Duration::from_secs(6), "{status} after {took:?}");
    assert!(Wire::connect(&address).await.is_err());
    assert_eq!(read_topic(&setup.config, &setup.topics().raw())?.len(), 3);
    setup.finish().await
}

/// Connects in the ways in which a client can have said nothing, or not all, yet; then waits until the port is given up, and goes on.
async fn speak_when_the_drain_has_ended(setup: &mut Setup, drain: Duration, given_up: impl AsyncFn() -> bool) -> anyhow::Result<()> {
    let address = setup.config.ingest.listen.clone();
    let mut idle = Wire::connect(&address).await?;
    assert_eq!(idle.ask(&signed(event("idle").as_bytes(), "")).await?.status, 200);
    setup.process(Service::Ingest)?.signal("TERM")?;
    tokio::time::sleep(drain - Duration::from_secs(1)).await;
    let (mut silent, mut half, mut http2) =
        (Wire::connect(&address).await?, Wire::connect(&address).await?, Wire::connect(&address).await?);
    let [first, second] = ["silent", "half"].map(|id| signed(event(id).as_bytes(), ""));
    half.send(&second[..40]).await?;
    http2.send(&[http2::PREFACE, &http2::frame(http2::SETTINGS, 0, 0, &[])].concat()).await?;
    eventually(Duration::from_secs(5), async || {
        ensure!(given_up().await, "the port is still there");
        Ok(())
    })
    .await?;
    for (wire, request, name) in [(&mut silent, &first[..], "silent"), (&mut half, &second[40..], "half a head")] {
        let answer = wire.ask(request).await.context(name)?;
        ensure!(answer.status == 200 && answer.head.contains("connection: close"), "{name}: {answer:?}");
    }
    http2.send(&http2::frames(1, &http2::head())).await?;
    let rest = http2.rest().await?;
    let rest = String::from_utf8_lossy(&rest);
    ensure!(rest.contains(r#"{"result":"unknown_source"}"#), "over HTTP/2: {rest}");
    idle.closed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_connected_when_the_drain_ends_is_answered_and_nobody_else_is_waited_for() -> anyhow::Result<()> {
    let mut setup = Setup::configured("drain = \"2s\"", "").await?;
    setup.start(Service::Ingest).await?;
    let address = setup.config.ingest.listen.clone();
    let started = Instant::now();
    speak_when_the_drain_has_ended(&mut setup, Duration::from_secs(2), async || Wire::connect(&address).await.is_err()).await?;
    let status = setup.ended(Service::Ingest).await?;
    let took = started.elapsed();
    assert!(status.success() && took < Duration::from_secs(12), "{status} after {took:?}");
    assert_eq!(read_topic(&setup.config, &setup.topics().raw())?.len(), 3);
    setup.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_that_is_not_ready_takes_the_queue_over_when_the_drain_ends() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let mut setup = Setup::configured(&format!("drain = \"2s\"\nhandover = {:?}", directory.path().join("ingest.sock")), "").await?;
    setup.start(Service::Ingest).await?;
    let address = setup.config.ingest.listen.clone();
    let successor = waiting_successor(&setup).await?;
    let serves = async || successor.log().contains("this one answers 503");
    speak_when_the_drain_has_ended(&mut setup, Duration::from_secs(2), serves).await?;
    let answer = Wire::connect(&address).await?.ask(&signed(event("fresh").as_bytes(), "")).await?;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(setup.ended(Service::Ingest).await?.success());
    successor.kill()?;
    setup.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_pages_are_there_and_ready_throughout_a_takeover() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let mut setup = Setup::configured(&format!("handover = {:?}\ndrain = \"2s\"", directory.path().join("ingest.sock")), "").await?;
    setup.start(Service::Ingest).await?;
    let ready = format!("http://{}/readyz", setup.config.ingest.admin);
    let stop = Arc::new(AtomicBool::new(false));
    let mut pollers = JoinSet::new();
    for _ in 0..4 {
        let (ready, stop) = (ready.clone(), stop.clone());
        pollers.spawn(async move {
            // A connection each, as probes do.
            let client = reqwest::Client::builder().pool_max_idle_per_host(0).build()?;
            let mut polls = 0;
            while !stop.load(Ordering::Relaxed) {
                let response = client.get(&ready).send().await.with_context(|| format!("poll {polls}"))?;
                ensure!(response.status() == 200, "poll {polls}: {}", response.status());
                polls += 1;
            }
            anyhow::Ok(polls)
        });
    }
    let file = setup.file().display().to_string();
    for generation in 0..3 {
        let log = directory.path().join(format!("{generation}.log"));
        let before = setup.replace(Service::Ingest, Process::start(&["ingest", "--config", &file], log)?)?;
        assert!(before.ended().await?.success());
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(polls) = pollers.join_next().await {
        assert!(polls?? > 10);
    }
    setup.finish().await
}

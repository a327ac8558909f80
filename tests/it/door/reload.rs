use std::time::Duration;

use aftersend::traffic::sign;
use aftersend_tests::{Service, Setup, Wire, eventually};
use anyhow::ensure;

use super::event;

#[tokio::test(flavor = "multi_thread")]
async fn sighup_swaps_keys_and_sources_on_open_connections_and_a_broken_file_changes_nothing() -> anyhow::Result<()> {
    let mut setup = Setup::new("[[source]]\nname = \"leaves\"\nsigning_keys = \"key of leaves\"\n").await?;
    setup.start(Service::Ingest).await?;
    let mut wire = Wire::connect(&setup.config.ingest.listen).await?;
    let body = event("1");
    let signed = |source: &str, key: &str| {
        let signature = sign(key.as_bytes(), "1770000000", body.as_bytes());
        format!(
            "POST /v1/webhooks/customerio/reporting/{source} HTTP/1.1\r\nHost: x\r\nX-CIO-Timestamp: 1770000000\r\nX-CIO-Signature: {signature}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    };
    let reload = async |setup: &mut Setup, result: &str| {
        let series = format!("aftersend_ingest_reloads_total{{result=\"{result}\"}}");
        let before = setup.metric(Service::Ingest, &series).await?;
        setup.process(Service::Ingest)?.signal("HUP")?;
        eventually(Duration::from_secs(5), async || {
            ensure!(setup.metric(Service::Ingest, &series).await? == before + 1.0, "not reloaded");
            Ok(())
        })
        .await
    };
    assert_eq!(wire.ask(&signed("default", "test signing key")).await?.status, 200);
    assert_eq!(wire.ask(&signed("leaves", "key of leaves")).await?.status, 200);
    let old = std::fs::read_to_string(setup.file())?;

    // A key is being changed: both count.
    let both = old.replace("signing_keys = \"test signing key\"", "signing_keys = [\"a new key\", \"test signing key\"]");
    std::fs::write(setup.file(), &both)?;
    reload(&mut setup, "done").await?;
    for key in ["test signing key", "a new key"] {
        assert_eq!(wire.ask(&signed("default", key)).await?.status, 200, "{key}");
    }
    assert_eq!(setup.metric(Service::Ingest, "aftersend_ingest_signing_key_matches_total{key=\"1\",source=\"default\"}").await?, 1.0);

    // Sources come and go; the last key of one goes.
    let new = both.replace("[\"a new key\", \"test signing key\"]", "\"a new key\"").replace("name = \"leaves\"", "name = \"joins\"");
    std::fs::write(
        setup.file(),
        new.replace("max_requests_per_second = 1000", "max_requests_per_second = 999") + "[policy]\nhold_complaint = \"1s\"\n",
    )?;
    reload(&mut setup, "done").await?;
    for (source, key, status) in [
        ("default", "a new key", 200),
        ("default", "test signing key", 401),
        ("joins", "key of leaves", 200),
        ("leaves", "key of leaves", 404),
    ] {
        assert_eq!(wire.ask(&signed(source, key)).await?.status, status, "{source} {key}");
    }
    // Answered before its body was read, which ends the connection.
    wire.closed().await?;
    let mut wire = Wire::connect(&setup.config.ingest.listen).await?;
    let silence = async |source: &str| {
        let series = format!("aftersend_ingest_silence_seconds{{source=\"{source}\"}}");
        let text = reqwest::get(format!("http://{}/metrics", setup.config.ingest.admin)).await?.text().await?;
        anyhow::Ok(text.lines().any(|line| line.starts_with(&series)))
    };
    assert!(silence("joins").await? && !silence("leaves").await?, "a source that is gone is not silent");

    for (broken, why) in [
        (new.replace("signing_keys = \"a new key\"", "signing_keys = \"\""), "signing_keys needs at least one key"),
        (new.replace("[[source]]", "[[sauce]]"), "unknown field `sauce`"),
        (new.clone() + "\n[[[", "not valid TOML"),
    ] {
        std::fs::write(setup.file(), broken)?;
        reload(&mut setup, "refused").await?;
        let log = setup.process(Service::Ingest)?.log();
        assert!(log.contains(why) && log.contains("the last one counts"), "{log}");
        assert_eq!(wire.ask(&signed("default", "a new key")).await?.status, 200);
    }
    std::fs::remove_file(setup.file())?;
    reload(&mut setup, "refused").await?;
    assert_eq!(wire.ask(&signed("joins", "key of leaves")).await?.status, 200);

    std::fs::write(setup.file(), new.replace("drain = \"0s\"", "drain = \"1s\""))?;
    reload(&mut setup, "done").await?;
    assert!(setup.process(Service::Ingest)?.log().contains("ingest.drain"), "what needs a restart is named");
    setup.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_does_not_end_an_ingest_that_is_starting() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("ingest.sock");
    let mut setup = Setup::configured(&format!("handover = {socket:?}"), "").await?;
    // It waits here for the ports, which do not come.
    let listener = tokio::net::UnixListener::bind(&socket)?;
    setup.launch(Service::Ingest)?;
    let (running, _) = tokio::time::timeout(Duration::from_secs(20), listener.accept()).await??;
    let a_moment = || tokio::time::sleep(Duration::from_millis(200));
    a_moment().await;
    setup.process(Service::Ingest)?.signal("HUP")?;
    a_moment().await;
    drop(running);
    let log = setup.failed(Service::Ingest).await?;
    assert!(log.contains("the process behind it is no ingest of this release"), "{log}");
    setup.finish().await
}

use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use aftersend_tests::{Service, Setup, Wire, eventually, signed};
use anyhow::ensure;

use super::{ended, event};

#[tokio::test(flavor = "multi_thread")]
async fn only_listed_addresses_may_send_as_trusted_proxies_tell_them() -> anyhow::Result<()> {
    let more = "[ingest.allowlist]\naddresses = [\"customerio\", \"203.0.113.0/24\"]\n";
    let mut setup = Setup::configured("trusted_proxies = [\"127.0.0.1\"]", more).await?;
    setup.start(Service::Ingest).await?;
    let mut wire = Wire::connect(&setup.config.ingest.listen).await?;
    for (forwarded, status) in [
        ("35.188.196.183", 200),
        ("203.0.113.77", 200),
        ("1.1.1.1, 203.0.113.77", 200),
        ("35.188.196.183,", 200),
        ("34.76.143.229", 403),
        ("203.0.113.77, 1.1.1.1", 403),
        ("nonsense", 403),
    ] {
        let request = signed(event("1").as_bytes(), &format!("X-Forwarded-For: {forwarded}\r\n"));
        assert_eq!(wire.ask(&request).await?.status, status, "{forwarded}");
        if status == 403 {
            wire = Wire::connect(&setup.config.ingest.listen).await?;
        }
    }
    assert_eq!(wire.ask(&signed(event("1").as_bytes(), "")).await?.status, 403, "the proxy itself is not listed");
    assert_eq!(ended(&setup, "address_refused").await?, 4.0);
    setup.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_allowlist_is_refreshed_and_a_bad_answer_takes_nobody_off_it_but_a_reload_that_asks_nobody() -> anyhow::Result<()> {
    let answer = Arc::new(Mutex::new((200, "{\"ip_addresses\":[\"127.0.0.1\"]}".to_owned())));
    let shared = answer.clone();
    let asked = move |request: HttpRequest| {
        let (status, body) = shared.lock().map(|answer| answer.clone()).unwrap_or_default();
        let known = request.headers().get("authorization").is_some_and(|value| value.as_bytes() == b"Bearer app key");
        let status = if known && request.path() == "/us" { status } else { 401 };
        async move { HttpResponse::build(actix_web::http::StatusCode::from_u16(status).unwrap_or_default()).body(body) }
    };
    let server = HttpServer::new(move || App::new().default_service(web::to(asked.clone()))).workers(1).disable_signals();
    let server = server.bind("127.0.0.1:0")?;
    let url = format!("http://{}/{{region}}", server.addrs()[0]);
    let server = server.run();
    let handle = server.handle();
    tokio::spawn(server);

    let more = format!("[ingest.allowlist]\naddresses = [\"us\"]\nrefresh = \"1h\"\nrefresh_url = \"{url}\"\napp_api_key = \"app key\"\n");
    let mut setup = Setup::new(&more).await?;
    setup.start(Service::Ingest).await?;
    let listen = setup.config.ingest.listen.clone();
    let status = async || Ok::<_, anyhow::Error>(Wire::connect(&listen).await?.ask(&signed(event("1").as_bytes(), "")).await?.status);
    eventually(Duration::from_secs(5), async || {
        ensure!(status().await? == 200, "not refreshed");
        Ok(())
    })
    .await?;
    for (code, body) in
        [(500, "{\"ip_addresses\":[\"127.0.0.1\"]}"), (200, "{\"ip_addresses\":[]}"), (200, "<html>"), (200, "{\"ip_addresses\":[\"x\"]}")]
    {
        *answer.lock().map_err(|_| anyhow::anyhow!("poisoned"))? = (code, body.to_owned());
        let failed = "aftersend_ingest_allowlist_refreshes_total{result=\"failed\"}";
        let before = setup.metric(Service::Ingest, failed).await?;
        // A reload asks at once.
        setup.process(Service::Ingest)?.signal("HUP")?;
        eventually(Duration::from_secs(5), async || {
            ensure!(setup.metric(Service::Ingest, failed).await? >= before + 2.0, "not asked again");
            Ok(())
        })
        .await?;
        assert_eq!(status().await?, 200, "{code} {body}");
    }
    let log = setup.process(Service::Ingest)?.log();
    assert!(!log.contains("app key"), "{log}");

    // What was learned goes with the question.
    let text = std::fs::read_to_string(setup.file())?;
    std::fs::write(setup.file(), text.replace("refresh = \"1h\"\n", ""))?;
    setup.process(Service::Ingest)?.signal("HUP")?;
    eventually(Duration::from_secs(5), async || {
        ensure!(status().await? == 403, "still allowed");
        Ok(())
    })
    .await?;
    handle.stop(false).await;
    setup.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_with_http_2_and_a_new_certificate_counts_without_a_restart() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let (certificate_file, key_file) = (directory.path().join("tls.crt"), directory.path().join("tls.key"));
    let write = || {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
        std::fs::write(&certificate_file, made.cert.pem())?;
        std::fs::write(&key_file, made.signing_key.serialize_pem())?;
        anyhow::Ok(made.cert.pem())
    };
    let first = write()?;
    let more = format!("[ingest.tls]\ncertificate_file = {certificate_file:?}\nprivate_key_file = {key_file:?}\n");
    let mut setup = Setup::new(&more).await?;
    setup.start(Service::Ingest).await?;
    let port = setup.config.ingest.listen_address()?.port();
    let post = async |root: &str| {
        let client = reqwest::Client::builder()
            .tls_built_in_root_certs(false)
            .add_root_certificate(reqwest::Certificate::from_pem(root.as_bytes())?)
            .resolve("localhost", ([127, 0, 0, 1], port).into())
            .build()?;
        let body = event("1");
        let signature = aftersend::traffic::sign(b"test signing key", "1770000000", body.as_bytes());
        let request = client.post(format!("https://localhost:{port}/v1/webhooks/customerio/reporting"));
        let response = request.header("X-CIO-Timestamp", "1770000000").header("X-CIO-Signature", signature).body(body).send().await?;
        anyhow::Ok((response.status().as_u16(), response.version()))
    };
    assert_eq!(post(&first).await?, (200, reqwest::Version::HTTP_2));

    // Half of a new pair, then all of it.
    std::fs::write(&key_file, rcgen::KeyPair::generate()?.serialize_pem())?;
    setup.process(Service::Ingest)?.signal("HUP")?;
    eventually(Duration::from_secs(15), async || {
        ensure!(setup.process(Service::Ingest)?.log().contains("does not belong to the certificate"), "not looked at");
        Ok(())
    })
    .await?;
    assert_eq!(post(&first).await?.0, 200);
    let second = write()?;
    eventually(Duration::from_secs(15), async || {
        setup.process(Service::Ingest)?.signal("HUP")?;
        ensure!(post(&second).await?.0 == 200, "the old one");
        Ok(())
    })
    .await?;
    assert!(post(&first).await.is_err());
    setup.finish().await
}

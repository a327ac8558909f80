use std::time::{Duration, Instant};

use aftersend_pipeline::kafka::producer_config;
use aftersend_tests::{Service, Setup, Wire, read_topic, signed, signed_head};
use anyhow::Context as _;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;

use super::{ended, event};

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_be_refused_has_its_status_and_its_counter() -> anyhow::Result<()> {
    let mut setup = Setup::new(
        r#"
[ingest.timestamp_window]
past = "1h"
[[source]]
name = "guarded"
signing_keys = "test signing key"
path = "/hooks/guarded"
secret_header = { name = "X-Hook", value = "s3cret" }
basic_auth = { user = "cio", password = "p:w" }
[[source]]
name = "unsigned"
secret_header = { name = "X-Hook", value = "s3cret" }
"#,
    )
    .await?;
    setup.start(Service::Ingest).await?;
    let address = setup.config.ingest.listen.clone();
    let body = event("1");
    let basic = "Authorization: Basic Y2lvOnA6dw==\r\n";
    let to = |path: &str, request: Vec<u8>| {
        let text = String::from_utf8_lossy(&request).replace("/v1/webhooks/customerio/reporting", path);
        text.into_bytes()
    };
    let base = "/v1/webhooks/customerio/reporting";
    let old = aftersend::traffic::sign(b"test signing key", "1770000000", body.as_bytes());
    let old = format!(
        "POST {base} HTTP/1.1\r\nHost: x\r\nX-CIO-Timestamp: 1770000000\r\nX-CIO-Signature: {old}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let plain = |method: &str, path: &str, more: &str| {
        format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n{more}\r\n").into_bytes()
    };
    let cases: Vec<(Vec<u8>, u16, &str)> = vec![
        (signed(body.as_bytes(), ""), 200, "accepted"),
        (signed(b"[]", ""), 200, "dead"),
        (to(&format!("{base}/guarded"), signed(body.as_bytes(), &format!("x-hook: s3cret\r\n{basic}"))), 200, "accepted"),
        (to("/hooks/guarded/", signed(body.as_bytes(), &format!("X-Hook: s3cret\r\n{basic}"))), 200, "accepted"),
        (to("/hooks/guarded?a=b", signed(body.as_bytes(), &format!("X-Hook: s3cret\r\n{basic}"))), 200, "accepted"),
        (to("/hooks/guarded", signed(body.as_bytes(), basic)), 401, "secret_wrong"),
        (to("/hooks/guarded", signed(body.as_bytes(), "X-Hook: s3cret\r\n")), 401, "secret_wrong"),
        (to("/hooks/guarded", plain("POST", base, &format!("X-Hook: s3cret\r\n{basic}"))), 401, "signature_missing"),
        (plain("POST", &format!("{base}/unsigned"), "X-Hook: s3cret\r\n"), 200, "dead"),
        (plain("POST", &format!("{base}/unsigned"), "X-Hook: guess\r\n"), 401, "secret_wrong"),
        (plain("POST", base, ""), 401, "signature_missing"),
        (plain("POST", base, "X-CIO-Timestamp: 1\r\nX-CIO-Signature: zz\r\n"), 401, "signature_wrong"),
        (plain("POST", base, "X-CIO-Timestamp: 1\r\nX-CIO-Timestamp: 1\r\nX-CIO-Signature: 00\r\n"), 401, "signature_wrong"),
        (old.into_bytes(), 401, "timestamp_outside"),
        (plain("POST", &format!("{base}/nobody"), ""), 404, "unknown_source"),
        (plain("GET", "/", ""), 404, "unknown_source"),
        (plain("GET", base, ""), 405, "wrong_method"),
        (plain("PUT", "/hooks/guarded", ""), 405, "wrong_method"),
    ];
    for (request, status, result) in cases {
        let before = ended(&setup, result).await?;
        let answer = Wire::connect(&address).await?.ask(&request).await?;
        let shown = String::from_utf8_lossy(&request);
        assert_eq!(answer.status, status, "{shown}");
        assert!(answer.body.starts_with(&format!("{{\"result\":\"{result}\"")), "{shown}: {}", answer.body);
        assert_eq!(ended(&setup, result).await?, before + 1.0, "{shown}");
        assert_eq!(answer.head.contains("allow: post"), status == 405, "{}", answer.head);
    }
    setup.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_stops_customer_ios_stream_for_an_hour_is_in_the_log_with_advice() -> anyhow::Result<()> {
    let mut setup = Setup::new("").await?;
    setup.start(Service::Ingest).await?;
    let path = "/v1/webhooks/customerio/reporting";
    let requests = [("POST", "/nowhere"), ("GET", path), ("POST", path)];
    // At once, as what comes later is summed up a minute later.
    let requests: String = requests.map(|(method, path)| format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n")).concat();
    let mut wire = Wire::connect(&setup.config.ingest.listen).await?;
    wire.send(requests.as_bytes()).await?;
    for status in [404, 405, 401] {
        assert_eq!(wire.answer().await?.status, status);
    }
    aftersend_tests::eventually(Duration::from_secs(5), async || {
        let log = setup.process(Service::Ingest)?.log();
        for (source, result, advice) in
            [("unknown", "unknown_source", "[[source]]"), ("default", "wrong_method", "proxy"), ("default", "signature_missing", "proxy")]
        {
            let line = log.lines().find(|line| line.contains(&format!("result=\"{result}\""))).context("no line")?;
            anyhow::ensure!(
                line.contains(&format!("source.name=\"{source}\"")) && line.contains("requests=1") && line.contains(advice),
                "{line}"
            );
        }
        Ok(())
    })
    .await?;
    setup.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_is_summed_up_by_the_end_and_what_kafka_does_not_take_has_a_line_a_minute() -> anyhow::Result<()> {
    let mut setup = Setup::new("").await?;
    setup.start(Service::Ingest).await?;
    let address = setup.config.ingest.listen.clone();
    let mut wire = Wire::connect(&address).await?;
    // The topic takes no record any more that is worth the name.
    let admin: AdminClient<DefaultClientContext> = producer_config(&setup.config, "test", 10_000).create()?;
    let raw = setup.topics().raw();
    let altered = AlterConfig::new(ResourceSpecifier::Topic(&raw)).set("max.message.bytes", "100");
    for altered in admin.alter_configs(&[altered], &AdminOptions::new()).await? {
        altered.map_err(|(_, code)| anyhow::anyhow!("not altered: {code}"))?;
    }
    let request = signed(event("1").as_bytes(), "");
    aftersend_tests::eventually(Duration::from_secs(10), async || {
        let body = wire.ask(&request).await?.body;
        anyhow::ensure!(body.contains("produce_failed"), "{body}");
        Ok(())
    })
    .await?;
    for _ in 0..20 {
        assert_eq!(wire.ask(&request).await?.status, 503);
    }
    let mut slow = Wire::connect(&address).await?;
    slow.send(signed_head(b"{}", "Content-Length: 2\r\n").as_bytes()).await?;
    assert!(slow.answer().await?.body.contains("too_slow"));
    let failed = ended(&setup, "produce_failed").await?;

    drop((wire, slow));
    assert!(setup.stop(Service::Ingest).await?.success());
    let log = std::fs::read_to_string(setup.directory().join("Ingest.log"))?;
    assert_eq!(log.matches("a record was not delivered").count(), 1, "{log}");
    let summed_up = |result: &str| {
        let lines = log.lines().filter(|line| line.contains(&format!("result=\"{result}\"")));
        lines.filter_map(|line| line.split_once("requests=")?.1.split(' ').next()?.parse::<f64>().ok()).sum::<f64>()
    };
    assert_eq!((summed_up("produce_failed"), summed_up("too_slow")), (failed, 1.0), "{log}");
    setup.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_come_in_any_legal_form_and_are_stored_as_sent_with_the_id_of_the_answer() -> anyhow::Result<()> {
    let mut setup = Setup::new("").await?;
    setup.start(Service::Ingest).await?;
    let mut wire = Wire::connect(&setup.config.ingest.listen).await?;
    let bodies: Vec<String> = ["chunked", "expected", "first of two", "second of two", "in pieces"].map(event).into();
    let mut answers = Vec::new();

    let pieces: String =
        bodies[0].as_bytes().chunks(10).map(|piece| format!("{:x}\r\n{}\r\n", piece.len(), String::from_utf8_lossy(piece))).collect();
    let chunked = signed_head(bodies[0].as_bytes(), "Transfer-Encoding: chunked\r\n") + &pieces + "0\r\n\r\n";
    answers.push(wire.ask(chunked.as_bytes()).await?);

    let length = bodies[1].len();
    wire.send(signed_head(bodies[1].as_bytes(), &format!("Expect: 100-continue\r\nContent-Length: {length}\r\n")).as_bytes()).await?;
    assert_eq!(wire.answer().await?.status, 100, "the body is asked for");
    answers.push(wire.ask(bodies[1].as_bytes()).await?);

    let pipelined = [signed(bodies[2].as_bytes(), ""), signed(bodies[3].as_bytes(), "")].concat();
    answers.push(wire.ask(&pipelined).await?);
    answers.push(wire.answer().await?);

    for piece in signed(bodies[4].as_bytes(), "").chunks(37) {
        wire.send(piece).await?;
        tokio::task::yield_now().await;
    }
    answers.push(wire.answer().await?);

    let records = read_topic(&setup.config, &setup.topics().raw())?;
    assert_eq!(records.len(), bodies.len());
    for (body, answer) in bodies.iter().zip(answers) {
        assert_eq!(answer.status, 200, "{body}");
        let record = records.iter().find(|record| record.value.as_deref() == Some(body.as_bytes())).context("not stored")?;
        let id = record.headers().find(|(name, _)| *name == "ingest_id").map(|(_, id)| String::from_utf8_lossy(id).into_owned());
        let id = id.context("no ingest id")?;
        assert_eq!(answer.body, format!("{{\"result\":\"accepted\",\"ingest_id\":\"{id}\"}}\n"));
        assert_eq!(id.len(), 26);
    }

    // Who also asks for another protocol gets an answer in this one.
    let protocols = ["websocket", "h2c"];
    for protocol in protocols {
        let upgraded = signed(event(protocol).as_bytes(), &format!("Connection: Upgrade\r\nUpgrade: {protocol}\r\n"));
        let started = Instant::now();
        let mut wire = Wire::connect(&setup.config.ingest.listen).await?;
        let answer = wire.ask(&upgraded).await?;
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
        assert_eq!(answer.status, 200, "{protocol}");
        assert!(answer.head.contains("connection: close") && !answer.head.contains("upgrade"), "{}", answer.head);
        wire.closed().await?;
    }

    // No other client can have sent this one, so it need not cost an hour: encoded bytes are verified as they came, and kept.
    let encoded = b"\x1f\x8b\x08 no event";
    assert_eq!(wire.ask(&signed(encoded, "Content-Encoding: gzip\r\n")).await?.status, 200);
    assert_eq!(wire.ask(&signed(event("6").as_bytes(), "Content-Encoding: gzip\r\n")).await?.status, 200);
    assert_eq!(
        read_topic(&setup.config, &setup.topics().raw())?.len(),
        bodies.len() + protocols.len() + 1,
        "an event is an event, whatever the header says"
    );
    let dead = read_topic(&setup.config, &setup.topics().dead())?;
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].value.as_deref(), Some(&encoded[..]));
    assert!(dead[0].headers().any(|(name, value)| name == "reason" && value == b"body_encoded"));
    setup.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_is_spoken_without_tls_too() -> anyhow::Result<()> {
    let mut setup = Setup::new("").await?;
    setup.start(Service::Ingest).await?;
    let client = reqwest::Client::builder().http2_prior_knowledge().build()?;
    let body = event("h2");
    let signature = aftersend::traffic::sign(b"test signing key", "1770000000", body.as_bytes());
    let requests = (0..50).map(|_| {
        let request = client.post(setup.webhook_url("default")).header("X-CIO-Timestamp", "1770000000");
        request.header("X-CIO-Signature", &signature).body(body.clone()).send()
    });
    for response in futures_util::future::join_all(requests).await {
        let response = response?;
        assert_eq!((response.status().as_u16(), response.version()), (200, reqwest::Version::HTTP_2));
    }
    assert_eq!(read_topic(&setup.config, &setup.topics().raw())?.len(), 50);
    setup.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_answered_503_and_the_connection_goes_on() -> anyhow::Result<()> {
    let mut setup = Setup::new("").await?;
    setup.launch_with(Service::Ingest, &[("FAILPOINTS", "ingest-verified=2*panic(the payload in hand)")])?;
    setup.ready(Service::Ingest).await?;
    let mut wire = Wire::connect(&setup.config.ingest.listen).await?;
    let request = signed(event("1").as_bytes(), "");
    for status in [503, 503, 200, 200] {
        assert_eq!(wire.ask(&request).await?.status, status);
    }
    assert_eq!(ended(&setup, "panicked").await?, 2.0);
    setup.settles(Service::Ingest, "aftersend_ingest_in_flight_requests", 0.0).await?;
    let log = setup.process(Service::Ingest)?.log();
    assert!(log.contains("this code panicked") && !log.contains("the payload in hand"), "{log}");
    setup.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_as_http_is_answered_counted_and_closed() -> anyhow::Result<()> {
    let mut setup = Setup::new("").await?;
    setup.start(Service::Ingest).await?;
    let address = setup.config.ingest.listen.clone();
    let long = format!("POST / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(200_000));
    let many: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    for (request, status, error) in [
        ("NONSENSE\r\n\r\n", 400, "malformed"),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n", 400, "malformed"),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "malformed"),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "malformed"),
        ("POST / HTTP/1.1\r\nHost: x\r\n\x00: y\r\n\r\n", 400, "malformed"),
        (&format!("POST / HTTP/1.1\r\nHost: x\r\n{many}\r\n"), 431, "head_too_large"),
        (&long, 431, "head_too_large"),
    ] {
        let series = format!("aftersend_ingest_connection_errors_total{{error=\"{error}\"}}");
        let before = setup.metric(Service::Ingest, &series).await?;
        let mut wire = Wire::connect(&address).await?;
        // The door may close before it has taken all of it.
        let _ = wire.send(request.as_bytes()).await;
        let shown = &request[..request.len().min(80)];
        assert_eq!(wire.answer().await?.status, status, "{shown}");
        wire.closed().await?;
        aftersend_tests::eventually(Duration::from_secs(5), async || {
            anyhow::ensure!(setup.metric(Service::Ingest, &series).await? == before + 1.0, "not counted: {shown}");
            Ok(())
        })
        .await?;
    }
    // A head that never ends.
    let started = Instant::now();
    let mut wire = Wire::connect(&address).await?;
    wire.send(b"POST / HTTP/1.1\r\nHost:").await?;
    assert_eq!(wire.answer().await?.status, 408);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    wire.closed().await?;
    setup.settles(Service::Ingest, "aftersend_ingest_connections", 0.0).await?;
    setup.finish().await
}

use std::time::{Duration, Instant};

use aftersend::traffic::sign;
use aftersend_tests::{Service, Setup, Wire, eventually, read_topic, signed, signed_head};
use anyhow::ensure;

use super::{ended, event};

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_goes_to_raw_a_larger_one_leaves_its_head_in_dead_and_the_largest_gets_413() -> anyhow::Result<()> {
    let mut setup = Setup::configured("hard_limit_bytes = 6000000", "").await?;
    setup.start(Service::Ingest).await?;
    let large = |bytes: usize| format!("{{\"event_id\":\"large\",\"data\":{{\"content\":\"{}\"}}}}", "x".repeat(bytes));
    let accepted = large(4_194_304 - large(0).len());
    let mut wire = Wire::connect(&setup.config.ingest.listen).await?;
    assert_eq!(wire.ask(&signed(accepted.as_bytes(), "")).await?.status, 200);
    let above = large(4_194_305 - large(0).len());
    assert_eq!(wire.ask(&signed(above.as_bytes(), "")).await?.body.split('"').nth(3), Some("dead"));
    let far_above = large(5_900_000);
    let pieces: String =
        far_above.as_bytes().chunks(100_000).map(|piece| format!("{:x}\r\n{}\r\n", piece.len(), String::from_utf8_lossy(piece))).collect();
    let chunked = signed_head(far_above.as_bytes(), "Transfer-Encoding: chunked\r\n") + &pieces + "0\r\n\r\n";
    assert_eq!(wire.ask(chunked.as_bytes()).await?.status, 200);
    // Only what is signed is kept.
    let forged = String::from_utf8(signed(far_above.as_bytes(), ""))?.replace("xxxx", "yyyy");
    assert_eq!(Wire::connect(&setup.config.ingest.listen).await?.ask(forged.as_bytes()).await?.status, 401);

    // Refused by its length, before it is sent, and by its bytes where no length is given.
    let mut refused = Wire::connect(&setup.config.ingest.listen).await?;
    assert_eq!(refused.ask(signed_head(b"", "Content-Length: 6000001\r\n").as_bytes()).await?.status, 413);
    let mut refused = Wire::connect(&setup.config.ingest.listen).await?;
    refused.send(signed_head(b"", "Transfer-Encoding: chunked\r\n").as_bytes()).await?;
    let piece = format!("{:x}\r\n{}\r\n", 1_000_000, "x".repeat(1_000_000));
    for _ in 0..7 {
        // It may be refused before all of it is sent.
        let _ = refused.send(piece.as_bytes()).await;
    }
    assert_eq!(refused.answer().await?.status, 413);
    assert_eq!(ended(&setup, "too_large").await?, 2.0);

    let raw = read_topic(&setup.config, &setup.topics().raw())?;
    assert_eq!(raw.iter().map(|record| record.value.as_deref()).collect::<Vec<_>>(), [Some(accepted.as_bytes())]);
    let mut heads: Vec<_> =
        read_topic(&setup.config, &setup.topics().dead())?.into_iter().map(|record| record.value.unwrap_or_default()).collect();
    heads.sort_by_key(Vec::len);
    assert_eq!(heads, [above.as_bytes()[..65_536].to_vec(), far_above.as_bytes()[..65_536].to_vec()]);
    setup.settles(Service::Ingest, "aftersend_ingest_in_flight_bytes", 0.0).await?;
    setup.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_is_answered_in_time_and_what_is_above_a_limit_at_once() -> anyhow::Result<()> {
    let limits = "max_in_flight_requests = 1\nmax_in_flight_bytes = 1000000\nmax_body_bytes = 600000\nmax_connections = 7";
    let mut setup = Setup::configured(limits, "").await?;
    setup.start(Service::Ingest).await?;
    let address = setup.config.ingest.listen.clone();
    let body = event("1");
    let started = Instant::now();
    let mut slow = Vec::new();
    for _ in 0..3 {
        let mut wire = Wire::connect(&address).await?;
        wire.send(signed_head(body.as_bytes(), &format!("Content-Length: {}\r\n", body.len())).as_bytes()).await?;
        wire.send(&body.as_bytes()[..10]).await?;
        slow.push(wire);
    }
    // A fourth holds so many bytes that another body that has to be waited for has no room.
    let mut heavy = Wire::connect(&address).await?;
    heavy.send(signed_head(b"", "Content-Length: 590000\r\n").as_bytes()).await?;
    heavy.send(&vec![b'x'; 580_000]).await?;
    setup.settles(Service::Ingest, "aftersend_ingest_in_flight_bytes", 580_030.0).await?;
    let mut refused = Wire::connect(&address).await?;
    refused.send(signed_head(b"", "Content-Length: 590000\r\n").as_bytes()).await?;
    // It may be refused before all of it is sent.
    let _ = refused.send(&vec![b'x'; 300_000]).await;
    assert_eq!(refused.answer().await?.status, 503, "no room");
    // None of them is verified: what is there whole is taken.
    let mut whole = Wire::connect(&address).await?;
    assert_eq!(whole.ask(&signed(body.as_bytes(), "")).await?.status, 200);
    assert!(started.elapsed() < Duration::from_millis(2_500), "at once, not after the others: {:?}", started.elapsed());
    for wire in slow.iter_mut().chain([&mut heavy]) {
        assert_eq!(wire.answer().await?.status, 503, "a body that stops");
    }
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert_eq!((ended(&setup, "too_slow").await?, ended(&setup, "overloaded").await?), (4.0, 1.0));

    // What ended made room.
    drop((slow, heavy, refused, whole));
    setup.settles(Service::Ingest, "aftersend_ingest_connections", 0.0).await?;
    let mut wires = Vec::new();
    for _ in 0..9 {
        let mut wire = Wire::connect(&address).await?;
        let answer = wire.ask(&signed(body.as_bytes(), "")).await?;
        wires.push((wire, answer));
    }
    let statuses: Vec<_> = wires.iter().map(|(_, answer)| answer.status).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 200, 503, 503], "seven connections are served");
    assert!(wires[8].1.head.contains("connection: close"), "{}", wires[8].1.head);
    assert_eq!(ended(&setup, "too_many_connections").await?, 2.0);

    // While there are too many, who is refused leaves, and so does who says nothing.
    let mut silent = vec![Wire::connect(&address).await?];
    setup.settles(Service::Ingest, "aftersend_ingest_connections", 8.0).await?;
    let forged = signed_head(b"another body", &format!("Content-Length: {}\r\n", body.len())) + &body;
    let answer = wires[0].0.ask(forged.as_bytes()).await?;
    assert!(answer.status == 401 && answer.head.contains("connection: close"), "{}", answer.head);
    drop(wires);
    for number in 0..6 {
        let mut wire = Wire::connect(&address).await?;
        if number % 2 == 0 {
            wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await?;
        }
        silent.push(wire);
    }
    eventually(Duration::from_secs(10), async || {
        let status = Wire::connect(&address).await?.ask(&signed(body.as_bytes(), "")).await?.status;
        ensure!(status == 200, "{status}");
        Ok(())
    })
    .await?;
    drop(silent);

    // Broken off: nobody hears the answer, and it is counted.
    let mut wire = Wire::connect(&address).await?;
    wire.send(signed_head(body.as_bytes(), "Content-Length: 1000\r\n").as_bytes()).await?;
    wire.send(&body.as_bytes()[..10]).await?;
    wire.finish().await?;
    drop(wire);
    eventually(Duration::from_secs(5), async || {
        ensure!(ended(&setup, "incomplete").await? == 1.0, "not counted");
        Ok(())
    })
    .await?;
    setup.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_hot_key_cannot_starve_the_others() -> anyhow::Result<()> {
    let mut setup = Setup::configured("max_in_flight_requests = 40", "").await?;
    // Kafka takes records from nobody: what is in flight waits for it until the request's budget ends.
    setup.launch_with(Service::Ingest, &[("AFTERSEND__KAFKA__BROKERS", "127.0.0.1:1")])?;
    let address = setup.config.ingest.listen.clone();
    eventually(Duration::from_secs(10), async || Ok(Wire::connect(&address).await?)).await?;
    let hot = event("hot");
    let mut waiting = Vec::new();
    let started = Instant::now();
    for _ in 0..12 {
        let mut wire = Wire::connect(&address).await?;
        wire.send(&signed(hot.as_bytes(), "")).await?;
        waiting.push(wire);
    }
    eventually(Duration::from_secs(2), async || {
        ensure!(ended(&setup, "partition_overloaded").await? == 2.0, "a quarter of forty may wait for one partition");
        Ok(())
    })
    .await?;
    assert!(started.elapsed() < Duration::from_secs(2), "refused at once");
    // So may forty in all.
    for customer in 0..60 {
        let mut wire = Wire::connect(&address).await?;
        wire.send(&signed(event(&format!("other-{customer}")).as_bytes(), "")).await?;
        waiting.push(wire);
    }
    eventually(Duration::from_secs(2), async || {
        let refused = (ended(&setup, "partition_overloaded").await?, ended(&setup, "overloaded").await?);
        ensure!(refused.0 + refused.1 == 32.0 && refused.1 >= 20.0, "{refused:?}");
        Ok(())
    })
    .await?;
    for wire in &mut waiting {
        assert_eq!(wire.answer().await?.status, 503);
    }
    // Another partition has room: this request waits for Kafka, as it should.
    let other = event("cold");
    assert_eq!(Wire::connect(&address).await?.ask(&signed(other.as_bytes(), "")).await?.body.split('"').nth(3), Some("not_acknowledged"));
    setup.kill(Service::Ingest)?;
    setup.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_cannot_hold_the_largest_body_stops_ingest_with_the_command_that_helps() -> anyhow::Result<()> {
    let mut setup = Setup::configured("max_body_bytes = 5000000\nmax_in_flight_bytes = 30000000", "").await?;
    setup.start(Service::Ingest).await?;
    let body = format!("{{\"event_id\":\"x\",\"data\":{{\"content\":\"{}\"}}}}", "x".repeat(4_999_000));
    let signature = sign(b"test signing key", "1770000000", body.as_bytes());
    assert_eq!(setup.sender()?.post(body.as_bytes(), "1770000000", &signature).await?, 200, "migrate made room for it");
    setup.stop(Service::Ingest).await?;

    setup.launch_with(
        Service::Ingest,
        &[("AFTERSEND__INGEST__MAX_BODY_BYTES", "9000000"), ("AFTERSEND__INGEST__MAX_IN_FLIGHT_BYTES", "30000000")],
    )?;
    let log = setup.failed(Service::Ingest).await?;
    assert!(log.contains("--add-config max.message.bytes=10048576") && log.contains("ingest.max_body_bytes needs 10048576"), "{log}");
    setup.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_reset_has_one_ending_like_any_other() -> anyhow::Result<()> {
    let mut setup = Setup::new("").await?;
    // Kafka takes records from nobody: what is whole waits for it.
    setup.launch_with(Service::Ingest, &[("AFTERSEND__KAFKA__BROKERS", "127.0.0.1:1")])?;
    let address = setup.config.ingest.listen.clone();
    eventually(Duration::from_secs(10), async || Ok(Wire::connect(&address).await?)).await?;
    let body = |number: usize| event(&format!("{number:02}"));
    let mut wires = Vec::new();
    for number in 0..50 {
        let mut request = signed(body(number).as_bytes(), "");
        if number % 2 == 0 {
            request.truncate(request.len() - body(number).len() + 10);
        }
        let mut wire = Wire::connect(&address).await?;
        wire.send(&request).await?;
        wires.push(wire);
    }
    setup.settles(Service::Ingest, "aftersend_ingest_in_flight_bytes", (25 * (10 + body(0).len())) as f64).await?;
    assert_eq!(setup.metric(Service::Ingest, "aftersend_ingest_webhooks_total").await?, 0.0, "none has ended");
    wires.into_iter().try_for_each(Wire::reset)?;
    setup.settles(Service::Ingest, "aftersend_ingest_webhooks_total", 50.0).await?;
    assert_eq!(ended(&setup, "incomplete").await?, 50.0);
    setup.settles(Service::Ingest, "aftersend_ingest_in_flight_requests", 0.0).await?;
    setup.settles(Service::Ingest, "aftersend_ingest_connections", 0.0).await?;
    setup.kill(Service::Ingest)?;
    setup.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_was_accepted_or_is_late_whenever_its_client_resets() -> anyhow::Result<()> {
    let mut setup = Setup::new("").await?;
    setup.start(Service::Ingest).await?;
    let address = setup.config.ingest.listen.clone();
    for round in 0..20 {
        let mut wires = Vec::new();
        for number in 0..100 {
            let mut wire = Wire::connect(&address).await?;
            wire.send(&signed(event(&format!("{round}-{number}")).as_bytes(), "")).await?;
            wires.push(wire);
        }
        tokio::time::sleep(Duration::from_millis(round)).await;
        wires.into_iter().try_for_each(Wire::reset)?;
    }
    setup.settles(Service::Ingest, "aftersend_ingest_connections", 0.0).await?;
    eventually(Duration::from_secs(20), async || {
        let late = setup.metric(Service::Ingest, "aftersend_ingest_late_records_total").await?;
        let (accepted, records) = (ended(&setup, "accepted").await?, read_topic(&setup.config, &setup.topics().raw())?.len());
        ensure!(accepted + late == records as f64, "{accepted} accepted and {late} late of {records} records");
        Ok(())
    })
    .await?;
    setup.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_a_refused_body_is_not_read_for_ever() -> anyhow::Result<()> {
    let mut setup = Setup::configured("hard_limit_bytes = 5000000", "").await?;
    setup.start(Service::Ingest).await?;
    let address = setup.config.ingest.listen.clone();
    let nowhere = "POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let signed = signed_head(b"", "Transfer-Encoding: chunked\r\n");
    let large = format!("{:x}\r\n{}\r\n", 5_000_001, "x".repeat(5_000_001));
    for (head, body, status) in [(nowhere, "1\r\nx\r\n", 404), (&signed, &large, 413), (&signed, "zz\r\nbody\r\n", 408)] {
        let mut wire = Wire::connect(&address).await?;
        wire.send(head.as_bytes()).await?;
        let _ = wire.send(body.as_bytes()).await;
        let answer = wire.answer().await?;
        assert!(answer.status == status && answer.head.contains("connection: close"), "{status}: {}", answer.head);
        let answered = Instant::now();
        while wire.answer_within(Duration::from_millis(100)).await.is_none() {
            assert!(answered.elapsed() < Duration::from_secs(4), "{status}: still open");
            let _ = wire.send(b"1\r\nx\r\n").await;
        }
        wire.closed().await?;
    }
    // A body that was read to its end is in nobody's way.
    let mut wire = Wire::connect(&address).await?;
    for _ in 0..2 {
        let answer =
            wire.ask((signed_head(b"another body", "Transfer-Encoding: chunked\r\n") + "4\r\nbody\r\n0\r\n\r\n").as_bytes()).await?;
        assert!(answer.status == 401 && !answer.head.contains("connection: close"), "{}", answer.head);
    }
    setup.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_head_that_never_ends_ends_its_connection_and_a_kept_one_may_be_silent() -> anyhow::Result<()> {
    let mut setup = Setup::new("").await?;
    setup.start(Service::Ingest).await?;
    let address = setup.config.ingest.listen.clone();
    let nowhere = b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    let (mut kept, mut slow) = (Wire::connect(&address).await?, Wire::connect(&address).await?);
    assert_eq!((kept.ask(nowhere).await?.status, slow.ask(nowhere).await?.status), (404, 404));
    let begun = Instant::now();
    // Much at once, and then a byte now and then.
    slow.send(format!("POST / HTTP/1.1\r\nHost: x\r\nX: {}", "x".repeat(100_000)).as_bytes()).await?;
    while slow.answer_within(Duration::from_millis(200)).await.is_none() {
        assert!(begun.elapsed() < Duration::from_secs(6), "still open");
        let _ = slow.send(b"x").await;
    }
    assert!(begun.elapsed() > Duration::from_millis(2_500), "{:?}", begun.elapsed());

    // Head and body each in their time, on the connection that was silent for longer than either has.
    let body = event("1");
    let head = signed_head(body.as_bytes(), &format!("Content-Length: {}\r\n", body.len()));
    for piece in [&head[..40], &head[40..], &body[..10], &body[10..]] {
        kept.send(piece.as_bytes()).await?;
        tokio::time::sleep(Duration::from_millis(900)).await;
    }
    assert_eq!(kept.answer().await?.status, 200);
    setup.finish().await
}

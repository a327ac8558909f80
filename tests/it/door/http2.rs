//! What a client may say over HTTP/2 before anybody knows it, frame by frame.

use std::time::Duration;

use aftersend::traffic::sign;
use aftersend_tests::{SIGNING_KEY, Service, Setup, Wire, eventually};
use anyhow::ensure;

use super::{ended, event, resident_bytes};

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
pub(super) const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// Longest frame that may be sent.
const FRAME_BYTES: usize = 16 * 1024;
/// A field that came before, in one byte; the first is `x: y`.
const AGAIN: u8 = 0xbe;
/// Buffers of more connections than before, and of both ends of each.
const GROWTH_BYTES: u64 = 24 * 1024 * 1024;

pub(super) fn frame(kind: u8, flags: u8, stream: u32, body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes()[1..], &[kind, flags], &stream.to_be_bytes(), body].concat()
}

fn literal(form: u8, name: &str, value: &str) -> Vec<u8> {
    [&[form, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
}

/// POST to a path where no source is, with `x: y` to be referred to.
pub(super) fn head() -> Vec<u8> {
    [&[0x83, 0x86][..], &literal(0x00, ":path", "/nowhere"), &literal(0x00, ":authority", "x"), &literal(0x40, "x", "y")].concat()
}

/// A head over as many frames as it takes.
pub(super) fn frames(stream: u32, head: &[u8]) -> Vec<u8> {
    let pieces = head.len().div_ceil(FRAME_BYTES);
    let frame = |(number, piece): (usize, &[u8])| {
        let kind = if number == 0 { HEADERS } else { CONTINUATION };
        let end_stream = if number == 0 { END_STREAM } else { 0 };
        frame(kind, end_stream | if number + 1 == pieces { END_HEADERS } else { 0 }, stream, piece)
    };
    head.chunks(FRAME_BYTES).enumerate().flat_map(frame).collect()
}

fn again(times: usize) -> Vec<u8> {
    vec![AGAIN; times]
}

/// Says all of it and waits for the end of the connection.
async fn is_cut_off(address: &str, settings: &[u8], requests: &[Vec<u8>]) -> anyhow::Result<()> {
    let mut wire = Wire::connect(address).await?;
    wire.send(&[PREFACE, &frame(SETTINGS, 0, 0, settings)].concat()).await?;
    // It may be cut off before all of it is sent.
    let _ = wire.send(&requests.concat()).await;
    wire.rest().await.map(drop)
}

async fn errors(setup: &Setup, error: &str) -> anyhow::Result<f64> {
    setup.metric(Service::Ingest, &format!("aftersend_ingest_connection_errors_total{{error=\"{error}\"}}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_may_take_more_than_one_frame() -> anyhow::Result<()> {
    let mut setup = Setup::new("").await?;
    setup.start(Service::Ingest).await?;
    let head = head();
    let (first, second) = head.split_at(head.len() / 2);
    let request = [
        frame(HEADERS, END_STREAM, 1, first),
        frame(CONTINUATION, 0, 1, second),
        frame(CONTINUATION, END_HEADERS, 1, &[]),
        frames(3, &head),
    ];
    let mut wire = Wire::connect(&setup.config.ingest.listen).await?;
    wire.send(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), &request.concat()].concat()).await?;
    setup.settles(Service::Ingest, "aftersend_ingest_webhooks_total{result=\"unknown_source\"", 2.0).await?;
    assert_eq!(errors(&setup, "head_too_large").await?, 0.0);
    setup.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_preface_may_come_in_pieces_and_so_may_what_only_begins_like_it() -> anyhow::Result<()> {
    let mut setup = Setup::new("").await?;
    setup.start(Service::Ingest).await?;
    let requests = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &frames(1, &head())].concat();
    let mut wires = Vec::new();
    for cut in [1, 3, 11, 12, 20] {
        let mut wire = Wire::connect(&setup.config.ingest.listen).await?;
        wire.send(&requests[..cut]).await?;
        tokio::time::sleep(Duration::from_millis(50)).await;
        wire.send(&requests[cut..]).await?;
        wires.push(wire);
    }
    setup.settles(Service::Ingest, "aftersend_ingest_webhooks_total{result=\"unknown_source\"", 5.0).await?;
    for (begun, rest, status) in
        [("P", "OST /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", 404), ("PR", "OPFIND / HTTP/1.1\r\nHost: x\r\n\r\n", 404), ("PRI *", "", 408)]
    {
        let mut wire = Wire::connect(&setup.config.ingest.listen).await?;
        wire.send(begun.as_bytes()).await?;
        tokio::time::sleep(Duration::from_millis(50)).await;
        wire.send(rest.as_bytes()).await?;
        assert_eq!(wire.answer().await?.status, status, "{begun}");
    }
    setup.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_would_become_much_in_memory_end_their_connection_and_nobody_elses() -> anyhow::Result<()> {
    let mut setup = Setup::new("").await?;
    setup.start(Service::Ingest).await?;
    let (address, id) = (setup.config.ingest.listen.clone(), setup.process(Service::Ingest)?.id());
    let body = event("h2");
    let signature = sign(SIGNING_KEY.as_bytes(), "1770000000", body.as_bytes());
    let client = reqwest::Client::builder().http2_prior_knowledge().build()?;
    let ordinary = async || {
        let request = client.post(setup.webhook_url("default")).header("X-CIO-Timestamp", "1770000000");
        request.header("X-CIO-Signature", &signature).body(body.clone()).send().await.map(|response| response.status().as_u16())
    };
    // As many fields as a head may have, many times: memory has what it needs for that.
    let largest = [head(), again(90)].concat();
    let requests: Vec<_> = (0..500).flat_map(|number| frames(2 * number + 1, &largest)).collect();
    let mut wires = Vec::new();
    for _ in 0..30 {
        let mut wire = Wire::connect(&address).await?;
        wire.send(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), &requests].concat()).await?;
        wires.push(wire);
    }
    setup.settles(Service::Ingest, "aftersend_ingest_webhooks_total{result=\"unknown_source\"", 15_000.0).await?;
    drop(wires);
    assert_eq!(ordinary().await?, 200);
    let before = resident_bytes(id)?;

    let bomb = || [head(), again(400_000)].concat();
    let names: Vec<u8> = (0..33_000).flat_map(|number| literal(0x00, &format!("x-{number}"), "")).collect();
    let attacks: [(&str, Vec<Vec<u8>>, usize); 4] = [
        ("one field 400,000 times", vec![frames(1, &bomb())], 30),
        ("33,000 names", vec![frames(1, &[head(), names].concat())], 3),
        ("in one frame", vec![frames(1, &[head(), again(16_000)].concat())], 30),
        ("after a proper request", vec![frames(1, &head()), frames(3, &again(97))], 30),
    ];
    for (name, requests, times) in attacks {
        let counted = errors(&setup, "head_too_large").await?;
        for _ in 0..times {
            is_cut_off(&address, &[], &requests).await?;
        }
        eventually(Duration::from_secs(5), async || {
            let now = errors(&setup, "head_too_large").await? - counted;
            ensure!(now == times as f64, "{now} of {times} counted: {name}");
            Ok(())
        })
        .await?;
        assert_eq!(ordinary().await?, 200, "after {name}");
    }

    // Answers that are not taken (no byte of a body may be sent) are not waited for without end.
    let no_window = [0, 4, 0, 0, 0, 0];
    let requests: Vec<_> = (0..20_000).map(|number| frames(2 * number + 1, &head())).collect();
    for _ in 0..5 {
        is_cut_off(&address, &no_window, &requests).await?;
    }
    eventually(Duration::from_secs(5), async || {
        ensure!(errors(&setup, "too_many_streams").await? == 5.0, "not counted");
        Ok(())
    })
    .await?;
    assert_eq!(ordinary().await?, 200);

    let after = resident_bytes(id)?;
    eprintln!("{} MiB before, {} MiB after", before >> 20, after >> 20);
    assert!(after <= before + GROWTH_BYTES, "{} KiB before, {} KiB after", before >> 10, after >> 10);
    assert_eq!(ended(&setup, "panicked").await?, 0.0);
    let process = setup.process(Service::Ingest)?;
    process.check()?;
    let log = process.log();
    assert!(!log.contains("ERROR") && !log.contains("panicked"), "{log}");
    setup.finish().await
}

//! A hundred thousand requests that no proper client sends, drawn at random from a seed that a failure names.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use aftersend_tests::{Answer, Service, Setup, Wire, eventually, read_topic, signed, signed_head};
use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::{ended, event, resident_bytes};

const REQUESTS: u32 = 100_000;
/// Memory is measured after these, when every thread has its buffers and the allocator its arenas, and again at the end.
const WARM_UP: u32 = 20_000;
const CONNECTIONS: u32 = 64;
const SLOW_CONNECTIONS: u32 = 300;
/// Head and body have about 3 s each; the rest is for a busy machine.
const SLOWEST: Duration = Duration::from_secs(6);
const GROWTH_BYTES: u64 = 8 * 1024 * 1024;
const LOG_LINES: usize = 20;
const PATH: &str = "/v1/webhooks/customerio/reporting";

/// Something to send, and what may come of it.
struct Attempt {
    bytes: Vec<u8>,
    requests: u32,
    then: Then,
}

/// What is done after sending, with the statuses that may be answered.
#[derive(Clone, Copy)]
enum Then {
    /// One answer to each request; the connection goes on, unless an answer says otherwise.
    Answers(&'static [u16]),
    /// One answer, to HEAD.
    Head(u16),
    /// As many answers as come, and the connection is closed by the door.
    Closed(&'static [u16]),
    /// The same, after the end of what we send.
    Finish(&'static [u16]),
    /// Any bytes, after the end of what we send: another protocol.
    Rest,
    /// Nothing is read.
    Close,
    Reset,
}

/// What was answered.
#[derive(Default)]
struct Tally {
    requests: u32,
    statuses: BTreeMap<u16, u64>,
    accepted: u64,
    dead: u64,
}

impl Tally {
    fn count(&mut self, attempt: &Attempt, answers: &[Answer]) -> anyhow::Result<()> {
        let allowed = match attempt.then {
            Then::Answers(allowed) | Then::Closed(allowed) | Then::Finish(allowed) => allowed,
            Then::Head(_) | Then::Rest | Then::Close | Then::Reset => return Ok(()),
        };
        for answer in answers {
            ensure!(allowed.contains(&answer.status), "{} for {}", answer.status, shown(&attempt.bytes));
            *self.statuses.entry(answer.status).or_default() += 1;
            self.accepted += u64::from(answer.body.contains("\"accepted\""));
            self.dead += u64::from(answer.body.contains("\"dead\""));
        }
        Ok(())
    }

    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.accepted += other.accepted;
        self.dead += other.dead;
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
    }
}

fn shown(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(600)].escape_ascii().to_string()
}

fn noise(rng: &mut StdRng, most: usize) -> Vec<u8> {
    let length = rng.random_range(0..=most);
    (0..length).map(|_| rng.random()).collect()
}

fn hex(rng: &mut StdRng, digits: usize) -> String {
    (0..digits).map(|_| char::from(b"0123456789abcdefABCDEF"[rng.random_range(0..22)])).collect()
}

/// A request with the headers of a signature that nobody made.
fn forged(rng: &mut StdRng) -> Vec<u8> {
    let (body, time, signature) = (noise(rng, 700), rng.random::<u32>(), hex(rng, 64));
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nHost: x\r\nX-CIO-Timestamp: {time}\r\nX-CIO-Signature: {signature}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), &body].concat()
}

/// One of two headers is not what it should be.
fn malformed_headers(rng: &mut StdRng) -> Vec<u8> {
    let (time, signature) = ("X-CIO-Timestamp: 1770000000\r\n", format!("X-CIO-Signature: {}\r\n", hex(rng, 64)));
    let odd = rng.random_range(0..66);
    let lines: Vec<u8> = match rng.random_range(0..10) {
        0 => time.into(),
        1 => signature.into(),
        2 => format!("{time}{time}{signature}").into(),
        3 => format!("{time}{signature}{signature}").into(),
        4 => format!("{time}X-CIO-Signature: {}\r\n", hex(rng, if odd == 64 { 0 } else { odd })).into(),
        5 => format!("{time}X-CIO-Signature: {}\r\n", "g".repeat(64)).into(),
        6 => format!("X-CIO-Timestamp: {}\r\n{signature}", "9".repeat(21 + odd)).into(),
        7 => format!("X-CIO-Timestamp: -{odd}\r\n{signature}").into(),
        8 => [b"X-CIO-Timestamp: 17\xff\xfe\r\n", signature.as_bytes()].concat(),
        _ => [time.as_bytes(), b"X-CIO-Signature: \xc3\x28\xa0\xa1\r\n"].concat(),
    };
    [format!("POST {PATH} HTTP/1.1\r\nHost: x\r\n").as_bytes(), &lines, b"X-Odd: \x80\xff\r\nContent-Length: 2\r\n\r\n{}"].concat()
}

/// Signed as by Customer.io, and no event, or the oddest one.
fn signed_garbage(rng: &mut StdRng) -> Vec<u8> {
    let body = match rng.random_range(0..7) {
        0 => noise(rng, 2_000),
        1 => Vec::new(),
        2 => event("cut").into_bytes()[..rng.random_range(0..100)].to_vec(),
        3 => [b"{\"a\":\"", &noise(rng, 50)[..], b"\xff\"}"].concat(),
        4 => vec![b'['; rng.random_range(1..20_000)],
        5 => b"{\"a\":".repeat(rng.random_range(1..5_000)),
        _ => b"{\"event_id\":7,\"data\":[]}".to_vec(),
    };
    signed(&body, "")
}

/// A signed request that ends inside itself, wherever that is.
fn truncated(rng: &mut StdRng) -> Vec<u8> {
    let mut request = signed(event("cut").as_bytes(), "");
    request.truncate(rng.random_range(0..request.len()));
    request
}

/// A request that no key signed, with some bytes changed, left out or put in.
fn mutated(rng: &mut StdRng) -> Vec<u8> {
    let mut request = forged(rng);
    for _ in 0..rng.random_range(1..8) {
        // Most of it in the head.
        let at = rng.random_range(0..request.len().min(250));
        match rng.random_range(0..3) {
            0 => request[at] = rng.random(),
            1 => drop(request.drain(at..(at + rng.random_range(1..10)).min(request.len()))),
            _ => drop(request.splice(at..at, noise(rng, 10))),
        }
        if request.is_empty() {
            return request;
        }
    }
    request
}

fn bad_chunks(rng: &mut StdRng) -> Vec<u8> {
    let chunks: &[u8] = [
        &b"xyz\r\nbody\r\n"[..],
        b"fffffffffffffffff\r\nbody\r\n",
        b"ffffffffffffffff\r\nbody\r\n",
        b"-1\r\nbody\r\n",
        b"4\r\nbodybody\r\n",
        b"4 ; x\r\nbody\r\n0\n\n",
        b"\r\n\r\n",
        b"4\nbody\n",
        b"4\r\nbo",
        b"4\r\nbody\r\n0\r\nTrailer: \xff\r\n",
        b"\x00\r\n",
    ]
    .choose(rng)
    .copied()
    .unwrap_or_default();
    let encoding =
        ["chunked", "chunked, chunked", "gzip, chunked", "chunked, gzip", "identity", "\u{1}"].choose(rng).copied().unwrap_or_default();
    [signed_head(b"body", &format!("Transfer-Encoding: {encoding}\r\n")).as_bytes(), chunks].concat()
}

fn wrong_path(rng: &mut StdRng) -> Vec<u8> {
    let path = match rng.random_range(0..6) {
        0 => format!("/{}", hex(rng, 3_000)),
        1 => format!("{PATH}/{}", hex(rng, 8)),
        2 => format!("{PATH}/../../%2e%2e/%ff%00"),
        3 => "/".repeat(1_000),
        4 => format!("{PATH}%"),
        _ => "*".to_owned(),
    };
    format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").into_bytes()
}

fn too_large_a_head(rng: &mut StdRng) -> Vec<u8> {
    let start = format!("POST {PATH} HTTP/1.1\r\nHost: x\r\n");
    let more = match rng.random_range(0..3) {
        // The parser stops at 128 KiB, but takes what came with the last read.
        0 => format!("X: {}\r\n", "x".repeat(rng.random_range(300_000..400_000))),
        1 => (0..rng.random_range(120..2_000)).map(|n| format!("X-{n}: y\r\n")).collect(),
        _ => return format!("POST /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(300_000)).into_bytes(),
    };
    format!("{start}{more}\r\n").into_bytes()
}

fn attempt(rng: &mut StdRng) -> Attempt {
    let one = |bytes, then| Attempt { bytes, requests: 1, then };
    let broken: &[u16] = &[400, 401, 404, 405, 408, 413, 431];
    match rng.random_range(0..1_000) {
        0..150 => one(format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").into_bytes(), Then::Answers(&[401])),
        150..380 => one(forged(rng), Then::Answers(&[401])),
        380..500 => one(malformed_headers(rng), Then::Answers(&[401])),
        500..580 => {
            let method =
                ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "FROB", "post", "HEAD"].choose(rng).copied().unwrap_or("GET");
            let then = if method == "HEAD" { Then::Head(405) } else { Then::Answers(&[405]) };
            one(format!("{method} {PATH} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes(), then)
        }
        580..660 => one(wrong_path(rng), Then::Answers(&[404])),
        660..800 => one(signed_garbage(rng), Then::Answers(&[200, 503])),
        800..840 => {
            let requests = rng.random_range(2..20);
            let pipelined = (0..requests).flat_map(|_| forged(rng)).chain(b"\x00 no HTTP \xff\r\n\r\n".to_vec());
            Attempt { bytes: pipelined.collect(), requests: requests + 1, then: Then::Closed(&[401, 400]) }
        }
        840..880 => one(truncated(rng), Then::Finish(&[400, 408])),
        880..900 => one(truncated(rng), Then::Close),
        900..920 => one(truncated(rng), Then::Reset),
        920..945 => one(mutated(rng), Then::Finish(broken)),
        945..960 => one(bad_chunks(rng), Then::Finish(broken)),
        960..970 => one([&noise(rng, 600)[..], b"\r\n\r\n"].concat(), Then::Finish(broken)),
        970..980 => {
            let length = rng.random_range(67_108_865..u64::MAX);
            one(signed_head(b"", &format!("Content-Length: {length}\r\n")).into_bytes(), Then::Finish(&[413]))
        }
        980..983 => one(signed_head(b"", &format!("Content-Length: {}0\r\n", u64::MAX)).into_bytes(), Then::Finish(&[400])),
        983..985 => one(too_large_a_head(rng), Then::Closed(&[431])),
        985..990 => one([&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &noise(rng, 300)].concat(), Then::Rest),
        990..993 => one([&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], &noise(rng, 517)].concat(), Then::Finish(&[400])),
        993..997 => one(b"POST /\xff\xfe\x80 HTTP/1.1\r\nHost: \xff\r\n\r\n".to_vec(), Then::Finish(&[400, 404])),
        _ => one(format!("CONNECT {PATH} HTTP/1.1\r\nHost: x\r\n\r\nthrough").into_bytes(), Then::Finish(&[400, 404, 405])),
    }
}

/// Sends `requests` one after the other, over one connection for as long as it is open.
async fn knock(address: &str, seed: u64, requests: u32) -> anyhow::Result<Tally> {
    let (mut rng, mut open, mut tally) = (StdRng::seed_from_u64(seed), None, Tally::default());
    while tally.requests < requests {
        let attempt = attempt(&mut rng);
        tally.requests += attempt.requests;
        let mut wire = match open.take() {
            Some(wire) => wire,
            None => Wire::connect(address).await?,
        };
        let tried = send(&mut wire, &attempt).await.with_context(|| shown(&attempt.bytes));
        let answers = tried?;
        tally.count(&attempt, &answers)?;
        match attempt.then {
            Then::Rest => drop(wire.rest().await.with_context(|| shown(&attempt.bytes))?),
            Then::Reset => wire.reset()?,
            Then::Answers(_) if answers.iter().all(|answer| !answer.head.contains("connection: close")) => open = Some(wire),
            _ => {}
        }
    }
    Ok(tally)
}

async fn send(wire: &mut Wire, attempt: &Attempt) -> anyhow::Result<Vec<Answer>> {
    match attempt.then {
        Then::Answers(_) => Ok(vec![wire.ask(&attempt.bytes).await?]),
        Then::Head(status) => {
            wire.send(&attempt.bytes).await?;
            let answer = wire.answer_to_head().await?;
            ensure!(answer.status == status, "{}", answer.status);
            Ok(vec![answer])
        }
        // The door may close before it has taken all of it.
        Then::Closed(_) => {
            let _ = wire.send(&attempt.bytes).await;
            wire.answers().await
        }
        Then::Finish(_) => {
            let _ = wire.send(&attempt.bytes).await;
            let _ = wire.finish().await;
            wire.answers().await
        }
        Then::Rest => {
            let _ = wire.send(&attempt.bytes).await;
            let _ = wire.finish().await;
            Ok(Vec::new())
        }
        Then::Close | Then::Reset => {
            let _ = wire.send(&attempt.bytes).await;
            Ok(Vec::new())
        }
    }
}

async fn storm(address: &str, seed: u64, requests: u32) -> anyhow::Result<Tally> {
    let each = requests.div_ceil(CONNECTIONS);
    let knocking = (0..CONNECTIONS).map(|number| {
        let address = address.to_owned();
        tokio::spawn(async move { knock(&address, seed.wrapping_add(u64::from(number)), each).await })
    });
    let mut all = Tally::default();
    for tally in try_join_all(knocking).await? {
        all.add(&tally?);
    }
    Ok(all)
}

/// Sends a request byte by byte and never to its end; how long that went on.
async fn trickle(address: String, number: u32) -> anyhow::Result<Duration> {
    let head = signed_head(b"", "Content-Length: 1000\r\n");
    let (at_once, endless): (&[u8], &[u8]) = match number % 5 {
        0 => (b"P", b"OST / HTTP/1.1\r\nHost: x\r\nX: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
        1 => (b"POST / HTTP/1.1\r\n", b""),
        2 => (head.as_bytes(), b"{\"a\":\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
        3 => (
            &signed_head(b"", "Transfer-Encoding: chunked\r\n").into_bytes(),
            b"1\r\nx\r\n1\r\nx\r\n1\r\nx\r\n1\r\nx\r\n1\r\nx\r\n1\r\nx\r\n1\r\nx\r\n",
        ),
        // The preface without its last byte: with it there is a connection, which may idle.
        _ => (b"PRI * HTTP/2.0\r\n", b"\r\nSM\r\n\r"),
    };
    let mut wire = Wire::connect(&address).await?;
    let started = Instant::now();
    wire.send(at_once).await?;
    let mut rest = endless.iter();
    loop {
        match wire.answer_within(Duration::from_millis(150)).await {
            Some(Ok(answer)) => {
                ensure!([408, 503].contains(&answer.status), "{} for the slow request {number}", answer.status);
                return Ok(started.elapsed());
            }
            Some(Err(_)) => return Ok(started.elapsed()),
            None => {}
        }
        ensure!(started.elapsed() < SLOWEST, "the slow request {number} is still open");
        if let Some(byte) = rest.next() {
            let _ = wire.send(&[*byte]).await;
        }
    }
}

fn open_files(id: u32) -> anyhow::Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{id}/fd"))?.count())
}

/// Waits until nothing is left of any request.
async fn all_let_go(setup: &Setup, id: u32, files: usize) -> anyhow::Result<()> {
    eventually(Duration::from_secs(10), async || {
        for gauge in ["connections", "in_flight_requests", "in_flight_bytes", "queued_records"] {
            let left = setup.metric(Service::Ingest, &format!("aftersend_ingest_{gauge}")).await?;
            ensure!(left == 0.0, "{left} {gauge}");
        }
        let now = open_files(id)?;
        ensure!(now <= files, "{now} open files, {files} before");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_malformed_requests_get_no_5xx_but_503_and_leave_nothing_behind() -> anyhow::Result<()> {
    let seed = std::env::var("ABUSE_SEED").ok().map_or_else(|| Ok(rand::random()), |seed| seed.parse())?;
    abuse(seed).await.with_context(|| format!("again with ABUSE_SEED={seed}"))
}

async fn abuse(seed: u64) -> anyhow::Result<()> {
    let mut setup = Setup::new("").await?;
    setup.start(Service::Ingest).await?;
    let address = setup.config.ingest.listen.clone();
    let ordinary = async |id: &str| Wire::connect(&address).await?.ask(&signed(event(id).as_bytes(), "")).await;
    assert_eq!(ordinary("before").await?.status, 200);
    assert_eq!(Wire::connect(&address).await?.ask(&signed(b"[]", "")).await?.status, 200);
    let id = setup.process(Service::Ingest)?.id();
    // Connections to Kafka come and go.
    let files = open_files(id)? + 8;
    let lines = setup.process(Service::Ingest)?.log().lines().count();

    let started = Instant::now();
    let slow = try_join_all((0..SLOW_CONNECTIONS).map(|number| tokio::spawn(trickle(address.clone(), number))));
    let (warm_up, slow) = tokio::join!(storm(&address, seed, WARM_UP), slow);
    let slowest = slow?.into_iter().collect::<anyhow::Result<Vec<_>>>()?.into_iter().max().unwrap_or_default();
    let mut tally = warm_up?;
    all_let_go(&setup, id, files).await?;
    let warm = resident_bytes(id)?;
    tally.add(&storm(&address, seed.wrapping_add(1_000), REQUESTS - WARM_UP).await?);
    let took = started.elapsed();
    all_let_go(&setup, id, files).await?;
    let end = resident_bytes(id)?;
    eprintln!(
        "{} requests in {:.1} s, slow ones up to {:.1} s, {} MiB and then {} MiB, {:?}",
        tally.requests,
        took.as_secs_f32(),
        slowest.as_secs_f32(),
        warm >> 20,
        end >> 20,
        tally.statuses
    );

    assert!(tally.requests >= REQUESTS);
    assert!(end <= warm + GROWTH_BYTES, "{} KiB after the first {WARM_UP} requests, {} KiB at the end", warm >> 10, end >> 10);
    let process = setup.process(Service::Ingest)?;
    process.check()?;
    let log = process.log();
    let logged = log.lines().count() - lines;
    assert!(logged <= LOG_LINES && !log.contains("panicked"), "{logged} lines: {log}");
    assert_eq!(ended(&setup, "panicked").await?, 0.0);

    assert_eq!(ordinary("after").await?.status, 200);
    // Every 200 is a record, and nothing else is, but for the three ordinary requests and what Kafka took after its 503.
    assert_eq!(ended(&setup, "accepted").await?, tally.accepted as f64 + 2.0);
    assert_eq!(ended(&setup, "dead").await?, tally.dead as f64 + 1.0);
    assert_eq!(tally.statuses.get(&200).copied(), Some(tally.accepted + tally.dead));
    let late = setup.metric(Service::Ingest, "aftersend_ingest_late_records_total").await?;
    let (raw, dead) = (read_topic(&setup.config, &setup.topics().raw())?, read_topic(&setup.config, &setup.topics().dead())?);
    assert_eq!((raw.len() + dead.len()) as f64, (tally.accepted + tally.dead) as f64 + 3.0 + late);
    assert!(raw.len() as u64 >= tally.accepted + 2 && dead.len() as u64 > tally.dead, "{} in raw, {} in dead", raw.len(), dead.len());
    setup.finish().await
}

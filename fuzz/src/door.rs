//! Any bytes as what a client sends, through the HTTP parser of the server and what ingest does before it asks Kafka.
//!
//! Six bytes say how: size of the pieces, the two limits of a body, room that others take, how often the body is repeated, peer and key. The rest is
//! what comes over the connection.

#![allow(clippy::expect_used, clippy::panic, reason = "a broken promise ends the run")]

use std::net::IpAddr;
use std::sync::LazyLock;

use actix_http::error::PayloadError;
use actix_http::h1::{Codec, Message, MessageType};
use actix_http::{Request, ServiceConfig};
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::web::{Bytes, BytesMut};
use aftersend_ingest::fuzzing::{Admission, Answer, Body, Limits, Secrets, client_address, read};
use aftersend_ingest::{HeaderError, SignatureHeaders, SigningKeys};
use aftersend_pipeline::config::{self, Config, Network};
use aftersend_schemas::event::Event;
use aftersend_schemas::identity::Subject;
use aftersend_schemas::privacy::Privacy;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tokio::task::LocalSet;

const KEYS: [&[u8]; 2] = [b"an older key", b"test signing key"];
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PEERS: [&str; 5] = ["203.0.113.9", "10.0.0.1", "::1", "::ffff:10.0.0.2", "2001:db8::1"];
/// Below, at and above the head that is kept of what is too large.
const SIZES: [usize; 10] = [1, 2, 7, 100, 1_000, 65_535, 65_536, 65_537, 100_000, 1_000_000];
/// Repeated bodies are no longer than this.
const LARGEST: usize = 150_000;
const HEAD_BYTES: usize = 65_536;

struct Configured {
    keys: SigningKeys,
    trusted: Vec<Network>,
    secrets: Secrets,
    privacy: Privacy,
}

static CONFIGURED: LazyLock<Configured> = LazyLock::new(|| {
    let toml = r#"
        [ingest]
        trusted_proxies = ["10.0.0.0/8", "::1"]
        [privacy]
        hash_keys = [{ key = "test hash key" }]
        [[source]]
        name = "default"
        secret_header = { name = "X-Hook", value = "s3cret" }
        basic_auth = { user = "cio", password = "p:w" }
    "#;
    let config = Config::parse(toml, []).expect("a configuration");
    Configured {
        keys: SigningKeys::new(KEYS.into_iter()),
        trusted: config.ingest.trusted_proxies.clone(),
        secrets: Secrets::new(&config.sources[0]),
        privacy: config.privacy.privacy().expect("keys to hash with"),
    }
});

thread_local! {
    /// Its clock is a task that never runs: nobody asks for the time.
    static SERVER: ServiceConfig = {
        let tasks = LocalSet::new();
        let config = {
            let _entered = tasks.enter();
            ServiceConfig::default()
        };
        // Else they would end with the thread, in no certain order.
        std::mem::forget(tasks);
        config
    };
}

/// How the bytes come, and what room there is for them.
struct Circumstances {
    limits: Limits,
    others: usize,
    repeated: usize,
    peer: IpAddr,
    key: usize,
}

/// A request as the parser gave it.
struct Parsed {
    request: Request,
    pieces: Vec<Bytes>,
    is_whole: bool,
}

/// Any bytes over a connection.
pub(crate) fn door(data: &[u8]) {
    let Some((&[step, body, hard, others, repeated, rest], sent)) = data.split_first_chunk() else { return };
    let size = |byte: u8| SIZES[usize::from(byte) % SIZES.len()];
    let max_body_bytes = size(body);
    let circumstances = Circumstances {
        limits: Limits { max_body_bytes, hard_limit_bytes: size(hard).max(max_body_bytes) },
        others: if others.is_multiple_of(2) { 0 } else { size(others / 2) },
        repeated: 1 + usize::from(repeated) * usize::from(repeated),
        peer: PEERS[usize::from(rest) % PEERS.len()].parse().expect("an address"),
        key: usize::from(rest) % KEYS.len(),
    };
    for parsed in parse(sent, 1 + usize::from(step) * usize::from(step)) {
        let headers = parsed.request.head().headers();
        check_secrets(headers);
        check_address(circumstances.peer, headers);
        check_body(headers, &parsed, &circumstances);
    }
}

/// Every request in what was sent, up to where it is no HTTP.
fn parse(sent: &[u8], step: usize) -> Vec<Parsed> {
    let (mut codec, mut buffer, mut requests) = (Codec::new(SERVER.with(Clone::clone)), BytesMut::new(), Vec::<Parsed>::new());
    for piece in sent.chunks(step) {
        buffer.extend_from_slice(piece);
        loop {
            match (codec_next(&mut codec, &mut buffer), requests.last_mut()) {
                (Ok(Some(Message::Item(request))), _) => {
                    let is_whole = matches!(codec.message_type(), MessageType::None);
                    requests.push(Parsed { request, pieces: Vec::new(), is_whole });
                }
                (Ok(Some(Message::Chunk(Some(bytes)))), Some(last)) => last.pieces.push(bytes),
                (Ok(Some(Message::Chunk(None))), Some(last)) => last.is_whole = true,
                (Ok(Some(Message::Chunk(_))), None) => panic!("a body without a request"),
                (Ok(None), _) => break,
                (Err(_), _) => return requests,
            }
        }
    }
    requests
}

fn codec_next(codec: &mut Codec, buffer: &mut BytesMut) -> Result<Option<Message<Request>>, actix_http::error::ParseError> {
    tokio_util::codec::Decoder::decode(codec, buffer)
}

/// All values of a header, by another way than the look-up that ingest uses.
fn values<'h>(headers: &'h HeaderMap, name: &str) -> Vec<&'h [u8]> {
    headers.iter().filter(|(known, _)| known.as_str() == name).map(|(_, value)| value.as_bytes()).collect()
}

/// Both secrets, once each, with their values.
fn check_secrets(headers: &HeaderMap) {
    let hook = matches!(values(headers, "x-hook")[..], [value] if value.trim_ascii() == b"s3cret");
    let basic = match values(headers, "authorization")[..] {
        [value] => {
            value.len() > 6
                && value[..6].eq_ignore_ascii_case(b"basic ")
                && value[6..].trim_ascii() == STANDARD.encode("cio:p:w").as_bytes()
        }
        _ => false,
    };
    assert_eq!(CONFIGURED.secrets.are_in(headers), hook && basic);
}

/// Nobody is believed but trusted proxies, and nothing that a client wrote in front of what they say.
fn check_address(peer: IpAddr, headers: &HeaderMap) {
    let trusted = &CONFIGURED.trusted;
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let found = client_address(peer, headers, trusted);
    assert_eq!(found.map(|address| address.to_canonical()), found);
    if !is_trusted(peer) {
        assert_eq!(found, Some(peer.to_canonical()), "a stranger is believed");
    }
    if found.is_none_or(|address| !is_trusted(address)) {
        let mut forged = HeaderMap::new();
        forged.append(FORWARDED_FOR, HeaderValue::from_static("198.51.100.66"));
        headers.get_all(FORWARDED_FOR).for_each(|value| forged.append(FORWARDED_FOR, value.clone()));
        assert_eq!(client_address(peer, &forged, trusted), found, "what a client wrote counts");
    }
}

/// What the two headers are, judged in another way.
fn claim(headers: &HeaderMap) -> Result<(String, [u8; 32]), HeaderError> {
    let [timestamp, signature] = ["x-cio-timestamp", "x-cio-signature"].map(|name| match values(headers, name)[..] {
        [] => Err(HeaderError::Missing),
        [value] => Ok(value.trim_ascii()),
        _ => Err(HeaderError::Malformed),
    });
    let (timestamp, signature) = (timestamp?, signature?);
    let text = String::from_utf8(timestamp.to_vec()).map_err(|_| HeaderError::Malformed)?;
    let is_time = (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let signature = hex::decode(signature).ok().and_then(|bytes| bytes.try_into().ok());
    Ok((Some(text).filter(|_| is_time).ok_or(HeaderError::Malformed)?, signature.ok_or(HeaderError::Malformed)?))
}

/// The signature as Customer.io makes it.
fn sign(key: &[u8], timestamp: &str, body: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("keys have any length");
    mac.update(b"v0:");
    mac.update(timestamp.as_bytes());
    mac.update(b":");
    mac.update(body);
    mac.finalize().into_bytes().into()
}

/// The body as claimed to be signed, and signed by us.
fn check_body(headers: &HeaderMap, parsed: &Parsed, circumstances: &Circumstances) {
    let once: usize = parsed.pieces.iter().map(Bytes::len).sum();
    let times = circumstances.repeated.min(LARGEST / once.max(1)).max(1);
    let pieces: Vec<Bytes> = (0..times).flat_map(|_| parsed.pieces.iter().cloned()).collect();
    let body = pieces.concat();

    let claimed = claim(headers);
    let read = SignatureHeaders::read(headers);
    assert_eq!(read.map(|headers| headers.timestamp.to_owned()), claimed.clone().map(|(timestamp, _)| timestamp));
    if let (Ok(read), Ok((timestamp, signature))) = (read, &claimed) {
        assert_eq!(read.seconds(), timestamp.parse::<u128>().expect("digits").min(i64::MAX as u128) as i64);
        let made_by = KEYS.iter().position(|key| sign(key, timestamp, &body) == *signature);
        check_reading(&pieces, &body, parsed.is_whole, read, made_by, circumstances);
    }

    let timestamp = claimed.map_or_else(|_| "1770000000".to_owned(), |(timestamp, _)| timestamp);
    let signature = hex::encode(sign(KEYS[circumstances.key], &timestamp, &body));
    let signed = SignatureHeaders::parse(timestamp.as_bytes(), signature.as_bytes()).expect("we wrote them");
    let is_kept = check_reading(&pieces, &body, parsed.is_whole, signed, Some(circumstances.key), circumstances);
    if let (true, Ok(event)) = (is_kept, Event::read(&body)) {
        assert!(!Subject::of(&event, &CONFIGURED.privacy).key().is_empty(), "a record without a key");
    }
}

/// Reads the pieces as ingest does. True if the whole body was kept.
fn check_reading(
    pieces: &[Bytes],
    body: &[u8],
    is_whole: bool,
    signed: SignatureHeaders<'_>,
    made_by: Option<usize>,
    circumstances: &Circumstances,
) -> bool {
    let Circumstances { limits, others, .. } = *circumstances;
    // As little room as the configuration allows.
    let room = limits.max_body_bytes;
    let admission = Admission::new(&config::Ingest { max_body_bytes: room, max_in_flight_bytes: room, ..config::Ingest::default() });
    let mut theirs = admission.body(true);
    let others = if theirs.grow(others, true).is_ok() { others } else { 0 };

    let end = (!is_whole).then_some(Err(PayloadError::Incomplete(None)));
    let payload = stream::iter(pieces.iter().cloned().map(Ok).chain(end));
    let payload = payload.inspect(|_| assert!(admission.bytes() <= room, "more is held than there is room for"));
    let mut verification = CONFIGURED.keys.begin(&signed);
    let mut permit = admission.body(true);
    let declared = is_whole.then_some(body.len() as u64);
    let kept = read(payload, Some(&mut verification), declared, limits, &mut permit).now_or_never().expect("all of it is there");

    let expected = if body.len() > limits.hard_limit_bytes {
        Err(Answer::TooLarge)
    } else if !is_whole {
        Err(Answer::Incomplete)
    } else if body.len() > limits.max_body_bytes {
        Ok(Body::Head(Bytes::copy_from_slice(&body[..HEAD_BYTES.min(limits.max_body_bytes)]), body.len()))
    } else {
        Ok(Body::Whole(Bytes::copy_from_slice(body)))
    };
    // A body that is alone always finds room.
    if others == 0 || kept != Err(Answer::Overloaded) {
        assert_eq!(kept, expected);
    }
    let held = match &kept {
        Ok(Body::Whole(bytes) | Body::Head(bytes, _)) => Some(bytes.len()),
        Err(_) => None,
    };
    if let Some(held) = held {
        assert_eq!(verification.matching_key(), made_by, "piece by piece it is another signature");
        assert_eq!(admission.bytes(), others + held);
    }
    drop(permit);
    assert_eq!(admission.bytes(), others);
    drop(theirs);
    assert_eq!(admission.bytes(), 0);
    matches!(kept, Ok(Body::Whole(_)))
}

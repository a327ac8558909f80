//! One request, from its headers to its answer.

use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::http::{Method, Version};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use aftersend_pipeline::{record_headers, unix_millis};
use aftersend_schemas::event::Event;
use aftersend_schemas::headers::Received;
use aftersend_schemas::identity::Subject;
use arc_swap::ArcSwap;
use futures_util::FutureExt as _;
use rdkafka::message::OwnedHeaders;
use ring::digest::{SHA256, digest};
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

use crate::admission::Admission;
use crate::answer::Answer;
use crate::body::{self, Body, Limits};
use crate::client_address::client_address;
use crate::connections::Connection;
use crate::metrics::IngestMetrics;
use crate::publish::{Destination, Outgoing, Publisher};
use crate::rules::Rules;
use crate::signature::{HeaderError, SignatureHeaders};
use crate::sources::Source;

/// Customer.io gives up after 4 s; an answer before that is a clean failure instead of an unknown.
const BUDGET: Duration = Duration::from_millis(2_800);
/// Reason of a dead letter that holds only the head of a body.
const BODY_TOO_LARGE: &str = "body_too_large";
/// Reason of a dead letter whose body is compressed, or otherwise encoded: Customer.io documents none.
const BODY_ENCODED: &str = "body_encoded";
/// Longest name of a type, and of a subtype (RFC 6838 section 4.2).
const TYPE_NAME_BYTES: usize = 127;

/// What every worker shares.
pub(crate) struct Door {
    pub(crate) rules: ArcSwap<Rules>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) publisher: Publisher,
    pub(crate) metrics: IngestMetrics,
    pub(crate) limits: Limits,
    /// Cancelled when the connections are to be given up.
    pub(crate) draining: CancellationToken,
}

/// A request for a source, from somebody who may send.
struct Admitted {
    source: Arc<Source>,
    rules: Arc<Rules>,
}

/// What became of a request, and its record's id if it has one.
type Ending = (Answer, Option<String>);

/// Counts how a request ended, once, whatever happens: where the client is gone the future is dropped, wherever it stands.
struct End<'r> {
    door: &'r Door,
    path: &'r str,
    source: Option<Arc<Source>>,
    answer: Answer,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        match self.source.take().or_else(|| self.door.rules.load().sources.find(self.path).cloned()) {
            Some(source) => source.metrics.ended(self.answer, unix_millis()),
            None => self.door.metrics.unknown_ended(self.answer),
        }
    }
}

/// Handles one request. Always answers, within [`BUDGET`] of a connection's first byte, and of a later request's head, or of the answer before where it was pipelined: also when
/// our own code panics.
pub(crate) async fn receive(door: Data<Door>, request: HttpRequest, mut payload: Payload) -> HttpResponse {
    let mut end = End { door: &door, path: request.path(), source: None, answer: Answer::Incomplete };
    let connection = connection(&request);
    // Over HTTP/2 a connection's first byte is no request's.
    let is_http1 = request.version() < Version::HTTP_2;
    let begun = connection.filter(|_| is_http1);
    let budget = BUDGET.saturating_sub(begun.map(Connection::spent_on_the_head).unwrap_or_default());
    let _busy = connection.map(Connection::begin);
    let handled = {
        let handling = pin!(door.handle(&request, &mut payload, budget));
        AssertUnwindSafe(handling).catch_unwind().await
    };
    // What the request had taken is given back by then: permits live in the future.
    let (source, (answer, ingest_id)) = handled.unwrap_or((None, (Answer::Panicked, None)));
    (end.source, end.answer) = (source, answer);
    let mut response = answer.response(ingest_id, is_http1.then_some(payload));
    let crowded = || connection.is_some_and(Connection::is_wanted_by_others);
    let is_last = match answer {
        Answer::TooManyConnections | Answer::Incomplete => true,
        // The HTTP layer would agree to another protocol, and then speak none.
        _ if is_http1 && request.head().upgrade() => true,
        _ => door.draining.is_cancelled() || (answer.status().is_client_error() && crowded()),
    };
    if is_last {
        response.head_mut().set_connection_type(actix_web::http::ConnectionType::Close);
    }
    response
}

impl Door {
    async fn handle(&self, request: &HttpRequest, payload: &mut Payload, budget: Duration) -> (Option<Arc<Source>>, Ending) {
        let admitted = match self.admit(request) {
            Ok(admitted) => admitted,
            Err(refused) => return (None, (refused, None)),
        };
        let late = Cell::new(Answer::TooSlow);
        let accepting = pin!(self.accept(&admitted, request, payload, &late));
        let ending = match tokio::time::timeout(budget, accepting).await {
            Ok(Ok(ending)) => ending,
            Ok(Err(refused)) => (refused, None),
            Err(_) => (late.get(), None),
        };
        (Some(admitted.source.clone()), ending)
    }

    /// What can be said before the body.
    fn admit(&self, request: &HttpRequest) -> Result<Admitted, Answer> {
        let connection = connection(request);
        let rules = self.rules.load_full();
        let source = rules.sources.find(request.path()).ok_or(Answer::UnknownSource)?.clone();
        if request.method() != Method::POST {
            return Err(Answer::WrongMethod);
        }
        if connection.is_some_and(|connection| connection.is_too_many) {
            return Err(Answer::TooManyConnections);
        }
        if rules.allowlist.is_some() {
            let peer = request.peer_addr().map(|address| address.ip());
            let client = peer.and_then(|peer| client_address(peer, request.headers(), &rules.trusted_proxies));
            if !rules.allows(client, source.region) {
                return Err(Answer::AddressRefused);
            }
        }
        if !source.secrets.are_in(request.headers()) {
            return Err(Answer::SecretWrong);
        }
        Ok(Admitted { source, rules })
    }

    /// Reads, verifies and keeps the body. `late` is what the answer will be if time runs out.
    async fn accept(
        &self,
        admitted: &Admitted,
        request: &HttpRequest,
        payload: &mut Payload,
        late: &Cell<Answer>,
    ) -> Result<Ending, Answer> {
        let source = &admitted.source;
        let signature = match &source.keys {
            None => None,
            Some(keys) => {
                let headers = SignatureHeaders::read(request.headers()).map_err(|error| match error {
                    HeaderError::Missing => Answer::SignatureMissing,
                    HeaderError::Malformed => Answer::SignatureWrong,
                })?;
                Some((headers, keys.begin(&headers)))
            }
        };
        let declared = declared_length(request);
        if declared.is_some_and(|length| length > self.limits.hard_limit_bytes as u64) {
            return Err(Answer::TooLarge);
        }
        let (headers, mut verification) = signature.unzip();
        let connection = connection(request);
        let own_place = connection.map(|connection| &connection.is_reading);
        let is_proven = connection.is_some_and(|connection| connection.is_proven.get());
        let place = self.admission.arrive(own_place, is_proven).map_err(|_| Answer::Overloaded)?;
        let mut permit = self.admission.body(is_proven);
        let body = body::read(payload, verification.as_mut(), declared, self.limits, &mut permit).await?;
        drop(place);
        let received_at = unix_millis();
        if let Some(verification) = verification {
            let key = verification.matching_key().ok_or(Answer::SignatureWrong)?;
            if let Some(matches) = source.key_matches.get(key) {
                matches.inc();
            }
        }
        if let Some(headers) = headers {
            let seconds = headers.seconds();
            source.metrics.signature_age.observe(age_seconds(seconds, received_at));
            if admitted.rules.window.is_some_and(|window| !window.contains(seconds, received_at)) {
                return Err(Answer::TimestampOutside);
            }
        }
        if let Some(connection) = connection {
            connection.is_proven.set(true);
        }
        let _request = self.admission.enter().map_err(|_| Answer::Overloaded)?;
        late.set(Answer::NotAcknowledged);
        #[cfg(feature = "failpoints")]
        fail::fail_point!("ingest-verified");

        let received = Received {
            source: source.name.as_str().into(),
            workspace: source.workspace.as_str().into(),
            received_at,
            signature_timestamp: headers.map(|headers| headers.timestamp.into()).unwrap_or_default(),
            content_type: request.headers().get(CONTENT_TYPE).map(|value| media_type(value.as_bytes())).unwrap_or_default().into(),
            ingest_id: ingest_id(received_at).into(),
        };
        let prepared = match &body {
            Body::Whole(bytes) => prepare(bytes, &received, admitted, is_encoded(request)),
            Body::Head(head, length) => {
                tracing::error!(
                    source.name,
                    body.bytes = length,
                    received.ingest_id = %received.ingest_id,
                    "a body is larger than ingest.max_body_bytes; its head is in the dead letters"
                );
                Prepared::dead(head, &received, BODY_TOO_LARGE)
            }
        };
        let Prepared { destination, key, headers } = prepared;
        let (Body::Whole(value) | Body::Head(value, _)) = body;
        permit.enter_lane(key.as_bytes()).map_err(|_| Answer::PartitionOverloaded)?;
        let length = value.len();
        let record = Outgoing { key, value, headers, received_at };
        self.publisher.write(destination, record, permit).await?;
        let answer = match destination {
            Destination::Raw => {
                self.metrics.body_bytes.inc_by(length as u64);
                Answer::Accepted
            }
            Destination::Dead => Answer::Dead,
        };
        Ok((answer, Some(received.ingest_id.into_owned())))
    }
}

/// What a body becomes, worked out without waiting for anything: what stands here is not carried along while the brokers are waited for.
struct Prepared {
    destination: Destination,
    key: String,
    headers: OwnedHeaders,
}

/// Finds the key and decides whether the body is an event.
fn prepare(body: &[u8], received: &Received<'_>, admitted: &Admitted, is_encoded: bool) -> Prepared {
    let event = match Event::read(body) {
        Ok(event) => event,
        Err(_) if is_encoded => return Prepared::dead(body, received, BODY_ENCODED),
        Err(reason) => return Prepared::dead(body, received, &reason.to_string()),
    };
    if let Some(seconds) = event.time.seconds() {
        admitted.source.metrics.event_age.observe(age_seconds(seconds, received.received_at));
    }
    let key = Subject::of(&event, &admitted.rules.privacy).key().into_owned();
    Prepared { destination: Destination::Raw, key, headers: record_headers::raw(received) }
}

impl Prepared {
    /// What is no event, with the reason. Copies of a body meet in one partition.
    fn dead(body: &[u8], received: &Received<'_>, reason: &str) -> Self {
        let headers = record_headers::dead_letter_from_request(received, reason);
        Self { destination: Destination::Dead, key: hex::encode(digest(&SHA256, body)), headers }
    }
}

/// Sortable by time, unique without coordination.
fn ingest_id(now: i64) -> String {
    Ulid::from_parts(u64::try_from(now).unwrap_or_default(), rand::random()).to_string()
}

/// From a time in Unix seconds to `now` in Unix milliseconds. Times to come have no age.
fn age_seconds(seconds: i64, now: i64) -> f64 {
    now.saturating_sub(seconds.saturating_mul(1_000)).max(0) as f64 / 1_000.0
}

fn connection(request: &HttpRequest) -> Option<&Connection> {
    request.conn_data::<Rc<Connection>>().map(Rc::as_ref)
}

fn declared_length(request: &HttpRequest) -> Option<u64> {
    request.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn is_encoded(request: &HttpRequest) -> bool {
    request.headers().get(CONTENT_ENCODING).is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// What stands before the parameters, which can say anything; nothing of what is no type.
fn media_type(value: &[u8]) -> &str {
    let is_name = |name: &str| {
        let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
        (1..=TYPE_NAME_BYTES).contains(&name.len()) && name.bytes().all(is_legal)
    };
    let value = value.split(|byte| *byte == b';').next().and_then(|value| str::from_utf8(value).ok()).unwrap_or_default().trim();
    match value.split_once('/') {
        Some((kind, subtype)) if is_name(kind) && is_name(subtype) => value,
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_content_type_only_the_media_type_is_kept() {
        for (value, kept) in [
            ("application/json", "application/json"),
            (" Application/vnd.x+json ; charset=utf-8", "Application/vnd.x+json"),
            ("application/json; x=jane@dead.example", "application/json"),
            ("application/json;x=\u{e9}", "application/json"),
            ("jane@dead.example", ""),
            ("application/jane@dead.example", ""),
            ("application/json/jane", ""),
            ("application/json, text/plain", ""),
            ("application/", ""),
            ("/json", ""),
            ("", ""),
        ] {
            assert_eq!(media_type(value.as_bytes()), kept, "{value}");
        }
        let long = |length: usize| format!("application/{}", "x".repeat(length));
        assert_eq!(media_type(long(127).as_bytes()), long(127));
        assert_eq!(media_type(long(128).as_bytes()), "");
        assert_eq!(media_type(b"\xff/json; charset=utf-8"), "");
    }
}

//! One request, from its headers to its answer.

use std::time::{Duration, Instant};

use actix_web::web::{self, Bytes, BytesMut};
use actix_web::{HttpRequest, HttpResponse};
use aftersend_pipeline::unix_millis;
use aftersend_schemas::event::Event;
use aftersend_schemas::headers::Received;
use aftersend_schemas::identity::Subject;
use aftersend_schemas::privacy::Privacy;
use futures_util::StreamExt as _;
use sha2::{Digest, Sha256};

use crate::answer::Answer;
use crate::metrics::IngestMetrics;
use crate::publish::Publisher;
use crate::signature::{HeaderError, SignatureHeaders, Verification};
use crate::sources::{DEFAULT, Source, Sources};

/// Customer.io gives up after 4 s; an answer before that is a clean failure instead of an unknown.
const BUDGET: Duration = Duration::from_millis(2_800);
/// Above this not even the signature is worked out.
const HARD_LIMIT_BYTES: usize = 64 * 1024 * 1024;
/// Of a body above `max_body_bytes` this much goes to `dead`.
const HEAD_BYTES: usize = 64 * 1024;
/// Reason of a dead letter that holds only the head of a body.
const BODY_TOO_LARGE: &str = "body_too_large";
/// Longest `Content-Type` that is kept.
const CONTENT_TYPE_BYTES: usize = 200;

/// What every worker shares.
pub(crate) struct Door {
    pub(crate) sources: Sources,
    pub(crate) publisher: Publisher,
    pub(crate) metrics: IngestMetrics,
    pub(crate) privacy: Privacy,
    pub(crate) max_body_bytes: usize,
}

/// A verified body: whole, or its head and full length.
enum Body {
    Whole(Bytes),
    Head(Bytes, usize),
}

pub(crate) async fn receive(door: web::Data<Door>, request: HttpRequest, payload: web::Payload) -> HttpResponse {
    let deadline = Instant::now() + BUDGET;
    let name = request.match_info().get("source").unwrap_or(DEFAULT);
    let Some(source) = door.sources.get(name) else {
        door.metrics.ended(None, Answer::UnknownSource);
        return Answer::UnknownSource.response();
    };
    door.metrics.in_flight.inc();
    let answer = door.accept(source, &request, payload, deadline).await.unwrap_or_else(|refused| refused);
    door.metrics.in_flight.dec();
    door.metrics.ended(Some(&source.name), answer);
    answer.response()
}

impl Door {
    async fn accept(&self, source: &Source, request: &HttpRequest, payload: web::Payload, deadline: Instant) -> Result<Answer, Answer> {
        let headers = SignatureHeaders::read(request.headers()).map_err(|error| match error {
            HeaderError::Missing => Answer::SignatureMissing,
            HeaderError::Malformed => Answer::SignatureWrong,
        })?;
        let verification = source.keys.begin(&headers);
        let reading = read(payload, verification, self.max_body_bytes);
        let (body, key) = tokio::time::timeout_at(deadline.into(), reading).await.map_err(|_| Answer::Incomplete)??;
        self.metrics.matched(&source.name, key);

        let received = Received {
            source: source.name.clone(),
            workspace: source.workspace.clone(),
            received_at: unix_millis(),
            signature_timestamp: headers.timestamp,
            content_type: content_type(request),
        };
        Ok(match body {
            Body::Whole(bytes) => self.keep(&bytes, &received, deadline).await,
            Body::Head(head, length) => {
                tracing::error!(
                    source.name,
                    body.bytes = length,
                    "a body is larger than ingest.max_body_bytes; its head is in the dead letters"
                );
                self.publisher.dead(&digest(&head), &head, &received, BODY_TOO_LARGE, deadline).await
            }
        })
    }

    async fn keep(&self, body: &[u8], received: &Received, deadline: Instant) -> Answer {
        match Event::read(body) {
            Ok(event) => {
                let subject = Subject::of(&event, &self.privacy);
                let answer = self.publisher.event(&subject.key(), body, received, deadline).await;
                if answer == Answer::Accepted {
                    self.metrics.body_bytes.inc_by(body.len() as u64);
                }
                answer
            }
            Err(reason) => self.publisher.dead(&digest(body), body, received, &reason.to_string(), deadline).await,
        }
    }
}

/// Reads and verifies a body. Beyond `limit` only its head is held.
async fn read(mut payload: web::Payload, mut verification: Verification, limit: usize) -> Result<(Body, usize), Answer> {
    let mut kept = BytesMut::new();
    let mut first: Option<Bytes> = None;
    let mut length = 0;
    while let Some(piece) = payload.next().await {
        let piece = piece.map_err(|_| Answer::Incomplete)?;
        length += piece.len();
        if length > HARD_LIMIT_BYTES {
            return Err(Answer::TooLarge);
        }
        verification.update(&piece);
        if length > limit {
            if let Some(first) = first.take() {
                kept.extend_from_slice(&first);
            }
            kept.extend_from_slice(&piece[..piece.len().min(HEAD_BYTES.saturating_sub(kept.len()))]);
            kept.truncate(HEAD_BYTES);
        } else if kept.is_empty() && first.is_none() {
            // Most bodies come in one piece and need no copy.
            first = Some(piece);
        } else {
            if let Some(first) = first.take() {
                kept.extend_from_slice(&first);
            }
            kept.extend_from_slice(&piece);
        }
    }
    let key = verification.matching_key().ok_or(Answer::SignatureWrong)?;
    let bytes = first.unwrap_or_else(|| kept.freeze());
    Ok((if length > limit { Body::Head(bytes, length) } else { Body::Whole(bytes) }, key))
}

/// Key of a body that has no other: copies of it meet in one partition.
fn digest(body: &[u8]) -> String {
    hex::encode(Sha256::digest(body))
}

fn content_type(request: &HttpRequest) -> String {
    let value = request.headers().get(actix_web::http::header::CONTENT_TYPE).map(|value| value.as_bytes()).unwrap_or_default();
    String::from_utf8_lossy(&value[..value.len().min(CONTENT_TYPE_BYTES)]).into_owned()
}

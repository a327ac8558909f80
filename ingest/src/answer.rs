//! How a request can end. Each ending has a status and a counter.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, MessageBody};
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use actix_web::web::{Bytes, Payload};
use actix_web::{HttpResponse, HttpResponseBuilder};

/// Declares the endings once: variant, label and status.
macro_rules! answers {
    ($($(#[doc = $doc:literal])* $variant:ident = $label:literal, $status:ident;)*) => {
        /// The named endings of a webhook request.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Answer { $($(#[doc = $doc])* $variant,)* }

        impl Answer {
            /// Every ending, for the counters to exist from the start.
            pub(crate) const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Label of the counter.
            pub(crate) fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }

            /// 503 and 408 are tried again soon; 400, 401, 403, 404, 405, 429, 500 and 502 only after an hour.
            pub(crate) fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)* }
            }
        }
    };
}

answers! {
    /// In `raw`, on every in-sync replica.
    Accepted = "accepted", OK;
    /// Signed, but not an event: in `dead`, on every in-sync replica.
    Dead = "dead", OK;
    /// A signature header is absent.
    SignatureMissing = "signature_missing", UNAUTHORIZED;
    /// A signature header is malformed, or no key made the signature.
    SignatureWrong = "signature_wrong", UNAUTHORIZED;
    /// Signed, but outside `ingest.timestamp_window`.
    TimestampOutside = "timestamp_outside", UNAUTHORIZED;
    /// The source's secret header or basic authentication is missing or wrong.
    SecretWrong = "secret_wrong", UNAUTHORIZED;
    /// The sender's address is not in `ingest.allowlist`.
    AddressRefused = "address_refused", FORBIDDEN;
    /// No source of that name or path.
    UnknownSource = "unknown_source", NOT_FOUND;
    /// A source's path, but no POST.
    WrongMethod = "wrong_method", METHOD_NOT_ALLOWED;
    /// Above the hard limit: the one signed body that is refused.
    TooLarge = "too_large", PAYLOAD_TOO_LARGE;
    /// The client went away or broke off inside the body.
    Incomplete = "incomplete", REQUEST_TIMEOUT;
    /// The body did not come within the request's budget.
    TooSlow = "too_slow", SERVICE_UNAVAILABLE;
    /// Too many requests, or bytes of bodies, in flight.
    Overloaded = "overloaded", SERVICE_UNAVAILABLE;
    /// Too many of them for one partition: its leader is away, or one key is too hot.
    PartitionOverloaded = "partition_overloaded", SERVICE_UNAVAILABLE;
    /// On a connection above `ingest.max_connections`.
    TooManyConnections = "too_many_connections", SERVICE_UNAVAILABLE;
    /// The producer's queue is full.
    QueueFull = "queue_full", SERVICE_UNAVAILABLE;
    /// The brokers did not acknowledge within the request's budget.
    NotAcknowledged = "not_acknowledged", SERVICE_UNAVAILABLE;
    /// The producer refused or gave up.
    ProduceFailed = "produce_failed", SERVICE_UNAVAILABLE;
    /// A defect of ours.
    Panicked = "panicked", SERVICE_UNAVAILABLE;
}

impl Answer {
    /// `{"result":"accepted","ingest_id":"..."}`; the id is that of the record, where there is one. `unread` is what is left of an HTTP/1.1 request.
    pub(crate) fn response(self, ingest_id: Option<String>, unread: Option<Payload>) -> HttpResponse {
        let mut response = HttpResponseBuilder::new(self.status());
        response.insert_header((CONTENT_TYPE, HeaderValue::from_static("application/json")));
        if self == Self::WrongMethod {
            response.insert_header((ALLOW, HeaderValue::from_static("POST")));
        }
        let text = match ingest_id {
            Some(id) => format!("{{\"result\":\"{}\",\"ingest_id\":\"{id}\"}}\n", self.as_str()),
            None => format!("{{\"result\":\"{}\"}}\n", self.as_str()),
        };
        response.body(Text { text: text.into(), _unread: unread })
    }
}

/// The body of an answer. While it holds what was not read of the request, the HTTP layer closes the connection behind it; else it would read a body in
/// chunks for as long as one comes.
struct Text {
    text: Bytes,
    _unread: Option<Payload>,
}

impl MessageBody for Text {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.text.len() as u64)
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let text = std::mem::take(&mut self.text);
        Poll::Ready((!text.is_empty()).then_some(Ok(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_be_customer_io_costs_an_hour() {
        let one_hour = [400, 401, 402, 403, 404, 405, 410, 429, 500, 502, 521];
        let costly: Vec<_> =
            Answer::ALL.iter().filter(|answer| one_hour.contains(&answer.status().as_u16())).map(|answer| answer.as_str()).collect();
        let refused = [
            "signature_missing",
            "signature_wrong",
            "timestamp_outside",
            "secret_wrong",
            "address_refused",
            "unknown_source",
            "wrong_method",
        ];
        assert_eq!(costly, refused);
    }
}

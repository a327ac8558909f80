//! How a request can end. Each ending has a status and a counter.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_TYPE;

/// The named endings of a webhook request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// In `raw`, on every in-sync replica.
    Accepted,
    /// Signed, but not an event: in `dead`, on every in-sync replica.
    Dead,
    /// A signature header is absent.
    SignatureMissing,
    /// A signature header is malformed, or no key made the signature.
    SignatureWrong,
    /// No source of that name.
    UnknownSource,
    /// Above the hard limit: the one signed body that is refused.
    TooLarge,
    /// The client went away or broke off inside the body.
    Incomplete,
    /// The producer's queue is full.
    QueueFull,
    /// The brokers did not acknowledge within the request's budget.
    NotAcknowledged,
    /// The producer refused or gave up.
    ProduceFailed,
}

impl Answer {
    /// Every ending, for the counters to exist from the start.
    pub(crate) const ALL: [Self; 10] = [
        Self::Accepted,
        Self::Dead,
        Self::SignatureMissing,
        Self::SignatureWrong,
        Self::UnknownSource,
        Self::TooLarge,
        Self::Incomplete,
        Self::QueueFull,
        Self::NotAcknowledged,
        Self::ProduceFailed,
    ];

    /// Label of the counter.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Dead => "dead",
            Self::SignatureMissing => "signature_missing",
            Self::SignatureWrong => "signature_wrong",
            Self::UnknownSource => "unknown_source",
            Self::TooLarge => "too_large",
            Self::Incomplete => "incomplete",
            Self::QueueFull => "queue_full",
            Self::NotAcknowledged => "not_acknowledged",
            Self::ProduceFailed => "produce_failed",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::Accepted | Self::Dead => StatusCode::OK,
            Self::SignatureMissing | Self::SignatureWrong => StatusCode::UNAUTHORIZED,
            Self::UnknownSource => StatusCode::NOT_FOUND,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            // 400 would make Customer.io wait an hour; 408 is under its plain backoff.
            Self::Incomplete => StatusCode::REQUEST_TIMEOUT,
            // As is 503, unlike 429, 500 and 502.
            Self::QueueFull | Self::NotAcknowledged | Self::ProduceFailed => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    pub(crate) fn response(self) -> HttpResponse {
        let body = format!("{{\"result\":\"{}\"}}\n", self.as_str());
        HttpResponse::build(self.status()).insert_header((CONTENT_TYPE, "application/json")).body(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_ending_but_a_wrong_signature_or_path_costs_an_hour() {
        let one_hour = [400, 401, 402, 403, 404, 405, 410, 429, 500, 502, 521];
        for answer in Answer::ALL {
            let costs = one_hour.contains(&answer.status().as_u16());
            let allowed = matches!(answer, Answer::SignatureMissing | Answer::SignatureWrong | Answer::UnknownSource);
            assert_eq!(costs, allowed, "{answer:?}");
        }
    }
}

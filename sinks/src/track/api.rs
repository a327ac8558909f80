//! The Track API over HTTP: one call, one classified answer.

use std::time::Duration;

use aftersend_pipeline::config::TrackCredentials;
use aftersend_schemas::identity::{Namespace, Person};
use aftersend_schemas::track_call::Call;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, StatusCode, redirect};
use serde_json::{Value, json};

use super::plan::Planned;

/// Everything but letters, digits and `-._~`: a raw `/` or `+` would address somebody else and still be answered 200.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest wait that an answer may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// What came of a call, as far as it decides what to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// Accepted.
    Acknowledged(u16),
    /// Will never be accepted as it is.
    Refused(u16),
    /// Try again, not before this long.
    Retry(String, Option<Duration>),
    /// Nothing will be accepted until somebody mends the credentials or the region.
    Stop(u16),
}

/// One workspace's API.
#[derive(Clone)]
pub(super) struct Api {
    client: Client,
    base: String,
    site_id: String,
    api_key: String,
}

impl Api {
    pub(super) fn new(credentials: &TrackCredentials) -> reqwest::Result<Self> {
        let client = Client::builder()
            .timeout(TIMEOUT)
            .redirect(redirect::Policy::none())
            .user_agent(concat!("aftersend/", env!("CARGO_PKG_VERSION")))
            .build()?;
        let api_key = credentials.api_key.reveal().to_owned();
        Ok(Self { client, base: credentials.base_url(), site_id: credentials.site_id.clone(), api_key })
    }

    /// Makes one call, once.
    pub(super) async fn call(&self, person: &Person, planned: &Planned, as_of: i64) -> Answer {
        let customer = format!("{}/api/v1/customers/{}", self.base, identifier(person));
        let request = match planned.call {
            Call::Identify | Call::Unsubscribe => {
                let mut body = json!(planned.attributes);
                // Only existing people: an event may concern somebody who was deleted since. The time orders writes in quick succession.
                body["_update"] = Value::Bool(true);
                body["_timestamp"] = as_of.into();
                if planned.call == Call::Unsubscribe {
                    body["unsubscribed"] = Value::Bool(true);
                }
                self.client.put(customer).json(&body)
            }
            Call::Suppress => self.client.post(format!("{customer}/suppress")).json(&json!({})),
        };
        match request.basic_auth(&self.site_id, Some(&self.api_key)).send().await {
            Ok(response) => {
                let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).and_then(wait);
                classify(response.status(), retry_after)
            }
            // Without the address, which holds the person's id.
            Err(error) => Answer::Retry(error.without_url().to_string(), None),
        }
    }
}

/// How the API addresses a person in a path.
fn identifier(person: &Person) -> String {
    let encoded = utf8_percent_encode(&person.id, PATH);
    match person.namespace {
        Namespace::Cio => format!("cio_{encoded}"),
        Namespace::Id | Namespace::Email => encoded.to_string(),
    }
}

/// The one table of answers.
fn classify(status: StatusCode, retry_after: Option<Duration>) -> Answer {
    match status.as_u16() {
        200..=299 => Answer::Acknowledged(status.as_u16()),
        408 | 425 | 429 | 500..=599 => Answer::Retry(status.to_string(), retry_after),
        // A redirect means the wrong region.
        code @ (300..=399 | 401 | 403) => Answer::Stop(code),
        code => Answer::Refused(code),
    }
}

/// `Retry-After` in seconds or as a date, within limits.
fn wait(text: &str) -> Option<Duration> {
    let wait = match text.trim().parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text.trim()).ok()?.duration_since(std::time::SystemTime::now()).unwrap_or_default(),
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_encoded_so_that_they_address_nobody_else() {
        let id = |namespace, id: &str| identifier(&Person { workspace: "default".into(), namespace, id: id.into() });
        assert_eq!(id(Namespace::Id, "a/b+c@d %é~-._"), "a%2Fb%2Bc%40d%20%25%C3%A9~-._");
        assert_eq!(id(Namespace::Cio, "b1f4"), "cio_b1f4");
    }

    #[test]
    fn every_answer_has_one_meaning() {
        let classified = |code: u16| classify(StatusCode::from_u16(code).unwrap(), None);
        for code in [200, 202] {
            assert_eq!(classified(code), Answer::Acknowledged(code));
        }
        for code in [408, 429, 500, 502, 503, 504, 522, 524] {
            assert!(matches!(classified(code), Answer::Retry(..)), "{code}");
        }
        for code in [301, 302, 307, 308, 401, 403] {
            assert_eq!(classified(code), Answer::Stop(code));
        }
        for code in [400, 404, 413, 422] {
            assert_eq!(classified(code), Answer::Refused(code));
        }
    }

    #[test]
    fn a_wait_that_is_asked_for_is_kept_within_limits() {
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("86400"), Some(MAX_RETRY_AFTER));
        assert_eq!(wait("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("soon"), None);
    }
}

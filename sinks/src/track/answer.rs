//! What an answer of the Track API means: the one table.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;

/// The longest wait that an answer may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);
/// So much of the API's words is kept.
const MAX_WORDS: usize = 300;

/// What came of a call, as far as it decides what to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// Accepted.
    Acknowledged(u16),
    /// Will never be accepted as it is; why, in the API's words.
    Refused(u16, String),
    /// Try again, not before this long.
    Retry(String, Option<Duration>),
    /// Nothing will be accepted until somebody mends the credentials or the region.
    Stop(u16),
}

/// | status | meaning |
/// |---|---|
/// | 2xx | acknowledged |
/// | 3xx | stop: the other region, or not the Track API |
/// | 401, 403 | stop: the credentials |
/// | 408, 425, 429, 5xx | again, after `Retry-After` if it is given |
/// | other 4xx | refused |
pub(super) fn classify(status: StatusCode, retry_after: Option<Duration>, words: impl FnOnce() -> String) -> Answer {
    match status.as_u16() {
        200..=299 => Answer::Acknowledged(status.as_u16()),
        408 | 425 | 429 | 500..=599 => Answer::Retry(status.to_string(), retry_after),
        code @ (300..=399 | 401 | 403) => Answer::Stop(code),
        code => Answer::Refused(code, words()),
    }
}

/// `Retry-After` in seconds or as a date, within limits.
pub(super) fn retry_after(text: &str) -> Option<Duration> {
    let wait = match text.trim().parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text.trim()).ok()?.duration_since(std::time::SystemTime::now()).unwrap_or_default(),
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

/// The reasons in an error's body, without what identifies anybody: `secrets` and everything that looks like an address are left out.
pub(super) fn words(body: &[u8], secrets: &[&str]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let mut found = Vec::new();
    collect(&body, &mut found);
    let mut text = found.join("; ");
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, "…");
    }
    let hide = |word: &str| if word.contains('@') || word.contains("%40") { "…".to_owned() } else { word.to_owned() };
    let text = text.split_whitespace().map(hide).collect::<Vec<_>>().join(" ");
    text[..text.floor_char_boundary(MAX_WORDS)].to_owned()
}

fn collect<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(values) => values.iter().for_each(|value| collect(value, found)),
        Value::Object(members) => members.values().for_each(|value| collect(value, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_has_one_meaning() {
        let classified = |code: u16| classify(StatusCode::from_u16(code).unwrap(), None, String::new);
        for code in [200, 202, 204] {
            assert_eq!(classified(code), Answer::Acknowledged(code));
        }
        for code in [408, 425, 429, 500, 502, 503, 504, 522, 524] {
            assert!(matches!(classified(code), Answer::Retry(..)), "{code}");
        }
        for code in [301, 302, 307, 308, 401, 403] {
            assert_eq!(classified(code), Answer::Stop(code));
        }
        for code in [400, 404, 409, 413, 422] {
            assert_eq!(classified(code), Answer::Refused(code, String::new()));
        }
    }

    #[test]
    fn a_wait_that_is_asked_for_is_kept_within_limits() {
        assert_eq!(retry_after("7"), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("86400"), Some(MAX_RETRY_AFTER));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert_eq!(retry_after("soon"), None);
    }

    #[test]
    fn the_apis_words_are_kept_without_what_identifies_anybody() {
        let kept = |body: &str| words(body.as_bytes(), &["u-1", "secret"]);
        assert_eq!(
            kept(r#"{"meta":{"errors":["name too long","customer u-1 (a@b.example) unknown"]}}"#),
            "name too long; customer … … unknown"
        );
        assert_eq!(kept(r#"{"meta":{"error":"bad secret"}}"#), "bad …");
        assert_eq!(kept(r#"{"errors":[{"reason":"required","field":"id","message":"missing"}]}"#), "id; missing; required");
        assert_eq!(kept("<html>"), "");
        assert_eq!(kept(&format!(r#"{{"error":"{}"}}"#, "é".repeat(400))).len(), MAX_WORDS);
    }
}

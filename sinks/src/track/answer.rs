//! What an answer of the Track API means: the one table.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::StatusCode;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::gate::Health;

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
    /// Nothing will be accepted until somebody mends the credentials, the region or the address.
    Stop(u16),
    /// A batch was refused whole, or nobody can tell what of it was: each of its items is to be sent alone.
    Split(u16),
}

impl Answer {
    /// What it says of the API.
    pub(super) fn health(&self) -> Health {
        match self {
            Self::Acknowledged(_) | Self::Refused(..) | Self::Split(_) => Health::Well,
            Self::Retry(_, wait) => Health::Struggling(*wait),
            Self::Stop(_) => Health::Stopped,
        }
    }
}

/// | status | meaning |
/// |---|---|
/// | 207 | refused, if errors are listed |
/// | other 2xx | acknowledged; again, if HTML comes with it (something else answers for the API), or JSON that breaks off |
/// | 3xx | stop: the other region, or not the Track API |
/// | 401, 402, 403, 407 | stop: the credentials, or the account |
/// | 404, 405, 410, 451 | stop: not the Track API, since a person who is not known is no error there |
/// | 408, 409, 421, 423, 425, 429, 5xx | again, after `Retry-After` if it is given |
/// | other 4xx, such as 400, 413 and 422 | refused |
/// | anything else | again |
///
/// `secrets` are left out of the API's words.
pub(super) fn classify(status: StatusCode, retry_after: Option<Duration>, body: &[u8], secrets: &[&str]) -> Answer {
    match status.as_u16() {
        207 => match of_items(body, 1) {
            Some(errors) if errors.is_empty() => Answer::Acknowledged(207),
            Some(errors) => Answer::Refused(207, errors.values().map(|error| words(error, secrets)).collect()),
            None => Answer::Retry("207 without a list of errors".into(), retry_after),
        },
        200..=299 if body.trim_ascii_start().starts_with(b"<") => Answer::Retry(format!("{status} with a page"), retry_after),
        200..=299 if body.starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(body).is_err() => {
            Answer::Retry(format!("{status} with half an answer"), retry_after)
        }
        200..=299 => Answer::Acknowledged(status.as_u16()),
        408 | 409 | 421 | 423 | 425 | 429 | 500..=599 => Answer::Retry(status.to_string(), retry_after),
        code @ (300..=399 | 401..=405 | 407 | 410 | 451) => Answer::Stop(code),
        code @ 400..=499 => Answer::Refused(code, words(&serde_json::from_slice(body).unwrap_or_default(), secrets)),
        _ => Answer::Retry(status.to_string(), retry_after),
    }
}

/// What an answer to a batch means for each of its items, given what is secret of each: the errors of a 207 are of the items that they number, all others
/// were accepted; any other answer is that of all.
pub(super) fn classify_items(status: StatusCode, retry_after: Option<Duration>, body: &[u8], secrets: &[[&str; 4]]) -> Vec<Answer> {
    let code = status.as_u16();
    if code == 207
        && let Some(errors) = of_items(body, secrets.len())
    {
        let answer = |(index, secrets): (usize, &[&str; 4])| match errors.get(&index) {
            Some(error) => Answer::Refused(code, words(error, secrets)),
            None => Answer::Acknowledged(code),
        };
        return secrets.iter().enumerate().map(answer).collect();
    }
    let answer = match classify(status, retry_after, body, &[]) {
        Answer::Refused(..) => Answer::Split(code),
        // There may be no batches at this address.
        _ if matches!(code, 207 | 404 | 405 | 410) => Answer::Split(code),
        answer => answer,
    };
    vec![answer; secrets.len()]
}

/// The errors of a 207 by the index of their item; nothing if there is an error of which nobody can tell whose it is.
fn of_items(body: &[u8], items: usize) -> Option<BTreeMap<usize, Value>> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let mut errors: BTreeMap<usize, Value> = BTreeMap::new();
    for error in body.get("errors")?.as_array()? {
        let index = usize::try_from(error.get("batch_index")?.as_u64()?).ok().filter(|index| *index < items)?;
        match errors.entry(index).or_insert_with(|| Value::Array(Vec::new())) {
            Value::Array(all) => all.push(error.clone()),
            _ => return None,
        }
    }
    Some(errors)
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
fn words(body: &Value, secrets: &[&str]) -> String {
    let mut found = Vec::new();
    collect(body, &mut found);
    let mut text = found.join("; ");
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, "…");
        // The API may spell it in another case.
        let (lower, secret) = (text.to_lowercase(), secret.to_lowercase());
        if lower.contains(&secret) {
            text = lower.replace(&secret, "…");
        }
    }
    // Addresses, and what is escaped in one of many ways.
    let is_hidden = |word: &str| word.contains(['@', '%', '&', '\\']);
    let plain = |c: &char| !c.is_control() && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let hide = |word: &str| if is_hidden(word) { "…".to_owned() } else { word.chars().filter(plain).collect() };
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
        let classified = |code: u16| classify(StatusCode::from_u16(code).unwrap(), None, b"", &[]);
        for code in [200, 202, 204] {
            assert_eq!(classified(code), Answer::Acknowledged(code));
        }
        for code in [408, 409, 421, 423, 425, 429, 500, 502, 503, 504, 522, 524] {
            assert!(matches!(classified(code), Answer::Retry(..)), "{code}");
        }
        for code in [301, 302, 307, 308, 401, 402, 403, 404, 405, 407, 410, 451] {
            assert_eq!(classified(code), Answer::Stop(code));
        }
        for code in [400, 406, 411, 413, 414, 415, 422, 431] {
            assert_eq!(classified(code), Answer::Refused(code, String::new()));
        }
        let answered = |body: &[u8]| classify(StatusCode::OK, None, body, &[]);
        assert!(matches!(answered(b" \n<!DOCTYPE html>"), Answer::Retry(..)), "somebody else answered");
        assert!(matches!(answered(b"{\"a"), Answer::Retry(..)), "it breaks off");
        assert!(matches!(classified(101), Answer::Retry(..)) && matches!(classified(999), Answer::Retry(..)));
        for body in ["", "{}", "ok", "{\"meta\":{}}"] {
            assert_eq!(answered(body.as_bytes()), Answer::Acknowledged(200));
        }
    }

    #[test]
    fn of_a_batch_each_item_has_its_own_answer() {
        let secrets = [["u-1", "u-1", "key", "site"], ["u-2", "u-2", "key", "site"], ["u-3", "u-3", "key", "site"]];
        let classified = |code: u16, body: &str| classify_items(StatusCode::from_u16(code).unwrap(), None, body.as_bytes(), &secrets);
        let partly = r#"{"errors":[{"batch_index":1,"message":"no u-2"},{"batch_index":1,"message":"too long"},{"batch_index":2,"reason":"bad key"}]}"#;
        let answers = [Answer::Acknowledged(207), Answer::Refused(207, "no …; too long".into()), Answer::Refused(207, "bad …".into())];
        assert_eq!(classified(207, partly), answers);
        assert_eq!(classified(207, r#"{"errors":[]}"#), vec![Answer::Acknowledged(207); 3]);
        assert_eq!(classified(200, r#"{"errors":[{"batch_index":1}]}"#), vec![Answer::Acknowledged(200); 3]);
        for whose in [
            r#"{"errors":[{"batch_index":3}]}"#,
            r#"{"errors":[{"batch_index":-1}]}"#,
            r#"{"errors":[{}]}"#,
            r#"{"errors":1}"#,
            "{}",
            "<html>",
        ] {
            assert_eq!(classified(207, whose), vec![Answer::Split(207); 3], "{whose}");
        }
        for code in [400, 404, 405, 410, 413, 422] {
            assert_eq!(classified(code, partly), vec![Answer::Split(code); 3]);
        }
        assert!(matches!(&classified(200, "<html>")[..], [Answer::Retry(..), Answer::Retry(..), Answer::Retry(..)]));
        assert_eq!(classified(401, ""), vec![Answer::Stop(401); 3]);
        assert!(classified(503, "").iter().all(|answer| matches!(answer, Answer::Retry(..))));
    }

    #[test]
    fn a_207_about_one_call_is_a_refusal_if_it_lists_an_error() {
        let classified = |body: &str| classify(StatusCode::MULTI_STATUS, None, body.as_bytes(), &["u-1"]);
        assert_eq!(classified(r#"{"errors":[{"batch_index":0,"message":"no u-1"}]}"#), Answer::Refused(207, "no …".into()));
        assert_eq!(classified(r#"{"errors":[]}"#), Answer::Acknowledged(207));
        assert!(matches!(classified("<html>"), Answer::Retry(..)));
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
        let kept = |body: &str| words(&serde_json::from_str(body).unwrap_or_default(), &["u-1", "secret"]);
        assert_eq!(
            kept(r#"{"meta":{"errors":["name too long","customer u-1 (a@b.example) unknown"]}}"#),
            "name too long; customer … … unknown"
        );
        assert_eq!(kept(r#"{"meta":{"error":"bad secret"}}"#), "bad …");
        assert_eq!(kept(r#"{"meta":{"error":"No such customer: U-1, SECRET"}}"#), "no such customer: …, …");
        assert_eq!(kept(r#"{"meta":{"error":"no a%2fb, no a&amp;b, no a\\u00fc"}}"#), "no … no … no …");
        assert_eq!(kept(r#"{"errors":[{"reason":"required","field":"id","message":"missing"}]}"#), "id; missing; required");
        assert_eq!(kept("<html>"), "");
        assert_eq!(kept(&format!(r#"{{"error":"{}"}}"#, "é".repeat(400))).len(), MAX_WORDS);
    }
}

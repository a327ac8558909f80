//! The Track API over HTTP: one call, one answer.

use std::time::Duration;

use aftersend_pipeline::config::TrackCredentials;
use aftersend_schemas::identity::{Namespace, Person};
use aftersend_schemas::track_call::Call;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, RequestBuilder, redirect};
use serde_json::{Value, json};

use super::answer::{Answer, classify, retry_after, words};
use super::plan::Planned;

/// Everything but letters, digits and `-._~`: a raw `/` or `+` would address somebody else and still be answered 200.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const TIMEOUT: Duration = Duration::from_secs(10);

/// One workspace's API.
#[derive(Clone)]
pub struct Api {
    client: Client,
    base: String,
    site_id: String,
    api_key: String,
}

/// What the API says of the credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Greeting {
    /// They are good; the region and environment in words.
    Welcome(String),
    /// They are not, or the region is not: what to mend.
    Refused(&'static str),
    /// Nobody can tell: it did not answer as it should.
    Unknown(String),
}

impl Api {
    /// A client for these credentials.
    pub fn new(credentials: &TrackCredentials) -> reqwest::Result<Self> {
        let client = Client::builder()
            .timeout(TIMEOUT)
            .redirect(redirect::Policy::none())
            .user_agent(concat!("aftersend/", env!("CARGO_PKG_VERSION")))
            .build()?;
        let api_key = credentials.api_key.reveal().to_owned();
        Ok(Self { client, base: credentials.base_url(), site_id: credentials.site_id.clone(), api_key })
    }

    /// Asks to which region and workspace the credentials belong.
    pub async fn greet(&self) -> Greeting {
        let url = format!("{}/api/v1/accounts/region", self.base);
        let response = match self.client.get(&url).basic_auth(&self.site_id, Some(&self.api_key)).send().await {
            Ok(response) => response,
            Err(error) => return Greeting::Unknown(format!("{url} does not answer: {}", error.without_url())),
        };
        match response.status().as_u16() {
            200 => {
                let body: Value = response.json().await.unwrap_or_default();
                match body["region"].as_str() {
                    Some(region) => {
                        Greeting::Welcome(format!("credentials accepted, region {region:?}, environment {}", body["environment_id"]))
                    }
                    None => Greeting::Unknown(format!("{url} answered 200 without a region: is this the Track API?")),
                }
            }
            401 | 403 => Greeting::Refused("credentials refused: check site_id and api_key"),
            300..=399 => Greeting::Refused("redirected: the workspace is in the other region; set region, or correct url"),
            status => Greeting::Unknown(format!("{url} answered {status}")),
        }
    }

    /// Makes one call, once.
    pub(super) async fn call(&self, person: &Person, planned: &Planned) -> Answer {
        let customer = self.customer(person);
        let request = match planned.call {
            Call::Identify | Call::Unsubscribe => {
                let mut body = json!(planned.attributes);
                // Only existing people: an event may concern somebody who was deleted since. The time orders writes in quick succession.
                body["_update"] = Value::Bool(true);
                body["_timestamp"] = planned.seen.as_of.into();
                if planned.call == Call::Unsubscribe {
                    body["unsubscribed"] = Value::Bool(true);
                }
                self.client.put(customer).json(&body)
            }
            Call::Suppress => self.client.post(format!("{customer}/suppress")).json(&json!({})),
        };
        self.send(person, request).await
    }

    /// Frees a suppressed person's identifiers, once. The profile does not come back. The error says why not.
    pub async fn unsuppress(&self, person: &Person) -> Result<(), String> {
        let request = self.client.post(format!("{}/unsuppress", self.customer(person))).json(&json!({}));
        match self.send(person, request).await {
            Answer::Acknowledged(_) => Ok(()),
            Answer::Refused(status, words) => Err(format!("refused with {status}: {words}")),
            Answer::Retry(error, _) => Err(format!("{error}: try again later")),
            Answer::Stop(status) => Err(format!("answered {status}: check site_id, api_key and region")),
        }
    }

    fn customer(&self, person: &Person) -> String {
        format!("{}/api/v1/customers/{}", self.base, identifier(person))
    }

    async fn send(&self, person: &Person, request: RequestBuilder) -> Answer {
        // Without the address, which holds the person's id.
        let unanswered = |error: reqwest::Error| Answer::Retry(error.without_url().to_string(), None);
        let response = match request.basic_auth(&self.site_id, Some(&self.api_key)).send().await {
            Ok(response) => response,
            Err(error) => return unanswered(error),
        };
        let status = response.status();
        let wait = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).and_then(retry_after);
        // Half an answer is none.
        let body = match response.bytes().await {
            Ok(body) => body,
            Err(error) => return unanswered(error),
        };
        let encoded = identifier(person);
        classify(status, wait, || words(&body, &[&person.id, &encoded, &self.api_key, &self.site_id]))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_encoded_so_that_they_address_nobody_else() {
        let id = |namespace, id: &str| identifier(&Person { workspace: "default".into(), namespace, id: id.into() });
        assert_eq!(id(Namespace::Id, "a/b+c@d %é~-._"), "a%2Fb%2Bc%40d%20%25%C3%A9~-._");
        assert_eq!(id(Namespace::Cio, "b1f4"), "cio_b1f4");
    }
}

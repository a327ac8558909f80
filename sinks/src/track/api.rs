//! The Track API over HTTP: one call, one answer.

use std::time::Duration;

use aftersend_pipeline::config::TrackCredentials;
use aftersend_schemas::track_call::Call;
use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, StatusCode, redirect};
use serde_json::{Value, json};

use super::answer::{Answer, classify, classify_items, retry_after};
use super::batch::attributes;
use super::identifier::Identifier;
use super::plan::Planned;

const TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an answer. The longest names an error for each of a thousand people.
const MAX_ANSWER: usize = 1024 * 1024;

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

/// Why an [`Api::unsuppress`] came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotFreed {
    /// The API said no.
    #[error("the track API refused with {status}: {words}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Its reasons, without what identifies anybody.
        words: String,
    },
    /// Nobody knows whether it was done.
    #[error("the track API did not answer ({0}): try again later")]
    Unanswered(String),
    /// The API answers nobody like us.
    #[error("the track API answered {status}: check site_id, api_key, region and url")]
    Stopped {
        /// HTTP status.
        status: u16,
    },
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
            404 | 405 | 410 => Greeting::Refused("there is no Track API at this address: correct url"),
            status => Greeting::Unknown(format!("{url} answered {status}")),
        }
    }

    /// Makes one call, once.
    pub(super) async fn call(&self, planned: &Planned) -> Answer {
        let request = match planned.call {
            Call::Identify | Call::Unsubscribe => {
                let mut body = attributes(planned);
                // Orders writes in quick succession.
                body["_timestamp"] = planned.seen.as_of.into();
                self.client.put(self.customer(&planned.whom)).json(&body)
            }
            Call::Suppress => self.post(&planned.whom, "suppress"),
            Call::Unsuppress => self.post(&planned.whom, "unsuppress"),
        };
        self.ask(&planned.whom, request).await
    }

    /// Makes the calls of a batch with this body, once; an answer for each.
    pub(super) async fn batch<'p>(&self, people: impl Iterator<Item = &'p Identifier>, body: String) -> Vec<Answer> {
        let people: Vec<(&Identifier, String)> = people.map(|whom| (whom, whom.in_path())).collect();
        let request = self.client.post(format!("{}/api/v2/batch", self.base)).header(CONTENT_TYPE, "application/json").body(body);
        match self.send(request).await {
            Ok((status, wait, body)) => {
                let secrets: Vec<_> = people.iter().map(|(whom, encoded)| self.secrets(whom, encoded)).collect();
                classify_items(status, wait, &body, &secrets)
            }
            Err(answer) => vec![answer; people.len()],
        }
    }

    /// Frees a suppressed person's identifiers, once. The profile does not come back. The status of the answer.
    pub async fn unsuppress(&self, whom: &Identifier) -> Result<u16, NotFreed> {
        match self.ask(whom, self.post(whom, "unsuppress")).await {
            Answer::Acknowledged(status) => Ok(status),
            Answer::Refused(status, words) => Err(NotFreed::Refused { status, words }),
            Answer::Retry(error, _) => Err(NotFreed::Unanswered(error)),
            Answer::Stop(status) | Answer::Split(status) => Err(NotFreed::Stopped { status }),
        }
    }

    fn post(&self, whom: &Identifier, what: &str) -> RequestBuilder {
        self.client.post(format!("{}/{what}", self.customer(whom))).json(&json!({}))
    }

    fn customer(&self, whom: &Identifier) -> String {
        format!("{}/api/v1/customers/{}", self.base, whom.in_path())
    }

    async fn ask(&self, whom: &Identifier, request: RequestBuilder) -> Answer {
        match self.send(request).await {
            Ok((status, wait, body)) => classify(status, wait, &body, &self.secrets(whom, &whom.in_path())),
            Err(answer) => answer,
        }
    }

    /// What must not be kept of an answer.
    fn secrets<'s>(&'s self, whom: &'s Identifier, encoded: &'s str) -> [&'s str; 4] {
        [whom.as_str(), encoded, &self.api_key, &self.site_id]
    }

    /// A whole answer: status, how long to wait, body.
    async fn send(&self, request: RequestBuilder) -> Result<(StatusCode, Option<Duration>, Bytes), Answer> {
        // Without the URL, which holds the person's name.
        let unanswered = |error: reqwest::Error| Answer::Retry(error.without_url().to_string(), None);
        let mut response = request.basic_auth(&self.site_id, Some(&self.api_key)).send().await.map_err(unanswered)?;
        let status = response.status();
        let wait = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).and_then(retry_after);
        let mut body = BytesMut::new();
        // Half an answer is none.
        while let Some(part) = response.chunk().await.map_err(unanswered)? {
            if body.len() + part.len() > MAX_ANSWER {
                return Err(Answer::Retry(format!("{status} with an endless answer"), wait));
            }
            body.extend_from_slice(&part);
        }
        Ok((status, wait, body.freeze()))
    }
}

//! A stand-in for the Track API that records what it is asked, keeps a workspace, and answers as badly as it is told to.

use std::collections::BTreeMap;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::dev::{Extensions, ServerHandle};
use actix_web::http::{Method, StatusCode};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use aftersend_pipeline::unix_millis;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Map, Value, json};

/// One request.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// `identify`, `suppress`, `unsuppress`, or method and path of anything else.
    pub call: String,
    /// The person as addressed in the path, decoded; `cio_...` also in a batch.
    pub person: String,
    /// The body; of a batch the attributes of the person.
    pub body: Value,
    /// The number of the request: those of a batch share one.
    pub request: u64,
    /// Unix milliseconds.
    pub at: i64,
    /// What was answered; 0 if the connection was broken off.
    pub status: u16,
}

/// What the workspace has of a person.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Kept {
    /// As they were identified; none once suppressed.
    pub attributes: Map<String, Value>,
    /// Deleted and blocked: whatever else is asked is answered with 200 and ignored.
    pub suppressed: bool,
}

/// The credentials that are accepted.
pub const SITE_ID: &str = "demo-site";
/// See [`SITE_ID`].
pub const API_KEY: &str = "demo-key";
/// `demo-site:demo-key` as HTTP basic authentication.
const AUTHORIZATION: &str = "Basic ZGVtby1zaXRlOmRlbW8ta2V5";

/// A running stand-in.
pub struct TrackApi {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    server: ServerHandle,
}

#[derive(Default)]
struct Shared {
    asked: Vec<Asked>,
    people: BTreeMap<String, Kept>,
    /// Answered instead of 200, while set.
    status: Option<u16>,
    /// Answered with 429 and this many seconds to wait, while set.
    busy: Option<u32>,
    /// How many percent of the answers are bad ones.
    bad: Option<(StdRng, u32)>,
    /// Calls for people whose id begins with this are refused: alone with 400, in a batch with 207.
    refused: Option<String>,
    requests: u64,
}

/// A way to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// As it should be.
    Plain(u16),
    /// Done, and said late.
    Slow,
    /// 429 with `Retry-After`.
    Busy(u32),
    /// Not done, and the connection is closed without a word.
    Reset,
    /// Done, and the connection is closed without a word.
    DoneAndReset,
    /// Done, and half an answer.
    Half,
}

impl TrackApi {
    /// Listens on a free port of the loopback address.
    pub fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let shared: Arc<Mutex<Shared>> = Arc::default();
        let state = web::Data::new(shared.clone());
        let server = HttpServer::new(move || App::new().app_data(state.clone()).default_service(web::to(answer)))
            .on_connect(keep_connection)
            .workers(1)
            .disable_signals()
            .shutdown_timeout(1)
            .listen(listener)?
            .run();
        let handle = server.handle();
        tokio::spawn(server);
        Ok(Self { address, shared, server: handle })
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything asked so far, in order.
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.shared).asked.clone()
    }

    /// Everybody the workspace knows.
    pub fn people(&self) -> BTreeMap<String, Kept> {
        lock(&self.shared).people.clone()
    }

    /// Answers every call with this status from now on; `None` for 200.
    pub fn answer_with(&self, status: Option<u16>) {
        lock(&self.shared).status = status;
    }

    /// Answers every call with 429 and asks for so many seconds of quiet from now on; `None` for 200.
    pub fn ask_for_quiet(&self, seconds: Option<u32>) {
        lock(&self.shared).busy = seconds;
    }

    /// So many percent of the answers are late, broken off, 429 or 5xx from now on, the same for the same seed; `None` for none.
    pub fn misbehave(&self, percent_and_seed: Option<(u32, u64)>) {
        lock(&self.shared).bad = percent_and_seed.map(|(percent, seed)| (StdRng::seed_from_u64(seed), percent));
    }

    /// Refuses every call for people whose id begins with this from now on; `None` for nobody.
    pub fn refuse(&self, prefix: Option<&str>) {
        lock(&self.shared).refused = prefix.map(str::to_owned);
    }

    /// Calls by person, in order.
    pub fn by_person(&self) -> BTreeMap<String, Vec<String>> {
        let mut people: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for asked in self.asked() {
            people.entry(asked.person).or_default().push(asked.call);
        }
        people
    }

    /// Stops listening.
    pub async fn stop(self) {
        self.server.stop(false).await;
    }
}

impl Shared {
    fn manner(&mut self) -> Manner {
        if let Some(status) = self.status {
            return Manner::Plain(status);
        }
        if let Some(seconds) = self.busy {
            return Manner::Busy(seconds);
        }
        let Some((random, percent)) = &mut self.bad else { return Manner::Plain(200) };
        if random.random_range(0..100) >= *percent {
            return Manner::Plain(200);
        }
        [
            Manner::Plain(429),
            Manner::Plain(500),
            Manner::Plain(503),
            Manner::Plain(408),
            Manner::Slow,
            Manner::Busy(1),
            Manner::Reset,
            Manner::DoneAndReset,
            Manner::Half,
        ][random.random_range(0..9)]
    }

    /// What a workspace does: whoever was suppressed stays so, whatever is asked.
    fn act(&mut self, call: &str, person: &str, body: &Value) {
        let kept = self.people.entry(person.to_owned()).or_default();
        match call {
            "suppress" => *kept = Kept { attributes: Map::new(), suppressed: true },
            "unsuppress" => kept.suppressed = false,
            "identify" if !kept.suppressed => kept.attributes.extend(body.as_object().cloned().unwrap_or_default()),
            _ => {}
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> std::sync::MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Another handle of the connection, by which it can be broken off.
fn keep_connection(connection: &dyn std::any::Any, extensions: &mut Extensions) {
    if let Some(connection) = connection.downcast_ref::<actix_web::rt::net::TcpStream>()
        && let Ok(handle) = connection.as_fd().try_clone_to_owned()
    {
        extensions.insert(Arc::new(TcpStream::from(handle)));
    }
}

async fn answer(shared: web::Data<Arc<Mutex<Shared>>>, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    let path = request.path().to_owned();
    let authorized = request.headers().get("authorization").is_some_and(|value| value.as_bytes() == AUTHORIZATION.as_bytes());
    if !authorized {
        return HttpResponse::Unauthorized().json(json!({"meta": {"error": "unauthorized"}}));
    }
    if path == "/api/v1/accounts/region" {
        return HttpResponse::Ok().json(json!({"url": "track.customer.io", "region": "us", "environment_id": 1}));
    }
    // The raw path: a decoded slash would look like another path.
    let raw = request.uri().path();
    let customer = raw.strip_prefix("/api/v1/customers/").unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let posted = |call: &str| customer.strip_suffix(call).and_then(|person| person.strip_suffix('/'));
    let decoded = |encoded: &str| percent_encoding::percent_decode_str(encoded).decode_utf8_lossy().into_owned();
    let is_batch = raw == "/api/v2/batch" && *request.method() == Method::POST;
    let calls: Vec<(String, String, Value)> = match *request.method() {
        _ if is_batch => body["batch"].as_array().map(Vec::as_slice).unwrap_or_default().iter().map(item).collect(),
        Method::POST => match (posted("suppress"), posted("unsuppress")) {
            (Some(person), _) => vec![("suppress".to_owned(), decoded(person), body)],
            (_, Some(person)) => vec![("unsuppress".to_owned(), decoded(person), body)],
            _ => vec![(format!("POST {path}"), decoded(customer), body)],
        },
        Method::PUT if !customer.contains('/') => vec![("identify".to_owned(), decoded(customer), body)],
        ref method => vec![(format!("{method} {path}"), decoded(customer), body)],
    };
    let first = calls.first().map(|(_, person, _)| person.clone()).unwrap_or_default();
    let mut errors = Vec::new();
    let manner = {
        let mut shared = lock(&shared);
        let manner = shared.manner();
        shared.requests += 1;
        let number = shared.requests;
        let (status, is_done) = match manner {
            Manner::Plain(status) => (status, status == 200),
            Manner::Slow => (200, true),
            Manner::Busy(_) => (429, false),
            Manner::Reset => (0, false),
            Manner::DoneAndReset | Manner::Half => (0, true),
        };
        for (index, (call, person, body)) in calls.into_iter().enumerate() {
            let is_refused = shared.refused.as_ref().is_some_and(|prefix| person.starts_with(prefix));
            if is_refused {
                let message = format!("too long for {person}");
                errors.push(json!({"batch_index": index, "reason": "invalid", "field": "attributes", "message": message}));
            } else if is_done {
                shared.act(&call, &person, &body);
            }
            let status = if is_refused { 400 } else { status };
            shared.asked.push(Asked { call, person, body, request: number, at: unix_millis(), status });
        }
        manner
    };
    if !errors.is_empty() {
        let status = if is_batch { StatusCode::MULTI_STATUS } else { StatusCode::BAD_REQUEST };
        return HttpResponse::build(status).json(json!({"errors": errors}));
    }
    match manner {
        Manner::Plain(400) => HttpResponse::BadRequest().json(json!({"meta": {"errors": [format!("attribute too long for {first}")]}})),
        Manner::Plain(status @ 300..=399) => {
            let status = StatusCode::from_u16(status).unwrap_or_default();
            HttpResponse::build(status).insert_header(("location", "https://track-eu.customer.io/")).finish()
        }
        Manner::Plain(status) => HttpResponse::build(StatusCode::from_u16(status).unwrap_or_default()).json(json!({})),
        Manner::Slow => {
            tokio::time::sleep(Duration::from_millis(300)).await;
            HttpResponse::Ok().json(json!({}))
        }
        Manner::Busy(seconds) => HttpResponse::TooManyRequests().insert_header(("retry-after", seconds.to_string())).json(json!({})),
        Manner::Reset | Manner::DoneAndReset => {
            if let Some(connection) = request.conn_data::<Arc<TcpStream>>() {
                let _ = connection.shutdown(Shutdown::Both);
            }
            HttpResponse::InternalServerError().finish()
        }
        Manner::Half => {
            let half = futures_util::stream::iter([Ok(web::Bytes::from_static(b"{")), Err(std::io::Error::other("half an answer"))]);
            HttpResponse::Ok().streaming(half)
        }
    }
}

/// A call of a batch: what, who, and the attributes as a call alone would send them.
fn item(item: &Value) -> (String, String, Value) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let person = match &item["identifiers"]["cio_id"] {
        Value::String(id) => format!("cio_{id}"),
        _ => text(item["identifiers"].as_object().and_then(|ids| ids.values().next()).unwrap_or(&Value::Null)),
    };
    let mut attributes = item["attributes"].clone();
    if attributes.is_object() {
        attributes["_timestamp"] = item["timestamp"].clone();
    }
    (text(&item["action"]), person, attributes)
}

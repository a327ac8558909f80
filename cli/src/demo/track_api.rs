//! A stand-in for the Track API that records what it is asked and keeps the standing of every person.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};

use actix_web::dev::ServerHandle;
use actix_web::http::Method;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use aftersend_pipeline::unix_millis;
use serde_json::{Value, json};

/// One request.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// `identify`, `suppress`, or method and path of anything else.
    pub call: String,
    /// The person as addressed in the path, decoded.
    pub person: String,
    /// The body.
    pub body: Value,
    /// Unix milliseconds.
    pub at: i64,
    /// What was answered.
    pub status: u16,
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
    /// Answered instead of 200, while set.
    status: Option<u16>,
}

impl TrackApi {
    /// Listens on a free port of the loopback address.
    pub fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let shared: Arc<Mutex<Shared>> = Arc::default();
        let state = web::Data::new(shared.clone());
        let server = HttpServer::new(move || App::new().app_data(state.clone()).default_service(web::to(answer)))
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

    /// Answers every call with this status from now on; `None` for 200.
    pub fn answer_with(&self, status: Option<u16>) {
        lock(&self.shared).status = status;
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

fn lock(shared: &Mutex<Shared>) -> std::sync::MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
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
    let (call, encoded) = match (request.method(), customer.strip_suffix("/suppress")) {
        (&Method::POST, Some(person)) => ("suppress".to_owned(), person),
        (&Method::PUT, None) if !customer.contains('/') => ("identify".to_owned(), customer),
        (method, _) => (format!("{method} {path}"), customer),
    };
    let person = percent_encoding::percent_decode_str(encoded).decode_utf8_lossy().into_owned();
    let mut shared = lock(&shared);
    let status = shared.status.unwrap_or(200);
    let body = serde_json::from_slice(&body).unwrap_or_default();
    shared.asked.push(Asked { call, person, body, at: unix_millis(), status });
    let status = actix_web::http::StatusCode::from_u16(status).unwrap_or_default();
    HttpResponse::build(status).json(json!({}))
}

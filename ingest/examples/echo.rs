//! The floor under ingest: the same server with the same settings reads a body and answers 200. No signature, no Kafka.
//!
//! `cargo run --release -p aftersend-ingest --example echo -- 127.0.0.1:8080`

use std::net::TcpListener;
use std::rc::Rc;

use actix_web::HttpResponse;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::{BytesMut, Payload};
use aftersend_ingest::server::{Observer, serve};
use futures_util::StreamExt as _;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Nobody counts.
#[derive(Clone)]
struct Nobody;

impl Observer for Nobody {
    type Connection = ();

    fn accepted(&self) {}
    async fn crowded(&self) {
        std::future::pending().await
    }
    fn connected(&self) {}
    fn is_busy((): &()) -> bool {
        false
    }
    fn unwanted(&self, _: Rc<()>) -> impl Future<Output = ()> + 'static {
        std::future::pending()
    }
    fn leaving(&self) -> impl Future<Output = ()> + 'static {
        std::future::pending()
    }
    fn lost(&self) {}
    fn failed(&self, _: &'static str) {}
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    serve(TcpListener::bind(address)?, None, 12_800, echo, Nobody)?.await
}

async fn echo(mut payload: Payload) -> actix_web::Result<HttpResponse> {
    let mut body = BytesMut::new();
    while let Some(piece) = payload.next().await {
        body.extend_from_slice(&piece?);
    }
    Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, "application/json")).body(format!("{{\"bytes\":{}}}\n", body.len())))
}

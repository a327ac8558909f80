use std::net::{SocketAddr, TcpListener};

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpResponse, HttpServer, web};

use super::{Metrics, Readiness};

/// The admin pages could not be served.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve the admin pages on {address}: {source}; set the service's `admin` to a free address")]
pub struct AdminError {
    address: SocketAddr,
    source: std::io::Error,
}

/// Serves `/livez`, `/readyz` and `/metrics` until the handle stops it or the runtime ends. Returns the bound address (port 0 chooses one).
pub fn serve(address: SocketAddr, metrics: Metrics, readiness: Readiness) -> Result<(SocketAddr, ServerHandle), AdminError> {
    let listener = TcpListener::bind(address).map_err(|source| AdminError { address, source })?;
    serve_on(listener, address, metrics, readiness)
}

/// As [`serve`], on a port that is open already; `address` stands in errors.
pub fn serve_on(
    listener: TcpListener,
    address: SocketAddr,
    metrics: Metrics,
    readiness: Readiness,
) -> Result<(SocketAddr, ServerHandle), AdminError> {
    let failed = |source| AdminError { address, source };
    let bound = listener.local_addr().map_err(failed)?;
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new((metrics.clone(), readiness.clone())))
            .route("/livez", web::get().to(async || "live\n"))
            .route("/readyz", web::get().to(ready))
            .route("/metrics", web::get().to(render))
    })
    .workers(1)
    .disable_signals()
    .shutdown_timeout(1)
    .listen(listener)
    .map_err(failed)?
    .run();
    let handle = server.handle();
    tokio::spawn(server);
    Ok((bound, handle))
}

type Shared = web::Data<(Metrics, Readiness)>;

async fn ready(shared: Shared) -> HttpResponse {
    if shared.1.is_ready() { HttpResponse::Ok().body("ready\n") } else { HttpResponse::ServiceUnavailable().body("not ready\n") }
}

async fn render(shared: Shared) -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(shared.0.render())
}

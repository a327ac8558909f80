//! Open connections, counted from accept to close.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::metrics::IngestMetrics;
use crate::server::Observer;

/// How long without a connection until none is on its way.
const SETTLED: Duration = Duration::from_secs(1);

/// Counts connections.
#[derive(Clone)]
pub(crate) struct Connections {
    open: Arc<AtomicUsize>,
    last_closed: Arc<Notify>,
    limit: usize,
    metrics: IngestMetrics,
}

/// An open connection; lives in its extensions.
pub(crate) struct Connection {
    connections: Connections,
    /// Accepted above the limit: its requests are answered 503.
    pub(crate) is_too_many: bool,
    used: Cell<bool>,
}

impl Connections {
    pub(crate) fn new(limit: usize, metrics: IngestMetrics) -> Self {
        Self { open: Arc::default(), last_closed: Arc::default(), limit, metrics }
    }

    /// How many are open.
    pub(crate) fn count(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Waits until none has been open for a while: one may still be on its way to a worker. For one waiter, when no more are accepted.
    pub(crate) async fn all_closed(&self) {
        loop {
            while self.count() > 0 {
                self.last_closed.notified().await;
            }
            tokio::time::sleep(SETTLED).await;
            if self.count() == 0 {
                return;
            }
        }
    }

    fn closed(&self) {
        self.metrics.connections.dec();
        if self.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.last_closed.notify_one();
        }
    }
}

impl Observer for Connections {
    type Connection = Connection;

    fn accepted(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.metrics.connections.inc();
    }

    fn connected(&self) -> Connection {
        Connection { connections: self.clone(), is_too_many: self.count() > self.limit, used: Cell::new(false) }
    }

    fn lost(&self) {
        self.closed();
        self.metrics.unused_connections.inc();
    }

    fn failed(&self, error: &'static str) {
        self.metrics.connection_errors.with_label_values(&[error]).inc();
    }
}

impl Connection {
    /// A request came over it.
    pub(crate) fn mark_used(&self) {
        self.used.set(true);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.connections.closed();
        if !self.used.get() {
            self.connections.metrics.unused_connections.inc();
        }
    }
}

//! Open connections, counted from accept to close.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::metrics::IngestMetrics;
use crate::server::Observer;

/// How long without a connection until none is on its way.
const SETTLED: Duration = Duration::from_secs(1);
/// How long a client may say nothing where others wait for the place, or the process ends, and how often the former is looked at.
const QUIET: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often that is looked at where the process is about to end.
const LOOK_AT_THE_END_EVERY: Duration = Duration::from_millis(200);

/// Counts connections.
#[derive(Clone)]
pub(crate) struct Connections {
    open: Arc<AtomicUsize>,
    last_closed: Arc<Notify>,
    /// True while there are nearly as many as are served.
    crowd: watch::Sender<bool>,
    /// Cancelled when no further requests are wanted.
    draining: CancellationToken,
    /// Cancelled when nothing is waited for but what was begun, or may begin at once.
    stopping: CancellationToken,
    limit: usize,
    metrics: IngestMetrics,
}

/// An open connection; lives in its extensions.
pub(crate) struct Connection {
    connections: Connections,
    /// Accepted above the limit: its requests are answered 503.
    pub(crate) is_too_many: bool,
    /// One of its requests is being read.
    pub(crate) is_reading: Cell<bool>,
    /// One of its requests was verified: somebody we know is at the other end.
    pub(crate) is_proven: Cell<bool>,
    requests: Cell<usize>,
    quiet_since: Cell<Instant>,
    used: Cell<bool>,
}

impl Connections {
    pub(crate) fn new(limit: usize, draining: CancellationToken, metrics: IngestMetrics) -> Self {
        Self {
            open: Arc::default(),
            last_closed: Arc::default(),
            crowd: watch::Sender::new(false),
            draining,
            stopping: CancellationToken::new(),
            limit,
            metrics,
        }
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

    /// Ends those that say nothing, each once it has had the time in which a client speaks that has just connected.
    pub(crate) fn stop(&self) {
        self.stopping.cancel();
    }

    /// True while those that only take room are to go.
    pub(crate) fn is_crowded(&self) -> bool {
        *self.crowd.borrow()
    }

    fn look_around(&self) {
        let crowded = self.count() > self.limit - self.limit / 8;
        self.crowd.send_if_modified(|before| std::mem::replace(before, crowded) != crowded);
    }

    fn closed(&self) {
        self.metrics.connections.dec();
        if self.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.last_closed.notify_one();
        }
        self.look_around();
    }
}

impl Observer for Connections {
    type Connection = Connection;

    fn accepted(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.metrics.connections.inc();
        self.look_around();
    }

    async fn crowded(&self) {
        let mut crowd = self.crowd.subscribe();
        // It cannot be closed: its sender is here.
        tokio::select! {
            _ = crowd.wait_for(|crowded| *crowded) => {}
            () = self.stopping.cancelled() => {}
        }
    }

    fn unwanted(&self, connection: Rc<Connection>) -> impl Future<Output = ()> + 'static {
        let mut crowd = self.crowd.subscribe();
        let stopping = self.stopping.clone();
        async move {
            let in_the_way = async {
                // It cannot be closed: the connection holds its sender.
                while crowd.wait_for(|crowded| *crowded).await.is_ok() {
                    if connection.only_takes_room() {
                        return;
                    }
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            };
            let done = async {
                stopping.cancelled().await;
                while !connection.has_been_quiet_for(QUIET) {
                    tokio::time::sleep(LOOK_AT_THE_END_EVERY).await;
                }
            };
            tokio::select! {
                () = in_the_way => {}
                () = done => {}
            }
        }
    }

    fn leaving(&self) -> impl Future<Output = ()> + 'static {
        self.draining.clone().cancelled_owned()
    }

    fn connected(&self) -> Connection {
        let is_too_many = self.count() > self.limit;
        Connection {
            connections: self.clone(),
            is_too_many,
            is_reading: Cell::new(false),
            is_proven: Cell::new(false),
            requests: Cell::new(0),
            quiet_since: Cell::new(Instant::now()),
            used: Cell::new(false),
        }
    }

    fn is_busy(connection: &Connection) -> bool {
        connection.requests.get() > 0
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
    /// A request came over it; until the result is dropped it is not quiet.
    pub(crate) fn begin(&self) -> impl Drop {
        self.used.set(true);
        self.requests.update(|requests| requests + 1);
        Busy(self)
    }

    /// Nobody we know, and nothing to do for a while.
    fn only_takes_room(&self) -> bool {
        !self.is_proven.get() && self.has_been_quiet_for(QUIET)
    }

    fn has_been_quiet_for(&self, time: Duration) -> bool {
        !Connections::is_busy(self) && self.quiet_since.get().elapsed() >= time
    }

    /// How long its first request took to come so far; nothing for later ones, of whose beginning nobody knows.
    pub(crate) fn spent_on_the_head(&self) -> Duration {
        if self.used.get() { Duration::ZERO } else { self.quiet_since.get().elapsed() }
    }

    /// True if it should not stay open for somebody whose request was refused.
    pub(crate) fn is_wanted_by_others(&self) -> bool {
        self.connections.is_crowded()
    }
}

struct Busy<'c>(&'c Connection);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.requests.update(|requests| requests.saturating_sub(1));
        self.0.quiet_since.set(Instant::now());
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

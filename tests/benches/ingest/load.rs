//! The load generator: closed loop (each connection sends again as soon as it is answered) and open loop (requests fall due at a rate).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::candidate::Target;
use crate::connection::Connection;
use crate::requests::Requests;
use aftersend_tests::bench::Usage;

/// How long a run is, and what comes before it counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

/// What one run came to.
pub(crate) struct Run {
    /// Answered 2xx, warm-up and all.
    pub(crate) accepted: u64,
    /// Of these, in the measured time.
    pub(crate) counted: u64,
    pub(crate) elapsed: Duration,
    /// Of what was sent, or fell due, in the measured time. Microseconds.
    pub(crate) latency: Histogram<u64>,
    /// Of the measured process.
    pub(crate) cpu: Duration,
    /// Of this process.
    pub(crate) generator_cpu: Duration,
    /// Of the measured process, at the end.
    pub(crate) usage: Usage,
}

impl Run {
    pub(crate) fn per_second(&self) -> f64 {
        self.counted as f64 / self.elapsed.as_secs_f64()
    }

    pub(crate) fn cpu_us_per_event(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.counted as f64
    }

    pub(crate) fn latency_ms(&self, percentile: f64) -> f64 {
        self.latency.value_at_percentile(percentile) as f64 / 1e3
    }
}

/// As many as possible over so many connections.
pub(crate) async fn closed(target: &Target, requests: &Arc<Requests>, connections: usize, span: Span) -> anyhow::Result<Run> {
    let mut load = Load::connect(target, connections, span).await?;
    while let Some(mut connection) = load.connections.pop() {
        let (clock, requests) = (load.clock.clone(), requests.clone());
        load.workers.spawn(async move {
            loop {
                let sent = Instant::now();
                if sent >= clock.until {
                    return Ok(());
                }
                connection.exchange(requests.get(clock.ticket())).await?;
                clock.answered(sent);
            }
        });
    }
    load.finish(target).await
}

/// `rate` requests a second, whatever the answers take. Latency counts from when a request fell due, not from when a connection was free to
/// send it, so that a stall is felt by every request it held up. Timers tick in milliseconds: up to one of it is the generator's own.
pub(crate) async fn open(target: &Target, requests: &Arc<Requests>, connections: usize, rate: f64, span: Span) -> anyhow::Result<Run> {
    let mut load = Load::connect(target, connections, span).await?;
    while let Some(mut connection) = load.connections.pop() {
        let (clock, requests) = (load.clock.clone(), requests.clone());
        load.workers.spawn(async move {
            loop {
                // Whoever is free takes the next request to fall due.
                let ticket = clock.ticket();
                let due = clock.start + Duration::from_secs_f64(ticket as f64 / rate);
                if due >= clock.until {
                    return Ok(());
                }
                sleep_until(due).await;
                connection.exchange(requests.get(ticket)).await?;
                clock.answered(due);
            }
        });
    }
    load.finish(target).await
}

struct Load {
    connections: Vec<Connection>,
    clock: Arc<Clock>,
    workers: JoinSet<anyhow::Result<()>>,
}

/// What the connections share.
struct Clock {
    start: Instant,
    from: Instant,
    until: Instant,
    tickets: AtomicUsize,
    tally: Mutex<Tally>,
}

struct Tally {
    accepted: u64,
    counted: u64,
    latency: Histogram<u64>,
}

impl Load {
    async fn connect(target: &Target, count: usize, span: Span) -> anyhow::Result<Self> {
        let mut connections = Vec::new();
        for _ in 0..count {
            connections.push(Connection::open(target.address).await?);
        }
        let start = Instant::now();
        let from = start + span.warm_up;
        let tally = Tally { accepted: 0, counted: 0, latency: Histogram::new_with_bounds(1, 60_000_000, 3)? };
        let clock = Clock { start, from, until: from + span.measured, tickets: AtomicUsize::new(0), tally: Mutex::new(tally) };
        Ok(Self { connections, clock: Arc::new(clock), workers: JoinSet::new() })
    }

    async fn finish(mut self, target: &Target) -> anyhow::Result<Run> {
        self.wait_until(self.clock.from).await?;
        let (before, own_before) = (Usage::of(target.process)?, Usage::of(std::process::id())?);
        self.wait_until(self.clock.until).await?;
        let (usage, own) = (Usage::of(target.process)?, Usage::of(std::process::id())?);
        // What is under way still gets its answer.
        while let Some(ended) = self.workers.join_next().await {
            ended??;
        }
        let tally = self.clock.tally();
        Ok(Run {
            accepted: tally.accepted,
            counted: tally.counted,
            elapsed: self.clock.until - self.clock.from,
            latency: tally.latency.clone(),
            cpu: usage.cpu.saturating_sub(before.cpu),
            generator_cpu: own.cpu.saturating_sub(own_before.cpu),
            usage,
        })
    }

    /// A connection that fails ends the run at once.
    async fn wait_until(&mut self, when: Instant) -> anyhow::Result<()> {
        let deadline = sleep_until(when);
        tokio::pin!(deadline);
        loop {
            tokio::select! {
                () = &mut deadline => return Ok(()),
                Some(ended) = self.workers.join_next() => ended??,
            }
        }
    }
}

impl Clock {
    fn ticket(&self) -> usize {
        self.tickets.fetch_add(1, Ordering::Relaxed)
    }

    fn answered(&self, since: Instant) {
        let now = Instant::now();
        let mut tally = self.tally();
        tally.accepted += 1;
        tally.counted += u64::from(now >= self.from && now < self.until);
        if since >= self.from {
            tally.latency.saturating_record(u64::try_from((now - since).as_micros()).unwrap_or(u64::MAX));
        }
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

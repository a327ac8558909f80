//! Counts outcomes and audits deliveries, beside the pipelines. Views are right without it, and fast with it.
//!
//! Any number of replicas may do this at once: a count replaces the earlier one of its slice, an audit is valid once it is finished.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use aftersend_pipeline::config::ClickHouse;
use aftersend_pipeline::telemetry::Metrics;
use clickhouse::Client;
use prometheus::{HistogramVec, IntCounterVec};
use tokio_util::sync::CancellationToken;

use super::client;
use super::failure::describe;
use super::http::Http;
use super::limit::{QUESTION, ROLLUP, within};
use super::migrate::target;

/// A row bears the time at which its insert began; so much later it is seen, unless the insert still runs.
const SETTLES: Duration = Duration::from_secs(120);
/// How often people are counted: all of them each time.
const PEOPLE: Duration = Duration::from_secs(300);
/// Slices in one statement: what they come to must fit one block.
const SLICES: usize = 64;

/// Keeps counts and audits of a database up to date.
pub struct Rollups {
    config: ClickHouse,
    client: Client,
    hasher: RandomState,
    /// Of the last count, in nanoseconds; 0 if that is not known.
    version: AtomicI64,
    runs: IntCounterVec,
    seconds: HistogramVec,
}

impl Rollups {
    /// Counters are there from the start.
    pub fn new(config: &ClickHouse, metrics: &Metrics) -> Self {
        let runs = metrics.counter_vec(
            "clickhouse_rollups_total",
            "Counts of outcomes and of people, and audits, by how they ended; one that failed is tried again at its next time.",
            &["job", "result"],
        );
        for job in ["count", "people", "audit"] {
            for result in ["ok", "failed"] {
                let _ = runs.with_label_values(&[job, result]);
            }
        }
        let seconds = metrics.seconds_vec("clickhouse_rollup_seconds", "Duration of one count or audit.", &["job"]);
        Self { config: config.clone(), client: client(config), hasher: RandomState::new(), version: AtomicI64::new(0), runs, seconds }
    }

    /// Counts and audits in turn until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut clock = ServerClock::default();
        let (mut count, mut people, mut audit) = (ticks(self.config.count_every.0), ticks(PEOPLE), ticks(self.config.audit_every.0));
        loop {
            let (job, result) = tokio::select! {
                () = shutdown.cancelled() => return,
                _ = count.tick() => ("count", self.timed("count", self.count_unless_fresh(&mut clock), &shutdown).await),
                _ = people.tick() => ("people", self.timed("people", self.people_unless_fresh(), &shutdown).await),
                _ = audit.tick() => ("audit", self.timed("audit", self.audit_unless_fresh(), &shutdown).await),
            };
            match result {
                None => return,
                Some(Ok(())) => self.runs.with_label_values(&[job, "ok"]).inc(),
                Some(Err(error)) => {
                    self.runs.with_label_values(&[job, "failed"]).inc();
                    let error = describe(&error);
                    tracing::warn!(
                        job,
                        error,
                        "a rollup failed; views stay right and become slower, unless one of them is missing (aftersend check)"
                    );
                }
            }
        }
    }

    async fn timed<F: Future<Output = clickhouse::error::Result<()>>>(
        &self,
        job: &str,
        work: F,
        shutdown: &CancellationToken,
    ) -> Option<clickhouse::error::Result<()>> {
        let timer = self.seconds.with_label_values(&[job]).start_timer();
        let result = shutdown.run_until_cancelled(work).await;
        timer.observe_duration();
        result
    }

    async fn count_unless_fresh(&self, clock: &mut ServerClock) -> clickhouse::error::Result<()> {
        let (now, mark) = self.times("count_marks", "mark").await?;
        if clock.went_back(now, Instant::now()) {
            self.forget_mark().await?;
            clock.is_followed();
        } else if now - mark < millis(SETTLES) + self.config.count_every.millis() / 2 && !is_ahead(mark, now) {
            return Ok(());
        }
        self.count(now).await.map(drop)
    }

    async fn people_unless_fresh(&self) -> clickhouse::error::Result<()> {
        let (now, last) = self.times("people_counts", "counted_at").await?;
        if is_fresh(last, now, millis(PEOPLE)) { Ok(()) } else { self.count_people(now.max(last + 1)).await }
    }

    async fn audit_unless_fresh(&self) -> clickhouse::error::Result<()> {
        let (now, last) = self.times("audits", "audited_at").await?;
        if is_fresh(last, now, self.config.audit_every.millis()) { Ok(()) } else { self.audit(now.max(last + 1)).await }
    }

    /// Counts every slice of which something was stored since the mark, and moves the mark. `now` is Unix milliseconds by the server's clock. Returns
    /// the number of slices.
    pub async fn count(&self, now: i64) -> clickhouse::error::Result<usize> {
        let (_, mark) = self.times("count_marks", "mark").await?;
        if is_ahead(mark, now) {
            self.forget_mark().await?;
        }
        // Before the slices are listed: what ends in between is among them.
        let settled = (now - millis(SETTLES)).min(self.oldest_insert().await?);
        let target = target(&self.config);
        let slices = target.fill("SELECT slice FROM {database}.slices_to_count ORDER BY slice");
        let slices = within(ROLLUP, self.client.query_raw(&slices).fetch_all::<u32>()).await?;
        let version = self.next_version(now).await?;
        for some in slices.chunks(SLICES) {
            self.execute(target.count(some, version)).await?;
        }
        // After the counts: until the mark moves, views do not look at them.
        let mark = format!("INSERT INTO {{database}}.count_marks (mark) SELECT fromUnixTimestamp64Milli({settled}, 'UTC')");
        self.execute(vec![target.fill(&mark)]).await?;
        Ok(slices.len())
    }

    /// Has everything counted anew: what was stored since the server's clock was put back bears times before the mark.
    async fn forget_mark(&self) -> clickhouse::error::Result<()> {
        tracing::warn!("clickhouse's clock went back: every outcome is counted anew; views stay right, and are slow until then");
        self.execute(vec![target(&self.config).fill("TRUNCATE TABLE {database}.count_marks{on_cluster}")]).await?;
        self.version.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// Nanoseconds of the server's clock, but later than every count before: the latest of a slice is the valid one, and the clock may have been put back.
    async fn next_version(&self, now: i64) -> clickhouse::error::Result<i64> {
        let known = self.version.load(Ordering::Relaxed);
        let last = if known == 0 { self.last_version().await? } else { known };
        let version = (now * 1_000_000).max(last + 1) + self.distinct(now);
        self.version.store(version, Ordering::Relaxed);
        Ok(version)
    }

    async fn last_version(&self) -> clickhouse::error::Result<i64> {
        let of = |table: &str| format!("SELECT max(toUnixTimestamp64Nano(counted_at)) AS at FROM {}.{table}", self.config.database);
        let query = format!("SELECT max(at) FROM ({} UNION ALL {})", of("campaign_counts"), of("provider_counts"));
        within(ROLLUP, self.client.query_raw(&query).fetch_one::<i64>()).await
    }

    /// When the oldest insert of outcomes began that still runs, on any replica: Unix milliseconds by the server's clock, the end of time if there is none.
    async fn oldest_insert(&self) -> clickhouse::error::Result<i64> {
        let processes = match &self.config.cluster {
            Some(cluster) => format!("clusterAllReplicas('{cluster}', system.processes)"),
            None => "system.processes".to_owned(),
        };
        let query = format!(
            "SELECT if(count() = 0, {}, toUnixTimestamp64Milli(now64(3)) - toInt64(1000 * max(elapsed)) - 1) FROM {processes} \
             WHERE current_database = '{}' AND startsWith(query, 'INSERT INTO message_outcomes') SETTINGS skip_unavailable_shards = 1",
            i64::MAX,
            self.config.database
        );
        within(QUESTION, self.client.query_raw(&query).fetch_one::<i64>()).await
    }

    /// Counts people by state and score. `now` as in [`Rollups::count`].
    pub async fn count_people(&self, now: i64) -> clickhouse::error::Result<()> {
        self.execute(target(&self.config).count_people(now * 1_000_000 + self.distinct(now))).await
    }

    /// Nanoseconds to add: replicas may count in the same millisecond, and each hashes with keys of its own.
    fn distinct(&self, now: i64) -> i64 {
        (self.hasher.hash_one(now) % 1_000_000).cast_signed()
    }

    /// Lists gaps and leaks as of `now`, Unix milliseconds.
    pub async fn audit(&self, now: i64) -> clickhouse::error::Result<()> {
        self.execute(target(&self.config).audit(now)).await
    }

    /// The server's clock, and the largest value of a column of times; both in Unix milliseconds.
    async fn times(&self, table: &str, column: &str) -> clickhouse::error::Result<(i64, i64)> {
        let query = format!(
            "SELECT toUnixTimestamp64Milli(now64(3)), toUnixTimestamp64Milli(toDateTime64(max({column}), 3)) FROM {}.{table}",
            self.config.database
        );
        within(QUESTION, self.client.query_raw(&query).fetch_one::<(i64, i64)>()).await
    }

    async fn execute(&self, statements: Vec<String>) -> clickhouse::error::Result<()> {
        // Not by the client library, which takes whatever somebody in between answers: the mark would move and nothing be counted.
        let http = Http::new(self.config.clone())?;
        for statement in statements {
            http.send(&[], statement, ROLLUP).await?;
        }
        Ok(())
    }
}

/// The server's clock, held against one that never goes back.
#[derive(Debug, Default)]
struct ServerClock {
    /// What it showed, and when.
    last: Option<(i64, Instant)>,
    has_gone_back: bool,
}

impl ServerClock {
    /// True if it has shown a time so far before the one that it should have shown that rows may be missed, until that is dealt with.
    fn went_back(&mut self, now: i64, at: Instant) -> bool {
        let last = self.last.replace((now, at));
        self.has_gone_back |= last.is_some_and(|(then, since)| is_ahead(then + millis(at.duration_since(since)) - millis(SETTLES), now));
        self.has_gone_back
    }

    fn is_followed(&mut self) {
        self.has_gone_back = false;
    }
}

/// True for a mark that no clock which shows this time has set: it stays behind by the time that rows take to settle. Clocks of replicas may differ by half of
/// that.
fn is_ahead(mark: i64, now: i64) -> bool {
    mark > now - millis(SETTLES) / 2
}

/// True for what was done less than half of its time ago; not for what a clock has done that was ahead.
fn is_fresh(last: i64, now: i64, every: i64) -> bool {
    (0..every / 2).contains(&(now - last))
}

fn ticks(every: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_put_back_is_noticed_whenever_it_is_looked_at_next() {
        let (began, minute) = (Instant::now(), 60_000);
        let at = |minutes: u64| began + Duration::from_secs(60 * minutes);
        let mut clock = ServerClock::default();
        assert!(!clock.went_back(100 * minute, at(0)), "nothing to compare with");
        assert!(!clock.went_back(110 * minute, at(10)));
        assert!(!clock.went_back(119 * minute, at(20)), "what settles covers a minute");
        assert!(clock.went_back(126 * minute, at(30)), "three minutes, and it shows a later time than before all the same");
        assert!(clock.went_back(136 * minute, at(40)), "until it is dealt with");
        clock.is_followed();
        assert!(!clock.went_back(146 * minute, at(50)));
        assert!(!clock.went_back(200 * minute, at(60)), "forward");
    }
}

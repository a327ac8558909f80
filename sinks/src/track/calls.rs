//! One planned call: the intent in `track-calls`, attempts until there is an answer, the answer in `track-calls` and the ledger.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use aftersend_pipeline::retry::Backoff;
use aftersend_pipeline::unix_millis;
use aftersend_schemas::ledger::LedgerRecord;
use aftersend_schemas::profile::ProfileRecord;
use aftersend_schemas::track_call::{Call, Phase, TrackCall};
use governor::DefaultDirectRateLimiter;
use rdkafka::producer::{FutureProducer, FutureRecord};

use super::api::{Answer, Api};
use super::metrics::TrackMetrics;
use super::plan::{self, Planned};

/// How long one record may take to be written before it is tried again.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What all calls share.
pub(super) struct Caller {
    pub(super) producer: FutureProducer,
    pub(super) calls_topic: String,
    pub(super) ledger_topic: String,
    pub(super) limiter: DefaultDirectRateLimiter,
    pub(super) dry_run: bool,
    pub(super) metrics: TrackMetrics,
    /// Calls that wait for credentials or a region to be mended.
    pub(super) stopped: AtomicU32,
}

impl Caller {
    /// Makes the call until it is answered, writes the answer down, and returns the ledger as it then is. Ends early only by being dropped. Without an
    /// API only what would have been done is written.
    pub(super) async fn make(
        &self,
        api: Option<&Api>,
        partition: i32,
        profile: &ProfileRecord,
        planned: &Planned,
        mut ledger: LedgerRecord,
    ) -> LedgerRecord {
        let Some(api) = api.filter(|_| !self.dry_run) else {
            self.audit(partition, profile, planned, Phase::DryRun, 0, 0).await;
            self.count(planned.call, "dry_run");
            plan::acknowledged(&mut ledger, planned, unix_millis());
            return ledger;
        };
        self.audit(partition, profile, planned, Phase::Intent, 0, 0).await;
        let started = Instant::now();
        let (phase, status) = self.answer(api, profile, planned).await;
        match phase {
            Phase::Acknowledged => plan::acknowledged(&mut ledger, planned, unix_millis()),
            _ => plan::refused(&mut ledger, planned, unix_millis()),
        }
        let latency = u32::try_from(started.elapsed().as_millis()).unwrap_or(u32::MAX);
        self.audit(partition, profile, planned, phase, status, latency).await;
        self.write(&self.ledger_topic, partition, &profile.person.to_string(), &ledger.encode()).await;
        if let (Call::Suppress, Phase::Acknowledged, Some(verdict)) = (planned.call, phase, &profile.evaluation.verdict) {
            self.metrics.evidence_seconds.observe((unix_millis() - verdict.received_at).max(0) as f64 / 1000.0);
        }
        ledger
    }

    async fn answer(&self, api: &Api, profile: &ProfileRecord, planned: &Planned) -> (Phase, u16) {
        let call = planned.call.as_str();
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        loop {
            self.limiter.until_ready().await;
            let started = Instant::now();
            let answer = api.call(&profile.person, planned, profile.as_of).await;
            self.metrics.call_seconds.with_label_values(&[call]).observe(started.elapsed().as_secs_f64());
            match answer {
                Answer::Acknowledged(status) => {
                    self.count(planned.call, "acknowledged");
                    return (Phase::Acknowledged, status);
                }
                Answer::Refused(status) => {
                    self.count(planned.call, "refused");
                    tracing::warn!(call, status, "the track API refused a call; it is not tried again until it changes");
                    return (Phase::Refused, status);
                }
                Answer::Retry(error, wait) => {
                    self.count(planned.call, "retried");
                    let delay = backoff.next_delay().max(wait.unwrap_or_default());
                    tracing::debug!(call, error, delay_seconds = delay.as_secs_f64(), "the track API is asked again");
                    tokio::time::sleep(delay).await;
                }
                Answer::Stop(status) => {
                    self.count(planned.call, "stopped");
                    self.metrics.stopped.set(1);
                    if self.stopped.fetch_add(1, Ordering::Relaxed) == 0 {
                        tracing::error!(
                            status,
                            "the track API refuses the credentials or the region: check track.site_id, track.api_key and track.region"
                        );
                    }
                    tokio::time::sleep(LONGEST_WAIT.min(backoff.next_delay().max(Duration::from_secs(5)))).await;
                    if self.stopped.fetch_sub(1, Ordering::Relaxed) == 1 {
                        self.metrics.stopped.set(0);
                    }
                }
            }
        }
    }

    async fn audit(&self, partition: i32, profile: &ProfileRecord, planned: &Planned, phase: Phase, status: u16, latency_ms: u32) {
        let entry = TrackCall {
            version: TrackCall::VERSION,
            person: profile.person.clone(),
            call: planned.call,
            phase,
            rule: planned.rule.to_owned(),
            evidence: profile.evaluation.reason().into_owned(),
            policy_version: profile.policy_version,
            at: unix_millis(),
            status,
            latency_ms,
            received_at: profile.evaluation.verdict.as_ref().map_or(0, |verdict| verdict.received_at),
        };
        self.write(&self.calls_topic, partition, &profile.person.to_string(), &entry.encode()).await;
    }

    /// Writes until it is written: an answer that is not in the ledger would be asked for again.
    async fn write(&self, topic: &str, partition: i32, key: &str, value: &[u8]) {
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        loop {
            let record = FutureRecord::to(topic).partition(partition).key(key).payload(value);
            match self.producer.send(record, Duration::ZERO).await {
                Ok(_) => return,
                Err((error, _)) => {
                    tracing::warn!(%error, topic, "a record was not written; trying again");
                    tokio::time::sleep(backoff.next_delay()).await;
                }
            }
        }
    }

    fn count(&self, call: Call, result: &str) {
        self.metrics.calls.with_label_values(&[call.as_str(), result]).inc();
    }
}

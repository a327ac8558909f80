//! One attempt at one planned call: the intent in `track-calls`, the request, its answer in `track-calls` and the ledger.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aftersend_pipeline::retry::Backoff;
use aftersend_pipeline::unix_millis;
use aftersend_schemas::ledger::LedgerRecord;
use aftersend_schemas::profile::ProfileRecord;
use aftersend_schemas::track_call::{Call, Phase, TrackCall};
use rdkafka::producer::{FutureProducer, FutureRecord};

use super::answer::Answer;
use super::api::Api;
use super::brake::GOOD_FOR_MS;
use super::gate::Health;
use super::metrics::TrackMetrics;
use super::plan::{self, Planned};
use super::rate::Rate;

/// How long one record may take to be written before it is tried again.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// A call that the brake let go is sent within this time.
const GOOD_FOR: Duration = Duration::from_millis(GOOD_FOR_MS.unsigned_abs() - 10_000);

/// What all calls share.
pub(super) struct Caller {
    pub(super) producer: FutureProducer,
    pub(super) calls_topic: String,
    pub(super) ledger_topic: String,
    pub(super) rate: Rate,
    pub(super) metrics: TrackMetrics,
}

/// What is attempted.
pub(super) struct Attempt {
    /// Nothing in a dry run.
    pub(super) api: Option<Api>,
    pub(super) partition: i32,
    pub(super) profile: ProfileRecord,
    pub(super) planned: Planned,
    pub(super) ledger: LedgerRecord,
    /// When the intent of this very call was written, if it was.
    pub(super) intended: Option<Instant>,
    /// When the brake was asked, for a suppress.
    pub(super) admitted: Option<Instant>,
}

/// What came of it.
pub(super) struct Attempted {
    /// As it is now.
    pub(super) ledger: LedgerRecord,
    pub(super) ended: Ended,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// With a yes or a no, which is in the ledger.
    Answered,
    /// To be tried again, not before this long; what it says of the API.
    Unanswered(Option<Duration>, Health),
    /// It was not made: the brake has to be asked again.
    Late,
}

impl Caller {
    /// Makes one attempt. Ends early only by being dropped.
    pub(super) async fn attempt(self: Arc<Self>, attempt: Attempt) -> Attempted {
        let Attempt { api, partition, profile, planned, mut ledger, intended, admitted } = attempt;
        let Some(api) = api else {
            self.audit(partition, &profile, &planned, Phase::DryRun, 0, 0, "").await;
            self.count(planned.call, "dry_run");
            plan::acknowledged(&mut ledger, &planned, unix_millis());
            return Attempted { ledger, ended: Ended::Answered };
        };
        if planned.call == Call::Suppress && ledger.suppress_sent_at == 0 {
            // Whoever comes after a crash must know that this may have been sent.
            ledger.suppress_sent_at = unix_millis();
            self.write_ledger(partition, &ledger).await;
        }
        if intended.is_none() {
            self.audit(partition, &profile, &planned, Phase::Intent, 0, 0, "").await;
        }
        self.rate.turn().await;
        if planned.call == Call::Suppress && admitted.is_none_or(|asked| asked.elapsed() > GOOD_FOR) {
            return Attempted { ledger, ended: Ended::Late };
        }
        let started = Instant::now();
        let answer = api.call(&profile.person, &planned).await;
        self.metrics.call_seconds.with_label_values(&[planned.call.as_str()]).observe(started.elapsed().as_secs_f64());
        let (phase, status, words) = match answer {
            Answer::Acknowledged(status) => (Phase::Acknowledged, status, String::new()),
            Answer::Refused(status, words) => (Phase::Refused, status, words),
            Answer::Retry(error, wait) => {
                self.count(planned.call, "retried");
                tracing::debug!(call = planned.call.as_str(), error, "the track API is asked again");
                return Attempted { ledger, ended: Ended::Unanswered(wait, Health::Struggling(wait)) };
            }
            Answer::Stop(status) => {
                self.count(planned.call, "stopped");
                tracing::debug!(call = planned.call.as_str(), status, "the track API refuses the credentials or the region");
                return Attempted { ledger, ended: Ended::Unanswered(None, Health::Stopped) };
            }
        };
        self.count(planned.call, phase.as_str());
        if phase == Phase::Acknowledged {
            plan::acknowledged(&mut ledger, &planned, unix_millis());
        } else {
            tracing::warn!(call = planned.call.as_str(), status, "the track API refused a call; it is not tried again until it changes");
            plan::refused(&mut ledger, &planned, unix_millis());
        }
        let latency = intended.unwrap_or(started).elapsed();
        let latency = u32::try_from(latency.as_millis()).unwrap_or(u32::MAX);
        self.audit(partition, &profile, &planned, phase, status, latency, &words).await;
        self.write_ledger(partition, &ledger).await;
        if let (Call::Suppress, Phase::Acknowledged, Some(verdict)) = (planned.call, phase, &profile.evaluation.verdict) {
            self.metrics.evidence_seconds.observe((unix_millis() - verdict.received_at).max(0) as f64 / 1000.0);
        }
        Attempted { ledger, ended: Ended::Answered }
    }

    #[expect(clippy::too_many_arguments, reason = "members of one record")]
    async fn audit(
        &self,
        partition: i32,
        profile: &ProfileRecord,
        planned: &Planned,
        phase: Phase,
        status: u16,
        latency_ms: u32,
        words: &str,
    ) {
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
            error: words.to_owned(),
        };
        self.write(&self.calls_topic, partition, &profile.person.to_string(), &entry.encode()).await;
    }

    /// Writes what the ledger says of a person now.
    pub(super) async fn write_ledger(&self, partition: i32, ledger: &LedgerRecord) {
        self.write(&self.ledger_topic, partition, &ledger.person.to_string(), &ledger.encode()).await;
    }

    /// Writes until it is written: an answer that is not in the ledger would be asked for again.
    pub(super) async fn write(&self, topic: &str, partition: i32, key: &str, value: &[u8]) {
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

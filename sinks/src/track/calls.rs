//! One request for one planned call or a batch of them: the intents in `track-calls`, the request, its answers in `track-calls` and the ledger.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aftersend_pipeline::kafka::ClientWatch;
use aftersend_pipeline::retry::Backoff;
use aftersend_pipeline::unix_millis;
use aftersend_schemas::ledger::LedgerRecord;
use aftersend_schemas::profile::ProfileRecord;
use aftersend_schemas::track_call::{Call, Phase, TrackCall};
use futures_util::future::join_all;
use rdkafka::producer::{FutureProducer, FutureRecord};

use super::answer::Answer;
use super::api::Api;
use super::brake::GOOD_FOR_MS;
use super::gate::Health;
use super::metrics::TrackMetrics;
use super::people::PersonKey;
use super::plan::{self, Planned};
use super::rate::Rate;

/// How long one record may take to be written before it is tried again.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// A call that the brake let go is sent within this time.
const GOOD_FOR: Duration = Duration::from_millis(GOOD_FOR_MS.unsigned_abs() - 10_000);

/// What all calls share.
pub(super) struct Caller {
    pub(super) producer: FutureProducer<ClientWatch>,
    pub(super) calls_topic: String,
    pub(super) ledger_topic: String,
    pub(super) rate: Rate,
    pub(super) metrics: TrackMetrics,
}

/// What is attempted for one person.
pub(super) struct Attempt {
    pub(super) key: PersonKey,
    pub(super) profile: ProfileRecord,
    pub(super) planned: Planned,
    pub(super) ledger: LedgerRecord,
    /// When the intent of this very call was written, if it was.
    pub(super) intended: Option<Instant>,
    /// What was asked for before and never answered; this call takes its place.
    pub(super) withdrawn: Option<Call>,
    /// When the brake was asked, for a suppress.
    pub(super) admitted: Option<Instant>,
}

/// One request: a call, or several in a batch with this body.
pub(super) struct Request {
    pub(super) workspace: String,
    /// Nothing in a dry run.
    pub(super) api: Option<Api>,
    pub(super) attempts: Vec<Attempt>,
    pub(super) body: String,
}

/// What came of a request.
pub(super) struct Answered {
    pub(super) workspace: String,
    /// What it says of the API; nothing if nothing was sent.
    pub(super) health: Option<Health>,
    pub(super) people: Vec<Attempted>,
}

/// What came of an attempt.
pub(super) struct Attempted {
    pub(super) key: PersonKey,
    /// As it is now.
    pub(super) ledger: LedgerRecord,
    pub(super) ended: Ended,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// With a yes or a no, which is in the ledger.
    Answered,
    /// To be tried again, not before this long.
    Unanswered(Option<Duration>),
    /// To be tried again, without others.
    Split,
    /// It was not made: the brake has to be asked again.
    Late,
}

impl Attempt {
    fn entry(&self, phase: Phase) -> TrackCall {
        entry(&self.profile, self.planned.call, self.planned.rule, phase)
    }
}

/// What is written down of a call that has no answer.
fn entry(profile: &ProfileRecord, call: Call, rule: &str, phase: Phase) -> TrackCall {
    TrackCall {
        version: TrackCall::version_of(call, phase),
        person: profile.person.clone(),
        call,
        phase,
        rule: rule.to_owned(),
        evidence: profile.evaluation.reason().into_owned(),
        policy_version: profile.policy_version,
        at: unix_millis(),
        status: 0,
        latency_ms: 0,
        received_at: profile.evaluation.verdict.as_ref().map_or(0, |verdict| verdict.received_at),
        error: String::new(),
    }
}

impl Caller {
    /// Makes one request. Ends early only by being dropped.
    pub(super) async fn request(self: Arc<Self>, request: Request) -> Answered {
        let Request { workspace, api, attempts, body } = request;
        let Some(api) = api else {
            let people = join_all(attempts.into_iter().map(|attempt| self.rehearse(attempt))).await;
            return Answered { workspace, health: Some(Health::Well), people };
        };
        let attempts = join_all(attempts.into_iter().map(|attempt| self.intend(attempt))).await;
        self.rate.turn().await;
        let started = Instant::now();
        if attempts
            .iter()
            .any(|attempt| attempt.planned.call == Call::Suppress && attempt.admitted.is_none_or(|asked| asked.elapsed() > GOOD_FOR))
        {
            let late = |Attempt { key, ledger, .. }| Attempted { key, ledger, ended: Ended::Late };
            return Answered { workspace, health: None, people: attempts.into_iter().map(late).collect() };
        }
        self.metrics.requests.inc();
        let answers = match &attempts[..] {
            [one] => vec![api.call(&one.planned).await],
            many => api.batch(many.iter().map(|attempt| &attempt.planned.whom), body).await,
        };
        let health = answers.iter().map(Answer::health).max();
        let settled = attempts.into_iter().zip(answers).map(|(attempt, answer)| self.settle(attempt, answer, started));
        Answered { workspace, health, people: join_all(settled).await }
    }

    /// A dry run: what would be done is written down.
    async fn rehearse(&self, mut attempt: Attempt) -> Attempted {
        self.audit(attempt.key.partition, attempt.entry(Phase::DryRun)).await;
        self.count(attempt.planned.call, "dry_run");
        plan::acknowledged(&mut attempt.ledger, &attempt.planned, unix_millis());
        Attempted { key: attempt.key, ledger: attempt.ledger, ended: Ended::Answered }
    }

    /// Writes down what will be done.
    async fn intend(&self, mut attempt: Attempt) -> Attempt {
        if attempt.planned.call == Call::Suppress && !attempt.ledger.awaits_suppress() {
            // Whoever comes after a crash must know that this may have been sent.
            attempt.ledger.sends_suppress(unix_millis());
            self.write_ledger(attempt.key.partition, &attempt.ledger).await;
        }
        if attempt.intended.is_none() {
            if let Some(call) = attempt.withdrawn {
                self.withdraw(attempt.key.partition, &attempt.profile, call, attempt.planned.rule).await;
            }
            self.audit(attempt.key.partition, attempt.entry(Phase::Intent)).await;
        }
        attempt
    }

    /// Writes down that a call of which nobody knows whether it was heard is not made again, and what is wanted instead.
    pub(super) async fn withdraw(&self, partition: i32, profile: &ProfileRecord, call: Call, instead: &str) {
        self.count(call, Phase::Withdrawn.as_str());
        self.audit(partition, entry(profile, call, instead, Phase::Withdrawn)).await;
    }

    /// Writes down what was answered.
    async fn settle(&self, mut attempt: Attempt, answer: Answer, started: Instant) -> Attempted {
        let call = attempt.planned.call;
        self.metrics.call_seconds.with_label_values(&[call.as_str()]).observe(started.elapsed().as_secs_f64());
        let unanswered = |attempt: Attempt, result, ended| {
            self.count(call, result);
            Attempted { key: attempt.key, ledger: attempt.ledger, ended }
        };
        let (phase, status, words) = match answer {
            Answer::Acknowledged(status) => (Phase::Acknowledged, status, String::new()),
            Answer::Refused(status, words) => (Phase::Refused, status, words),
            Answer::Retry(error, wait) => {
                tracing::debug!(call = call.as_str(), error, "the track API is asked again");
                return unanswered(attempt, "retried", Ended::Unanswered(wait));
            }
            Answer::Stop(status) => {
                tracing::debug!(call = call.as_str(), status, "the track API refuses the credentials or the region");
                return unanswered(attempt, "stopped", Ended::Unanswered(None));
            }
            Answer::Split(status) => {
                tracing::debug!(call = call.as_str(), status, "the track API refuses a batch: each of its calls is made alone");
                return unanswered(attempt, "split", Ended::Split);
            }
        };
        self.count(call, phase.as_str());
        if phase == Phase::Acknowledged {
            plan::acknowledged(&mut attempt.ledger, &attempt.planned, unix_millis());
        } else {
            tracing::warn!(call = call.as_str(), status, "the track API refused a call; it is not tried again until it changes");
            plan::refused(&mut attempt.ledger, &attempt.planned, unix_millis());
        }
        let latency = attempt.intended.unwrap_or(started).elapsed();
        let latency = u32::try_from(latency.as_millis()).unwrap_or(u32::MAX);
        self.audit(attempt.key.partition, TrackCall { status, latency_ms: latency, error: words, ..attempt.entry(phase) }).await;
        self.write_ledger(attempt.key.partition, &attempt.ledger).await;
        if let (Call::Suppress, Phase::Acknowledged, Some(verdict)) = (call, phase, &attempt.profile.evaluation.verdict) {
            self.metrics.evidence_seconds.observe((unix_millis() - verdict.received_at).max(0) as f64 / 1000.0);
        }
        Attempted { key: attempt.key, ledger: attempt.ledger, ended: Ended::Answered }
    }

    async fn audit(&self, partition: i32, entry: TrackCall) {
        self.write(&self.calls_topic, partition, &entry.person.to_string(), &entry.encode()).await;
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

//! What one look at a person comes to.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aftersend_pipeline::unix_millis;
use aftersend_schemas::ledger::LedgerRecord;
use aftersend_schemas::profile::Cause;
use aftersend_schemas::track_call::Call;

use super::super::calls::Attempt;
use super::super::people::{Intent, PersonKey};
use super::super::plan::{self, Lane, Moment, Planned, Ruled, Step};
use super::super::service::TrackSinkError;
use super::Session;

/// With this many people to look at, no more profiles are taken.
pub(super) const MAX_OPEN: usize = 200_000;
/// So many people are looked at before anything else gets its turn.
const LOOKS: usize = 2_000;
/// How long an answer of the brake may be used. Shorter than it is good for: the request takes its time too.
const ADMISSION: Duration = Duration::from_secs(40);
/// When we look again whether everything before has been read, in milliseconds.
const FENCE_MS: i64 = 20;

impl Session {
    /// Looks at whom there is to look at, and starts calls as far as there is room; how long nothing more happens by time alone.
    pub(super) fn look_and_call(&mut self) -> Result<Duration, TrackSinkError> {
        for _ in 0..LOOKS {
            let Some(key) = self.people.next_fresh() else { break };
            self.look(&key, false)?;
        }
        let mut next = Duration::from_secs(1);
        for workspace in self.people.workspaces() {
            let mut looks = 0;
            loop {
                let now = unix_millis();
                let clock = Instant::now();
                let gate = self.dispatch.gate(&workspace);
                if !gate.is_open(clock) {
                    if let Some(opens) = gate.opens_at() {
                        next = next.min(opens.saturating_duration_since(clock).max(Duration::from_millis(1)));
                    }
                    break;
                }
                let Some(key) = self.people.next_due(&workspace, now) else {
                    let due = self.people.next_due_at(&workspace).unwrap_or(i64::MAX);
                    let wait = u64::try_from(due.saturating_sub(now)).unwrap_or_default();
                    next = next.min(Duration::from_millis(wait.max(1)));
                    break;
                };
                self.look(&key, true)?;
                looks += 1;
                if looks == LOOKS {
                    next = Duration::ZERO;
                    break;
                }
            }
            self.dispatch.send_batch(&workspace);
        }
        self.metrics.open.set(i64::try_from(self.people.len()).unwrap_or(i64::MAX));
        self.metrics.saved.inc_by(self.people.take_superseded());
        Ok(if self.people.has_fresh() { Duration::ZERO } else { next })
    }

    fn ruled(&mut self, workspace: &str) -> Arc<Ruled> {
        if let Some(ruled) = self.ruled.get(workspace) {
            return ruled.clone();
        }
        let ruled = Arc::new(Ruled::new(&self.config, workspace));
        self.ruled.insert(workspace.to_owned(), ruled.clone());
        ruled
    }

    /// Plans one person. `may_call` only when it is this person's turn: others may be more urgent.
    fn look(&mut self, key: &PersonKey, may_call: bool) -> Result<(), TrackSinkError> {
        let now = unix_millis();
        let Some(open) = self.people.open(key) else { return Ok(()) };
        let workspace = open.profile.person.workspace.clone();
        if !self.dispatch.serves(&workspace) {
            self.metrics.profiles.with_label_values(&["no_credentials"]).inc();
            self.people.done(key);
            return Ok(());
        }
        let released_through = self.brake.brakes().released_through(&workspace, now);
        let moment = Moment { now, decided: self.decisions.about(&key.person), released_through };
        let ruled = self.ruled(&workspace);
        let Some(open) = self.people.open(key) else { return Ok(()) };
        let ledger = self.ledger.get(key)?.unwrap_or_else(|| LedgerRecord::new(open.profile.person.clone()));
        match plan::next(&open.profile, open.offset, &ledger, &ruled, &moment) {
            Step::Done(done) => {
                self.metrics.profiles.with_label_values(&[done.as_str()]).inc();
                if let Some(intent) = open.intent {
                    let (caller, partition, profile) = (self.caller.clone(), key.partition, open.profile.clone());
                    self.writing.push(Box::pin(async move {
                        caller.withdraw(partition, &profile, intent.call, done.as_str()).await;
                        None
                    }));
                }
                self.people.done(key);
            }
            Step::WaitUntil(due) => self.people.wait(key.clone(), due),
            // Later profiles that are there already may say otherwise.
            Step::Call(_) if !self.people.is_caught_up(key.partition) && !self.full => {
                let lane = open.lane;
                self.wants_call(key);
                tracing::trace!(lane = lane.as_str(), "waits until everything there is has been read");
                self.people.wait_for_word(key.clone());
            }
            Step::Call(planned) => {
                // More may come that changes the score.
                let wait = if open.lane == Lane::Score && !self.full { self.config.track.coalesce.millis() } else { 0 };
                let due = open.since + wait;
                if !may_call || now < due {
                    self.wants_call(key);
                    self.people.wait(key.clone(), due);
                } else if planned.call == Call::Suppress && !self.dry_run {
                    self.suppress(key, planned, ledger, now)?;
                } else if planned.call == Call::Identify || self.dry_run || self.full || !self.wait_at_fence(key, now) {
                    self.call(key, planned, ledger)?;
                }
            }
        }
        Ok(())
    }

    fn wants_call(&mut self, key: &PersonKey) {
        if let Some(open) = self.people.open_mut(key) {
            open.wants_call = true;
        }
    }

    /// What is irreversible waits until everything before has been judged and read, and asks the brake.
    fn suppress(&mut self, key: &PersonKey, planned: Planned, ledger: LedgerRecord, now: i64) -> Result<(), TrackSinkError> {
        let Some(open) = self.people.open(key) else { return Ok(()) };
        let Some(verdict) = open.profile.evaluation.verdict.clone() else { return Ok(()) };
        let workspace = open.profile.person.workspace.clone();
        if open.admitted.is_some_and(|asked| asked.elapsed() < ADMISSION) {
            return self.call(key, planned, ledger);
        }
        // Nothing takes a complaint back but an operator.
        if verdict.cause == Cause::HardBounce {
            let since = self.people.became_due(key, now);
            if !self.processor.arrivals.are_judged(key.partition, since) {
                self.people.wait_for_word(key.clone());
                return Ok(());
            }
        }
        if self.wait_at_fence(key, now) {
            return Ok(());
        }
        if self.brake.brakes().holds(&workspace, &verdict, now) {
            self.brake_holds(key);
            return Ok(());
        }
        self.people.calling(key);
        let question = self.brake.ask(key.clone(), workspace, &verdict);
        self.writing.push(question);
        Ok(())
    }

    /// Puts somebody off until all profiles have been read that were there. False if they have been.
    fn wait_at_fence(&mut self, key: &PersonKey, now: i64) -> bool {
        let waits = !self.people.is_past_fence(key, Instant::now());
        if waits {
            self.people.wait(key.clone(), now + FENCE_MS);
        }
        waits
    }

    /// Nothing is done to this person until the brake is released: then everything is read again.
    pub(super) fn brake_holds(&mut self, key: &PersonKey) {
        self.metrics.profiles.with_label_values(&["braked"]).inc();
        self.people.done(key);
    }

    fn call(&mut self, key: &PersonKey, planned: Planned, ledger: LedgerRecord) -> Result<(), TrackSinkError> {
        let Some(open) = self.people.open_mut(key) else { return Ok(()) };
        let (call, digest) = (planned.call, planned.digest);
        let (intended, withdrawn) = match open.intent {
            Some(intent) if intent.digest == digest => (Some(intent.at), None),
            Some(intent) => (None, Some(intent.call)),
            // Of a process before this one.
            None => (None, (call != Call::Suppress && ledger.awaits_suppress()).then_some(Call::Suppress)),
        };
        open.intent = Some(Intent { at: intended.unwrap_or_else(Instant::now), call, digest });
        let (profile, admitted, alone) = (open.profile.clone(), open.admitted, open.alone);
        let attempt = Attempt { key: key.clone(), profile, planned, ledger, intended, withdrawn, admitted };
        if call == Call::Suppress && !self.dry_run {
            // Should this attempt be given up, nothing but the same may follow it.
            let mut marked = attempt.ledger.clone();
            marked.sends_suppress(unix_millis());
            self.ledger.set(key, &marked)?;
        }
        self.people.calling(key);
        self.dispatch.call(attempt, alone);
        Ok(())
    }

    /// With too many people to look at, no more profiles are taken until there are fewer.
    pub(super) fn hold_back(&mut self) {
        let full = self.people.len().saturating_sub(self.behind_fence) >= MAX_OPEN;
        if full == self.full {
            return;
        }
        self.full = full;
        let partitions: Vec<i32> = self.people.partitions().collect();
        for partition in partitions {
            let place = (self.profiles_topic.clone(), partition);
            let result = if full { self.group.pause(&place) } else { self.group.resume(&place) };
            if let Err(error) = result {
                tracing::warn!(%error, partition, "cannot change delivery");
            }
            if full {
                // What waited to be superseded waits no longer.
                self.people.give_word(partition);
            }
        }
    }
}

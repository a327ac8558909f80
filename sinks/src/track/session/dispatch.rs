//! Requests on their way to the API: batches that fill, calls under way, and the gate of each workspace.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aftersend_pipeline::config::{Config, TrackMode};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;

use super::super::api::Api;
use super::super::batch::{Batch, Item};
use super::super::calls::{Answered, Attempt, Caller, Request};
use super::super::gate::{Gate, Health};
use super::super::service::TrackSinkError;

/// A pause of calls from this on is worth a line.
const LONG_PAUSE: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Dispatch {
    apis: HashMap<String, Api>,
    gates: HashMap<String, Gate>,
    /// By workspace; empty but while people are looked at.
    batches: HashMap<String, Batch>,
    calls: FuturesUnordered<BoxFuture<'static, Answered>>,
    caller: Arc<Caller>,
    max_concurrency: u16,
    may_batch: bool,
    dry_run: bool,
}

impl Dispatch {
    pub(super) fn new(config: &Config, caller: Arc<Caller>) -> Result<Self, TrackSinkError> {
        let track = &config.track;
        let apis = track.workspaces.iter().map(|(name, credentials)| Ok((name.clone(), Api::new(credentials)?)));
        let dry_run = track.mode == TrackMode::DryRun;
        Ok(Self {
            apis: apis.collect::<Result<_, TrackSinkError>>()?,
            gates: HashMap::new(),
            batches: HashMap::new(),
            calls: FuturesUnordered::new(),
            caller,
            max_concurrency: track.max_concurrency,
            may_batch: track.batch && !dry_run,
            dry_run,
        })
    }

    /// False for a workspace without credentials, unless nothing is called anyway.
    pub(super) fn serves(&self, workspace: &str) -> bool {
        self.dry_run || self.apis.contains_key(workspace)
    }

    pub(super) fn gate(&mut self, workspace: &str) -> &mut Gate {
        let limit = self.max_concurrency;
        self.gates.entry(workspace.to_owned()).or_insert_with(|| Gate::new(limit))
    }

    /// Makes a call: in a batch, unless it is to go alone.
    pub(super) fn call(&mut self, attempt: Attempt, alone: bool) {
        let workspace = attempt.profile.person.workspace.clone();
        let item = if self.may_batch && !alone { Item::of(&attempt.planned) } else { None };
        let Some(item) = item else {
            return self.send(workspace, vec![attempt], String::new());
        };
        if self.batches.get(&workspace).is_some_and(|batch| !batch.has_room(&item)) {
            self.send_batch(&workspace);
        }
        self.batches.entry(workspace).or_default().push(attempt, &item);
    }

    /// Sends what has been put together.
    pub(super) fn send_batch(&mut self, workspace: &str) {
        if let Some((workspace, batch)) = self.batches.remove_entry(workspace) {
            let (attempts, body) = batch.close();
            self.send(workspace, attempts, body);
        }
    }

    fn send(&mut self, workspace: String, attempts: Vec<Attempt>, body: String) {
        let api = if self.dry_run { None } else { self.apis.get(&workspace).cloned() };
        self.gate(&workspace).started();
        self.calls.push(Box::pin(self.caller.clone().request(Request { workspace, api, attempts, body })));
    }

    /// Calls under way.
    pub(super) fn under_way(&self) -> usize {
        self.calls.len()
    }

    /// The next answer; nothing while no call is under way.
    pub(super) async fn next(&mut self) -> Option<Answered> {
        self.calls.next().await
    }

    /// A request ended, and what that says of the API.
    pub(super) fn ended(&mut self, workspace: &str, health: Option<Health>) {
        let gate = self.gate(workspace);
        match health {
            Some(health) => gate.finished(Instant::now(), health),
            None => gate.abandoned(),
        }
    }

    /// Gives up all calls under way.
    pub(super) fn abandon(&mut self) {
        self.calls.clear();
        self.gates.values_mut().for_each(Gate::abandoned_all);
    }

    /// Metrics of the gates, and a line of log for one that does not open soon.
    pub(super) fn show(&self) {
        let metrics = &self.caller.metrics;
        let stopped = self.gates.values().any(Gate::is_stopped);
        if stopped && metrics.stopped.get() == 0 {
            tracing::error!("the track API refuses the credentials, the region or the address: check [track] with `aftersend check`");
        }
        metrics.stopped.set(stopped.into());
        let now = Instant::now();
        for (workspace, gate) in &self.gates {
            metrics.concurrency.with_label_values(&[workspace]).set(gate.limit() as i64);
            let pause = gate.opens_at().map_or(Duration::ZERO, |opens| opens.saturating_duration_since(now));
            let shown = metrics.paused.with_label_values(&[workspace]);
            if pause >= LONG_PAUSE && shown.get() == 0 {
                tracing::warn!(
                    workspace,
                    seconds = pause.as_secs(),
                    "the track API asks for a pause, or does not answer: no call is started until then"
                );
            }
            shown.set(pause.as_secs_f64().ceil() as i64);
        }
    }
}

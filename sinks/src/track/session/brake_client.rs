//! The brake as one replica asks it, hears of it and shows it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aftersend_pipeline::config::{Config, TrackMode};
use aftersend_pipeline::unix_millis;
use aftersend_schemas::brake::{BrakeEntry, BrakeRelease, Request};
use aftersend_schemas::profile::{Cause, Verdict};
use futures_util::future::BoxFuture;
use rand::Rng as _;
use rdkafka::producer::FutureRecord;

use super::super::brake::{Brakes, Found};
use super::super::calls::Caller;
use super::super::ledger::Known;
use super::super::people::PersonKey;

/// How often it is said again that a brake is on: often within the retention of its log.
const REMIND_EVERY: Duration = Duration::from_secs(24 * 3_600);

/// A question to the brake.
struct Asked {
    key: PersonKey,
    at: Instant,
}

/// What an entry of the log means for this replica.
pub(super) enum Word {
    /// The answer to a question of ours: when that was asked, if the call may be made.
    Answer(PersonKey, Option<Instant>),
    /// Everybody is to be looked at again.
    Released,
}

/// See the module.
pub(super) struct BrakeClient {
    brakes: Brakes,
    /// Everything that operators had said at the start has been heard.
    caught_up: bool,
    asked: HashMap<u64, Asked>,
    told: HashMap<i32, u64>,
    reminded: Option<Instant>,
    topic: String,
    caller: Arc<Caller>,
    config: Config,
}

impl BrakeClient {
    pub(super) fn new(config: &Config, topic: String, caller: Arc<Caller>) -> Self {
        Self {
            brakes: Brakes::default(),
            caught_up: false,
            asked: HashMap::new(),
            told: HashMap::new(),
            reminded: None,
            topic,
            caller,
            config: config.clone(),
        }
    }

    /// The brakes, as far as their log was read.
    pub(super) fn brakes(&self) -> &Brakes {
        &self.brakes
    }

    /// Reads the next entry of the log.
    pub(super) fn apply(&mut self, offset: i64, at: i64, entry: &BrakeEntry) -> Option<Word> {
        match self.brakes.apply(offset, at, entry) {
            Found::Nothing => None,
            Found::Answer { id, admitted, trips } => {
                if trips && self.caught_up {
                    self.show();
                }
                let Asked { key, at } = self.asked.remove(&id)?;
                Some(Word::Answer(key, admitted.then_some(at)))
            }
            Found::Released(workspace) => self.caught_up.then(|| {
                tracing::info!(workspace, "the brake was released: everybody is looked at again");
                self.show();
                Word::Released
            }),
        }
    }

    /// Everything there was at the start has been heard.
    pub(super) fn caught_up(&mut self) {
        self.caught_up = true;
        self.show();
    }

    /// True if a release is known that may concern somebody.
    pub(super) fn is_any_released(&self) -> bool {
        let now = unix_millis();
        self.caught_up && self.config.track.workspaces.keys().any(|workspace| self.brakes.released_through(workspace, now).is_some())
    }

    /// Asks whether somebody may be suppressed. What is returned writes the question; it ends with its id if the question did not get there.
    pub(super) fn ask(&mut self, key: PersonKey, workspace: String, verdict: &Verdict) -> BoxFuture<'static, Option<u64>> {
        let id = rand::rng().random();
        let request = Request {
            id,
            person: key.person.to_string(),
            workspace,
            cause: verdict.cause,
            received_at: verdict.received_at,
            per_hour: self.config.track.max_irreversible_per_hour,
            share_ppm: self.config.track.share_ppm(),
        };
        self.asked.insert(id, Asked { key, at: Instant::now() });
        let (producer, topic) = (self.caller.producer.clone(), self.topic.clone());
        Box::pin(async move {
            let value = BrakeEntry::Request(request).encode();
            let record = FutureRecord::<(), _>::to(&topic).partition(0).payload(&value);
            match producer.send(record, Duration::ZERO).await {
                Ok(_) => None,
                Err((error, _)) => {
                    tracing::warn!(%error, topic, "the brake was not asked; trying again");
                    Some(id)
                }
            }
        })
    }

    /// A question did not get there: whom it was about.
    pub(super) fn lost(&mut self, id: u64) -> Option<PersonKey> {
        self.asked.remove(&id).map(|asked| asked.key)
    }

    /// A partition came: how many people are known there is to be told.
    pub(super) fn assigned(&mut self, partition: i32) {
        self.told.remove(&partition);
    }

    /// A partition went.
    pub(super) fn revoked(&mut self, partition: i32) {
        self.asked.retain(|_, asked| asked.key.partition != partition);
    }

    /// Nobody waits for answers any more.
    pub(super) fn abandon(&mut self) {
        self.asked.clear();
    }

    /// Writes a release where it has its place among the requests.
    pub(super) async fn release(&self, release: BrakeRelease) {
        let key = release.key();
        let value = BrakeEntry::Release(release).encode();
        self.caller.write(&self.topic, 0, &key, &value).await;
    }

    /// Tells the log how many people we know, and that a brake is on.
    pub(super) async fn tell(&mut self, known: impl Iterator<Item = (i32, &Known)>) {
        if self.config.track.mode == TrackMode::DryRun || !self.caught_up {
            return;
        }
        let mut entries = Vec::new();
        for (partition, known) in known {
            let people: u64 = known.values().sum();
            let told = self.told.get(&partition).copied();
            if told.is_none_or(|told| people.abs_diff(told) * 20 > told) {
                self.told.insert(partition, people);
                entries.push(BrakeEntry::Known { partition, people: known.clone() });
            }
        }
        if self.reminded.is_none_or(|at| at.elapsed() > REMIND_EVERY) {
            self.reminded = Some(Instant::now());
            for (workspace, cause, by) in self.brakes.tripped() {
                entries.push(BrakeEntry::Tripped { workspace: workspace.to_owned(), cause, by });
            }
        }
        for entry in entries {
            self.caller.write(&self.topic, 0, "", &entry.encode()).await;
        }
    }

    /// One metric and one line of log for each brake that is on.
    fn show(&self) {
        for workspace in self.config.track.workspaces.keys() {
            for cause in [Cause::HardBounce, Cause::Complaint] {
                let on = self.brakes.is_tripped(workspace, cause);
                let gauge = self.caller.metrics.brake.with_label_values(&[workspace, cause.as_str()]);
                if on && gauge.get() == 0 {
                    tracing::error!(
                        workspace,
                        cause = cause.as_str(),
                        "more people were to be suppressed within an hour than allowed: nobody is until `aftersend track release`"
                    );
                }
                gauge.set(on.into());
            }
        }
    }
}

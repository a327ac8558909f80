//! What is worked out between two commits: the people that were touched, each with everything that happened to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aftersend_pipeline::consumer::Partition;
use aftersend_pipeline::offsets::NextOffset;
use aftersend_pipeline::store::Key;
use aftersend_schemas::profile::ProfileRecord;
use foldhash::quality::RandomState;
use indexmap::IndexMap;

use super::input::Said;
use super::metrics::Ending;
use super::people::{People, States};
use super::providers::Providers;
use super::row::{Head, Row};
use super::session::SessionError;
use super::store::{Change, Due, timers};
use super::transaction::{Flight, Output, Place};
use crate::fold::{ClearAddress, Observation, State};
use crate::score::{Policies, evaluate};

/// A batch is full at this many records, or people.
const RECORDS: usize = 50_000;
const PEOPLE: usize = 40_000;

/// Somebody within a batch.
struct Touched {
    state: State,
    address: ClearAddress,
    /// As it was before the batch; nothing for somebody new.
    before: Option<Head>,
    /// More is known than before, or somebody is new.
    grew: bool,
    /// A verdict is due by time alone.
    due: bool,
    /// When the person is judged, Unix seconds.
    as_of: i64,
    /// Time of the partition at the last touch, Unix milliseconds.
    now: i64,
}

#[derive(Default)]
pub(super) struct Batch {
    people: IndexMap<Key, Touched, RandomState>,
    /// Kept until they are committed: a transaction that is aborted is worked out again.
    said: Vec<Said>,
    endings: Vec<Ending>,
}

/// A batch that is on its way.
#[derive(Default)]
pub(super) struct Closed {
    pub(super) flight: Flight,
    pub(super) places: Vec<Place>,
    pub(super) changes: Vec<Change>,
    pub(super) states: Vec<States>,
    pub(super) said: Vec<Said>,
    pub(super) endings: Vec<Ending>,
    /// Profiles written because of an event, and because of the time.
    pub(super) profiles: u64,
    pub(super) timers: u64,
    pub(super) forgotten: u64,
}

impl Batch {
    /// With room for as much as this one holds: what is read next is likely to be as much.
    pub(super) fn next(&self) -> Self {
        let people = IndexMap::with_capacity_and_hasher(self.people.len(), RandomState::default());
        Self { people, said: Vec::with_capacity(self.said.len()), endings: Vec::with_capacity(self.endings.len()) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.said.is_empty() && self.people.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.said.len() >= RECORDS || self.people.len() >= PEOPLE
    }

    /// Folds what a record says. `now` is the time of its partition.
    pub(super) fn fold(&mut self, said: Said, now: i64, people: &mut People) -> Result<(), SessionError> {
        let ending = match &said.what {
            Ok((key, observation)) => self.observe(key, observation, &said.address, now, people)?,
            Err(ending) => *ending,
        };
        self.endings.push(ending);
        self.said.push(said);
        Ok(())
    }

    fn observe(
        &mut self,
        key: &Key,
        observation: &Observation,
        address: &ClearAddress,
        now: i64,
        people: &mut People,
    ) -> Result<Ending, SessionError> {
        let Some(touched) = self.touch(key, people)? else { return Ok(Ending::NoPerson) };
        let grew = touched.state.observe(observation) | touched.address.join(address);
        // Somebody new has a profile also if there is nothing to say of them yet.
        if grew || touched.before.is_none() {
            touched.grew = true;
            touched.as_of = touched.as_of.max(now / 1000);
            touched.now = touched.now.max(now);
        }
        Ok(if grew { Ending::Applied } else { Ending::Unchanged })
    }

    fn touch(&mut self, key: &Key, people: &mut People) -> Result<Option<&mut Touched>, SessionError> {
        if let Some(place) = self.people.get_index_of(key) {
            return Ok(self.people.get_index_mut(place).map(|(_, touched)| touched));
        }
        if !key.names_somebody() {
            return Ok(None);
        }
        let row = people.get(key)?;
        let known = match &row {
            None => None,
            Some(row) => {
                let (head, address, state) = row.parts().ok_or(SessionError::Doubt)?;
                Some((head, ClearAddress::known(address), State::decode(state)?))
            }
        };
        let touched = match known {
            None => {
                let (state, address) = Default::default();
                Touched { state, address, before: None, grew: false, due: false, as_of: 0, now: 0 }
            }
            Some((head, address, state)) => {
                Touched { state, address, before: Some(head), grew: false, due: false, as_of: head.as_of, now: 0 }
            }
        };
        Ok(Some(self.people.entry(key.clone()).or_insert(touched)))
    }

    /// A timer fired at `now` (Unix milliseconds). One that was set for an earlier change than is to come is only moved.
    pub(super) fn fire(&mut self, timer: &Due, now: i64, people: &mut People) -> Result<(), SessionError> {
        let Some(key) = &timer.key else { return Ok(()) };
        if !self.people.contains_key(key) && people.get(key)?.is_none() {
            return Ok(());
        }
        let Some(touched) = self.touch(key, people)? else { return Ok(()) };
        if touched.before.and_then(|head| head.armed_at) != Some(timer.at) {
            return Ok(());
        }
        touched.now = touched.now.max(now);
        if let Some(at) = touched.before.and_then(|head| head.changes_at).filter(|at| *at <= now / 1000) {
            touched.due = true;
            touched.as_of = touched.as_of.max(at);
        }
        Ok(())
    }

    /// Somebody's verdict may be another one since `now`, though nothing happened to them.
    pub(super) fn review(&mut self, key: &Key, now: i64, people: &mut People) -> Result<(), SessionError> {
        if !self.people.contains_key(key) && people.get(key)?.is_none() {
            return Ok(());
        }
        if let Some(touched) = self.touch(key, people)? {
            touched.due = true;
            touched.as_of = touched.as_of.max(now / 1000);
            touched.now = touched.now.max(now);
        }
        Ok(())
    }

    /// Leaves out everything of a partition that went.
    pub(super) fn forget(&mut self, partition: i32) {
        self.people.retain(|key, _| key.partition() != partition);
        self.said.retain(|said| said.partition != partition);
    }

    /// The records, to be worked out again.
    pub(super) fn into_said(self) -> Vec<Said> {
        self.said
    }

    /// One output for each person of whom there is something new.
    pub(super) fn close(self, profiles: &Arc<str>, policies: &Policies, providers: &Providers, people: &People) -> Closed {
        let mut closed = Closed { said: self.said, endings: self.endings, ..Closed::default() };
        let mut offsets: BTreeMap<Partition, NextOffset> = BTreeMap::new();
        for said in &closed.said {
            match offsets.get_mut(&(said.topic.clone(), said.partition)) {
                Some(next) => *next = (*next).max(NextOffset::after(said.offset)),
                None => {
                    offsets.insert((said.topic.clone(), said.partition), NextOffset::after(said.offset));
                }
            }
        }
        closed.flight.offsets = offsets.into_iter().collect();
        for (key, touched) in &self.people {
            closed.add(key, touched, profiles, policies, providers);
        }
        let written = closed.flight.outputs.iter().map(|output| output.partition);
        let places: BTreeSet<i32> = written.chain(people.unannounced()).collect();
        closed.places = places.into_iter().filter_map(|partition| people.place(partition)).collect();
        closed.flight.places = closed.places.clone();
        closed
    }
}

impl Closed {
    fn add(&mut self, key: &Key, touched: &Touched, profiles: &Arc<str>, policies: &Policies, providers: &Providers) {
        let &Touched { ref state, ref address, before, grew, due, as_of, now } = touched;
        // Nobody else was let in.
        let Some(person) = key.person() else { return };
        let partition = key.partition();
        let from = before.map(|head| head.email);
        let output = |value| Output { topic: profiles.clone(), partition, key: key.text().into(), timestamp: now, value };
        if !grew && !due {
            self.rearm(key, state, address, before, now / 1000);
            return;
        }
        let policy = policies.of(&person.workspace);
        let forget_at = before.and_then(|head| state.forget_at(policy, head.as_of));
        if !grew && forget_at.is_some_and(|at| at <= as_of) {
            self.flight.outputs.push(output(None));
            self.states.push(States { partition, from, to: None });
            let (set, done) = timers(before.as_ref(), None);
            self.changes.push(Change { key: key.clone(), row: None, set, done });
            self.forgotten += 1;
            return;
        }
        let evaluation = evaluate(state, policy, &providers.view(&person.workspace), as_of);
        let head = Head::after(&evaluation, state, policy, as_of, before.and_then(|head| head.armed_at));
        let encoded = state.encode();
        let row = Row::new(&head, address.as_deref(), &encoded);
        let address = address.as_deref().map(str::to_owned);
        let record = ProfileRecord { person, as_of, policy_version: policy.version, evaluation, state: encoded, address };
        self.flight.outputs.push(output(Some(record.encode())));
        self.states.push(States { partition, from, to: Some(head.email) });
        let (set, done) = timers(before.as_ref(), Some(&head));
        self.changes.push(Change { key: key.clone(), row: Some(row), set, done });
        if grew { self.profiles += 1 } else { self.timers += 1 }
    }

    /// Moves the timer of somebody whose verdict changes later than the timer says. Nobody but this replica needs to know.
    fn rearm(&mut self, key: &Key, state: &State, address: &ClearAddress, before: Option<Head>, now: i64) {
        let Some(before) = before.filter(|head| head.armed_at.is_some_and(|armed| armed <= now)) else { return };
        let head = Head { armed_at: before.changes_at, ..before };
        let (set, done) = timers(Some(&before), Some(&head));
        if set.is_some() || done.is_some() {
            let row = Row::new(&head, address.as_deref(), &state.encode());
            self.changes.push(Change { key: key.clone(), row: Some(row), set, done });
        }
    }

    pub(super) fn is_local(&self) -> bool {
        self.flight.outputs.is_empty() && self.flight.offsets.is_empty() && self.flight.places.is_empty()
    }
}

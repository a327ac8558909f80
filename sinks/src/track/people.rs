//! The people of the assigned partitions with something to do, and the latest profile of each.

mod reading;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aftersend_pipeline::consumer::Partition;
use aftersend_pipeline::offsets::{NextOffset, Prefix};
use aftersend_pipeline::retry::Backoff;
use aftersend_schemas::profile::ProfileRecord;
use aftersend_schemas::track_call::Call;

use super::plan::{self, Lane};
use reading::{Fence, Reading};

/// A person in a partition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PersonKey {
    pub(super) partition: i32,
    /// `workspace:namespace:id`.
    pub(super) person: Arc<str>,
}

/// Never, unless somebody says so.
const LATER: i64 = i64::MAX;
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Somebody with something to do.
pub(super) struct Open {
    /// The newest one, without what only the processor reads.
    pub(super) profile: ProfileRecord,
    /// Where it was read.
    pub(super) offset: i64,
    pub(super) lane: Lane,
    /// When the first profile came that has not been acted on (Unix milliseconds).
    pub(super) since: i64,
    /// When the newest one came.
    pub(super) changed_at: i64,
    /// A call was wanted when we last looked.
    pub(super) wants_call: bool,
    /// The next call goes in no batch: one that held it was refused.
    pub(super) alone: bool,
    /// What has to be read before something irreversible.
    fence: Option<Fence>,
    /// When that became due, before the processor was asked (Unix milliseconds).
    became_due: Option<i64>,
    /// When the brake was asked, if it said yes.
    pub(super) admitted: Option<Instant>,
    /// The call whose intent has been written, and which was not answered yet.
    pub(super) intent: Option<Intent>,
    /// Offsets of the profiles that wait for this person to be in step.
    offsets: Vec<i64>,
    /// A call, or a question to the brake, is under way.
    calling: bool,
    /// Looked at again at this time (Unix milliseconds); nothing while it is new.
    due: Option<i64>,
    backoff: Backoff,
    /// A newer profile came while a call was under way.
    newer: Option<(ProfileRecord, i64)>,
}

/// A call that was written down.
#[derive(Clone, Copy)]
pub(super) struct Intent {
    pub(super) at: Instant,
    pub(super) call: Call,
    pub(super) digest: u64,
}

/// A partition.
#[derive(Default)]
struct Place {
    prefix: Prefix,
    reading: Reading,
}

/// Everything this replica holds. No I/O.
#[derive(Default)]
pub(super) struct People {
    open: HashMap<PersonKey, Open>,
    /// People that nobody has looked at since their newest profile came.
    fresh: VecDeque<PersonKey>,
    /// People without a call under way, by workspace and lane and by when they are looked at.
    due: BTreeMap<String, [BTreeSet<(i64, PersonKey)>; 3]>,
    places: HashMap<i32, Place>,
    superseded: u64,
}

impl People {
    /// A partition came.
    pub(super) fn assign(&mut self, partition: i32) {
        self.revoke(partition);
        self.places.insert(partition, Place::default());
    }

    /// A partition went.
    pub(super) fn revoke(&mut self, partition: i32) {
        self.places.remove(&partition);
        self.open.retain(|key, _| key.partition != partition);
        self.fresh.retain(|key| key.partition != partition);
        for queue in self.due.values_mut().flatten() {
            queue.retain(|(_, key)| key.partition != partition);
        }
    }

    /// A profile came. A person's older one is not looked at any more.
    pub(super) fn profile(&mut self, partition: i32, offset: i64, mut profile: ProfileRecord, now: i64) {
        let Some(place) = self.places.get_mut(&partition) else { return };
        place.prefix.start(offset);
        place.reading.read(offset);
        profile.state = Vec::new();
        let key = PersonKey { partition, person: profile.person.to_string().into() };
        match self.open.get_mut(&key) {
            Some(open) => {
                open.offsets.push(offset);
                self.superseded += u64::from(open.wants_call);
                open.changed_at = now;
                if open.calling {
                    open.newer = Some((profile, offset));
                } else {
                    self.requeue(&key, |open| open.replace(profile, offset));
                }
            }
            None => {
                let open = Open {
                    lane: plan::lane(&profile),
                    profile,
                    offset,
                    since: now,
                    changed_at: now,
                    wants_call: false,
                    alone: false,
                    fence: None,
                    became_due: None,
                    admitted: None,
                    intent: None,
                    offsets: vec![offset],
                    calling: false,
                    due: None,
                    backoff: Backoff::new(FIRST_WAIT, LONGEST_WAIT),
                    newer: None,
                };
                self.open.insert(key.clone(), open);
                self.fresh.push_back(key);
            }
        }
    }

    /// Changes somebody who waits, and has them looked at.
    fn requeue(&mut self, key: &PersonKey, change: impl FnOnce(&mut Open)) {
        let Some(open) = self.open.get_mut(key) else { return };
        if let Some(due) = open.due.take() {
            if let Some(queues) = self.due.get_mut(&open.profile.person.workspace) {
                queues[open.lane as usize].remove(&(due, key.clone()));
            }
            self.fresh.push_back(key.clone());
        }
        change(open);
    }

    /// A record that asks for nothing.
    pub(super) fn skip(&mut self, partition: i32, offset: i64) {
        if let Some(place) = self.places.get_mut(&partition) {
            place.prefix.start(offset);
            place.prefix.finish(offset);
            place.reading.read(offset);
        }
    }

    /// Everything there is of a partition has been read, as far as the client knows: up to `next`, if it has read anything. True for the first time.
    pub(super) fn ended(&mut self, partition: i32, next: Option<NextOffset>) -> bool {
        self.places.get_mut(&partition).is_some_and(|place| place.reading.ended(next))
    }

    /// A partition is read from its beginning again.
    pub(super) fn reads_again(&mut self, partition: i32) {
        if let Some(place) = self.places.get_mut(&partition) {
            place.reading.begins_again();
        }
    }

    /// False while what was there before may still say otherwise.
    pub(super) fn is_caught_up(&self, partition: i32) -> bool {
        self.places.get(&partition).is_some_and(|place| place.reading.is_caught_up())
    }

    /// When something irreversible became due for a person as they are now.
    pub(super) fn became_due(&mut self, key: &PersonKey, now: i64) -> i64 {
        self.open.get_mut(key).map_or(now, |open| *open.became_due.get_or_insert(now))
    }

    /// True once everything has been read that was there when this was first asked about a person as they are now.
    /// How far that was only the broker knows: a client that fetches slowly takes an old end for the end.
    pub(super) fn is_past_fence(&mut self, key: &PersonKey, now: Instant) -> bool {
        let (Some(place), Some(open)) = (self.places.get_mut(&key.partition), self.open.get_mut(key)) else { return false };
        place.reading.is_past(&mut open.fence, now)
    }

    /// The partitions of which somebody waits to hear where they end.
    pub(super) fn without_end(&self) -> Vec<i32> {
        self.places.iter().filter(|(_, place)| place.reading.wants_end()).map(|(partition, _)| *partition).collect()
    }

    /// Where partitions ended when the broker was asked, at `asked` or later.
    pub(super) fn found_ends(&mut self, asked: Instant, ends: &[(i32, i64)]) {
        for (partition, end) in ends {
            if let Some(place) = self.places.get_mut(partition) {
                place.reading.found_end(asked, *end);
            }
        }
    }

    /// Somebody to look at for the first time.
    pub(super) fn next_fresh(&mut self) -> Option<PersonKey> {
        self.fresh.pop_front()
    }

    /// True if there is somebody to look at for the first time.
    pub(super) fn has_fresh(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// The most urgent person of a workspace to look at, if one is due.
    pub(super) fn next_due(&mut self, workspace: &str, now: i64) -> Option<PersonKey> {
        let queue = self.due.get_mut(workspace)?.iter_mut().find(|queue| queue.first().is_some_and(|(due, _)| *due <= now))?;
        let (_, key) = queue.pop_first()?;
        if let Some(open) = self.open.get_mut(&key) {
            open.due = None;
        }
        Some(key)
    }

    /// When the next person of a workspace is due.
    pub(super) fn next_due_at(&self, workspace: &str) -> Option<i64> {
        self.due.get(workspace)?.iter().filter_map(|queue| queue.first().map(|(due, _)| *due)).min()
    }

    pub(super) fn workspaces(&self) -> Vec<String> {
        self.due.keys().cloned().collect()
    }

    pub(super) fn open(&self, key: &PersonKey) -> Option<&Open> {
        self.open.get(key)
    }

    pub(super) fn open_mut(&mut self, key: &PersonKey) -> Option<&mut Open> {
        self.open.get_mut(key)
    }

    pub(super) fn calling(&mut self, key: &PersonKey) {
        if let Some(open) = self.open.get_mut(key) {
            open.calling = true;
            open.wants_call = false;
        }
    }

    /// Looks at the person again at `due`.
    pub(super) fn wait(&mut self, key: PersonKey, due: i64) {
        let Some(open) = self.open.get_mut(&key) else { return };
        open.due = Some(due);
        let workspace = &open.profile.person.workspace;
        if !self.due.contains_key(workspace) {
            self.due.insert(workspace.clone(), Default::default());
        }
        if let Some(queues) = self.due.get_mut(workspace) {
            queues[open.lane as usize].insert((due, key));
        }
    }

    /// Looks at the person again when somebody says so.
    pub(super) fn wait_for_word(&mut self, key: PersonKey) {
        self.wait(key, LATER);
    }

    /// Looks at everybody of a partition who waits for word.
    pub(super) fn give_word(&mut self, partition: i32) {
        let waits = |(key, open): &(&PersonKey, &Open)| key.partition == partition && open.due == Some(LATER);
        let keys: Vec<PersonKey> = self.open.iter().filter(waits).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.requeue(&key, |_| ());
        }
    }

    /// Looks at a person, who may be waiting.
    pub(super) fn look(&mut self, person: &str) {
        let partitions: Vec<i32> = self.places.keys().copied().collect();
        for partition in partitions {
            self.requeue(&PersonKey { partition, person: person.into() }, |_| ());
        }
    }

    /// A call was answered, or the brake: the person is looked at again.
    pub(super) fn answered(&mut self, key: &PersonKey, acted: bool) {
        let Some(open) = self.open.get_mut(key) else { return };
        open.calling = false;
        open.unfence();
        if acted {
            (open.intent, open.since) = (None, open.changed_at);
            open.backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        }
        if let Some((profile, offset)) = open.newer.take() {
            open.replace(profile, offset);
        }
        self.fresh.push_back(key.clone());
    }

    /// A call was not answered: another attempt after this long at least.
    pub(super) fn again(&mut self, key: &PersonKey, wait: Option<Duration>, now: i64) {
        let Some(open) = self.open.get_mut(key) else { return };
        open.calling = false;
        open.unfence();
        if let Some((profile, offset)) = open.newer.take() {
            open.replace(profile, offset);
        }
        let wait = open.backoff.next_delay().max(wait.unwrap_or_default());
        open.wants_call = true;
        self.wait(key.clone(), now + i64::try_from(wait.as_millis()).unwrap_or(i64::MAX / 2));
    }

    /// Calls under way were given up: everybody concerned is looked at again.
    pub(super) fn abandon_calls(&mut self) {
        let keys: Vec<PersonKey> = self.open.iter().filter(|(_, open)| open.calling).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.answered(&key, false);
        }
    }

    /// The partitions that are ours.
    pub(super) fn partitions(&self) -> impl Iterator<Item = i32> {
        self.places.keys().copied()
    }

    /// There is nothing more to do for this person.
    pub(super) fn done(&mut self, key: &PersonKey) {
        if let (Some(open), Some(place)) = (self.open.remove(key), self.places.get_mut(&key.partition)) {
            for offset in open.offsets {
                place.prefix.finish(offset);
            }
        }
    }

    /// Offsets behind which everybody is in step, where they moved.
    pub(super) fn take_committable(&mut self, topic: &Arc<str>) -> Vec<(Partition, NextOffset)> {
        let moved = self.places.iter_mut();
        moved.filter_map(|(partition, place)| Some(((topic.clone(), *partition), place.prefix.take_committable()?))).collect()
    }

    /// Calls that were wanted and then not needed, since a newer profile came; since last asked.
    pub(super) fn take_superseded(&mut self) -> u64 {
        std::mem::take(&mut self.superseded)
    }

    /// People who wait for profiles that are still to be read.
    pub(super) fn behind_fence(&self) -> usize {
        let is_behind = |(key, open): &(&PersonKey, &Open)| {
            open.fence.is_some_and(|fence| self.places.get(&key.partition).is_none_or(|place| place.reading.is_before(fence)))
        };
        self.open.iter().filter(is_behind).count()
    }

    /// People with something to do.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }
}

impl Open {
    /// True if a newer profile came while something was under way.
    pub(super) fn has_newer(&self) -> bool {
        self.newer.is_some()
    }

    fn unfence(&mut self) {
        (self.fence, self.became_due) = (None, None);
    }

    fn replace(&mut self, profile: ProfileRecord, offset: i64) {
        self.lane = plan::lane(&profile);
        self.profile = profile;
        self.offset = offset;
        self.wants_call = false;
        self.unfence();
    }
}

#[cfg(test)]
mod tests {
    use aftersend_schemas::identity::{Namespace, Person};

    use super::super::plan::tests::profile;
    use super::*;

    const NOW: i64 = 1_770_000_000_000;

    #[test]
    fn nothing_irreversible_is_done_before_all_is_read_that_was_there_when_it_became_due() {
        let mut people = People::default();
        people.assign(0);
        let comes = |people: &mut People, offset: i64, id: &str| {
            let person = Person { workspace: "default".into(), namespace: Namespace::Id, id: id.into() };
            people.profile(0, offset, profile(person.clone(), None), NOW);
            PersonKey { partition: 0, person: person.to_string().into() }
        };
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let a = comes(&mut people, 0, "a");
        // The record's transaction ends in offset 1.
        assert!(people.ended(0, Some(NextOffset(2))));
        assert!(people.without_end().is_empty(), "nobody asks");
        assert!(!people.is_past_fence(&a, at(1)), "more may be there than the client has seen");
        assert_eq!(people.behind_fence(), 1);
        assert_eq!(people.without_end(), [0]);
        people.found_ends(at(0), &[(0, 2)]);
        assert!(!people.is_past_fence(&a, at(2)), "of before it became due");
        people.found_ends(at(1), &[(0, 4)]);
        assert!(people.without_end().is_empty());
        assert!(!people.is_past_fence(&a, at(2)), "an end that was reached once is not the end for ever");
        people.found_ends(at(3), &[(0, 9)]);
        comes(&mut people, 2, "b");
        assert!(!people.is_past_fence(&a, at(4)), "what ends the transaction stands behind the record");
        people.ended(0, Some(NextOffset(4)));
        assert!(people.is_past_fence(&a, at(4)), "what came after it became due is not waited for");
        assert_eq!((people.behind_fence(), people.len()), (0, 2));
        let b = comes(&mut people, 4, "b");
        assert!(people.is_past_fence(&a, at(4)));
        assert!(!people.is_past_fence(&b, at(4)) && people.without_end() == [0], "this one became due later");
        people.found_ends(at(4), &[(0, 6)]);
        comes(&mut people, 6, "c");
        assert!(people.is_past_fence(&b, at(5)));
        comes(&mut people, 7, "b");
        assert!(!people.is_past_fence(&b, at(5)), "a newer profile is asked about anew");
        people.found_ends(at(5), &[(0, 8)]);
        assert!(people.is_past_fence(&b, at(5)));
        people.answered(&b, true);
        assert!(!people.is_past_fence(&b, at(6)), "what follows is asked about anew");
        people.found_ends(at(6), &[(0, 8)]);
        assert!(people.is_past_fence(&b, at(6)));
        people.reads_again(0);
        comes(&mut people, 0, "a");
        assert!(!people.is_past_fence(&b, at(6)), "what is read again from its beginning has not been read");
    }
}

//! Who may be suppressed: a fold over the brake's log. Pure, and the same for everybody who reads the log, since time and limits are in it.

use std::collections::{BTreeMap, HashMap, VecDeque};

use aftersend_schemas::brake::{BrakeEntry, BrakeRelease, Request};
use aftersend_schemas::profile::{Cause, Verdict};
use xxhash_rust::xxh3::xxh3_64;

/// How long after it was let go a call may be sent, Unix milliseconds.
pub(super) const GOOD_FOR_MS: i64 = 60_000;
/// Within this much time no more than so many are let go. Longer than an hour by what may pass until the call is sent.
const WINDOW_MS: i64 = 3_600_000 + GOOD_FOR_MS;
/// The share of people known never stops fewer than these.
const MIN_PEOPLE: u64 = 50;
/// A share that stops nobody.
const EVERYBODY_PPM: u32 = 1_000_000;
/// How long a release lets go what had arrived before it.
const RELEASE_MS: i64 = 24 * 3_600_000;

/// What an entry of the log amounts to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing that anybody waits for.
    Nothing,
    /// The answer to a request.
    Answer {
        /// Of the request.
        id: u64,
        /// Whether the call may be made.
        admitted: bool,
        /// True if this request is the one too many.
        trips: bool,
    },
    /// The brake of this workspace was released.
    Released(String),
}

/// The brakes of all workspaces, as far as the log was read.
#[derive(Debug, Default)]
pub struct Brakes {
    workspaces: HashMap<String, Workspace>,
    /// Time of the log: never goes back.
    now: i64,
}

#[derive(Debug, Default)]
struct Workspace {
    /// People by partition.
    known: HashMap<i32, u64>,
    release: Option<Release>,
    lanes: BTreeMap<Cause, Lane>,
}

#[derive(Debug)]
struct Release {
    /// What arrived up to then is let go, Unix milliseconds.
    through: i64,
    /// Until then.
    until: i64,
    /// Its place in the log.
    offset: i64,
}

/// The irreversible calls of one cause.
#[derive(Debug, Default)]
struct Lane {
    /// People who were let go within the window, and when last.
    admitted: HashMap<u64, i64>,
    order: VecDeque<(i64, u64)>,
    /// The offset of the request that was one too many.
    tripped: Option<i64>,
}

impl Lane {
    fn forget_before(&mut self, limit: i64) {
        while let Some((at, person)) = self.order.front().copied().filter(|(at, _)| *at < limit) {
            self.order.pop_front();
            if self.admitted.get(&person) == Some(&at) {
                self.admitted.remove(&person);
            }
        }
    }
}

impl Brakes {
    /// Reads the next entry. `at` is the broker's time.
    pub fn apply(&mut self, offset: i64, at: i64, entry: &BrakeEntry) -> Found {
        self.now = self.now.max(at);
        match entry {
            BrakeEntry::Request(request) => return self.request(offset, request),
            BrakeEntry::Known { partition, people } => {
                for (workspace, people) in people {
                    self.workspace(workspace).known.insert(*partition, *people);
                }
            }
            BrakeEntry::Tripped { workspace, cause, by } => {
                let workspace = self.workspace(workspace);
                if workspace.release.as_ref().is_none_or(|release| release.offset < *by) {
                    workspace.lanes.entry(*cause).or_default().tripped.get_or_insert(*by);
                }
            }
            BrakeEntry::Release(release) => return self.release(offset, release),
        }
        Found::Nothing
    }

    fn workspace(&mut self, name: &str) -> &mut Workspace {
        self.workspaces.entry(name.to_owned()).or_default()
    }

    fn request(&mut self, offset: i64, request: &Request) -> Found {
        let now = self.now;
        let person = xxh3_64(request.person.as_bytes());
        let workspace = self.workspace(&request.workspace);
        let limit = limit(request, workspace.known.values().sum());
        let lane = workspace.lanes.entry(request.cause).or_default();
        let answer = |admitted, trips| Found::Answer { id: request.id, admitted, trips };
        if workspace.release.as_ref().is_some_and(|release| request.received_at <= release.through && now < release.until) {
            return answer(true, false);
        }
        lane.forget_before(now - WINDOW_MS);
        let places = u64::try_from(lane.admitted.len()).unwrap_or(u64::MAX);
        // Whoever had a place and asks again, after a crash for one, keeps it.
        let trips = lane.tripped.is_none() && !lane.admitted.contains_key(&person) && places >= limit;
        if trips {
            lane.tripped = Some(offset);
        }
        if lane.tripped.is_some() {
            return answer(false, trips);
        }
        lane.admitted.insert(person, now);
        lane.order.push_back((now, person));
        answer(true, false)
    }

    fn release(&mut self, offset: i64, release: &BrakeRelease) -> Found {
        let now = self.now;
        let workspace = self.workspace(&release.workspace);
        // Every replica writes down what it finds in `operator`; one that was written long ago says nothing about today.
        let known = workspace.release.as_ref().is_some_and(|before| before.through >= release.at);
        if known || now - release.at >= RELEASE_MS {
            return Found::Nothing;
        }
        workspace.release = Some(Release { through: release.at, until: now + RELEASE_MS, offset });
        workspace.lanes.clear();
        Found::Released(release.workspace.clone())
    }

    /// The workspaces and causes that are stopped, and the offset of the request that was one too many. Who waits: [`super::waiting`].
    pub fn tripped(&self) -> impl Iterator<Item = (&str, Cause, i64)> {
        self.workspaces.iter().flat_map(|(workspace, state)| {
            let tripped = |(cause, lane): (&Cause, &Lane)| Some((workspace.as_str(), *cause, lane.tripped?));
            state.lanes.iter().filter_map(tripped)
        })
    }

    /// True if asking for what a verdict wants is of no use.
    pub fn holds(&self, workspace: &str, verdict: &Verdict, now: i64) -> bool {
        let is_released = self.released_through(workspace, now).is_some_and(|through| verdict.received_at <= through);
        self.is_tripped(workspace, verdict.cause) && !is_released
    }

    /// True while a request was one too many.
    pub(super) fn is_tripped(&self, workspace: &str, cause: Cause) -> bool {
        let lane = self.workspaces.get(workspace).and_then(|workspace| workspace.lanes.get(&cause));
        lane.is_some_and(|lane| lane.tripped.is_some())
    }

    /// Evidence that arrived up to then (Unix milliseconds) has been let go by an operator; nothing if there is no release, or it is over.
    pub fn released_through(&self, workspace: &str, now: i64) -> Option<i64> {
        let release = self.workspaces.get(workspace)?.release.as_ref()?;
        (now.max(self.now) < release.until).then_some(release.through)
    }
}

/// How many people may be let go within the window.
fn limit(request: &Request, known: u64) -> u64 {
    let per_hour = u64::from(request.per_hour);
    if request.share_ppm >= EVERYBODY_PPM {
        return per_hour;
    }
    let share = known.saturating_mul(request.share_ppm.into()) / u64::from(EVERYBODY_PPM);
    per_hour.min(share.max(MIN_PEOPLE))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const HOUR: i64 = 3_600_000;

    fn request(person: u64, cause: Cause, received_at: i64, per_hour: u32, share_ppm: u32) -> BrakeEntry {
        let person = format!("default:id:{person}");
        BrakeEntry::Request(Request { id: 1, person, workspace: "default".into(), cause, received_at, per_hour, share_ppm })
    }

    fn release(at: i64) -> BrakeEntry {
        BrakeEntry::Release(BrakeRelease { workspace: "default".into(), at, by: String::new(), reason: String::new() })
    }

    fn admitted(found: &Found) -> bool {
        matches!(found, Found::Answer { admitted: true, .. })
    }

    /// A log with an entry a second.
    #[derive(Default)]
    struct Log {
        brakes: Brakes,
        next: i64,
    }

    impl Log {
        fn at(&mut self, at: i64, entry: &BrakeEntry) -> Found {
            self.next += 1;
            self.brakes.apply(self.next, at, entry)
        }
    }

    #[test]
    fn so_many_people_an_hour_pass_and_then_nobody_until_an_operator_looks() {
        let mut log = Log::default();
        let hard = |person| request(person, Cause::HardBounce, HOUR, 2, EVERYBODY_PPM);
        assert!(admitted(&log.at(0, &hard(1))) && admitted(&log.at(HOUR - 1, &hard(2))));
        assert!(admitted(&log.at(HOUR, &hard(2))), "asking again takes no other place");
        assert!(admitted(&log.at(HOUR + GOOD_FOR_MS + 1, &hard(3))), "the first is an hour old");
        let trips = Found::Answer { id: 1, admitted: false, trips: true };
        assert_eq!(log.at(HOUR + GOOD_FOR_MS + 2, &hard(4)), trips);
        assert!(!admitted(&log.at(9 * HOUR, &hard(5))), "it does not release itself");
        assert!(!admitted(&log.at(9 * HOUR, &hard(3))), "not even for whom it let go");
        assert!(admitted(&log.at(9 * HOUR, &request(6, Cause::Complaint, HOUR, 2, EVERYBODY_PPM))), "causes are counted apart");
        assert_eq!(log.brakes.tripped().collect::<Vec<_>>(), [("default", Cause::HardBounce, 5)]);

        assert_eq!(log.at(9 * HOUR, &release(8 * HOUR)), Found::Released("default".into()));
        for person in 4..100 {
            assert!(admitted(&log.at(9 * HOUR, &hard(person))), "what had arrived before the release is let go");
        }
        let later = |person| request(person, Cause::HardBounce, 9 * HOUR, 2, EVERYBODY_PPM);
        assert!(admitted(&log.at(9 * HOUR, &later(1))) && admitted(&log.at(9 * HOUR, &later(2))), "counting begins anew");
        assert!(!admitted(&log.at(9 * HOUR, &later(3))));
        assert_eq!(log.at(9 * HOUR, &release(8 * HOUR)), Found::Nothing, "another replica says the same");
        assert_eq!(log.at(40 * HOUR, &release(9 * HOUR)), Found::Nothing, "a release of long ago");
        assert!(log.brakes.is_tripped("default", Cause::HardBounce));
    }

    #[test]
    fn a_share_of_the_people_known_stops_too_but_never_fewer_than_fifty() {
        let mut log = Log::default();
        for partition in 0..2 {
            log.at(0, &BrakeEntry::Known { partition, people: [("default".to_owned(), 10_000)].into() });
        }
        let hard = |person| request(person, Cause::HardBounce, 0, 5_000, 5_000);
        let passed = (0..500).take_while(|person| admitted(&log.at(1, &hard(*person)))).count();
        assert_eq!(passed, 100, "half a percent of 20,000");
        let mut log = Log::default();
        let passed = (0..500).take_while(|person| admitted(&log.at(1, &hard(*person)))).count();
        assert_eq!(passed, 50);
    }

    #[test]
    fn a_reader_for_whom_the_log_begins_later_learns_that_the_brake_is_on() {
        let mut log = Log::default();
        log.at(0, &BrakeEntry::Tripped { workspace: "default".into(), cause: Cause::HardBounce, by: 0 });
        assert!(log.brakes.is_tripped("default", Cause::HardBounce));
        log.at(1, &release(1));
        log.at(2, &BrakeEntry::Tripped { workspace: "default".into(), cause: Cause::HardBounce, by: 0 });
        assert!(!log.brakes.is_tripped("default", Cause::HardBounce), "said by a replica that had not heard of the release");
    }

    proptest! {
        #[test]
        fn within_any_hour_no_more_people_pass_than_allowed_whoever_asks_how_often(
            asks in prop::collection::vec((0_u64..30, 0_i64..HOUR / 4), 1..200),
            per_hour in 1_u32..12,
        ) {
            let mut log = Log::default();
            let mut now = 0;
            let mut passed: Vec<(i64, u64)> = Vec::new();
            for (person, later) in asks {
                now += later;
                if admitted(&log.at(now, &request(person, Cause::Complaint, now, per_hour, EVERYBODY_PPM))) {
                    passed.push((now, person));
                }
                let within: HashSet<u64> = passed.iter().filter(|(at, _)| now - at <= HOUR).map(|(_, person)| *person).collect();
                prop_assert!(within.len() <= per_hour as usize);
            }
        }
    }
}

//! What this replica's partitions add to the windows of mailbox providers, and who must be looked at again when a quarantine changes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use aftersend_pipeline::record::Record;
use aftersend_pipeline::store::Key;
use aftersend_schemas::DecodeError;
use aftersend_schemas::address::ProviderId;
use aftersend_schemas::topics::partition_of;

use super::transaction::Output;
use crate::providers::{Changed, Mailed, Quarantine, QuarantineKey, QuarantineRecord, Standings, View, Window, WindowKey};

/// Windows of a partition that are added to; the oldest go first. Each is small, and mail that comes so late changes no verdict.
const WINDOWS: usize = 4_096;
/// People who bounced lately, by provider: those beyond are looked at again when their window is complete.
const BOUNCED: usize = 4_096;

/// Seconds after its arrival, by the newest of all, for which a bounce is kept in memory.
const LATELY: i64 = 6 * 3_600;

/// A quarantine is written again when its record is so many seconds old: the topic keeps records for 16 days.
const REWRITE: i64 = 86_400;

/// When it bounced, when that arrived (both Unix seconds), and who.
type Bounced = VecDeque<(u32, i64, Key)>;

/// What one partition counted in a window.
#[derive(Default)]
struct Contribution {
    window: Window,
    /// It is joined with everybody's, and written. So are all of a window in which anybody's mail bounced: a share of bounces needs all mail.
    is_shared: bool,
}

#[derive(Default)]
pub(super) struct Providers {
    standings: Standings,
    /// What each partition contributed, as written or, for our own, about to be.
    contributions: BTreeMap<i32, BTreeMap<WindowKey, Contribution>>,
    owned: BTreeSet<i32>,
    /// Windows that the batch has added to.
    touched: BTreeSet<(i32, WindowKey)>,
    /// Those that the transaction under way holds.
    flying: BTreeSet<(i32, WindowKey)>,
    /// Quarantines as they were written.
    recorded: BTreeMap<QuarantineKey, QuarantineRecord>,
    /// Those of our partitions that are to be written, and those that the transaction under way holds.
    unrecorded: BTreeSet<QuarantineKey>,
    flying_quarantines: BTreeSet<QuarantineKey>,
    is_reconciled: bool,
    bounced: HashMap<(Arc<str>, ProviderId), Bounced>,
    /// The newest arrival of a bounce.
    arrived: i64,
    workspaces: HashSet<Arc<str>>,
}

impl Providers {
    /// A record of the topic: a quarantine, another partition's contribution, or ours as it was written before.
    pub(super) fn read(&mut self, record: &Record) -> Result<(), DecodeError> {
        if let Some(key) = QuarantineKey::decode(&record.key) {
            let known = record.value.as_deref().map(QuarantineRecord::decode).transpose()?;
            self.standings.recall(&key, known);
            match known {
                Some(known) => self.recorded.insert(key, known),
                None => self.recorded.remove(&key),
            };
            return Ok(());
        }
        let Some((key, value)) = WindowKey::decode(&record.key).zip(record.value.as_deref()) else { return Ok(()) };
        let window = Window::decode(value)?;
        let contributed = self.contributions.entry(record.partition).or_default();
        bound(contributed, &key);
        let known = contributed.entry(key.clone()).or_default();
        known.is_shared = true;
        known.window.merge(&window);
        // A predecessor's was written over before it was read here: both are written once more, joined.
        if known.window != window && self.owned.contains(&record.partition) {
            self.touched.insert((record.partition, key.clone()));
        }
        // With what was counted here before it was of interest.
        self.standings.merge(&key, &known.window);
        if self.standings.has_bounces(&key) {
            self.share(&key);
        }
        Ok(())
    }

    /// Joins what our partitions counted in a window with everybody's, and has it written.
    fn share(&mut self, key: &WindowKey) {
        for partition in &self.owned {
            let own = self.contributions.get_mut(partition).and_then(|windows| windows.get_mut(key));
            if let Some(own) = own.filter(|own| !own.is_shared) {
                own.is_shared = true;
                self.standings.merge(key, &own.window);
                self.touched.insert((*partition, key.clone()));
            }
        }
    }

    /// A partition is ours: we write its contributions from now on.
    pub(super) fn take(&mut self, partition: i32) {
        self.owned.insert(partition);
        self.is_reconciled = false;
        // What it counted when it was ours before.
        let counted = self.contributions.get(&partition).into_iter().flatten();
        let of_interest = |(key, own): &(&WindowKey, &Contribution)| !own.is_shared && self.standings.has_bounces(key);
        let keys: Vec<WindowKey> = counted.filter(of_interest).map(|(key, _)| key.clone()).collect();
        for key in &keys {
            self.share(key);
        }
    }

    pub(super) fn let_go(&mut self, partition: i32) {
        self.owned.remove(&partition);
        self.touched.retain(|(own, _)| *own != partition);
        self.flying.retain(|(own, _)| *own != partition);
        self.unrecorded.retain(|key| home(key) != partition);
        self.flying_quarantines.retain(|key| home(key) != partition);
        for bounced in self.bounced.values_mut() {
            bounced.retain(|(.., key)| key.partition() != partition);
        }
    }

    /// A mail to somebody, of which we heard at `received_at` (Unix milliseconds).
    pub(super) fn observe(&mut self, partition: i32, person: &Key, mailed: &Mailed, received_at: i64) {
        if mailed.provider == ProviderId::UNKNOWN {
            return;
        }
        let workspace = self.workspace(person.workspace());
        if mailed.hard.is_some() {
            let bounced = self.bounced.entry((workspace.clone(), mailed.provider)).or_default();
            if bounced.len() >= BOUNCED {
                bounced.pop_front();
            }
            let arrived = received_at / 1000;
            self.arrived = self.arrived.max(arrived);
            bounced.push_back((mailed.at, arrived, person.clone()));
        }
        let key = WindowKey::of(&workspace, mailed);
        let contributed = self.contributions.entry(partition).or_default();
        bound(contributed, &key);
        let unheard = || Contribution { window: Window::default(), is_shared: self.standings.has_bounces(&key) };
        let own = contributed.entry(key.clone()).or_insert_with(unheard);
        let grew = own.window.observe(mailed);
        let (was_shared, has_bounces) = (own.is_shared, own.window.has_bounces());
        if !grew || !was_shared && !has_bounces {
            return;
        }
        self.standings.look_before(&key);
        if was_shared {
            self.standings.observe(&key, mailed);
            self.touched.insert((partition, key));
        } else {
            self.share(&key);
        }
    }

    /// One name for each, shared.
    fn workspace(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.workspaces.get(name) {
            return known.clone();
        }
        let name: Arc<str> = name.into();
        self.workspaces.insert(name.clone());
        name
    }

    /// Works out what follows from everything that was joined. Whoever may stand differently. `now` is in Unix milliseconds.
    pub(super) fn settle(&mut self, now: i64) -> BTreeSet<Key> {
        let mut affected = BTreeSet::new();
        let all = self.standings.settle();
        self.is_reconciled &= all.is_empty();
        for changed in all {
            tell(&changed, now / 1000);
            let Changed { workspace, provider, seconds, .. } = changed;
            let bounced = self.bounced.get(&(workspace, provider)).into_iter().flatten();
            affected.extend(bounced.filter(|(at, ..)| seconds.contains(at)).map(|(.., key)| key.clone()));
        }
        if !self.is_reconciled {
            self.reconcile(now / 1000);
            self.is_reconciled = true;
        }
        affected
    }

    /// Has written what the topic says otherwise of the quarantines in our partitions, and what it would forget (`now` in Unix seconds). Everything that was
    /// read must be settled.
    fn reconcile(&mut self, now: i64) {
        let known: BTreeMap<QuarantineKey, Quarantine> = self.standings.records().map(|(key, record)| (key, record.quarantine)).collect();
        let is_recorded = |(key, quarantine): &(&QuarantineKey, &Quarantine)| {
            let recorded = self.recorded.get(key);
            recorded.is_some_and(|recorded| recorded.quarantine == **quarantine && recorded.written_at.saturating_add(REWRITE) > now)
        };
        let new = known.iter().filter(|one| !is_recorded(one)).map(|(key, _)| key);
        let gone = self.recorded.keys().filter(|key| !known.contains_key(key));
        self.unrecorded = new.chain(gone).filter(|key| self.owned.contains(&home(key))).cloned().collect();
    }

    /// Has everything compared with the topic again: it forgets what is old.
    pub(super) fn keep(&mut self) {
        self.is_reconciled = false;
    }

    /// True while a quarantine is to be written.
    pub(super) fn has_work(&self) -> bool {
        !self.unrecorded.is_empty()
    }

    /// Contributions that the batch has changed, and quarantines, as records. `timestamp` is that of the batch, `now` the clock's: quarantines are kept for
    /// longer than the mail that they are about.
    pub(super) fn outputs(&mut self, topic: &Arc<str>, timestamp: i64, now: i64) -> Vec<Output> {
        self.flying_quarantines = std::mem::take(&mut self.unrecorded);
        let quarantines = self.flying_quarantines.iter().map(|key| {
            let value = self.standings.record(key).map(|mut record| {
                record.written_at = now / 1000;
                let earlier = self.recorded.get(key).filter(|earlier| earlier.quarantine == record.quarantine);
                record.found_at = earlier.map_or(record.written_at, |earlier| earlier.found_at);
                record.encode()
            });
            Output { topic: topic.clone(), partition: home(key), key: key.encode().into(), timestamp: now, value }
        });
        let mut outputs: Vec<Output> = quarantines.collect();
        self.flying = std::mem::take(&mut self.touched);
        let output = |(partition, key): (i32, WindowKey)| {
            let value = self.contributions.get(&partition)?.get(&key)?.window.encode();
            Some(Output { topic: topic.clone(), partition, key: key.encode().into(), timestamp, value: Some(value) })
        };
        outputs.extend(self.flying.iter().cloned().filter_map(output));
        outputs
    }

    /// The transaction came to nothing.
    pub(super) fn crash(&mut self) {
        self.touched.append(&mut self.flying);
        self.unrecorded.append(&mut self.flying_quarantines);
    }

    pub(super) fn view(&self, workspace: &str) -> View<'_> {
        self.standings.view(workspace)
    }

    /// Forgets what can change no verdict any more.
    pub(super) fn forget_old(&mut self) {
        self.standings.forget_old();
        let newest = self.arrived;
        self.bounced.retain(|_, bounced| {
            bounced.retain(|(_, arrived, _)| arrived.saturating_add(LATELY) >= newest);
            !bounced.is_empty()
        });
    }

    /// Quarantines in force at a moment.
    pub(super) fn open_at(&self, seconds: i64) -> usize {
        u32::try_from(seconds).map_or(0, |second| self.standings.open_at(second))
    }
}

/// What is in force is for somebody to know of; what is over is known from the topic at every start.
fn tell(changed: &Changed, now: i64) {
    let Changed { workspace, provider, seconds, open } = changed;
    // Whoever is not in the shipped table has no name here, only a number.
    let (workspace, provider) = (&**workspace, format!("{} ({:08x})", provider.name(), provider.0));
    let [from, until] = [seconds.start, seconds.end].map(|second| jiff::Timestamp::from_second(second.into()).unwrap_or_default());
    if !open {
        tracing::warn!(workspace, provider, %from, %until, "hard bounces of a mailbox provider are believed again: it was in no quarantine");
    } else if i64::from(seconds.end) > now {
        tracing::warn!(workspace, provider, %from, %until, "quarantine of a mailbox provider: its hard bounces are not believed");
    } else {
        tracing::info!(workspace, provider, %from, %until, "a past quarantine of a mailbox provider is known");
    }
}

/// The partition in which a quarantine is written, by who owns that of `raw`.
fn home(key: &QuarantineKey) -> i32 {
    partition_of(&key.encode())
}

/// Makes room for a window: the oldest goes.
fn bound(windows: &mut BTreeMap<WindowKey, Contribution>, key: &WindowKey) {
    if windows.len() >= WINDOWS && !windows.contains_key(key) {
        windows.pop_first();
    }
}

#[cfg(test)]
mod tests {
    use aftersend_pipeline::record::RecordHeaders;

    use super::*;
    use crate::providers::{BUCKET, text_of};
    use crate::score::Standing as _;

    const PARTITIONS: u32 = 12;

    /// Processors that share the partitions, and read what each of them writes.
    struct Group(Vec<Providers>);

    impl Group {
        fn of(replicas: u32) -> Self {
            let mut group: Vec<Providers> = (0..replicas).map(|_| Providers::default()).collect();
            (0..PARTITIONS).for_each(|partition| group[(partition % replicas) as usize].take(partition as i32));
            Self(group)
        }

        fn mail(&mut self, at: u32, message: u32, bounced: bool) {
            let hard = bounced.then(|| text_of("550 5.1.1 no such user"));
            let mailed = Mailed { provider: ProviderId::of_domain("proton.me"), at, message: message.wrapping_mul(0x9E37_79B1), hard };
            let partition = message % PARTITIONS;
            let person = Key::of_record(partition as i32, format!("default:id:{message}").as_bytes());
            let replicas = self.0.len() as u32;
            self.0[(partition % replicas) as usize].observe(partition as i32, &person, &mailed, i64::from(at) * 1000);
        }

        /// Closes a batch. The windows that were written.
        fn commit(&mut self, at: u32) -> Vec<(i32, u32)> {
            let mut windows = Vec::new();
            for writer in 0..self.0.len() {
                for output in self.0[writer].outputs(&"providers".into(), 0, i64::from(at) * 1000) {
                    let key = output.key.to_vec();
                    let Output { topic, partition, value, .. } = output;
                    let record = Record { topic, partition, offset: 0, timestamp: 0, key, value, headers: RecordHeaders::default() };
                    windows.extend(WindowKey::decode(&record.key).map(|key| (record.partition, key.start)));
                    self.0.iter_mut().for_each(|reader| reader.read(&record).unwrap());
                }
            }
            self.0.iter_mut().for_each(|reader| _ = reader.settle(i64::from(at) * 1000));
            windows
        }

        fn quarantined(&self, at: u32) -> Vec<bool> {
            let provider = ProviderId::of_domain("proton.me");
            self.0.iter().map(|replica| replica.view("default").quarantined(provider, at)).collect()
        }
    }

    #[test]
    fn a_bounce_now_and_then_among_the_mail_of_all_partitions_keeps_no_quarantine_open() {
        for replicas in [1, 3] {
            let mut group = Group::of(replicas);
            let begin = 1_790_000_100;
            (0..40).for_each(|message| group.mail(begin, message, true));
            group.commit(begin);
            assert!(group.quarantined(begin).iter().all(|is| *is));
            for window in 1..30 {
                let at = begin + window * BUCKET;
                // The bounce comes in the midst of the mail.
                for n in 0..60 {
                    group.mail(at, window * 1_000 + n, window % 3 == 0 && n == 30);
                    if n % 20 == 0 {
                        group.commit(at);
                    }
                }
                group.commit(at);
            }
            let hour = 3_600 + 2 * BUCKET;
            assert_eq!(group.quarantined(begin + hour), vec![false; replicas as usize], "{replicas} processors");
        }
    }

    #[test]
    fn a_window_is_written_by_all_who_have_mail_in_it_once_anybodys_bounced_and_by_nobody_before() {
        let mut group = Group::of(2);
        (0..PARTITIONS).for_each(|message| group.mail(BUCKET, message, false));
        assert_eq!(group.commit(BUCKET), []);
        group.mail(BUCKET, PARTITIONS + 3, true);
        let mut written = group.commit(BUCKET);
        written.extend(group.commit(BUCKET));
        written.sort_unstable();
        written.dedup();
        assert_eq!(written, (0..12).map(|partition| (partition, BUCKET)).collect::<Vec<_>>());
        assert_eq!(group.commit(BUCKET), [], "each once");
        group.mail(BUCKET, 2 * PARTITIONS, false);
        assert_eq!(group.commit(BUCKET), [(0, BUCKET)], "whatever comes to it");
    }

    #[test]
    fn what_was_counted_for_a_partition_is_written_by_whoever_gets_it_back() {
        let mut group = Group::of(1);
        group.mail(BUCKET, 5, false);
        group.0[0].let_go(5);
        group.mail(BUCKET, 4, true);
        assert_eq!(group.commit(BUCKET), [(4, BUCKET)]);
        group.0[0].take(5);
        assert_eq!(group.commit(BUCKET), [(5, BUCKET)]);
    }
}

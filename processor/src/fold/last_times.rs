/// Keys that are remembered.
const KEYS: usize = 8;

/// When something last happened to each of a person's addresses or devices.
///
/// The keys that were last seen, each with its latest time: the others are dropped in every order, since a time only grows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LastTimes {
    /// By key; 0 stands for what is not known by one.
    times: Vec<(u64, u32)>,
}

impl LastTimes {
    /// Joins a time. True if that changed anything.
    pub fn insert(&mut self, key: u64, at: u32) -> bool {
        if let Some((_, known)) = self.times.iter_mut().find(|(known, _)| *known == key) {
            let later = at > *known;
            *known = at.max(*known);
            return later;
        }
        if self.times.len() == KEYS {
            let oldest = self.times.iter().enumerate().min_by_key(|(_, (key, at))| (*at, *key));
            match oldest {
                Some((place, (known, known_at))) if (*known_at, *known) < (at, key) => {
                    self.times.remove(place);
                }
                _ => return false,
            }
        }
        let place = self.times.partition_point(|(known, _)| *known < key);
        self.times.insert(place, (key, at));
        true
    }

    /// Joins others.
    pub fn merge(&mut self, other: &Self) {
        for (key, at) in &other.times {
            self.insert(*key, *at);
        }
    }

    /// Of entries as they were written.
    pub(super) fn restored(times: Vec<(u64, u32)>) -> Option<Self> {
        (times.len() <= KEYS && times.is_sorted_by(|a, b| a.0 < b.0)).then_some(Self { times })
    }

    /// The last time of a key.
    pub fn of(&self, key: u64) -> Option<u32> {
        self.times.iter().find(|(known, _)| *known == key).map(|(_, at)| *at)
    }

    /// The latest that a key's last time can be: of a key that may have been dropped, the earliest that was kept. 0 for never.
    pub fn at_the_latest(&self, key: u64) -> u32 {
        let dropped = || if self.times.len() == KEYS { self.times.iter().map(|(_, at)| *at).min().unwrap_or_default() } else { 0 };
        self.of(key).unwrap_or_else(dropped)
    }

    /// Every key with its last time, by key.
    pub fn as_slice(&self) -> &[(u64, u32)] {
        &self.times
    }
}

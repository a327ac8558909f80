use super::day;

/// Members that are remembered at most: more than any rule looks at within its window, for all but bots.
const LIMIT: usize = 256;
/// Members so much older than the newest ones go, in seconds: no rule looks further back.
const HORIZON: u32 = 400 * 86_400;
/// So many of the newest never go by age. The age is counted from the last of them, so that a few events of a wrong clock empty nothing.
const ALWAYS: usize = 8;

/// What a [`Recent`] set holds. Ordered by time first.
pub trait Member: Copy + Ord {
    /// Unix seconds.
    fn at(&self) -> u32;
    /// True for two reports of one thing, of which the later counts.
    fn is_same(&self, other: &Self) -> bool;
    /// True if nothing at or before this member's place can be the same as `other`, which is later.
    fn ends_search_for(&self, other: &Self) -> bool;
}

/// A mail that arrived, at the latest report of its arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mail {
    /// Unix seconds.
    pub at: u32,
    /// Hash of the delivery id.
    pub message: u32,
}

impl Member for Mail {
    fn at(&self) -> u32 {
        self.at
    }
    fn is_same(&self, other: &Self) -> bool {
        self.message == other.message
    }
    fn ends_search_for(&self, _: &Self) -> bool {
        false
    }
}

/// An open or a conversion: the last of its mail on its day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Response {
    /// Unix seconds.
    pub at: u32,
    /// Hash of the delivery id.
    pub message: u32,
}

impl Member for Response {
    fn at(&self) -> u32 {
        self.at
    }
    fn is_same(&self, other: &Self) -> bool {
        self.message == other.message && day(self.at) == day(other.at)
    }
    fn ends_search_for(&self, other: &Self) -> bool {
        day(self.at) < day(other.at)
    }
}

/// A click: the last on its link on its day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Click {
    /// Unix seconds.
    pub at: u32,
    /// Hash of the delivery id.
    pub message: u32,
    /// Which link; 0 if unknown.
    pub link: u32,
}

impl Member for Click {
    fn at(&self) -> u32 {
        self.at
    }
    fn is_same(&self, other: &Self) -> bool {
        self.message == other.message && self.link == other.link && day(self.at) == day(other.at)
    }
    fn ends_search_for(&self, other: &Self) -> bool {
        day(self.at) < day(other.at)
    }
}

/// The newest things that happened, each once, in the order of their times.
///
/// A join: of two reports of one thing the later stays, and what is dropped is dropped in every order. Both limits only ask how many of the things known are
/// newer, and that number never falls when more becomes known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recent<T> {
    members: Vec<T>,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self { members: Vec::new() }
    }
}

impl<T: Member> Recent<T> {
    /// Joins one member. True if that changed anything.
    pub fn insert(&mut self, member: T) -> bool {
        let mut place = self.members.len();
        for (at, known) in self.members.iter().enumerate().rev() {
            if *known > member {
                place = at;
            }
            if known.is_same(&member) {
                if *known >= member {
                    return false;
                }
                self.members.remove(at);
                // It stood before all that are later, `place` among them.
                self.members.insert(place - 1, member);
                self.forget();
                return true;
            }
            if known.ends_search_for(&member) {
                break;
            }
        }
        let is_too_old = self.cutoff().is_some_and(|cutoff| member.at() < cutoff);
        if is_too_old || (self.members.len() >= LIMIT && place == 0) {
            return false;
        }
        self.members.insert(place, member);
        self.forget();
        true
    }

    /// Joins another set.
    pub fn merge(&mut self, other: &Self) {
        for member in &other.members {
            self.insert(*member);
        }
    }

    fn forget(&mut self) {
        let over = self.members.len().saturating_sub(LIMIT);
        let old = match (self.cutoff(), self.members.first()) {
            (Some(cutoff), Some(first)) if first.at() < cutoff => self.members.partition_point(|member| member.at() < cutoff),
            _ => 0,
        };
        if over.max(old) > 0 {
            self.members.drain(..over.max(old));
        }
    }

    fn cutoff(&self) -> Option<u32> {
        let eighth = self.members.len().checked_sub(ALWAYS)?;
        Some(self.members.get(eighth)?.at().saturating_sub(HORIZON))
    }

    /// Of members as they were written, oldest first; nothing if they are none that this set would hold.
    pub(super) fn restored(members: Vec<T>) -> Option<Self> {
        (members.len() <= LIMIT && members.is_sorted_by(|a, b| a < b)).then_some(Self { members })
    }

    /// Members, oldest first.
    pub fn as_slice(&self) -> &[T] {
        &self.members
    }

    /// Members up to a time, oldest first.
    pub fn until(&self, at: i64) -> &[T] {
        match self.members.last() {
            Some(last) if i64::from(last.at()) > at => &self.members[..self.members.partition_point(|member| i64::from(member.at()) <= at)],
            _ => &self.members,
        }
    }

    /// The time of the newest.
    pub fn last_at(&self) -> Option<u32> {
        self.members.last().map(Member::at)
    }
}

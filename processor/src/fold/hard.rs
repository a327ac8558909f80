use aftersend_schemas::address::ProviderId;

/// Hard bounces of one kind (certain or not) that are remembered of one address.
const OF_ONE_KIND: usize = 8;
/// Hard bounces that are remembered.
const LIMIT: usize = 128;
/// Percent of confidence from which a bounce is certain.
const CERTAIN: u8 = 80;

/// A hard bounce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HardBounce {
    /// Unix seconds.
    pub at: u32,
    /// Hash of the delivery id.
    pub message: u32,
    /// Hash of the address; 0 if unknown.
    pub address: u64,
    /// Whose mailbox it was.
    pub provider: ProviderId,
    /// True if the domain is to blame, which may come back.
    pub domain: bool,
    /// Percent.
    pub confidence: u8,
}

impl HardBounce {
    /// True if it permits what cannot be undone, by itself: the mailbox is to blame, without much doubt.
    pub fn is_certain(&self) -> bool {
        self.confidence >= CERTAIN && !self.domain
    }
}

/// Hard bounces with the earliest arrival (Unix milliseconds) of each: of every address the newest eight that are certain and the newest eight that are not,
/// and of these the newest 128.
///
/// Uncertain bounces cannot push out a certain one, nor bounces of other addresses those of the one in use until there are eight such addresses. A join: how many of the kept are newer than a
/// bounce never falls when more becomes known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HardBounces {
    bounces: Vec<(HardBounce, i64)>,
}

impl HardBounces {
    /// Joins one. True if that changed anything.
    pub fn insert(&mut self, bounce: HardBounce, received_at: i64) -> bool {
        let place = match self.bounces.binary_search_by(|(known, _)| known.cmp(&bounce)) {
            Ok(place) => {
                let known = &mut self.bounces[place].1;
                let earlier = received_at < *known;
                *known = received_at.min(*known);
                return earlier;
            }
            Err(place) => place,
        };
        self.bounces.insert(place, (bounce, received_at));
        let is_alike = |known: &HardBounce| known.address == bounce.address && known.is_certain() == bounce.is_certain();
        let dropped = if self.bounces.iter().filter(|(known, _)| is_alike(known)).count() > OF_ONE_KIND {
            self.bounces.iter().position(|(known, _)| is_alike(known))
        } else {
            (self.bounces.len() > LIMIT).then_some(0)
        };
        if let Some(dropped) = dropped {
            self.bounces.remove(dropped);
        }
        dropped != Some(place)
    }

    /// Joins others.
    pub fn merge(&mut self, other: &Self) {
        for (bounce, received_at) in &other.bounces {
            self.insert(*bounce, *received_at);
        }
    }

    /// Of bounces as they were written.
    pub(super) fn restored(bounces: Vec<(HardBounce, i64)>) -> Option<Self> {
        (bounces.len() <= LIMIT && bounces.is_sorted_by(|a, b| a.0 < b.0)).then_some(Self { bounces })
    }

    /// Bounces with their earliest arrival, oldest first.
    pub fn as_slice(&self) -> &[(HardBounce, i64)] {
        &self.bounces
    }
}

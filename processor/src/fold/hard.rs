use aftersend_schemas::address::ProviderId;

/// Hard bounces that are remembered of one address.
const OF_ONE_ADDRESS: usize = 8;
/// Hard bounces that are remembered.
const LIMIT: usize = 64;

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

/// Hard bounces with the earliest arrival (Unix milliseconds) of each: the newest eight of every address, and of these the newest 64.
///
/// Bounces of other addresses cannot push out those of the one in use until there are eight such addresses. A join: how many of the kept are newer than a
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
        let of_address = self.bounces.iter().filter(|(known, _)| known.address == bounce.address).count();
        let dropped = if of_address > OF_ONE_ADDRESS {
            self.bounces.iter().position(|(known, _)| known.address == bounce.address)
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

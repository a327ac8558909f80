/// Addresses that are remembered.
const ADDRESSES: usize = 8;

/// When each address last took mail or had a link followed: proof of life.
///
/// The addresses that lived last, each with its latest time: the others are dropped in every order, since a time only grows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lives {
    /// By address; 0 stands for mail whose address is not known.
    lives: Vec<(u64, u32)>,
}

impl Lives {
    /// Joins a time. True if that changed anything.
    pub fn insert(&mut self, address: u64, at: u32) -> bool {
        if let Some((_, known)) = self.lives.iter_mut().find(|(known, _)| *known == address) {
            let later = at > *known;
            *known = at.max(*known);
            return later;
        }
        if self.lives.len() == ADDRESSES {
            let oldest = self.lives.iter().enumerate().min_by_key(|(_, (address, at))| (*at, *address));
            match oldest {
                Some((place, (known, known_at))) if (*known_at, *known) < (at, address) => {
                    self.lives.remove(place);
                }
                _ => return false,
            }
        }
        let place = self.lives.partition_point(|(known, _)| *known < address);
        self.lives.insert(place, (address, at));
        true
    }

    /// Joins others.
    pub fn merge(&mut self, other: &Self) {
        for (address, at) in &other.lives {
            self.insert(*address, *at);
        }
    }

    /// Of entries as they were written.
    pub(super) fn restored(lives: Vec<(u64, u32)>) -> Option<Self> {
        (lives.len() <= ADDRESSES && lives.is_sorted_by(|a, b| a.0 < b.0)).then_some(Self { lives })
    }

    /// The last sign of life of an address.
    pub fn of(&self, address: u64) -> Option<u32> {
        self.lives.iter().find(|(known, _)| *known == address).map(|(_, at)| *at)
    }

    /// Every address with its last sign of life, by address.
    pub fn as_slice(&self) -> &[(u64, u32)] {
        &self.lives
    }
}

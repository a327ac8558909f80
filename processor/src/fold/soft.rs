use aftersend_schemas::bounce::BounceClass;

/// Days that are remembered: no rule looks back further than 180 days, so that of one address none is missed.
const DAYS: usize = 200;

/// How a mail failed for the time being, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SoftClass {
    /// The provider still tried.
    Deferred,
    /// A passing failure, or one whose text says nothing.
    Transient,
    /// The mailbox was full.
    MailboxFull,
}

impl SoftClass {
    /// Every class, weakest first.
    pub const ALL: [Self; 3] = [Self::Deferred, Self::Transient, Self::MailboxFull];

    /// Blocks, the sender's own faults and repeats of earlier verdicts are nothing a person has to answer for.
    pub fn of(class: BounceClass, deferred: bool) -> Option<Self> {
        match class {
            BounceClass::MailboxFull | BounceClass::Transient | BounceClass::Undetermined if deferred => Some(Self::Deferred),
            _ if class.is_hard() => deferred.then_some(Self::Deferred),
            BounceClass::MailboxFull => Some(Self::MailboxFull),
            BounceClass::Transient | BounceClass::Undetermined => Some(Self::Transient),
            _ => None,
        }
    }
}

/// A day on which mail to an address failed for the time being.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SoftDay {
    /// Days since 1970, UTC.
    pub day: u32,
    /// Hash of the address.
    pub address: u64,
    /// The strongest failure of that day.
    pub class: SoftClass,
}

/// Bounce days: one per day and address, so that a short outage of the provider counts once. The newest are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SoftDays {
    days: Vec<SoftDay>,
}

impl SoftDays {
    /// Joins one. True if that changed anything.
    pub fn insert(&mut self, soft: SoftDay) -> bool {
        let place = self.days.partition_point(|known| (known.day, known.address) < (soft.day, soft.address));
        if let Some(known) = self.days.get_mut(place)
            && (known.day, known.address) == (soft.day, soft.address)
        {
            let stronger = soft.class > known.class;
            known.class = known.class.max(soft.class);
            return stronger;
        }
        if self.days.len() == DAYS {
            if place == 0 {
                return false;
            }
            self.days.remove(0);
            self.days.insert(place - 1, soft);
            return true;
        }
        self.days.insert(place, soft);
        true
    }

    /// Joins others.
    pub fn merge(&mut self, other: &Self) {
        for soft in &other.days {
            self.insert(*soft);
        }
    }

    /// Of days as they were written.
    pub(super) fn restored(days: Vec<SoftDay>) -> Option<Self> {
        let sorted = days.is_sorted_by(|a, b| (a.day, a.address) < (b.day, b.address));
        (days.len() <= DAYS && sorted).then_some(Self { days })
    }

    /// Days in their order.
    pub fn as_slice(&self) -> &[SoftDay] {
        &self.days
    }
}

//! What can be unusual about an event without stopping it.

/// Something unusual about an event. Kept in the outcome's metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oddity {
    /// No `event_id`, or one too long for an id; the SHA-256 of the body serves as one.
    EventIdMissing,
    /// No `data` object; its members were looked for at the top.
    FlatShape,
    /// No `object_type`; the flat shape is about e-mail.
    ObjectTypeAssumed,
    /// Customer.io does not document this kind of event.
    Undocumented,
    /// The `timestamp` was unusable, so the time inside the event id counts.
    TimeFromId,
    /// The `timestamp` is not in whole seconds (milliseconds, a fraction, a date as text); the metadata has it as it came.
    TimeConverted,
    /// No usable time at all.
    Undated,
    /// It is dated more than five minutes after it arrived: a clock is wrong.
    AheadOfArrival,
    /// `customer_id` and `identifiers.id` name two people.
    IdentifiersDiffer,
    /// A member stands twice in one object: the last counts, and of those with a meaning the last that is not blank.
    RepeatedMember,
    /// What stands where an id should is none: too long, no text or number, or an address where Customer.io makes the id. It is kept as it came.
    IdUnusable,
    /// The configuration calls it a test: stored, and no evidence.
    TestEvent,
}

impl Oddity {
    /// Each of them.
    pub const ALL: [Self; 12] = [
        Self::EventIdMissing,
        Self::FlatShape,
        Self::ObjectTypeAssumed,
        Self::Undocumented,
        Self::TimeFromId,
        Self::TimeConverted,
        Self::Undated,
        Self::AheadOfArrival,
        Self::IdentifiersDiffer,
        Self::RepeatedMember,
        Self::IdUnusable,
        Self::TestEvent,
    ];

    /// The name used in metadata and as a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EventIdMissing => "event_id_missing",
            Self::FlatShape => "flat_shape",
            Self::ObjectTypeAssumed => "object_type_assumed",
            Self::Undocumented => "undocumented",
            Self::TimeFromId => "time_from_id",
            Self::TimeConverted => "time_converted",
            Self::Undated => "undated",
            Self::AheadOfArrival => "ahead_of_arrival",
            Self::IdentifiersDiffer => "identifiers_differ",
            Self::RepeatedMember => "repeated_member",
            Self::IdUnusable => "id_unusable",
            Self::TestEvent => "test_event",
        }
    }
}

/// A set of oddities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Oddities(u16);

impl Oddities {
    /// Adds one.
    pub fn insert(&mut self, oddity: Oddity) {
        self.0 |= 1 << oddity as u16;
    }

    /// True if it is in the set.
    pub fn contains(self, oddity: Oddity) -> bool {
        self.0 >> oddity as u16 & 1 == 1
    }

    /// True if nothing was unusual.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those in the set, in the order of declaration.
    pub fn iter(self) -> impl Iterator<Item = Oddity> {
        Oddity::ALL.into_iter().filter(move |oddity| self.contains(*oddity))
    }
}

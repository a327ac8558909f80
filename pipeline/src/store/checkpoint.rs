use serde::{Deserialize, Serialize};

use crate::offsets::NextOffset;

/// How far a partition's rows are those of its topic. `T` is what the owner counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint<T> {
    /// Everything of the topic before this is in the store.
    pub next: i64,
    /// The number of the topic it was read from.
    pub topic: u64,
    /// What else the rows depend on; of another value they are worth nothing.
    pub rules: u64,
    /// When this was last known to be so, Unix milliseconds.
    pub at: i64,
    /// What is in it.
    pub tally: T,
}

impl<T> Checkpoint<T> {
    /// Everything of the topic before this is in the store.
    pub fn next(&self) -> NextOffset {
        NextOffset(self.next)
    }

    /// The number of the topic, as it is committed beside the position there.
    pub fn note(topic: u64) -> String {
        format!("{topic:016x}")
    }

    /// Reads what [`Checkpoint::note`] made.
    pub(super) fn noted(note: &str) -> Option<u64> {
        u64::from_str_radix(note, 16).ok()
    }
}

/// Why a local copy is worth nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// It has seen another topic of that name.
    OtherTopic,
    /// It may have missed that somebody was forgotten.
    TooOld,
    /// The rules have changed.
    OtherRules,
    /// It has seen more than there is.
    Ahead,
}

impl Doubt {
    /// Every doubt.
    pub const ALL: [Self; 4] = [Self::OtherTopic, Self::TooOld, Self::OtherRules, Self::Ahead];

    /// As it stands in labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OtherTopic => "other_topic",
            Self::TooOld => "too_old",
            Self::OtherRules => "other_rules",
            Self::Ahead => "ahead",
        }
    }

    /// What speaks against a checkpoint. `tombstones`: for how long (milliseconds) the topic's can still be read; nothing where none are written.
    pub(super) fn about<T>(checkpoint: &Checkpoint<T>, topic: Option<u64>, rules: u64, now: i64, tombstones: Option<i64>) -> Option<Self> {
        let age = now - checkpoint.at;
        if topic != Some(checkpoint.topic) {
            return Some(Self::OtherTopic);
        }
        // A part of the time is left for the restore itself. A clock that went back tells no age.
        if tombstones.is_some_and(|kept| age < 0 || age >= kept / 4 * 3) {
            return Some(Self::TooOld);
        }
        (checkpoint.rules != rules).then_some(Self::OtherRules)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_trusted_only_for_the_same_topic_and_rules_and_while_it_can_have_missed_nobody() {
        let copy = Checkpoint { next: 9, topic: 7, rules: 3, at: 1_000, tally: () };
        let about = |topic, rules, now| Doubt::about(&copy, topic, rules, now, Some(100_000));
        assert_eq!(about(Some(7), 3, 75_000), None);
        assert_eq!(about(Some(8), 3, 75_000), Some(Doubt::OtherTopic));
        assert_eq!(about(None, 3, 75_000), Some(Doubt::OtherTopic));
        assert_eq!(about(Some(7), 4, 75_000), Some(Doubt::OtherRules));
        assert_eq!(about(Some(7), 3, 76_000), Some(Doubt::TooOld));
        assert_eq!(about(Some(7), 3, 999), Some(Doubt::TooOld), "a clock that went back");
        for now in [999, i64::MAX] {
            assert_eq!(Doubt::about(&copy, Some(7), 3, now, None), None, "where nobody is forgotten, nobody is missed");
        }
    }

    #[test]
    fn the_number_of_a_topic_survives_its_note_and_nothing_else_is_taken_for_one() {
        for topic in [0, 7, u64::MAX] {
            assert_eq!(Checkpoint::<()>::noted(&Checkpoint::<()>::note(topic)), Some(topic));
        }
        assert_eq!(Checkpoint::<()>::noted(""), None);
        assert_eq!(Checkpoint::<()>::noted("not ours"), None);
    }
}

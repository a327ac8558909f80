//! Which offset may be committed while records finish in any order: the end of the contiguous finished prefix. Pure.

use std::collections::BTreeMap;

/// Offset of the next record to read, as Kafka commits it: one more than that of the last finished record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NextOffset(pub i64);

impl NextOffset {
    /// The position behind a record.
    pub fn after(offset: i64) -> Self {
        Self(offset + 1)
    }
}

/// Records of one partition that were started and not yet all finished.
#[derive(Debug, Default)]
pub struct Prefix {
    /// Started records by offset; true once finished. A finished record stays while an earlier one is open.
    open: BTreeMap<i64, bool>,
    committable: Option<NextOffset>,
}

impl Prefix {
    /// A record was handed to someone. Offsets must ascend; gaps are normal (markers of transactions take offsets).
    pub fn start(&mut self, offset: i64) {
        self.open.insert(offset, false);
    }

    /// A record's work is done. Unknown offsets (from before a revoke) are ignored.
    pub fn finish(&mut self, offset: i64) {
        match self.open.get_mut(&offset) {
            Some(finished) => *finished = true,
            None => return,
        }
        while let Some(first) = self.open.first_entry() {
            if !*first.get() {
                break;
            }
            self.committable = Some(NextOffset::after(*first.key()));
            first.remove();
        }
    }

    /// The offset that may be committed since the last call, if it moved.
    pub fn take_committable(&mut self) -> Option<NextOffset> {
        self.committable.take()
    }

    /// Records started and not finished.
    pub fn unfinished(&self) -> usize {
        self.open.values().filter(|finished| !**finished).count()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nothing_unfinished_is_ever_passed_and_everything_is_reached(
            gaps in prop::collection::vec(1_i64..4, 1..60),
            seed in prop::collection::vec(any::<u32>(), 60),
        ) {
            let offsets: Vec<i64> = gaps.iter().scan(0, |at, gap| { *at += gap; Some(*at) }).collect();
            let mut order: Vec<usize> = (0..offsets.len()).collect();
            order.sort_by_key(|index| seed[*index]);
            let mut prefix = Prefix::default();
            for offset in &offsets {
                prefix.start(*offset);
            }
            let mut finished = vec![false; offsets.len()];
            let mut last = None;
            for index in order {
                prefix.finish(offsets[index]);
                finished[index] = true;
                if let Some(next) = prefix.take_committable() {
                    prop_assert!(offsets.iter().zip(&finished).all(|(offset, done)| *done || *offset >= next.0));
                    last = Some(next);
                }
            }
            prop_assert_eq!(last, offsets.last().map(|offset| NextOffset::after(*offset)));
            prop_assert_eq!(prefix.unfinished(), 0);
        }
    }
}

//! The replay epoch of a partition: which of two rows with the same identity is the newer. Pure.

use aftersend_pipeline::consumer::Committed;
use aftersend_pipeline::offsets::NextOffset;

/// What the table holds of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Stored {
    pub(super) rows: u64,
    pub(super) max_offset: u64,
    pub(super) max_epoch: u32,
}

/// How a partition goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// In the epoch it was in.
    Continue(u32),
    /// From before its rows, in a new epoch: somebody reset the offsets.
    Replay(u32),
}

impl Start {
    pub(super) fn epoch(self) -> u32 {
        match self {
            Self::Continue(epoch) | Self::Replay(epoch) => epoch,
        }
    }

    /// Kafka's reset tools drop the metadata, so an offset without ours that lies before rows of the table is a replay.
    pub(super) fn decide(committed: &Committed, stored: Stored) -> Self {
        match (parse(&committed.metadata), committed.next) {
            (Some(epoch), _) => Self::Continue(epoch),
            (None, next) if stored.rows > 0 && next.is_none_or(|NextOffset(next)| i128::from(next) <= i128::from(stored.max_offset)) => {
                Self::Replay(stored.max_epoch + 1)
            }
            (None, _) => Self::Continue(stored.max_epoch),
        }
    }
}

/// The text committed beside every offset.
pub(super) fn metadata(epoch: u32) -> String {
    format!("v1 epoch={epoch}")
}

fn parse(metadata: &str) -> Option<u32> {
    metadata.strip_prefix("v1 epoch=")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_without_our_metadata_before_the_rows_is_a_replay() {
        let at = |next: Option<i64>, metadata: &str| Committed { next: next.map(NextOffset), metadata: metadata.into() };
        let rows = Stored { rows: 10, max_offset: 99, max_epoch: 2 };
        for (committed, stored, expected) in [
            (at(None, ""), Stored::default(), Start::Continue(0)),
            (at(Some(50), "v1 epoch=2"), rows, Start::Continue(2)),
            (at(Some(50), ""), rows, Start::Replay(3)),
            (at(Some(0), "junk"), rows, Start::Replay(3)),
            (at(None, ""), rows, Start::Replay(3)),
            (at(Some(100), ""), rows, Start::Continue(2)),
        ] {
            assert_eq!(Start::decide(&committed, stored), expected, "{committed:?}");
        }
        assert_eq!(parse(&metadata(7)), Some(7));
    }
}

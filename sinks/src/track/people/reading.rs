//! How far a partition has been read, and what has to be read of it before something irreversible. Pure.

use std::time::Instant;

use aftersend_pipeline::offsets::NextOffset;

/// What has to be read of a partition.
#[derive(Clone, Copy)]
pub(super) enum Fence {
    /// What was there at this time: where that ends is not known yet.
    Since(Instant),
    /// Everything before this offset.
    Until(i64),
}

/// What was read of a partition.
#[derive(Default)]
pub(super) struct Reading {
    /// Everything there was when we began has been read.
    is_caught_up: bool,
    /// Everything before this offset has been read.
    next: i64,
    /// Where it ended according to the broker, and before that was asked.
    end: Option<(Instant, i64)>,
    /// Somebody waits to hear where it ends.
    is_asked: bool,
}

impl Reading {
    /// A record was read.
    pub(super) fn read(&mut self, offset: i64) {
        self.next = NextOffset::after(offset).0;
    }

    /// Everything there is has been read, as far as the client knows: up to `next`, if it has read anything. True for the first time.
    pub(super) fn ended(&mut self, next: Option<NextOffset>) -> bool {
        if let Some(NextOffset(next)) = next {
            self.next = next;
        }
        !std::mem::replace(&mut self.is_caught_up, true)
    }

    /// It is read from its beginning again.
    pub(super) fn begins_again(&mut self) {
        (self.is_caught_up, self.next) = (false, 0);
    }

    pub(super) fn is_caught_up(&self) -> bool {
        self.is_caught_up
    }

    /// True once everything has been read that was there when a fence was first asked about.
    pub(super) fn is_past(&mut self, fence: &mut Option<Fence>, now: Instant) -> bool {
        let fence = fence.get_or_insert(Fence::Since(now));
        if let (Fence::Since(since), Some((at, end))) = (*fence, self.end)
            && at >= since
        {
            *fence = Fence::Until(end);
        }
        self.is_asked |= matches!(fence, Fence::Since(_));
        !self.is_before(*fence)
    }

    /// True while something that a fence stands for may still have to be read.
    pub(super) fn is_before(&self, fence: Fence) -> bool {
        !matches!(fence, Fence::Until(end) if self.next >= end)
    }

    pub(super) fn wants_end(&self) -> bool {
        self.is_asked
    }

    /// Where it ended when the broker was asked, at `asked` or later.
    pub(super) fn found_end(&mut self, asked: Instant, end: i64) {
        (self.end, self.is_asked) = (Some((asked, end)), false);
    }
}

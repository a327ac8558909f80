//! How a partition begins that was just assigned.

use super::intent::{Intent, Note, Span};

/// The offsets that a partition holds: the first one kept, and the one behind the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct LogBounds {
    pub(crate) start: i64,
    pub(crate) end: i64,
}

/// What the table holds of a partition. With our text beside the offset only rows from that offset on are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Stored {
    /// The largest epoch; nothing if there are no rows.
    pub(crate) epoch: Option<u32>,
    /// The largest offset, in whatever epoch; nothing for a table whose rows do not say where in this topic they were.
    pub(crate) last: Option<i64>,
    /// The largest offset in the epoch that is committed.
    pub(crate) last_in_epoch: Option<i64>,
}

/// Everything that decides how a partition begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Standing {
    pub(crate) committed: Option<i64>,
    pub(crate) note: Note,
    pub(crate) log: LogBounds,
    pub(crate) stored: Stored,
    /// When this was looked at, Unix milliseconds.
    pub(crate) at: i64,
}

/// Why nothing more of a partition is written until somebody has looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Stop {
    /// The log ends before what is committed or stored: it is another topic of the same name.
    OtherLog,
    /// A newer release committed here.
    Newer,
    /// Rows are still missing after every attempt.
    NotFilling,
}

impl Stop {
    pub(crate) const ALL: [Self; 3] = [Self::OtherLog, Self::Newer, Self::NotFilling];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::OtherLog => "other_log",
            Self::Newer => "newer_release",
            Self::NotFilling => "not_filling",
        }
    }
}

/// What an operator should know about a beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Oddity {
    /// Offsets before the rows: a replay, in this epoch.
    Replay(u32),
    /// So many offsets were passed over without our doing.
    Skipped(i64),
    /// So many offsets expired before they were read.
    Expired(i64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    Stop(Stop),
    /// Go on behind what is committed.
    Continue(Intent),
    /// Finish what was announced.
    Recover(Intent, Span),
    /// Commit epoch and time first, so that whoever comes next stays in them.
    Open {
        epoch: u32,
        opened: i64,
        next: i64,
    },
}

impl Standing {
    pub(super) fn start(&self) -> Start {
        let Self { committed, note, log, stored, at } = *self;
        if note == Note::Newer {
            return Start::Stop(Stop::Newer);
        }
        if committed.is_some_and(|committed| committed > log.end) || stored.last.is_some_and(|last| last >= log.end) {
            return Start::Stop(Stop::OtherLog);
        }
        if let Some(intent) = self.live_intent() {
            return match intent.batch {
                Some(batch) => Start::Recover(intent, batch),
                None => Start::Continue(intent),
            };
        }
        let next = self.position();
        let newest = stored.epoch.max(self.noted_epoch());
        let epoch = match (newest, stored.last) {
            (None, _) => 0,
            // Behind all rows: nothing was rewound.
            (Some(epoch), Some(last)) if next > last => epoch,
            (Some(epoch), _) => epoch + 1,
        };
        Start::Open { epoch, opened: at, next }
    }

    /// Our own intent, if the rows do not show that the offset was put back together with it.
    fn live_intent(&self) -> Option<Intent> {
        let (Note::Ours(intent), Some(committed)) = (self.note, self.committed) else { return None };
        let reached = intent.batch.map_or(committed, |batch| batch.next());
        let overtaken = self.stored.epoch.is_some_and(|epoch| epoch > intent.epoch);
        (!overtaken && self.stored.last_in_epoch.is_none_or(|last| last < reached)).then_some(intent)
    }

    fn noted_epoch(&self) -> Option<u32> {
        match self.note {
            Note::Ours(intent) => Some(intent.epoch),
            _ => None,
        }
    }

    /// Where reading begins.
    pub(crate) fn position(&self) -> i64 {
        self.committed.unwrap_or(self.log.start).max(self.log.start)
    }

    pub(crate) fn oddities(&self) -> Vec<Oddity> {
        let mut oddities = Vec::new();
        let start = self.start();
        if matches!(start, Start::Stop(_)) {
            return oddities;
        }
        if let Some(expired) = self.committed.map(|committed| self.log.start - committed).filter(|expired| *expired > 0) {
            oddities.push(Oddity::Expired(expired));
        }
        if let Start::Open { epoch, next, .. } = start {
            let newest = self.stored.epoch.max(self.noted_epoch());
            match (newest, self.stored.last, self.committed) {
                (Some(newest), _, _) if newest < epoch => oddities.push(Oddity::Replay(epoch)),
                (Some(_), Some(last), Some(committed)) if committed > last + 1 => {
                    oddities.push(Oddity::Skipped(next.min(committed) - last - 1))
                }
                (None, _, Some(committed)) if committed > self.log.start => oddities.push(Oddity::Skipped(committed - self.log.start)),
                _ => {}
            }
        }
        oddities
    }
}

//! What is committed beside an offset: the epoch, and the batch that is about to be sent.

use std::fmt;

/// Kafka keeps 4,096 bytes; ours are about 80, so whatever is longer is not ours.
const LONGEST: usize = 200;
const VERSION: u32 = 3;
/// Knows no time of opening, and is still what is written where there is none.
const WITHOUT_OPENING: u32 = 2;

/// The records of one batch by their real bounds. Markers of transactions and compaction leave gaps, so their number is counted, never derived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Span {
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) records: u32,
}

impl Span {
    /// Where to read on behind it.
    pub(crate) fn next(&self) -> i64 {
        self.last + 1
    }

    fn is_possible(&self) -> bool {
        let room = self.last.checked_sub(self.first).and_then(|room| room.checked_add(1));
        self.first >= 0 && self.records > 0 && self.last < i64::MAX && room.is_some_and(|room| i64::from(self.records) <= room)
    }
}

/// What stands beside a committed offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Intent {
    pub(crate) epoch: u32,
    /// When this run of offsets was opened, Unix milliseconds: part of every token, since an epoch may come again once its rows are deleted, and ClickHouse
    /// remembers the tokens of deleted rows. Nothing if an older release opened it.
    pub(crate) opened: Option<i64>,
    /// The batch that may be sent from now on.
    pub(crate) batch: Option<Span>,
    /// Up to this offset rows may be there under the token of a larger batch: what begins before is never sent whole.
    pub(crate) suspect: Option<i64>,
}

impl fmt::Display for Intent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = if self.opened.is_some() { VERSION } else { WITHOUT_OPENING };
        write!(f, "v{version} epoch={}", self.epoch)?;
        if let Some(opened) = self.opened {
            write!(f, " opened={opened}")?;
        }
        if let Some(span) = self.batch {
            write!(f, " first={} last={} n={}", span.first, span.last, span.records)?;
        }
        if let Some(suspect) = self.suspect {
            write!(f, " suspect={suspect}")?;
        }
        Ok(())
    }
}

/// Whose text stands beside a committed offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Note {
    Ours(Intent),
    /// A newer release's, which alone knows what it promised.
    Newer,
    /// Nothing, or nothing that we wrote for this offset: reset tools drop the text, or keep it beside another offset.
    Foreign,
}

impl Note {
    pub(crate) fn read(text: &str, committed: i64) -> Self {
        if text.len() > LONGEST {
            return Self::Foreign;
        }
        let mut words = text.split(' ');
        match words.next().and_then(|version| version.strip_prefix('v')).and_then(|version| version.parse::<u32>().ok()) {
            // Version 1 named the epoch only.
            Some(1) => match (value(words.next(), "epoch="), words.next()) {
                (Some(epoch), None) => Self::Ours(Intent { epoch, opened: None, batch: None, suspect: None }),
                _ => Self::Foreign,
            },
            Some(version @ (WITHOUT_OPENING | VERSION)) => match intent(words, version) {
                Some(intent) if intent.batch.is_none_or(|batch| batch.first == committed) => Self::Ours(intent),
                _ => Self::Foreign,
            },
            Some(newer) if newer > VERSION && words.any(|word| word.starts_with("epoch=")) => Self::Newer,
            _ => Self::Foreign,
        }
    }
}

fn value<T: std::str::FromStr>(word: Option<&str>, name: &str) -> Option<T> {
    word?.strip_prefix(name)?.parse().ok()
}

fn intent<'t>(words: impl Iterator<Item = &'t str>, version: u32) -> Option<Intent> {
    let mut words = words.peekable();
    let epoch = value(words.next(), "epoch=")?;
    let opened = if version == WITHOUT_OPENING { None } else { Some(value(words.next(), "opened=")?) };
    let batch = match words.next_if(|word| word.starts_with("first=")) {
        None => None,
        first => Some(Span { first: value(first, "first=")?, last: value(words.next(), "last=")?, records: value(words.next(), "n=")? }),
    };
    let suspect = match words.next() {
        None => None,
        word => Some(value(word, "suspect=")?),
    };
    (words.next().is_none() && batch.is_none_or(|span| span.is_possible())).then_some(Intent { epoch, opened, batch, suspect })
}

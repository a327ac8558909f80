use std::collections::BTreeMap;
use std::sync::Arc;

use aftersend_schemas::DecodeError;
use aftersend_schemas::address::ProviderId;
use aftersend_schemas::versioned::Format;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::sample::Sample;

const FORMAT: Format = Format::new("provider window", 1);
/// Seconds of a window; rules look at two in a row.
pub const BUCKET: u32 = 300;
/// Words of a text that tell it from others; what follows are addresses, links and ids.
const WORDS: usize = 10;

/// What a mail says about the provider it went to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mailed {
    /// Whose mailbox.
    pub provider: ProviderId,
    /// Unix seconds of the event, or of its arrival if that was before.
    pub at: u32,
    /// Hash of the message.
    pub message: u32,
    /// The hash of its text, where it bounced hard.
    pub hard: Option<u32>,
}

/// Whose window, and when it began; in order of time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowKey {
    /// Unix seconds, a multiple of [`BUCKET`].
    pub start: u32,
    /// Workspaces never mix.
    pub workspace: Arc<str>,
    /// Whose mailboxes.
    pub provider: ProviderId,
}

impl WindowKey {
    /// The window of a moment.
    pub fn of(workspace: &Arc<str>, mailed: &Mailed) -> Self {
        Self { start: mailed.at - mailed.at % BUCKET, workspace: workspace.clone(), provider: mailed.provider }
    }

    /// The key of the record: `workspace:provider:start`. The partition says whose contribution it is.
    pub fn encode(&self) -> Vec<u8> {
        key(&self.workspace, self.provider, "", self.start)
    }

    /// Reads a key.
    pub fn decode(key: &[u8]) -> Option<Self> {
        let (workspace, provider, start) = read_key(key, "")?;
        Some(Self { start, workspace, provider })
    }
}

/// `workspace:provider:start`, the last part behind a mark that says what begins there.
pub(super) fn key(workspace: &str, provider: ProviderId, mark: &str, start: u32) -> Vec<u8> {
    format!("{workspace}:{:08x}:{mark}{start}", provider.0).into_bytes()
}

/// Reads a key with this mark, and no other.
pub(super) fn read_key(key: &[u8], mark: &str) -> Option<(Arc<str>, ProviderId, u32)> {
    let (rest, start) = std::str::from_utf8(key).ok()?.rsplit_once(':')?;
    let (workspace, provider) = rest.rsplit_once(':')?;
    let provider = ProviderId(u32::from_str_radix(provider, 16).ok()?);
    Some((workspace.into(), provider, start.strip_prefix(mark)?.parse().ok()?))
}

/// What one partition, or all together, saw in one window.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Window {
    /// Messages that arrived or bounced hard.
    mailed: Sample<64>,
    /// Messages that bounced hard, each with its text.
    hard: Sample<64, u32>,
}

impl Window {
    /// Joins a mail. True if that changed anything.
    pub fn observe(&mut self, mailed: &Mailed) -> bool {
        let arrived = self.mailed.insert(mailed.message, ());
        arrived | mailed.hard.is_some_and(|text| self.hard.insert(mailed.message, text))
    }

    /// Joins another window of the same key. True if that changed anything.
    pub fn merge(&mut self, other: &Self) -> bool {
        self.mailed.merge(&other.mailed) | self.hard.merge(&other.hard)
    }

    /// Distinct messages.
    pub fn mailed(&self) -> f64 {
        self.mailed.count()
    }

    /// Of these, those that bounced hard.
    pub fn hard(&self) -> f64 {
        self.hard.count()
    }

    /// Share of the hard bounces that the most common text has.
    pub fn common(&self) -> f64 {
        let mut texts: BTreeMap<u32, usize> = BTreeMap::new();
        let mut all = 0;
        for text in self.hard.values() {
            *texts.entry(text).or_default() += 1;
            all += 1;
        }
        texts.values().max().map_or(0.0, |most| *most as f64 / f64::from(all))
    }

    /// True if anything bounced.
    pub fn has_bounces(&self) -> bool {
        !self.hard.is_empty()
    }

    /// The record's value.
    pub fn encode(&self) -> Vec<u8> {
        FORMAT.encode(self)
    }

    /// Reads a value written by this or an earlier release.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let fields = FORMAT.open(bytes)?;
        match fields.version {
            1 => fields.read(),
            _ => Err(fields.malformed()),
        }
    }
}

/// A failure text without what differs from one mail to the next: its first words, those with digits, signs and addresses left out.
pub fn text_of(text: &str) -> u32 {
    let is_word = |word: &&str| word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_alphabetic() || !byte.is_ascii());
    let trimmed = text.split_ascii_whitespace().map(|word| word.trim_matches(|c: char| c.is_ascii_punctuation()));
    let words: Vec<String> = trimmed.filter(is_word).take(WORDS).map(str::to_lowercase).collect();
    (xxh3_64(words.join(" ").as_bytes()) >> 32) as u32
}

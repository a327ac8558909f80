//! One text against one table: find the phrases and codes, take the first rule that holds.

use std::borrow::Cow;
use std::ops::Range;

use schemars::JsonSchema;
use serde::Serialize;

use crate::address::unescaped;
use crate::link;

use super::class::BounceClass;
use super::codes::{self, Codes};
use super::compile::{MAX_RULES, Rule};
use super::fold::{MARGIN, fold};
use super::plain::{one_spelling, without_repeated_codes};
use super::table::Table;

/// How much of a text is read. Real failure texts are far shorter; longer ones quote the same words hop after hop.
pub const HEAD_BYTES: usize = 8 * 1024;

/// Texts up to this length are folded in a small buffer.
const SHORT_BYTES: usize = 512;

/// The most confidence, in percent, a hard verdict gets on a text longer than [`HEAD_BYTES`], since what was not read might hold a throttle or block
/// phrase, and on a mail to several recipients. Below 80, so such a verdict never leads to an irreversible call by itself.
pub const IN_DOUBT: u8 = 75;

/// The rule named by verdicts on texts that no rule decides.
pub const UNMATCHED: &str = "unmatched";

/// What a text was taken to mean, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict<'t> {
    /// The class.
    pub class: BounceClass,
    /// The id of the rule that decided, or [`UNMATCHED`].
    pub rule: &'t str,
    /// Percent, 0 to 100; 0 for [`UNMATCHED`].
    pub confidence: u8,
    /// Of the table that was asked; see [`Table::generation`].
    pub generation: u32,
}

impl Verdict<'_> {
    /// The verdict with no more confidence than [`IN_DOUBT`].
    pub(crate) fn in_doubt(self) -> Self {
        Self { confidence: self.confidence.min(IN_DOUBT), ..self }
    }
}

/// A verdict as a line of JSON, which `aftersend classify --json` prints for each text.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct VerdictLine<'t> {
    /// The class.
    pub class: BounceClass,
    /// The rule that decided, or `unmatched`.
    pub rule: &'t str,
    /// From 0 to 1; 0 for `unmatched`.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub confidence: f64,
}

impl<'t> From<Verdict<'t>> for VerdictLine<'t> {
    fn from(verdict: Verdict<'t>) -> Self {
        Self { class: verdict.class, rule: verdict.rule, confidence: f64::from(verdict.confidence) / 100.0 }
    }
}

/// Two bits for each rule: its `phrases` are satisfied, its `also` are satisfied.
#[derive(Clone, Debug)]
pub(super) struct Hits {
    phrases: [u64; MAX_RULES / 64],
    also: [u64; MAX_RULES / 64],
}

impl Default for Hits {
    fn default() -> Self {
        Self { phrases: [0; MAX_RULES / 64], also: [0; MAX_RULES / 64] }
    }
}

impl Hits {
    pub(super) fn set(&mut self, rule: u16, also: bool) {
        let bits = if also { &mut self.also } else { &mut self.phrases };
        bits[usize::from(rule) / 64] |= 1 << (rule % 64);
    }
}

/// Asks the rules of `channels`, and where none decides, those of `otherwise`.
pub(super) fn decide<'t>(table: &'t Table, channels: u8, otherwise: u8, text: &str) -> Verdict<'t> {
    let head = head(text);
    let verdict = judge(table, channels, otherwise, head);
    let said = without_asides(head);
    let verdict = match &said {
        None => verdict,
        Some(said) => {
            let read = judge(table, channels, otherwise, said);
            // What stands aside makes nobody dead, and keeps nobody alive of whom plain words say it.
            if verdict.class.is_hard() || is_certain(read) { read } else { verdict }
        }
    };
    if !verdict.class.is_hard() {
        return verdict;
    }
    // No text is hard that says something else to whoever reads its escapes.
    let unescaped = unescaped(said.as_deref().unwrap_or(head));
    let verdict = unescaped.map(|text| judge(table, channels, otherwise, &text)).filter(|read| !read.class.is_hard()).unwrap_or(verdict);
    if verdict.class.is_hard() && head.len() < text.len() {
        return verdict.in_doubt();
    }
    verdict
}

fn judge<'t>(table: &'t Table, channels: u8, otherwise: u8, head: &str) -> Verdict<'t> {
    let codes = codes::scan(head.as_bytes());
    let mut hits = table.free.clone();
    find(table, head, &mut hits);
    // What words mean does not depend on how they are spelt or where a line ends.
    let plain = one_spelling(head);
    if let Cow::Owned(plain) = &plain {
        find(table, plain, &mut hits);
    }
    if let Some(joined) = without_repeated_codes(&plain) {
        find(table, &joined, &mut hits);
    }
    first(table, &hits, &codes, channels).or_else(|| first(table, &hits, &codes, otherwise & !channels)).unwrap_or(Verdict {
        class: BounceClass::Undetermined,
        rule: UNMATCHED,
        confidence: 0,
        generation: table.generation(),
    })
}

/// Adds the phrases of a text.
fn find(table: &Table, text: &str, hits: &mut Hits) {
    let mut add = |folded: &[u8]| {
        table.words.find(folded, |phrase| {
            for used in &table.uses[phrase] {
                hits.set(used.rule, used.also);
            }
        });
    };
    // Clearing eight kilobytes costs more than classifying a usual text: take them only when needed. A spelling may be longer than its text.
    if text.len() <= SHORT_BYTES {
        add(fold(text.as_bytes(), &mut [0; SHORT_BYTES + MARGIN]));
    } else if text.len() <= HEAD_BYTES {
        add(fold(text.as_bytes(), &mut [0; HEAD_BYTES + MARGIN]));
    } else {
        add(fold(text.as_bytes(), &mut vec![0; text.len() + MARGIN]));
    }
}

/// Hard, by more than a code.
const fn is_certain(verdict: Verdict<'_>) -> bool {
    verdict.class.is_hard() && verdict.confidence > IN_DOUBT
}

/// A text without what it does not say itself: pages that explain it, and the name that a client gave in its greeting, as Postfix notes it. Nothing if it
/// holds neither.
fn without_asides(text: &str) -> Option<String> {
    let linkless = without(text, next_link);
    without(linkless.as_deref().unwrap_or(text), next_greeting).or(linkless)
}

fn without(text: &str, next: impl Fn(&str) -> Option<Range<usize>>) -> Option<String> {
    let mut left = String::new();
    let mut rest = text;
    while let Some(aside) = next(rest) {
        left.push_str(&rest[..aside.start]);
        rest = &rest[aside.end..];
    }
    (rest.len() < text.len()).then(|| left + rest)
}

/// The first link of a text.
fn next_link(text: &str) -> Option<Range<usize>> {
    let at = link::scheme_end(text)?;
    let start = text[..at].rfind(|letter: char| !letter.is_ascii_alphabetic()).map_or(0, |before| before + 1);
    let start = text.ceil_char_boundary(start);
    let len = text[start..].find(|letter: char| letter.is_whitespace() || matches!(letter, '<' | '>' | '"' | ')'));
    Some(start..len.map_or(text.len(), |len| start + len))
}

/// The first `helo=<...>` of a text.
fn next_greeting(text: &str) -> Option<Range<usize>> {
    const NAME: &[u8] = b"helo";
    let is_named = |at: &usize| text.as_bytes()[..*at].last_chunk().is_some_and(|name: &[u8; NAME.len()]| name.eq_ignore_ascii_case(NAME));
    let at = memchr::memchr_iter(b'=', text.as_bytes()).filter(|at| text[*at..].starts_with("=<")).find(is_named)?;
    let end = at + text[at..].find(|letter: char| letter == '>' || letter.is_whitespace())?;
    text[end..].starts_with('>').then_some(at - NAME.len()..end + 1)
}

/// At most [`HEAD_BYTES`], cut between characters.
fn head(text: &str) -> &str {
    &text[..text.floor_char_boundary(HEAD_BYTES)]
}

fn first<'t>(table: &'t Table, hits: &Hits, codes: &Codes, channels: u8) -> Option<Verdict<'t>> {
    let blocks = table.rules.chunks(64).zip(hits.phrases.iter().zip(&hits.also));
    for (rules, (phrases, also)) in blocks {
        let mut candidates = phrases & also;
        while candidates != 0 {
            let rule = &rules[candidates.trailing_zeros() as usize];
            if holds(rule, codes, channels) {
                return Some(Verdict { class: rule.class, rule: &rule.id, confidence: rule.confidence, generation: table.generation() });
            }
            candidates &= candidates - 1;
        }
    }
    None
}

/// The conditions other than words.
fn holds(rule: &Rule, codes: &Codes, channels: u8) -> bool {
    let enhanced = || codes.enhanced.is_some_and(|code| rule.codes.iter().any(|pattern| pattern.matches(code)));
    let basic = || codes.basic.is_some_and(|code| rule.basic.iter().any(|pattern| pattern.matches(code)));
    rule.channels & channels != 0 && (rule.codes.is_empty() || enhanced()) && (rule.basic.is_empty() || basic())
}

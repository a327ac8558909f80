//! The rule table: built once, shared by all threads, asked for every text.

use std::sync::{Arc, LazyLock};

use super::classify::{self, Verdict};
use super::compile::{ANY_CHANNEL, Compiled, EMAIL, NO_CHANNEL, Rule, channel_bit, compile};
use super::error::TableError;
use super::spec::{RuleFile, RuleSpec};
use super::words::Words;

/// Changes whenever the same rules would decide differently: part of every generation.
const ENGINE: u32 = 4;

#[expect(clippy::expect_used, reason = "the rules are part of the binary and a test builds them")]
static BUILTIN: LazyLock<Arc<Table>> = LazyLock::new(|| Arc::new(Table::with_overrides(Vec::new()).expect("the built-in rules build")));

/// A compiled rule table.
#[derive(Clone, Debug)]
pub struct Table {
    pub(super) rules: Vec<Rule>,
    pub(super) words: Words,
    /// For each phrase, the rules whose `phrases` or `also` it satisfies.
    pub(super) uses: Vec<Vec<Use>>,
    /// Rules that ask for no phrase, as bits.
    pub(super) free: classify::Hits,
    generation: u32,
}

/// One mention of a phrase in a rule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Use {
    pub rule: u16,
    pub also: bool,
}

impl Table {
    /// The table that ships with this version. Built on first use (a few milliseconds), then shared.
    #[must_use]
    pub fn builtin() -> &'static Arc<Self> {
        &BUILTIN
    }

    /// The built-in rules with changes from configuration: an override with the id of a built-in rule replaces it whole and keeps
    /// its place, `disabled = true` removes it, a new id is added and asked before the built-in rules of its stage.
    ///
    /// # Errors
    /// [`TableError`] naming the rule, the field and the fix; also when an override does not decide its own test lines.
    pub fn with_overrides(overrides: Vec<RuleSpec>) -> Result<Self, TableError> {
        let own_lines: Vec<(String, Vec<String>)> =
            overrides.iter().filter(|spec| !spec.disabled).map(|spec| (spec.id.clone(), spec.tests.clone())).collect();
        let mut file = RuleFile::builtin()?;
        file.apply(overrides)?;
        let table = Self::from_compiled(compile(&file)?);
        for (rule, texts) in own_lines {
            for text in texts {
                table.check_line(&rule, text)?;
            }
        }
        Ok(table)
    }

    /// A number for the rules' content: the same for the same rules on every machine and in every run, another one when any rule,
    /// phrase, order or confidence changes. Test lines and sources do not count. Stored with verdicts.
    #[must_use]
    pub const fn generation(&self) -> u32 {
        self.generation
    }

    /// Decides a text whose channel is not known: it is read as mail, and where no rule for mail decides, the rules of all other
    /// channels are asked.
    ///
    /// Reads at most [`super::HEAD_BYTES`], allocates nothing, never panics.
    #[must_use]
    pub fn classify(&self, text: &str) -> Verdict<'_> {
        classify::decide(self, EMAIL, ANY_CHANNEL, text)
    }

    /// Decides a text from a message on `channel` (`email`, `push`, `sms`, ...; ASCII case ignored). Rules written for other
    /// channels are not asked; a channel without a name here gets only the rules for all channels.
    #[must_use]
    pub fn classify_for(&self, channel: &str, text: &str) -> Verdict<'_> {
        classify::decide(self, channel_bit(channel), NO_CHANNEL, text)
    }

    /// How many rules the table holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// True when every rule was disabled: each text is then undetermined.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    fn check_line(&self, rule: &str, text: String) -> Result<(), TableError> {
        let channel = self.rules.iter().find(|known| known.id == rule).map_or(EMAIL, Rule::test_channel);
        let decided_by = classify::decide(self, channel, NO_CHANNEL, &text).rule;
        if decided_by == rule {
            return Ok(());
        }
        Err(TableError::TestLine { rule: rule.to_owned(), text, decided_by: decided_by.to_owned() })
    }

    fn from_compiled(compiled: Compiled) -> Self {
        let generation = generation(&compiled);
        let Compiled { rules, phrases } = compiled;
        let words = Words::new(&phrases);
        let mut uses = vec![Vec::new(); phrases.len()];
        let mut free = classify::Hits::default();
        for (number, rule) in (0_u16..).zip(&rules) {
            for &phrase in &rule.phrases {
                uses[phrase].push(Use { rule: number, also: false });
            }
            for &phrase in &rule.also {
                uses[phrase].push(Use { rule: number, also: true });
            }
            if rule.phrases.is_empty() {
                free.set(number, false);
            }
            if rule.also.is_empty() {
                free.set(number, true);
            }
        }
        Self { rules, words, uses, free, generation }
    }
}

/// FNV-1a over everything that decides, folded to 32 bits.
fn generation(compiled: &Compiled) -> u32 {
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
    hash.part(&ENGINE.to_be_bytes());
    for rule in &compiled.rules {
        hash.part(rule.id.as_bytes());
        hash.part(&[rule.stage as u8, rule.confidence, rule.channels]);
        hash.part(rule.class.as_str().as_bytes());
        hash.part(format!("{:?}{:?}", rule.codes, rule.basic).as_bytes());
        for list in [&rule.phrases, &rule.also] {
            // Sorted by content: numbers depend on the order in which phrases were first met.
            let mut folded: Vec<&[u8]> = list.iter().map(|&number| compiled.phrases[number].as_slice()).collect();
            folded.sort_unstable();
            for phrase in folded {
                hash.part(phrase);
            }
            hash.part(b"");
        }
    }
    (hash.0 >> 32) as u32 ^ hash.0 as u32
}

struct Fnv(u64);

impl Fnv {
    /// Adds one part and its length, so that parts cannot run together.
    fn part(&mut self, bytes: &[u8]) {
        for byte in (bytes.len() as u64).to_be_bytes().iter().chain(bytes) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

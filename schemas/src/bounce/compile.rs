//! From rules as written to rules as asked: every field checked, groups resolved, phrases numbered once.

use std::collections::{BTreeMap, HashMap};

use super::class::BounceClass;
use super::codes::{BasicPattern, EnhancedPattern};
use super::error::TableError;
use super::fold::fold_phrase;
use super::spec::{RuleFile, RuleSpec, Stage};

/// Match state is a fixed array of bits, so that classifying allocates nothing.
pub(super) const MAX_RULES: usize = 1024;

/// Channels that rules can name, by bit; a name not listed has the last bit.
pub const CHANNELS: [&str; 7] = ["email", "push", "sms", "whatsapp", "in_app", "slack", "webhook"];
const OTHER_CHANNEL: u8 = 1 << 7;

/// Mail: what a text of unknown channel is read as first.
pub(super) const EMAIL: u8 = 1;

/// No channel: nothing more to try.
pub(super) const NO_CHANNEL: u8 = 0;

/// Every channel: what a rule without `channels` asks for.
pub(super) const ANY_CHANNEL: u8 = u8::MAX;

/// The bit of a channel name, ASCII case ignored.
pub(super) fn channel_bit(name: &str) -> u8 {
    CHANNELS.iter().position(|known| known.eq_ignore_ascii_case(name)).map_or(OTHER_CHANNEL, |bit| 1 << bit)
}

/// A rule ready to be asked.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub id: String,
    pub stage: Stage,
    pub class: BounceClass,
    pub confidence: u8,
    pub codes: Vec<EnhancedPattern>,
    pub basic: Vec<BasicPattern>,
    pub channels: u8,
    /// Numbers into [`Compiled::phrases`].
    pub phrases: Vec<usize>,
    pub also: Vec<usize>,
}

impl Rule {
    /// The channel its test lines are tried on: mail when the rule is asked for mail, else the first of its own.
    pub(super) const fn test_channel(&self) -> u8 {
        self.channels & self.channels.wrapping_neg()
    }
}

/// All rules in the order they are asked, and all phrases they mention.
#[derive(Debug, Default)]
pub(super) struct Compiled {
    pub rules: Vec<Rule>,
    /// Folded, each once.
    pub phrases: Vec<Vec<u8>>,
}

pub(super) fn compile(file: &RuleFile) -> Result<Compiled, TableError> {
    if file.rules.len() > MAX_RULES {
        return Err(TableError::TooMany { count: file.rules.len(), limit: MAX_RULES });
    }
    let mut numbers = Numbers { groups: &file.groups, known: HashMap::new(), phrases: Vec::new() };
    let mut rules = Vec::with_capacity(file.rules.len());
    for spec in &file.rules {
        if rules.iter().any(|rule: &Rule| rule.id == spec.id) {
            return Err(TableError::Duplicate { rule: spec.id.clone() });
        }
        rules.push(rule(spec, &mut numbers)?);
    }
    // Stable: within a stage the written order stays.
    rules.sort_by_key(|rule| rule.stage);
    Ok(Compiled { rules, phrases: numbers.phrases })
}

fn rule(spec: &RuleSpec, numbers: &mut Numbers<'_>) -> Result<Rule, TableError> {
    check_id(spec)?;
    let stage = required(spec, "stage", spec.stage, "write guard, code, phrase or basic")?;
    let class = required(spec, "class", spec.class, "write one of the twelve classes, such as transient")?;
    let confidence = required(spec, "confidence", spec.confidence, "write a percentage, such as 80")?;
    let percent = u8::try_from(confidence).ok().filter(|percent| *percent <= 100);
    let percent =
        percent.ok_or_else(|| field(spec, "confidence", format!("{confidence} is no percentage"), "write a percentage from 0 to 100"))?;
    if stage == Stage::Guard && class.is_hard() {
        return Err(field(spec, "stage", format!("a guard rule cannot be {class}"), "use the code, phrase or basic stage"));
    }
    if [&spec.phrases, &spec.codes, &spec.basic].into_iter().all(Vec::is_empty) {
        let problem = "no phrases, codes or basic: the rule would decide every text".to_owned();
        return Err(field(spec, "phrases", problem, "give at least one condition"));
    }
    Ok(Rule {
        id: spec.id.clone(),
        stage,
        class,
        confidence: percent,
        codes: each(spec, "codes", &spec.codes, EnhancedPattern::parse, "write codes such as 5.1.1, 5.7.* or 4.*.*")?,
        basic: each(spec, "basic", &spec.basic, BasicPattern::parse, "write codes such as 550, 55* or 4**")?,
        channels: channels(spec)?,
        phrases: numbers.of(spec, "phrases", &spec.phrases)?,
        also: numbers.of(spec, "also", &spec.also)?,
    })
}

fn check_id(spec: &RuleSpec) -> Result<(), TableError> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if spec.id.is_empty() || spec.id.len() > 64 || !spec.id.bytes().all(plain) {
        let fix = "use 1 to 64 lower case letters, digits and hyphens";
        return Err(field(spec, "id", "not a plain name".to_owned(), fix));
    }
    if spec.id == super::UNMATCHED {
        return Err(field(spec, "id", "reserved for texts that no rule decides".to_owned(), "choose another name"));
    }
    Ok(())
}

fn channels(spec: &RuleSpec) -> Result<u8, TableError> {
    if spec.channels.is_empty() {
        return Ok(ANY_CHANNEL);
    }
    let known = "name email, push, sms, whatsapp, in_app, slack or webhook, or leave it out for all";
    let bit = |name: &str| Some(channel_bit(name)).filter(|bit| *bit != OTHER_CHANNEL);
    Ok(each(spec, "channels", &spec.channels, bit, known)?.into_iter().fold(0, |all, bit| all | bit))
}

fn each<T>(
    spec: &RuleSpec,
    name: &'static str,
    values: &[String],
    parse: impl Fn(&str) -> Option<T>,
    fix: &'static str,
) -> Result<Vec<T>, TableError> {
    values.iter().map(|value| parse(value).ok_or_else(|| field(spec, name, format!("{value:?} is not valid"), fix))).collect()
}

fn required<T>(spec: &RuleSpec, name: &'static str, value: Option<T>, fix: &'static str) -> Result<T, TableError> {
    value.ok_or_else(|| field(spec, name, "not given".to_owned(), fix))
}

fn field(spec: &RuleSpec, field: &'static str, problem: String, fix: &'static str) -> TableError {
    TableError::Field { rule: spec.id.clone(), field, problem, fix }
}

/// Gives every distinct folded phrase one number.
struct Numbers<'a> {
    groups: &'a BTreeMap<String, Vec<String>>,
    known: HashMap<Vec<u8>, usize>,
    phrases: Vec<Vec<u8>>,
}

impl Numbers<'_> {
    fn of(&mut self, spec: &RuleSpec, name: &'static str, written: &[String]) -> Result<Vec<usize>, TableError> {
        let mut numbers = Vec::with_capacity(written.len());
        for entry in written {
            match entry.strip_prefix('@') {
                None => numbers.push(self.number(spec, name, entry)?),
                Some(group) => {
                    let members = self.groups.get(group).ok_or_else(|| {
                        let fix = "name a group of the built-in rules file, or write the phrases out";
                        field(spec, name, format!("there is no group {entry:?}"), fix)
                    })?;
                    for member in members {
                        numbers.push(self.number(spec, name, member)?);
                    }
                }
            }
        }
        numbers.sort_unstable();
        numbers.dedup();
        Ok(numbers)
    }

    fn number(&mut self, spec: &RuleSpec, name: &'static str, phrase: &str) -> Result<usize, TableError> {
        let folded = fold_phrase(phrase).ok_or_else(|| {
            let fix = "write words of letters and digits, with * only at the end and without @";
            field(spec, name, format!("{phrase:?} can never match"), fix)
        })?;
        let next = self.phrases.len();
        let number = *self.known.entry(folded.clone()).or_insert(next);
        if number == next {
            self.phrases.push(folded);
        }
        Ok(number)
    }
}

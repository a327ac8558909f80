//! Any text as a failure text.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use aftersend_schemas::bounce::{BounceClass, HEAD_BYTES, IN_DOUBT, RuleSpec, Stage, Table, UNMATCHED, Verdict};
use serde::Deserialize;

/// Every channel that has rules, and one that has none.
const CHANNELS: [&str; 8] = ["email", "push", "sms", "whatsapp", "in_app", "slack", "webhook", "fax"];

#[derive(Deserialize)]
struct RuleFile {
    groups: BTreeMap<String, Vec<String>>,
    rule: Vec<RuleSpec>,
}

struct Rules {
    by_id: HashMap<String, RuleSpec>,
    /// Make a text a guard text by themselves, on every channel.
    guard_phrases: Vec<String>,
    /// Those in ASCII, as [`words`].
    guard_words: Vec<String>,
}

/// The rules as they are written.
static RULES: LazyLock<Rules> = LazyLock::new(|| {
    let file: RuleFile = toml::from_str(include_str!("../../schemas/bounce/rules.toml")).expect("the rules are TOML");
    let alone = file.rule.iter().filter(|rule| {
        let has_no_more = [&rule.also, &rule.codes, &rule.basic, &rule.channels].into_iter().all(Vec::is_empty);
        rule.stage == Some(Stage::Guard) && has_no_more
    });
    let written = alone.flat_map(|rule| &rule.phrases);
    let guard_phrases = written.flat_map(|phrase| match phrase.strip_prefix('@') {
        Some(group) => file.groups[group].clone(),
        None => vec![phrase.clone()],
    });
    let guard_phrases: Vec<_> = guard_phrases.collect();
    let guard_words = guard_phrases.iter().filter(|phrase| phrase.is_ascii()).map(|phrase| match phrase.strip_suffix('*') {
        Some(open) => words(open).trim_end().to_owned(),
        None => words(phrase),
    });
    Rules { guard_words: guard_words.collect(), guard_phrases, by_id: file.rule.into_iter().map(|rule| (rule.id.clone(), rule)).collect() }
});

/// Any bytes as a failure text.
pub fn classify(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    // Another channel, phrase and place for each input: all are tried in the long run, and no run takes long.
    let number = data.iter().fold(data.len(), |sum, byte| (sum * 31 + usize::from(*byte)) % 1_000_003);
    let channels = [None, Some(CHANNELS[number % CHANNELS.len()])];
    for channel in channels {
        let verdict = ask(channel, &text);
        assert_eq!(verdict, ask(channel, &text), "the same text gets another verdict");
        assert_eq!(verdict, ask(channel, &text.to_ascii_uppercase()), "letter case decides");
        check_rule(channel, &text, verdict);
        assert!(!verdict.class.is_hard() || !has_guard_phrase(&text), "{verdict:?} for {text:?}");
    }
    let phrase = RULES.guard_phrases[number % RULES.guard_phrases.len()].trim_end_matches('*');
    let place = number % (text.len() + 1);
    let (before, after) = text.split_at((0..=place).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default());
    let guarded = format!("{before} {phrase} {after}");
    for channel in channels {
        let verdict = ask(channel, &guarded);
        assert!(guarded.len() > HEAD_BYTES || !verdict.class.is_hard(), "{verdict:?} for {guarded:?}");
    }
}

fn ask(channel: Option<&str>, text: &str) -> Verdict<'static> {
    channel.map_or_else(|| Table::builtin().classify(text), |channel| Table::builtin().classify_for(channel, text))
}

/// The verdict is what the rule says, and the rule is one for the channel.
fn check_rule(channel: Option<&str>, text: &str, verdict: Verdict<'_>) {
    if verdict.rule == UNMATCHED {
        return assert_eq!((verdict.class, verdict.confidence), (BounceClass::Undetermined, 0));
    }
    let rule = &RULES.by_id[verdict.rule];
    assert_eq!(Some(verdict.class), rule.class);
    let stated = rule.confidence.and_then(|percent| u8::try_from(percent).ok()).unwrap_or_default();
    let is_cut = verdict.class.is_hard() && text.len() > HEAD_BYTES;
    assert_eq!(verdict.confidence, if is_cut { stated.min(IN_DOUBT) } else { stated });
    let is_for = |channel: &str| rule.channels.is_empty() || rule.channels.iter().any(|known| known == channel);
    assert!(channel.is_none_or(is_for), "{} was asked for {channel:?}", rule.id);
    assert_eq!(verdict.class.as_str().parse(), Ok(verdict.class));
}

/// True if a text holds a guard phrase, by the plainest reading there is. False for texts that the classifier may read otherwise: cut, with addresses,
/// links or greetings, or beyond ASCII.
pub(crate) fn has_guard_phrase(text: &str) -> bool {
    if !text.is_ascii() || text.contains(['@', '=']) || text.contains("://") || text.len() > HEAD_BYTES {
        return false;
    }
    let words = words(text);
    RULES.guard_words.iter().any(|phrase| words.contains(phrase))
}

/// Letters and digits in lower case, a blank before each word and behind the last.
fn words(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(|word| format!(" {}", word.to_ascii_lowercase())).chain([" ".to_owned()]).collect()
}

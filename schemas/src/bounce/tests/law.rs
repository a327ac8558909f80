//! No throttle, block or policy text is ever called hard, and no text breaks the classifier.

use proptest::prelude::*;

use super::super::spec::{RuleFile, Stage};
use super::super::{HEAD_BYTES, Table};
use super::corpus::corpus;

/// Phrases that make a text a guard text by themselves, on every channel.
fn guard_phrases() -> Vec<String> {
    let rules = RuleFile::builtin().map(|file| file.rules).unwrap_or_default();
    let alone = rules.into_iter().filter(|rule| {
        rule.stage == Some(Stage::Guard)
            && rule.also.is_empty()
            && rule.codes.is_empty()
            && rule.basic.is_empty()
            && rule.channels.is_empty()
    });
    alone.flat_map(|rule| rule.phrases).map(|phrase| phrase.trim_matches('*').to_owned()).collect()
}

/// Text in the shape of failure texts: words, codes, addresses and noise.
fn any_text() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        any::<String>(),
        "[ -~]{0,40}",
        "[45][0-9]{2}",
        "[245]\\.[0-9]{1,2}\\.[0-9]{1,3}",
        "[a-z.]{1,8}@[a-z.]{1,8}",
        Just("user unknown".to_owned()),
        Just("mailbox full".to_owned()),
        Just("domain not found".to_owned()),
    ];
    prop::collection::vec(word, 0..8).prop_map(|words| words.join(" "))
}

#[test]
fn a_guard_phrase_added_to_any_corpus_text_never_makes_it_hard() {
    let phrases = guard_phrases();
    assert!(phrases.len() > 100);
    let mut wrong = Vec::new();
    for entry in corpus() {
        for phrase in &phrases {
            for text in [format!("{} {phrase}", entry.text), format!("{phrase} {}", entry.text)] {
                let verdict = Table::builtin().classify(&text);
                if text.len() <= HEAD_BYTES && verdict.class.is_hard() {
                    wrong.push(format!("{text:?}: {} by {}", verdict.class, verdict.rule));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} texts\n{}", wrong.len(), wrong.join("\n"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn a_guard_phrase_added_to_any_text_never_makes_it_hard(
        before in any_text(), after in any_text(), phrase in prop::sample::select(guard_phrases()),
    ) {
        let text = format!("{before} {phrase} {after}");
        for verdict in [Table::builtin().classify(&text), Table::builtin().classify_for("email", &text)] {
            prop_assert!(text.len() > HEAD_BYTES || !verdict.class.is_hard(), "{:?}", verdict);
        }
    }

    #[test]
    fn a_guard_phrase_in_escapes_never_leaves_a_text_hard(
        before in any_text(), after in any_text(), phrase in prop::sample::select(guard_phrases()), in_percent in any::<bool>(),
    ) {
        let escaped: String = if in_percent {
            phrase.bytes().map(|byte| format!("%{byte:02x}")).collect()
        } else {
            phrase.chars().map(|c| format!("&#{};", u32::from(c))).collect()
        };
        let text = format!("{before} {escaped} {after}");
        let verdict = Table::builtin().classify(&text);
        prop_assert!(text.len() > HEAD_BYTES || !verdict.class.is_hard(), "{text:?}: {:?}", verdict);
    }

    #[test]
    fn any_text_gets_a_verdict_and_the_same_one_each_time(text in any::<String>(), channel in "[a-z_]{0,9}") {
        let verdict = Table::builtin().classify_for(&channel, &text);
        prop_assert!(verdict.confidence <= 100);
        prop_assert_eq!(verdict, Table::builtin().classify_for(&channel, &text));
    }

    #[test]
    fn ascii_case_does_not_matter(text in any_text()) {
        let verdict = Table::builtin().classify(&text);
        prop_assert_eq!(verdict, Table::builtin().classify(&text.to_ascii_lowercase()));
        prop_assert_eq!(verdict, Table::builtin().classify(&text.to_ascii_uppercase()));
    }

    #[test]
    fn a_guard_phrase_before_a_long_text_is_read(text in any_text(), phrase in prop::sample::select(guard_phrases())) {
        let long = format!("{phrase} {}", format!("{text} user unknown ").repeat(HEAD_BYTES / 16));
        prop_assert!(!Table::builtin().classify(&long).class.is_hard());
    }
}

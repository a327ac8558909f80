//! Real failure texts with the label their source gives them.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::super::{BounceClass, Table, UNMATCHED};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    seen: Vec<Seen>,
}

/// Texts seen in one place.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    /// Where the texts stand.
    source: String,
    /// Who says what they mean.
    label: String,
    #[serde(default)]
    channel: Option<String>,
    texts: Vec<(BounceClass, String)>,
}

pub(super) struct Entry {
    pub expected: BounceClass,
    pub text: String,
    pub channel: Option<String>,
    pub source: String,
}

pub(super) fn corpus() -> Vec<Entry> {
    let file: Result<File, _> = toml::from_str(include_str!("../../../bounce/corpus.toml"));
    let error = file.as_ref().err().map(ToString::to_string);
    assert_eq!(error, None, "corpus.toml must parse");
    let entries = |seen: Seen| {
        assert!(!seen.source.is_empty() && !seen.label.is_empty(), "every text has a source and a labeller");
        seen.texts.into_iter().map(move |(expected, text)| Entry {
            expected,
            text,
            channel: seen.channel.clone(),
            source: seen.source.clone(),
        })
    };
    file.into_iter().flat_map(|file| file.seen).flat_map(entries).collect()
}

fn verdict(entry: &Entry) -> super::super::Verdict<'static> {
    Table::builtin().classify_for(entry.channel.as_deref().unwrap_or("email"), &entry.text)
}

#[test]
fn at_least_150_distinct_texts_of_every_class() {
    let entries = corpus();
    let texts: BTreeSet<&str> = entries.iter().map(|entry| entry.text.as_str()).collect();
    assert_eq!(texts.len(), entries.len(), "a text stands twice");
    assert!(texts.len() >= 150, "{}", texts.len());
    for class in BounceClass::ALL {
        assert!(entries.iter().any(|entry| entry.expected == class), "no text is labelled {class}");
    }
}

/// Texts on which the table stands by another class than their source, and which class. Never a hard one. A change of this list is a
/// change of behaviour: say in the commit why it grew or shrank.
const OVERRULED: &[(&str, BounceClass)] = &[
    // a block phrase is in it, and the law asks for no more
    ("smtp;550 5.2.1 This mailbox has been blocked due to inactivity", BounceClass::BlockReputation),
    ("550 5.1.1 Mail Refused - Address <x@example.com> Recipient Unknown", BounceClass::BlockReputation),
    // a security code, and nothing says whose domain is meant
    ("smtp;551 5.7.1 Domain not found (#id-5.9.2)", BounceClass::BlockReputation),
    // security codes come before words, whoever is said to be missing
    ("smtp;554 5.7.1 <x@example.com>: Recipient address rejected: Invalid-Recipient.", BounceClass::BlockReputation),
    ("smtp;550 5.7.1 No such user!", BounceClass::BlockReputation),
    ("554 5.7.1 Unknown recipient", BounceClass::BlockReputation),
    ("554 5.7.1 <x@example.ch>: Recipient address rejected: User unknown", BounceClass::BlockReputation),
    ("smtp;550 5.7.1 <x@example.com>: Recipient address rejected: User email address is marked as invalid.", BounceClass::BlockReputation),
    ("smtp;554 5.7.1 <x@example.com>: Recipient address rejected: Not in recipient list", BounceClass::BlockReputation),
    ("smtp;540 5.7.1 <x@rambler.example>: recipient address rejected: Inactive", BounceClass::BlockReputation),
    ("525 5.7.13 <x@example.net>: Recipient address rejected: User account disabled.", BounceClass::BlockReputation),
    ("SMTP; 525 5.7.13 Disabled recipient address", BounceClass::BlockReputation),
    (
        "550 5.7.1 <x@example.com>: Recipient address rejected: Inactive MailBox, not poped for more than 6 months",
        BounceClass::BlockReputation,
    ),
    // more often said of headers
    ("501 Malformed address", BounceClass::PolicySender),
    // the codes and "try again later" say more than the sources do
    ("smtp;551 5.3.0 Unknown error", BounceClass::Transient),
    ("451 qq trouble in home directory", BounceClass::Transient),
    ("550-Requested action not taken: mailbox unavailable\n550 Failure sending mail. Try again later", BounceClass::Transient),
];

fn overruled(text: &str) -> Option<BounceClass> {
    OVERRULED.iter().find(|(known, _)| *known == text).map(|(_, class)| *class)
}

#[test]
fn overruled_texts_stand_in_the_corpus_and_are_not_called_hard() {
    let texts: BTreeSet<String> = corpus().into_iter().map(|entry| entry.text).collect();
    for (text, class) in OVERRULED {
        assert!(texts.contains(*text), "{text:?}");
        assert!(!class.is_hard(), "{text:?}");
    }
}

#[test]
fn classification_agrees_with_the_corpus() {
    let wrong: Vec<String> = corpus()
        .iter()
        .map(|entry| (entry, verdict(entry)))
        .filter(|(entry, verdict)| verdict.class != overruled(&entry.text).unwrap_or(entry.expected))
        .map(|(entry, verdict)| {
            let (got, rule) = (verdict.class, verdict.rule);
            format!("expected {}, got {got} by {rule}: {:?} ({})", entry.expected, entry.text, entry.source)
        })
        .collect();
    assert!(wrong.is_empty(), "{} of the corpus disagree\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn no_throttle_block_or_policy_text_is_called_hard() {
    let wrong: Vec<String> = corpus()
        .into_iter()
        .filter(|entry| entry.expected.is_block() || matches!(entry.expected, BounceClass::Transient | BounceClass::PolicySender))
        .filter(|entry| verdict(entry).class.is_hard())
        .map(|entry| entry.text)
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_unknown_channel_reads_mail_as_mail_and_makes_nothing_hard() {
    for entry in corpus() {
        let unknown = Table::builtin().classify(&entry.text);
        assert!(!unknown.class.is_hard() || entry.expected.is_hard(), "{:?}", entry.text);
        let mail = Table::builtin().classify_for("email", &entry.text);
        assert!(unknown == mail || mail.rule == UNMATCHED, "{:?}", entry.text);
    }
}

/// What the table cannot tell. A change of this list is a change of behaviour: say in the commit why it grew or shrank.
const UNDETERMINED: &[&str] = &[
    "503 5.5.1 Bad sequence of commands.",
    "554 5.0.0 Service unavailable",
    "554 Transaction failed",
    "550 5.0.0 <x@example.com>... No permit",
    "NoDevicesSynced",
    "INVALID_ARGUMENT",
    "Twilio Error 30006: Landline or unreachable carrier",
    "Twilio Error 30008: Unknown error",
    "smtp;554 delivery error: dd Requested mail action aborted - example.yahoo.com",
    "smtp;554 Message not allowed - [299]",
    "30006 - Landline or unreachable carrier",
    "131026 Message undeliverable",
    "smtp; 504 Command parameter not implemented",
    "smtp;503 Improper sequence of commands",
    "Error: No valid recipients for this MM",
    "550 Recipient verification problem",
];

#[test]
fn these_corpus_texts_stay_undetermined() {
    let entries = corpus();
    let open: Vec<&str> =
        entries.iter().filter(|entry| verdict(entry).class == BounceClass::Undetermined).map(|entry| entry.text.as_str()).collect();
    assert_eq!(open, UNDETERMINED);
}

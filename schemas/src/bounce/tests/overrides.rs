//! What configuration can change, and how a mistake is named.

use super::super::{BounceClass, RuleSpec, Table, TableError};

/// Overrides as they stand in a configuration file.
fn specs(text: &str) -> Vec<RuleSpec> {
    #[derive(serde::Deserialize)]
    struct Config {
        rule: Vec<RuleSpec>,
    }
    toml::from_str::<Config>(text).map(|config| config.rule).unwrap_or_default()
}

fn with(text: &str) -> Result<Table, TableError> {
    let overrides = specs(text);
    assert!(!overrides.is_empty(), "the test's own TOML must parse");
    Table::with_overrides(overrides)
}

fn refusal(text: &str) -> String {
    with(text).map_or_else(|error| error.to_string(), |_| "accepted".to_owned())
}

const NEW: &str = r#"
[[rule]]
id = "house-moved"
stage = "phrase"
class = "hard_recipient"
confidence = 85
phrases = ["gone fishing forever"]
tests = ["550 5.5.0 gone fishing forever"]
source = "our own gateway"
"#;

#[test]
fn a_new_rule_decides_and_changes_the_generation() -> Result<(), TableError> {
    let table = with(NEW)?;
    let verdict = table.classify("500 gone fishing, forever!");
    assert_eq!((verdict.class, verdict.rule, verdict.confidence), (BounceClass::HardRecipient, "house-moved", 85));
    assert_eq!(table.len(), Table::builtin().len() + 1);
    assert_ne!(table.generation(), Table::builtin().generation());
    Ok(())
}

#[test]
fn a_new_rule_is_asked_before_the_built_in_ones_of_its_stage_only() -> Result<(), TableError> {
    let table = with(
        r#"
[[rule]]
id = "house-unknown"
stage = "phrase"
class = "undetermined"
confidence = 50
phrases = ["@address"]
"#,
    )?;
    assert_eq!(table.classify("550 user unknown").rule, "house-unknown");
    assert_eq!(table.classify("550 5.1.1 user unknown").rule, "code-recipient");
    Ok(())
}

#[test]
fn the_same_id_replaces_and_disabled_removes() -> Result<(), TableError> {
    let replaced = with(
        r#"
[[rule]]
id = "mailbox-unavailable"
stage = "phrase"
class = "transient"
confidence = 40
phrases = ["mailbox unavailable"]
"#,
    )?;
    assert_eq!(replaced.classify("550 5.5.0 mailbox unavailable").class, BounceClass::Transient);
    assert_eq!(replaced.len(), Table::builtin().len());
    let without = with("[[rule]]\nid = \"code-recipient-alone\"\ndisabled = true")?;
    assert_eq!(without.classify("550 5.1.1 x").class, BounceClass::Undetermined);
    assert_eq!(without.len() + 1, Table::builtin().len());
    Ok(())
}

#[test]
fn test_lines_and_sources_do_not_change_the_generation() -> Result<(), TableError> {
    let other_notes = NEW.replace("our own gateway", "elsewhere").replace("550 5.5.0 gone", "gone");
    assert_eq!(with(NEW)?.generation(), with(&other_notes)?.generation());
    assert_ne!(with(NEW)?.generation(), with(&NEW.replace("85", "84"))?.generation());
    Ok(())
}

#[test]
fn mistakes_name_the_rule_the_field_and_the_fix() {
    for (from, to, field, fix) in [
        ("stage = \"phrase\"", "stage = \"guard\"", "field stage", "use the code, phrase or basic stage"),
        ("stage = \"phrase\"", "", "field stage", "write guard, code, phrase or basic"),
        ("confidence = 85", "confidence = 101", "field confidence", "from 0 to 100"),
        ("confidence = 85", "confidence = 300", "field confidence", "from 0 to 100"),
        ("confidence = 85", "confidence = -1", "field confidence", "from 0 to 100"),
        ("confidence = 85", "", "field confidence", "write a percentage"),
        ("class = \"hard_recipient\"", "", "field class", "one of the twelve"),
        ("phrases = [\"gone fishing forever\"]", "", "field phrases", "at least one condition"),
        ("gone fishing forever\"]\nt", "@nobody\"]\nt", "field phrases", "name a group"),
        ("gone fishing forever\"]\nt", "...\"]\nt", "field phrases", "write words"),
        ("phrases", "codes = [\"5.x.x\"]\nphrases", "field codes", "5.7.*"),
        ("phrases", "basic = [\"55\"]\nphrases", "field basic", "4**"),
        ("phrases", "channels = [\"fax\"]\nphrases", "field channels", "name email"),
        ("550 5.5.0", "550 5.1.1", "field tests", "earlier stage"),
    ] {
        let message = refusal(&NEW.replacen(from, to, 1));
        assert!(message.contains("house-moved") && message.contains(field) && message.contains(fix), "{message}");
    }
    assert!(refusal(&NEW.replace("house-moved", "House")).contains("field id"));
    assert!(refusal(&NEW.replace("house-moved", "unmatched")).contains("reserved"));
    assert!(refusal(&format!("{NEW}{NEW}")).contains("used twice"));
    assert!(refusal("[[rule]]\nid = \"nowhere\"\ndisabled = true").contains("no built-in rule"));
}

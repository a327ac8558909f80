//! The built-in file keeps its own promises.

use std::str::FromStr;

use super::super::compile::{ANY_CHANNEL, NO_CHANNEL};
use super::super::spec::RuleFile;
use super::super::{BounceClass, Table, TableError, classify};

#[test]
fn builtin_rules_build() -> Result<(), TableError> {
    assert!(!Table::with_overrides(Vec::new())?.is_empty());
    Ok(())
}

#[test]
fn every_rule_decides_its_test_lines_and_names_its_source() -> Result<(), TableError> {
    // A line is tried on each channel of its rule, one at a time, as it will arrive.
    let table = Table::builtin();
    let mut faults = Vec::new();
    for rule in RuleFile::builtin()?.rules {
        if rule.tests.is_empty() || rule.source.as_deref().is_none_or(str::is_empty) {
            faults.push(format!("{}: needs tests and a source", rule.id));
        }
        let channel = table.rules.iter().find(|known| known.id == rule.id).map_or(ANY_CHANNEL, |known| known.channels);
        for (text, bit) in rule.tests.iter().flat_map(|text| (0..8).map(move |bit| (text, 1_u8 << bit))) {
            if channel & bit == 0 {
                continue;
            }
            let verdict = classify::decide(table, bit, NO_CHANNEL, text);
            if verdict.rule != rule.id {
                faults.push(format!("{}: {text:?} was decided by {} as {}", rule.id, verdict.rule, verdict.class));
            }
        }
    }
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));
    Ok(())
}

#[test]
fn the_same_rules_have_the_same_generation() -> Result<(), TableError> {
    assert_eq!(Table::with_overrides(Vec::new())?.generation(), Table::builtin().generation());
    Ok(())
}

#[test]
fn class_names_round_trip() {
    for class in BounceClass::ALL {
        assert_eq!(BounceClass::from_str(class.as_str()), Ok(class));
    }
    assert!(BounceClass::from_str("Hard").is_err());
}

#[test]
fn a_table_can_be_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Table>();
}

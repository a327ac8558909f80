use std::collections::BTreeSet;

use crate::headers::Received;
use crate::json::NotAnObject;
use crate::normaliser::Normaliser;
use crate::privacy::{self, Privacy};
use crate::row_binary::Block;
use crate::rows::Position;

use super::path;

const SAMPLES: &str = include_str!("../../fixtures/samples.jsonl");

/// The row as JSON.
fn row(normaliser: &Normaliser, body: &str) -> serde_json::Value {
    let received = Received { source: "shop".into(), workspace: "default".into(), received_at: 1_770_100_000_123, ..Received::default() };
    let position = Position { topic: "aftersend.raw", partition: 3, offset: 7 };
    let row = normaliser.outcome(body.as_bytes(), &received, &position, 1).unwrap();
    Block::default().push(&row).unwrap();
    serde_json::to_value(&row).unwrap()
}

fn hashing() -> Normaliser {
    Normaliser::new(privacy::for_tests())
}

/// `UPDATE_FIXTURES=1` writes the file anew; read the difference before committing it.
#[test]
fn every_sample_gives_exactly_the_row_in_the_fixture() {
    let rows: String = SAMPLES.lines().map(|line| row(&hashing(), line).to_string() + "\n").collect();
    let path = path("fixtures/outcomes.jsonl");
    if std::env::var_os("UPDATE_FIXTURES").is_some_and(|value| value == "1") {
        std::fs::write(&path, &rows).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    for (line, (row, expected)) in rows.lines().zip(expected.lines()).enumerate() {
        assert_eq!(row, expected, "sample {}", line + 1);
    }
    assert_eq!(rows.lines().count(), expected.lines().count());
}

#[test]
fn blanks_in_a_body_change_nothing_but_the_source_of_nested_values() {
    let without_sources = |body: &str| {
        let mut row = row(&hashing(), body);
        let metadata: serde_json::Value = serde_json::from_str(row["metadata"].as_str().unwrap()).unwrap();
        row["metadata"] = metadata;
        row
    };
    for line in SAMPLES.lines() {
        let document: serde_json::Value = serde_json::from_str(line).unwrap();
        let spread = serde_json::to_string_pretty(&document).unwrap().replace('\n', "\r\n\t");
        assert_eq!(without_sources(&spread), without_sources(&document.to_string()), "{line}");
    }
}

#[test]
fn reading_survives_truncation_at_every_byte() {
    let mut reasons = BTreeSet::new();
    for line in SAMPLES.lines() {
        for end in 0..line.len() {
            let received = Received::default();
            let row =
                hashing().outcome(&line.as_bytes()[..end], &received, &Position { topic: "t", partition: 0, offset: 0 }, 0).map(|_| ());
            reasons.insert(row.expect_err("no beginning of an object is an object").to_string());
        }
    }
    let typed = [NotAnObject::Empty, NotAnObject::NotJson, NotAnObject::NotUtf8].map(|reason| reason.to_string());
    assert_eq!(reasons, BTreeSet::from(typed));
}

/// Every address of the samples is at a domain that ends in `.example`.
#[test]
fn no_address_of_any_sample_is_in_its_row_unless_they_are_kept_in_clear() {
    let dropping = Normaliser::new(Privacy::Drop);
    for line in SAMPLES.lines() {
        for normaliser in [hashing(), dropping.clone()] {
            let row = row(&normaliser, line).to_string().to_lowercase();
            for (at, _) in line.match_indices('@') {
                let local: String = line[..at].chars().rev().take_while(|c| c.is_alphanumeric() || "._+-".contains(*c)).collect();
                let local: String = local.chars().rev().collect::<String>().to_lowercase();
                assert!(local.is_empty() || !row.contains(&format!("{local}@")), "{local} in {row}");
            }
        }
        assert_eq!(row(&dropping, line)["email_hash"], "", "{line}");
    }
    let keeping = Normaliser::new(privacy::plain_for_tests());
    let bounced = row(&keeping, SAMPLES.lines().nth(12).unwrap());
    assert!(bounced["failure_message"].as_str().unwrap().contains("<gone@dead.example>"));
    assert!(bounced["metadata"].as_str().unwrap().contains(r#""recipient":"gone@dead.example""#));
    assert_eq!(bounced["email_hash"], row(&hashing(), SAMPLES.lines().nth(12).unwrap())["email_hash"]);
}

//! The statements for one server and for a cluster, as they are sent. After a change: `UPDATE_FIXTURES=1 cargo test -p aftersend-schemas migrations`.

use crate::migrations::{MIGRATIONS, RECORDS, Target, VIEWS};

const SINGLE: Target<'_> = Target { database: "aftersend", cluster: None };
const CLUSTER: Target<'_> = Target { database: "aftersend", cluster: Some("mail") };

fn everything(target: &Target<'_>) -> String {
    let mut statements = vec![target.create_database()];
    statements.extend(target.statements(RECORDS));
    statements.extend(MIGRATIONS.iter().flat_map(|migration| migration.statements(target)));
    statements.extend(target.statements(VIEWS));
    statements.iter().flat_map(|statement| [statement, ";\n\n"]).collect()
}

#[test]
fn both_forms_of_the_statements_are_the_ones_on_file() {
    for (target, file) in [(SINGLE, "fixtures/clickhouse/single.sql"), (CLUSTER, "fixtures/clickhouse/cluster.sql")] {
        let path = super::path(file);
        let text = everything(&target);
        if std::env::var_os("UPDATE_FIXTURES").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        assert!(std::fs::read_to_string(&path).unwrap() == text, "{file} is not what would be sent; if that is right: UPDATE_FIXTURES=1");
    }
}

#[test]
fn on_a_cluster_everything_is_made_everywhere_and_every_table_is_replicated() {
    let (single, cluster) = (everything(&SINGLE), everything(&CLUSTER));
    let count = |text: &str, what: &str| text.matches(what).count();
    let made = count(&single, "CREATE ") + count(&single, "ALTER TABLE");
    assert_eq!(count(&cluster, " ON CLUSTER mail"), made);
    assert_eq!(count(&single, "ON CLUSTER") + count(&single, "Replicated"), 0);
    assert_eq!(count(&cluster, "ENGINE = "), count(&cluster, "ENGINE = Replicated"));
    assert_eq!(count(&cluster, "non_replicated"), 0);
}

#[test]
fn numbers_ascend_without_a_gap_and_checksums_differ() {
    let numbers: Vec<u32> = MIGRATIONS.iter().map(|migration| migration.number).collect();
    assert_eq!(numbers, (1..=numbers.len() as u32).collect::<Vec<_>>());
    let checksums: std::collections::BTreeSet<String> = MIGRATIONS.iter().map(|migration| migration.checksum()).collect();
    assert_eq!(checksums.len(), MIGRATIONS.len());
}

#[test]
fn parameters_of_views_stay() {
    assert_eq!(SINGLE.fill("SELECT {from:DateTime} FROM {database}.x"), "SELECT {from:DateTime} FROM aftersend.x");
    assert_eq!(SINGLE.fill("SELECT '{' FROM x"), "SELECT '{' FROM x");
}

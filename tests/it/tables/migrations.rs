use std::process::Command;

use aftersend_pipeline::config::Span;
use aftersend_schemas::columns::TABLES;
use aftersend_schemas::migrations::{LATEST_MILLIS, LONGEST_DAYS, MIGRATIONS, RETENTION};
use aftersend_sinks::clickhouse::{MigrateError, SchemaError, check_database, check_schema, migrate};
use aftersend_tests::{Service, Setup, binary, kafka_brokers};

use super::Database;

#[tokio::test(flavor = "multi_thread")]
async fn migrating_again_applies_nothing_and_what_was_broken_off_is_applied_from_its_beginning() -> anyhow::Result<()> {
    let database = Database::unmigrated()?;
    assert!(matches!(check_schema(&database.config).await, Err(SchemaError::Behind(_))));
    let all: Vec<_> = MIGRATIONS.iter().map(|migration| migration.name).collect();
    assert_eq!(migrate(&database.config).await?, all);
    check_schema(&database.config).await?;
    let made = definitions(&database).await?;
    assert_eq!(migrate(&database.config).await?, Vec::<&str>::new());
    assert_eq!(definitions(&database).await?, made);
    // As after a crash between the statements of the second and its record.
    database.execute("ALTER TABLE migrations DELETE WHERE number >= 2 SETTINGS mutations_sync = 2").await?;
    database.execute("DROP TABLE provider_counts SYNC").await?;
    assert_eq!(migrate(&database.config).await?, all[1..]);
    assert_eq!(definitions(&database).await?, made);
    check_database(&database.config).await?;
    // What somebody dropped is made again, with what later files have changed.
    for (statement, lacking, applied) in [
        ("DROP TABLE track_calls SYNC", "track_calls", &all[..]),
        ("DROP TABLE campaign_counts SYNC", "campaign_counts", &all[1..]),
        ("DROP VIEW campaign_funnel SYNC", "campaign_funnel", &[]),
    ] {
        database.execute(statement).await?;
        let error = check_database(&database.config).await.unwrap_err().to_string();
        assert!(error.contains(&format!("{}.{lacking} does not exist: run `aftersend migrate`", database.config.database)), "{error}");
        assert_eq!(migrate(&database.config).await?, applied);
        assert_eq!(definitions(&database).await?, made);
        check_database(&database.config).await?;
    }
    database.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_a_newer_release_is_left_alone_by_migrate_and_by_the_sink() -> anyhow::Result<()> {
    let mut setup = Setup::new("").await?;
    let insert = "INSERT INTO migrations (number, name, checksum, release) VALUES (999, '0999_later.sql', 'x', '9.9.9')";
    setup.database().query_raw(insert).execute().await?;
    let output = Command::new(binary()?).arg("migrate").arg("--config").arg(setup.file()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(said.contains("migration 999 (0999_later.sql) of release 9.9.9") && said.contains("use release 9.9.9 or newer"), "{said}");
    setup.launch(Service::ClickHouse)?;
    assert_eq!(setup.ended(Service::ClickHouse).await?.code(), Some(64));
    setup.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_text_under_an_applied_number_is_refused_and_so_are_tables_without_a_record() -> anyhow::Result<()> {
    let database = Database::new().await?;
    database.execute("INSERT INTO migrations (number, name, checksum, release) VALUES (1, '0001_tables.sql', 'other', '0.0.1')").await?;
    assert!(matches!(migrate(&database.config).await, Err(MigrateError::Changed { name: "0001_tables.sql", .. })));
    database.execute("DROP TABLE migrations SYNC").await?;
    assert!(matches!(migrate(&database.config).await, Err(MigrateError::Unrecorded(_))));
    database.finish().await?;
    let database = Database::unmigrated()?;
    let server = database.client.clone().with_database("default");
    server.query_raw(&format!("CREATE DATABASE {}", database.config.database)).execute().await?;
    database.execute("CREATE TABLE raw_events (of_somebody_else UInt8) ENGINE = Memory").await?;
    assert!(matches!(migrate(&database.config).await, Err(MigrateError::Unrecorded(_))));
    database.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_is_missing_or_of_another_type_is_named_with_the_fix_before_a_record_is_read() -> anyhow::Result<()> {
    let database = Database::new().await?;
    for table in TABLES {
        let query =
            format!("SELECT name, type FROM system.columns WHERE database = '{}' AND table = '{}'", database.config.database, table.name);
        let made = database.rows::<(String, String)>(&query).await?;
        for (column, kind) in table.columns {
            assert!(made.iter().any(|(name, found)| name == column && found == kind), "{}.{column}", table.name);
        }
    }
    database.execute("ALTER TABLE track_calls MODIFY COLUMN latency_ms UInt64").await?;
    let error = check_schema(&database.config).await.unwrap_err().to_string();
    assert!(error.contains("column latency_ms of") && error.contains("has type UInt64 and needs UInt32"), "{error}");
    assert!(error.contains("aftersend migrate") && error.contains("MODIFY COLUMN latency_ms UInt32"), "{error}");
    let mut fewer = database.config.clone();
    fewer.tables = vec!["raw_events".into()];
    check_schema(&fewer).await?;
    database.execute("ALTER TABLE raw_events DROP COLUMN content_type").await?;
    let error = check_schema(&fewer).await.unwrap_err().to_string();
    assert!(error.contains("raw_events has no column content_type, which needs type LowCardinality(String)"), "{error}");
    // Before it fails over views that ask for it.
    database.execute("ALTER TABLE track_calls MODIFY COLUMN latency_ms UInt32").await?;
    let error = migrate(&database.config).await.unwrap_err().to_string();
    assert!(error.contains("raw_events has no column content_type") && error.contains("ADD COLUMN content_type"), "{error}");
    database.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_is_finite_and_follows_the_configuration() -> anyhow::Result<()> {
    let mut database = Database::new().await?;
    let days = async |database: &Database| {
        let query = format!(
            "SELECT name, extract(create_table_query, 'TTL .*toIntervalDay\\\\((\\\\d+)\\\\)') FROM system.tables WHERE database = '{}' AND engine LIKE '%MergeTree' ORDER BY name",
            database.config.database
        );
        database.rows::<(String, String)>(&query).await
    };
    let before = days(&database).await?;
    for rule in RETENTION {
        let expected = database.config.retention.days(rule.table).unwrap().to_string();
        assert!(before.contains(&(rule.table.to_owned(), expected)), "{}: {before:?}", rule.table);
    }
    let endless: Vec<_> = before.iter().filter(|(_, days)| days.is_empty()).map(|(table, _)| table.as_str()).collect();
    assert_eq!(endless, ["count_marks", "migrations"], "these have one row, and one a migration");
    database.config.retention.raw_events = Span(std::time::Duration::from_secs(7 * 86_400));
    assert_eq!(migrate(&database.config).await?, Vec::<&str>::new());
    assert!(days(&database).await?.contains(&("raw_events".to_owned(), "7".to_owned())));
    // An undated outcome goes by its arrival; of people only those who may be written to are forgotten.
    database
        .execute("INSERT INTO message_outcomes (event_id, timestamp, received_at, src_offset) VALUES ('undated', 0, now64(3), 1)")
        .await?;
    database.execute("INSERT INTO message_outcomes (event_id, timestamp, received_at, src_offset) VALUES ('01JAAAAAAAAAAAAAAAAAAAAAAA', now(), now64(3) - INTERVAL 3 YEAR, 2)").await?;
    database.execute("INSERT INTO raw_events (received_at, src_offset) SELECT now64(3) - INTERVAL number DAY, number FROM numbers(10) SETTINGS max_partitions_per_insert_block = 100").await?;
    for (person, state) in [("a", "healthy"), ("b", "complained"), ("c", "dead")] {
        database.execute(&format!("INSERT INTO profiles (person_id, state, written_at, src_offset) VALUES ('{person}', '{state}', now64(3) - INTERVAL 3 YEAR, 1)")).await?;
    }
    for table in ["message_outcomes", "raw_events", "profiles"] {
        database.execute(&format!("OPTIMIZE TABLE {table} FINAL")).await?;
    }
    assert_eq!(database.rows::<String>("SELECT event_id FROM message_outcomes").await?, ["undated"]);
    assert_eq!(database.rows::<u64>("SELECT count() FROM raw_events").await?, [7]);
    assert_eq!(database.rows::<String>("SELECT person_id FROM profiles ORDER BY person_id").await?, ["b", "c"]);
    database.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_retention_keeps_rows_whatever_their_time() -> anyhow::Result<()> {
    let mut database = Database::new().await?;
    let longest = Span(std::time::Duration::from_secs(u64::from(LONGEST_DAYS) * 86_400));
    let retention = &mut database.config.retention;
    (retention.message_outcomes, retention.profiles, retention.dead_letters) = (longest, longest, longest);
    (retention.track_calls, retention.counts) = (longest, longest);
    migrate(&database.config).await?;
    let tables = [
        ("message_outcomes", "received_at"),
        ("raw_events", "received_at"),
        ("profiles", "written_at"),
        ("dead_letters", "received_at"),
        ("track_calls", "at"),
    ];
    for (table, from) in tables {
        let id = if table == "message_outcomes" { "event_id" } else { "src_offset" };
        for (id_of_row, time) in [(1, "now64(3)".to_owned()), (2, format!("fromUnixTimestamp64Milli({LATEST_MILLIS}, 'UTC')"))] {
            database.execute(&format!("INSERT INTO {table} ({id}, {from}) SELECT {id_of_row}, {time}")).await?;
        }
        database.execute(&format!("OPTIMIZE TABLE {table} FINAL")).await?;
        assert_eq!(database.rows::<u64>(&format!("SELECT count() FROM {table}")).await?, [2], "{table}");
    }
    database.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_of_some_tables_needs_only_their_topics() -> anyhow::Result<()> {
    let clickhouse = std::env::var("CLICKHOUSE_URL")?;
    let setup = Setup::unmigrated(&kafka_brokers()?, &clickhouse, "")?;
    let mut config = setup.config.clone();
    config.clickhouse.tables = vec!["dead_letters".into()];
    migrate(&config.clickhouse).await?;
    let specs = setup.topics().specs(config.max_record_bytes()).into_iter().filter(|spec| spec.name == setup.topics().dead());
    aftersend_pipeline::kafka::create_topics(&config, &specs.collect::<Vec<_>>()).await?;
    let mut setup = setup;
    let some = [("AFTERSEND__CLICKHOUSE__TABLES", "[\"dead_letters\"]")];
    setup.launch_with(Service::ClickHouse, &some)?;
    setup.ready(Service::ClickHouse).await?;
    setup.finish().await
}

async fn definitions(database: &Database) -> anyhow::Result<Vec<String>> {
    let query = format!("SELECT create_table_query FROM system.tables WHERE database = '{}' ORDER BY name", database.config.database);
    database.rows(&query).await
}

//! Events by hand, and what is said of them.

use std::process::Command;
use std::time::Duration;

use aftersend_pipeline::telemetry::Metrics;
use aftersend_pipeline::unix_millis;
use aftersend_schemas::migrations::Target;
use aftersend_sinks::clickhouse::Rollups;
use aftersend_tests::{eventually, repository};
use anyhow::Context as _;
use ulid::Ulid;

use super::Database;
use super::naive::DAY;

/// What an event is dated, and what it is called.
#[derive(Clone, Copy)]
enum Time {
    /// So many days ago, by its id too.
    Dated(f64),
    /// So many days ago, with an id that says nothing.
    Named(f64),
    Undated,
}
use Time::{Dated, Named, Undated};

impl Time {
    /// Identity and Unix seconds.
    fn at(self, now: u64, number: usize) -> (String, u64) {
        let before = |days: f64| now - (days * DAY as f64) as u64;
        match self {
            Dated(days) => (Ulid::from_parts(before(days) * 1000, number as u128).to_string(), before(days)),
            Named(days) => (format!("event {number}"), before(days)),
            Undated => (format!("event {number}"), 0),
        }
    }
}

/// Stores e-mails' events: delivery, metric, time. Everybody is `u-1`.
async fn store(database: &Database, now: u64, events: &[(&str, &str, Time)]) -> anyhow::Result<()> {
    let rows = events.iter().enumerate().map(|(number, (message, metric, time))| {
        let (id, at) = time.at(now, number);
        format!("('{id}', 'email', '{metric}', {at}, 'u-1', '{message}', now64(3), {number})")
    });
    let columns = "event_id, channel, metric, timestamp, customer_id, message_id, received_at, src_offset";
    let rows = rows.collect::<Vec<_>>().join(",");
    database.execute(&format!("INSERT INTO message_outcomes ({columns}) VALUES {rows}")).await
}

/// What an audit finds missing: delivery, what, and when.
async fn gaps(database: &Database, now: u64, events: &[(&str, &str, Time)]) -> anyhow::Result<Vec<(String, String, u64)>> {
    store(database, now, events).await?;
    Rollups::new(&database.config, &Metrics::new()).audit((now * 1000).cast_signed()).await?;
    database.rows("SELECT message_id, gap::String, toUnixTimestamp(at) FROM delivery_gaps_current ORDER BY message_id").await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undated_event_is_missing_from_no_delivery() -> anyhow::Result<()> {
    let database = Database::new().await?;
    let now = unix_millis().cast_unsigned() / 1000;
    let events = [
        ("sent undated", "sent", Undated),
        ("sent undated", "delivered", Dated(5.0)),
        ("delivered undated", "sent", Dated(5.0)),
        ("delivered undated", "delivered", Undated),
        ("opened undated", "sent", Named(5.0)),
        ("opened undated", "opened", Undated),
        ("both undated", "sent", Undated),
        ("both undated", "bounced", Undated),
        ("a second is undated", "sent", Dated(4.0)),
        ("a second is undated", "sent", Undated),
        ("only sent", "sent", Dated(5.0)),
        ("only sent", "deferred", Undated),
        ("only delivered", "delivered", Dated(5.0)),
    ];
    let expected = [("a second is undated", "no_outcome", 4), ("only delivered", "no_sent", 5), ("only sent", "no_outcome", 5)];
    let expected = expected.map(|(message, gap, days)| (message.to_owned(), gap.to_owned(), now - days * DAY));
    assert_eq!(gaps(&database, now, &events).await?, expected);
    database.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_up_to_seven_days_before_its_outcome_was_sent() -> anyhow::Result<()> {
    let database = Database::new().await?;
    let now = unix_millis().cast_unsigned() / 1000;
    let mut events = Vec::new();
    for (message, sent, outcome) in [("a", 17.9, 10.9), ("b", 13.5, 10.5), ("c", 15.0, 11.5), ("d", 9.0, 3.5)] {
        events.extend([(message, "sent", Dated(sent)), (message, "bounced", Dated(outcome))]);
    }
    events.push(("e", "bounced", Dated(10.0)));
    assert_eq!(gaps(&database, now, &events).await?, [("e".to_owned(), "no_sent".to_owned(), now - 10 * DAY)]);
    database.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn leaks_are_of_the_last_fourteen_days_whatever_ids_look_like() -> anyhow::Result<()> {
    let database = Database::new().await?;
    let now = unix_millis().cast_unsigned() / 1000;
    let profile = "'id', 'u-1', false, 'dead', now64(3) - INTERVAL 60 DAY, 0";
    let columns = "namespace, person_id, email_deliverable, state, written_at, src_offset";
    database.execute(&format!("INSERT INTO profiles ({columns}) VALUES ({profile})")).await?;
    let events = [("a", Dated(13.9)), ("b", Named(13.9)), ("c", Dated(14.1)), ("d", Named(14.1)), ("e", Named(59.0)), ("f", Undated)];
    store(&database, now, &events.map(|(message, time)| (message, "sent", time))).await?;
    Rollups::new(&database.config, &Metrics::new()).audit((now * 1000).cast_signed()).await?;
    let found = database.rows::<String>("SELECT message_id FROM suppression_leaks_current ORDER BY message_id").await?;
    assert_eq!(found, ["a", "b"]);
    database.finish().await
}

/// Counted on the spot, and from counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_bounce_class_is_listed_for_what_it_counts_with_an_example_of_that() -> anyhow::Result<()> {
    let database = Database::new().await?;
    let outcomes = [
        ("google", "sent", "", ""),
        ("google", "sent", "", ""),
        ("google", "bounced", "hard_recipient", "a: counts"),
        ("google", "failed", "hard_recipient", "b: does not"),
        ("microsoft", "failed", "hard_recipient", "c: does not"),
        ("microsoft", "deferred", "transient", ""),
        ("microsoft", "undeliverable", "transient", "d: does not"),
    ];
    let rows = outcomes.iter().enumerate().map(|(number, (provider, metric, class, text))| {
        format!("('event {number}', 'email', '{metric}', now(), '{provider}', '{class}', '{text}', now64(3), {number})")
    });
    let columns = "event_id, channel, metric, timestamp, mailbox_provider, bounce_class, failure_message, received_at, src_offset";
    let rows = rows.collect::<Vec<_>>().join(",");
    database.execute(&format!("INSERT INTO message_outcomes ({columns}) VALUES {rows}")).await?;
    let query = panel("Top bounce classes per mailbox provider")?;
    let expected = [("google", "hard_recipient", 1, Some(0.5), "a: counts", 2), ("microsoft", "transient", 1, None, "", 0)];
    let expected = expected.map(|(provider, class, events, share, example, messages)| {
        (provider.to_owned(), class.to_owned(), events, share, example.to_owned(), messages)
    });
    type Class = (String, String, u64, Option<f64>, String, u64);
    let rollups = Rollups::new(&database.config, &Metrics::new());
    assert_eq!(database.rows::<Class>(&query).await?, expected);
    assert!(rollups.count(unix_millis() + 130_000).await? > 0);
    assert_eq!(database.rows::<Class>(&query).await?, expected);
    // A count of a release that chose another example, and then what has all counted again.
    let older = "SELECT * REPLACE ('other' AS example, counted_at + INTERVAL 1 SECOND AS counted_at) FROM provider_counts";
    database.execute(&format!("INSERT INTO provider_counts {older}")).await?;
    let examples = async || anyhow::Ok(database.rows::<Class>(&query).await?.into_iter().map(|row| row.4).collect::<Vec<_>>());
    assert_eq!(examples().await?, ["other", "other"]);
    database.execute("TRUNCATE TABLE count_marks").await?;
    assert_eq!(database.rows::<Class>(&query).await?, expected);
    assert!(rollups.count(unix_millis() + 140_000).await? > 0);
    assert_eq!(database.rows::<Class>(&query).await?, expected);
    database.finish().await
}

/// The server stores a row as of the time at which its insert began, however long that takes.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_insert_stores_after_it_was_given_up_is_counted() -> anyhow::Result<()> {
    let database = Database::new().await?;
    let rollups = Rollups::new(&database.config, &Metrics::new());
    let delivered = async || database.rows::<u64>("SELECT sum(delivered) FROM campaigns_hourly").await;
    // Fifteen rows, a second each.
    let slow = "INSERT INTO message_outcomes (event_id, channel, metric, timestamp, received_at, src_offset) \
        SELECT concat('event ', toString(number)), 'email', 'delivered', now() - sleepEachRow(1), now64(3), number FROM numbers(15) \
        SETTINGS max_block_size = 1, max_threads = 1, min_insert_block_size_rows = 15";
    let counted_meanwhile = async || {
        eventually(Duration::from_secs(12), async || {
            let running = "SELECT count() FROM system.processes WHERE query_kind = 'Insert' AND current_database = currentDatabase()";
            anyhow::ensure!(database.rows::<u64>(running).await? == [1], "not yet");
            Ok(())
        })
        .await?;
        assert_eq!(rollups.count(unix_millis() + 130_000).await?, 0, "nothing is there yet");
        anyhow::Ok(())
    };
    tokio::try_join!(database.execute(slow), counted_meanwhile())?;
    assert_eq!(delivered().await?, [15]);
    assert!(rollups.count(unix_millis() + 130_000).await? > 0);
    assert_eq!(delivered().await?, [15]);
    database.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_after_the_servers_clock_was_put_back_is_counted() -> anyhow::Result<()> {
    let database = Database::new().await?;
    let rollups = Rollups::new(&database.config, &Metrics::new());
    let delivered = async |numbers: std::ops::Range<u64>| {
        let (first, count) = (numbers.start, numbers.end - numbers.start);
        let row = format!(
            "SELECT concat('event ', toString(number)), 'email', 'delivered', now(), now64(3), number FROM numbers({first}, {count})"
        );
        database
            .execute(&format!("INSERT INTO message_outcomes (event_id, channel, metric, timestamp, received_at, src_offset) {row}"))
            .await
    };
    let shown = async || database.rows::<u64>("SELECT sum(delivered) FROM campaigns_hourly").await;
    delivered(0..300).await?;
    // As if the clock were an hour ahead; then it is put back, and more is stored in the slices that were counted.
    let now = unix_millis();
    assert!(rollups.count(now + 3_600_000).await? > 0);
    delivered(300..600).await?;
    assert_eq!(shown().await?, [300], "the mark is ahead");
    assert!(rollups.count(now).await? > 0);
    assert_eq!(shown().await?, [600]);
    // As if it had gone on until the mark was behind what was stored.
    rollups.count(now + 300_000).await?;
    assert_eq!(shown().await?, [600], "counts of the time ahead are not the latest");
    database.finish().await
}

/// What a panel of the dashboard asks, over all times and workspaces.
fn panel(title: &str) -> anyhow::Result<String> {
    let output =
        Command::new("python3").arg(repository().join("deploy/grafana/queries.py")).output().context("python3 reads the dashboard")?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let queries = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<serde_json::Value>();
    let queries = queries.collect::<Result<Vec<_>, _>>()?;
    let query = queries.iter().find(|query| query["title"] == title).with_context(|| format!("no panel {title}"))?;
    Ok(query["sql"].as_str().context("a panel without a query")?.to_owned())
}

/// Undated events stand in the first hour of 1970, and the 28 days before it are none.
#[tokio::test(flavor = "multi_thread")]
async fn the_funnel_of_undated_events_knows_what_is_usual_among_them() -> anyhow::Result<()> {
    let database = Database::new().await?;
    let columns = "slice, workspace, hour, channel, kind, campaign, delivered, complained, counted_at";
    let row = "0, 'shop', 0, 'email', 'campaign', 1, 1500, 3, now64(9)";
    database.execute(&format!("INSERT INTO campaign_counts ({columns}) VALUES ({row})")).await?;
    for until in ["1970-01-01 01:00:00", "1970-01-28 23:59:59", "1970-01-29 00:00:00"] {
        let query = format!(
            "SELECT delivered, complained, round(complaint_rate_shrunk, 12) FROM campaign_funnel(from = '1970-01-01 00:00:00', until = '{until}')"
        );
        // Usual: (3 + 0.25) / (1500 + 500). With 500 deliveries at that rate: 3.8125 / 2000.
        assert_eq!(database.rows::<(u64, u64, f64)>(&query).await?, [(1500, 3, 0.001_906_25)], "{until}");
    }
    database.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_the_documentation_is_answered() -> anyhow::Result<()> {
    let database = Database::new().await?;
    let asked = documented(&database)?;
    assert!(asked.len() > 10, "{asked:?}");
    for query in asked {
        database.rows::<serde_json::Value>(&query).await?;
    }
    database.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_query_about_the_brake_counts_people_by_workspace_and_by_what_they_are_known_by() -> anyhow::Result<()> {
    let database = Database::new().await?;
    let people = [
        ("shop", "u-1", "c1", "h1"),
        ("shop", "u-1", "c2", "h2"),
        ("club", "u-1", "", ""),
        ("shop", "", "c1", "h1"),
        ("shop", "", "c1", "h2"),
        ("shop", "", "", "h1"),
        ("shop", "", "", "h2"),
        ("shop", "", "", "h2"),
    ];
    let rows = people.iter().enumerate().map(|(number, (workspace, customer, cio, hash))| {
        format!("('event {number}', '{workspace}', '{customer}', '{cio}', '{hash}', 'google', 'hard_recipient', now64(3), {number})")
    });
    let columns = "event_id, workspace, customer_id, cio_id, email_hash, mailbox_provider, bounce_class, received_at, src_offset";
    let rows = rows.collect::<Vec<_>>().join(",");
    database.execute(&format!("INSERT INTO message_outcomes ({columns}) VALUES {rows}")).await?;
    let asked = documented(&database)?;
    let query = asked.iter().find(|query| query.contains("bounce_class = 'hard_recipient'")).context("no query about the brake")?;
    // u-1 of either workspace, c1, h1, h2.
    assert_eq!(database.rows::<(String, String, String, u64)>(query).await?, [("google".into(), String::new(), String::new(), 5)]);
    database.finish().await
}

/// The queries of the documentation, on this database.
fn documented(database: &Database) -> anyhow::Result<Vec<String>> {
    let target = Target { database: &database.config.database, cluster: None };
    let mut pages = vec![repository().join("README.md")];
    for entry in std::fs::read_dir(repository().join("docs"))? {
        pages.push(entry?.path());
    }
    let mut queries = Vec::new();
    for page in pages.iter().filter(|page| page.extension().is_some_and(|extension| extension == "md")) {
        let text = std::fs::read_to_string(page)?;
        for block in text.split("```sql\n").skip(1) {
            let (sql, _) = block.split_once("```").with_context(|| page.display().to_string())?;
            queries.extend(target.statements(&sql.replace("aftersend.", "{database}.")));
        }
    }
    Ok(queries)
}

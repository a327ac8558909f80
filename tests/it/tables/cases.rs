//! Events by hand, and what is said of them.

use aftersend_pipeline::telemetry::Metrics;
use aftersend_pipeline::unix_millis;
use aftersend_sinks::clickhouse::Rollups;
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

//! What is asked of ClickHouse for one table.

use std::collections::HashSet;
use std::time::Duration;

use aftersend_pipeline::consumer::Partition;
use aftersend_schemas::columns::TABLES;
use bytes::Bytes;
use clickhouse::error::{Error, Result};
use clickhouse::{Client, RowOwned, RowRead};

#[cfg(feature = "failpoints")]
use super::fault::fault_point;
use super::protocol::{Span, Stored};
use super::tables::{Identity, Table, literal, origin_literal};

const SEND_TIMEOUT: Duration = Duration::from_secs(15);
const END_TIMEOUT: Duration = Duration::from_secs(60);
const QUERY_TIMEOUT: Duration = Duration::from_secs(30);
/// Identities asked for in one query, and bytes of them: below the server's limit for the text of a query, 262,144 bytes.
const IDENTITIES: usize = 1_000;
const IDENTITY_BYTES: usize = 100_000;

/// Settings that make an insert one block with one answer, and a token count in views too.
const INSERT_SETTINGS: [(&str, &str); 6] = [
    ("async_insert", "0"),
    ("wait_end_of_query", "1"),
    ("insert_deduplicate", "1"),
    ("deduplicate_blocks_in_dependent_materialized_views", "1"),
    ("max_insert_block_size", "1048449"),
    // Batches are closed far below the usual limit; one that was announced must go in whatever its ids are.
    ("max_partitions_per_insert_block", "0"),
];
/// Younger servers have it; older ones refuse an unknown name.
const DEDUPLICATE_INSERT: &str = "deduplicate_insert";

/// One table of one server.
pub(super) struct Server {
    client: Client,
    database: String,
    settings: Vec<(&'static str, &'static str)>,
    /// How long the table keeps a row, in milliseconds; nothing if for good.
    retention: Option<i64>,
}

impl Server {
    /// Asks the server what it knows and how long the table keeps its rows.
    pub(super) async fn connect(client: Client, database: String, table: &str) -> Result<Self> {
        let mut settings = INSERT_SETTINGS.to_vec();
        let mut this = Self { client, database, settings: Vec::new(), retention: None };
        let known = format!("SELECT count() FROM system.settings WHERE name = '{DEDUPLICATE_INSERT}'");
        if this.ask::<u64>(&known).await? != [0] {
            settings.push((DEDUPLICATE_INSERT, "enable"));
        }
        let made = format!("SELECT create_table_query FROM system.tables WHERE database = '{}' AND name = '{table}'", this.database);
        this.retention = this.ask::<String>(&made).await?.first().and_then(|made| retention(made));
        this.settings = settings;
        Ok(this)
    }

    /// One request, one block, one answer. Its name is its token: a server refuses the second of a name while the first is running. The types of the columns go
    /// along: a server whose table has got others refuses the rows, which it would misread otherwise.
    pub(super) async fn insert<T: Table>(&self, columns: &str, rows: Bytes, token: &str) -> Result<()> {
        let table = TABLES.iter().find(|table| table.name == T::NAME);
        let header =
            table.and_then(|table| table.header(columns)).ok_or_else(|| Error::Custom(format!("columns without a type: {columns}")))?;
        let mut insert = self
            .client
            .insert_formatted_with(format!("INSERT INTO {} ({columns}) FORMAT RowBinaryWithNamesAndTypes", T::NAME))
            .with_setting("insert_deduplication_token", token)
            .with_setting("query_id", token)
            .with_timeouts(Some(SEND_TIMEOUT), Some(END_TIMEOUT));
        for (name, value) in &self.settings {
            insert = insert.with_setting(*name, *value);
        }
        insert.send(header.into()).await?;
        #[cfg(feature = "failpoints")]
        {
            insert.send(rows.slice(..rows.len() / 2)).await?;
            fault_point!("clickhouse-mid-insert");
            insert.send(rows.slice(rows.len() / 2..)).await?;
        }
        #[cfg(not(feature = "failpoints"))]
        insert.send(rows).await?;
        insert.end().await
    }

    /// What the table holds of a partition, from an offset on.
    pub(super) async fn stored<T: Table>(&self, partition: &Partition, from: i64, epoch: u32) -> Result<Stored> {
        if T::IDENTITY == Identity::Origin {
            let newest = self.ask::<(u64, u32)>(&format!("SELECT count(), max(epoch) FROM {}.{}", self.database, T::NAME)).await?;
            let newest = newest.first().filter(|(rows, _)| *rows > 0).map(|(_, epoch)| *epoch);
            return Ok(Stored { epoch: newest, last: None, last_in_epoch: None });
        }
        let query = format!(
            "SELECT count(), max(epoch), max(src_offset), countIf(epoch = {epoch}), maxIf(src_offset, epoch = {epoch}) FROM {}.{} WHERE {} AND src_offset >= {}",
            self.database,
            T::NAME,
            of(partition),
            from.max(0),
        );
        let rows = self.ask::<(u64, u32, u64, u64, u64)>(&query).await?;
        let Some(&(rows, newest, last, rows_in_epoch, last_in_epoch)) = rows.first() else { return Ok(Stored::default()) };
        let offset = |offset: u64| i64::try_from(offset).unwrap_or(i64::MAX);
        Ok(Stored {
            epoch: (rows > 0).then_some(newest),
            last: (rows > 0).then(|| offset(last)),
            last_in_epoch: (rows_in_epoch > 0).then(|| offset(last_in_epoch)),
        })
    }

    /// Of these rows of a batch, those that are not there. An older epoch's do not count.
    pub(super) async fn missing<'b, T: Table>(
        &self,
        partition: &Partition,
        span: Span,
        epoch: u32,
        expected: impl Iterator<Item = (i64, Option<&'b str>)>,
    ) -> Result<HashSet<i64>> {
        let mut missing: Vec<(i64, Option<&str>)> = expected.collect();
        if T::IDENTITY != Identity::Origin {
            let query = format!(
                "SELECT src_offset FROM {}.{} WHERE {} AND src_offset BETWEEN {} AND {} AND epoch >= {epoch}",
                self.database,
                T::NAME,
                of(partition),
                span.first,
                span.last
            );
            let there: HashSet<u64> = self.ask(&query).await?.into_iter().collect();
            missing.retain(|(offset, _)| u64::try_from(*offset).is_ok_and(|offset| !there.contains(&offset)));
        }
        if T::IDENTITY != Identity::Place {
            let mut there = HashSet::new();
            let identities: Vec<&str> = missing.iter().filter_map(|(_, identity)| *identity).collect();
            for some in chunks(&identities) {
                there.extend(self.there::<T>(&some.join(","), epoch).await?);
            }
            missing.retain(|(_, identity)| identity.is_none_or(|identity| !there.contains(identity)));
        }
        Ok(missing.into_iter().map(|(offset, _)| offset).collect())
    }

    async fn there<T: Table>(&self, identities: &str, epoch: u32) -> Result<Vec<String>> {
        let query = |columns: &str| {
            format!("SELECT {columns} FROM {}.{} WHERE ({columns}) IN ({identities}) AND epoch >= {epoch}", self.database, T::NAME)
        };
        match T::IDENTITY {
            Identity::Origin => {
                let rows = self.ask::<(String, u32, u64, String)>(&query("src_topic, src_partition, src_offset, stage")).await?;
                Ok(rows.into_iter().map(|(topic, partition, offset, stage)| origin_literal(&topic, partition, offset, &stage)).collect())
            }
            Identity::Event | Identity::Place => {
                let rows = self.ask::<(String, String)>(&query("workspace, event_id")).await?;
                Ok(rows.into_iter().map(|(workspace, event_id)| literal(&workspace, &event_id)).collect())
            }
        }
    }

    /// Rows older than this may be gone by retention. A little earlier than the table's own rule, since clocks differ.
    pub(super) fn kept_since(&self, now: i64) -> Option<i64> {
        self.retention.map(|retention| now - retention + 600_000)
    }

    async fn ask<R: RowOwned + RowRead>(&self, query: &str) -> Result<Vec<R>> {
        // A question mark would be taken for a parameter.
        let rows = self.client.query(&query.replace('?', "??")).fetch_all::<R>();
        tokio::time::timeout(QUERY_TIMEOUT, rows).await.unwrap_or(Err(Error::TimedOut))
    }
}

/// As many identities at a time as one query takes.
fn chunks<'i>(mut identities: &'i [&'i str]) -> impl Iterator<Item = &'i [&'i str]> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = identities.iter().take(IDENTITIES).take_while(|identity| {
            bytes += identity.len() + 1;
            bytes <= IDENTITY_BYTES
        });
        let (chunk, behind) = identities.split_at_checked(fits.count().max(1))?;
        identities = behind;
        Some(chunk)
    })
}

fn of(partition: &Partition) -> String {
    // Kafka allows letters, digits, '.', '_' and '-' in the name of a topic.
    format!("src_topic = '{}' AND src_partition = {}", partition.0, partition.1)
}

/// The table's own TTL, as the server writes it back; nothing if there is none or it is not one of days. A column's TTL comes before the engine.
fn retention(made: &str) -> Option<i64> {
    let (_, table) = made.split_once(" ENGINE = ")?;
    let (_, ttl) = table.split_once(" TTL ")?;
    let (_, days) = ttl.split_once("toIntervalDay(")?;
    let days: i64 = days.split(')').next()?.parse().ok()?;
    days.checked_mul(86_400_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_query_asks_for_more_than_the_server_reads() {
        let (short, long, huge) = ("x".repeat(20), "x".repeat(1_050), "x".repeat(IDENTITY_BYTES));
        for (identity, count, lengths) in
            [(&short, 0, vec![]), (&short, 2_500, vec![1_000, 1_000, 500]), (&long, 200, vec![95, 95, 10]), (&huge, 2, vec![1, 1])]
        {
            let identities = vec![identity.as_str(); count];
            assert_eq!(chunks(&identities).map(<[_]>::len).collect::<Vec<_>>(), lengths);
        }
    }

    #[test]
    fn the_table_says_how_long_it_keeps_its_rows() {
        let made = "CREATE TABLE a.t (`x` String TTL toDateTime(r) + toIntervalDay(3)) ENGINE = ReplacingMergeTree(epoch) ORDER BY x \
                    TTL toDateTime(received_at) + toIntervalDay(30) SETTINGS index_granularity = 8192";
        assert_eq!(retention(made), Some(30 * 86_400_000));
        assert_eq!(retention("CREATE TABLE a.t (`x` String) ENGINE = MergeTree ORDER BY x"), None);
    }
}

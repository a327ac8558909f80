//! What is asked of ClickHouse for one table.

use std::collections::HashSet;
use std::time::Duration;

use aftersend_pipeline::config::ClickHouse;
use aftersend_pipeline::consumer::Partition;
use aftersend_schemas::columns::TABLES;
use bytes::Bytes;
use clickhouse::error::{Error, Result};
use futures_util::stream;
use serde::Deserialize;
use serde::de::DeserializeOwned;

#[cfg(feature = "failpoints")]
use super::fault::fault_point;
use super::http::{Http, Parts};
use super::limit::QUESTION;
use super::protocol::{Span, Stored};
use super::tables::{Identity, Table, literal, origin_literal};

const INSERT_TIMEOUT: Duration = Duration::from_secs(75);
/// Identities asked for in one query, and bytes of them: below the server's limit for the text of a query, 262,144 bytes.
const IDENTITIES: usize = 1_000;
const IDENTITY_BYTES: usize = 100_000;

/// Settings that make an insert one block with one answer, and a token count in views too.
const INSERT_SETTINGS: [(&str, &str); 5] = [
    ("async_insert", "0"),
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
    http: Http,
    database: String,
    settings: Vec<(&'static str, &'static str)>,
    /// How long the table keeps a row, in milliseconds; nothing if for good.
    retention: Option<i64>,
}

impl Server {
    /// Asks the server what it knows and how long the table keeps its rows.
    pub(super) async fn connect(config: &ClickHouse, table: &str) -> Result<Self> {
        let mut settings = INSERT_SETTINGS.to_vec();
        let (http, database) = (Http::new(config.clone())?, config.database.clone());
        let mut this = Self { http, database, settings: Vec::new(), retention: None };
        let known = format!("SELECT count() FROM system.settings WHERE name = '{DEDUPLICATE_INSERT}'");
        if this.ask::<(u64,)>(&known).await? != [(0,)] {
            settings.push((DEDUPLICATE_INSERT, "enable"));
        }
        let made = format!("SELECT create_table_query FROM system.tables WHERE database = '{}' AND name = '{table}'", this.database);
        this.retention = this.ask::<(String,)>(&made).await?.first().and_then(|(made,)| retention(made));
        this.settings = settings;
        Ok(this)
    }

    /// One request, one block, one answer. Its name is its token: a server refuses the second of a name while the first is running. The types of the columns go
    /// along: a server whose table has got others refuses the rows, which it would misread otherwise.
    pub(super) async fn insert<T: Table>(&self, columns: &str, rows: Bytes, token: &str) -> Result<()> {
        let table = TABLES.iter().find(|table| table.name == T::NAME);
        let header =
            table.and_then(|table| table.header(columns)).ok_or_else(|| Error::Custom(format!("columns without a type: {columns}")))?;
        let query = format!("INSERT INTO {} ({columns}) FORMAT RowBinaryWithNamesAndTypes", T::NAME);
        let parameters = [("query", query.as_str()), ("insert_deduplication_token", token), ("query_id", token)];
        let parameters: Vec<_> = parameters.into_iter().chain(self.settings.iter().copied()).collect();
        let answer = self.http.send(&parameters, Parts::body(parts(header.into(), rows)), INSERT_TIMEOUT).await?;
        // There is nothing that ClickHouse could say.
        if answer.is_empty() { Ok(()) } else { Err(Error::BadResponse("200 OK".to_owned())) }
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
            let there: HashSet<u64> = self.ask::<(u64,)>(&query).await?.into_iter().map(|(offset,)| offset).collect();
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

    /// Rows as tuples, also of one column.
    async fn ask<R: DeserializeOwned>(&self, query: &str) -> Result<Vec<R>> {
        let parameters = [("output_format_json_quote_64bit_integers", "0")];
        read(&self.http.send(&parameters, format!("{query} FORMAT JSONCompact"), QUESTION).await?)
    }
}

/// An answer in a format that has an end: rows alone could be cut at a row, or an exception stand behind them, and what is missing would be sent twice.
#[derive(Deserialize)]
struct Answer<R> {
    data: Vec<R>,
    rows: usize,
    /// Some releases put it into the document and close that.
    exception: Option<String>,
}

fn read<R: DeserializeOwned>(answer: &[u8]) -> Result<Vec<R>> {
    match serde_json::from_slice::<Answer<R>>(answer) {
        Ok(Answer { exception: Some(exception), .. }) => Err(Error::BadResponse(exception)),
        Ok(Answer { data, rows, .. }) if data.len() == rows => Ok(data),
        // What does not fit is not shown, since it may be a value.
        Ok(_) | Err(_) => Err(Error::Network(format!("of an answer only {} bytes came, or others", answer.len()).into())),
    }
}

/// What an insert is made of.
#[cfg(not(feature = "failpoints"))]
fn parts(header: Bytes, rows: Bytes) -> impl stream::Stream<Item = Bytes> + Send + Sync + 'static {
    stream::iter([header, rows])
}

#[cfg(feature = "failpoints")]
fn parts(header: Bytes, mut rows: Bytes) -> impl stream::Stream<Item = Bytes> + Send + Sync + 'static {
    use futures_util::StreamExt as _;
    let first = rows.split_to(rows.len() / 2);
    stream::iter([header, first]).chain(stream::once(async move {
        // The first half is written meanwhile.
        tokio::task::yield_now().await;
        fault_point!("clickhouse-mid-insert");
        rows
    }))
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
    fn only_a_whole_answer_is_read() {
        let answer = r#"{"meta": [], "data": [[7, "a"], [9, "b"]], "rows": 2, "statistics": {"elapsed": 0.1}}"#;
        let rows = |answer: &str| read::<(u64, String)>(answer.as_bytes()).ok();
        assert_eq!(rows(answer), Some(vec![(7, "a".to_owned()), (9, "b".to_owned())]));
        assert_eq!(rows(r#"{"data": [], "rows": 0}"#), Some(vec![]));
        assert_eq!(read::<(u64,)>(br#"{"data": [[7]], "rows": 1}"#).ok(), Some(vec![(7,)]));
        for end in 0..answer.len() {
            assert_eq!(rows(&answer[..end]), None, "{}", &answer[..end]);
        }
        for not_whole in [
            format!("{answer}Code: 241. DB::Exception: Memory. (MEMORY_LIMIT_EXCEEDED)"),
            r#"{"data": [[7, "a"]], "rows": 2}"#.to_owned(),
            r#"{"data": [[7, "a"]], "rows": 1, "exception": "Code: 241. DB::Exception: Memory. (MEMORY_LIMIT_EXCEEDED)"}"#.to_owned(),
            "<html>Down for maintenance</html>".to_owned(),
        ] {
            assert_eq!(rows(&not_whole), None, "{not_whole}");
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

//! What stands between the sink and ClickHouse answers as proxies do: none of it is taken for ClickHouse's word.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use aftersend_tests::{Deed, HttpProxy, Service, Setup, kafka_brokers};
use anyhow::Context as _;

use super::{each_once, produce_events, without_merges};

/// Deeds for the requests with some words in them, one after the other; then they pass.
type Deeds = Arc<Mutex<Vec<(&'static str, VecDeque<Deed>)>>>;

async fn behind_a_proxy(deeds: Vec<(&'static str, Vec<Deed>)>) -> anyhow::Result<(Setup, Deeds)> {
    let clickhouse = std::env::var("CLICKHOUSE_URL").context("CLICKHOUSE_URL is not set: run `make test`")?;
    let deeds: Deeds = Arc::new(Mutex::new(deeds.into_iter().map(|(words, deeds)| (words, deeds.into())).collect()));
    let decide = {
        let deeds = deeds.clone();
        move |request: &str| {
            let mut deeds = deeds.lock().unwrap_or_else(PoisonError::into_inner);
            let matching = deeds.iter_mut().find(|(words, _)| request.contains(words));
            matching.and_then(|(_, deeds)| deeds.pop_front()).unwrap_or(Deed::Pass)
        }
    };
    let proxy = HttpProxy::start(clickhouse.trim_start_matches("http://").to_owned(), decide).await?;
    let setup = Setup::with(&kafka_brokers()?, &format!("http://{}", proxy.address()), "").await?;
    without_merges(&setup, &["raw_events"]).await?;
    Ok((setup, deeds))
}

/// Every deed was done, every record is one row, and nobody is blamed.
async fn each_once_after(deeds: &Deeds, setup: Setup) -> anyhow::Result<()> {
    each_once(&setup, "raw_events", &setup.topics().raw()).await?;
    for (words, left) in deeds.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        assert_eq!(left.len(), 0, "left for {words}");
    }
    assert_eq!(setup.count("SELECT count() FROM dead_letters").await?, 0, "nobody is blamed for a proxy");
    setup.finish().await
}

fn answer(status: &str, headers: &str, body: &str) -> Deed {
    Deed::Answer(format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_insert_that_somebody_else_answers_is_sent_until_clickhouse_does() -> anyhow::Result<()> {
    const HTML: &str = "Content-Type: text/html\r\n";
    const OWN: &str = "X-ClickHouse-Query-Id: a\r\nX-ClickHouse-Summary: {}\r\n";
    let exception = "Code: 241. DB::Exception: Memory limit exceeded. (MEMORY_LIMIT_EXCEEDED)";
    let (begin, end) = exception.split_at(20);
    let chunks =
        format!("HTTP/1.1 200 OK\r\n{OWN}Transfer-Encoding: chunked\r\n\r\n14\r\n{begin}\r\n{:x}\r\n{end}\r\n0\r\n\r\n", end.len());
    let answers = vec![
        answer("200 OK", HTML, "<html>Down for maintenance</html>"),
        answer("200 OK", "", ""),
        answer("204 No Content", OWN, ""),
        Deed::Answer(chunks.into_bytes()),
        answer("200 OK", OWN, begin),
        answer("200 OK", "X-ClickHouse-Exception-Tag: abc\r\n", &format!("\r\n__exception__\r\nabc\r\n{exception}\n")),
        answer("407 Proxy Authentication Required", HTML, "<html>Error Code: 407 Proxy Authentication Required</html>"),
        answer("502 Bad Gateway", HTML, "<html>Error Code: 6</html>"),
    ];
    let (mut setup, deeds) = behind_a_proxy(vec![("INSERT+INTO+raw_events", answers)]).await?;
    produce_events(&setup, Some(0), 0..200).await?;
    setup.start(Service::ClickHouse).await?;
    each_once(&setup, "raw_events", &setup.topics().raw()).await?;
    let failures = "aftersend_clickhouse_insert_failures_total";
    for (cause, count) in [("no_access", 1.0), ("unreachable", 1.0), ("other", 6.0)] {
        let series = format!("{failures}{{cause=\"{cause}\",table=\"raw_events\"}}");
        assert_eq!(setup.metric(Service::ClickHouse, &series).await?, count, "{cause}");
    }
    each_once_after(&deeds, setup).await
}

/// Without its last row, and nothing says that there was one more.
fn short(answer: &[u8]) -> Vec<u8> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or_default();
    let (head, body) = answer.split_at(end + 4);
    let head = String::from_utf8_lossy(head).replace("Content-Length", "X-Length");
    [head.as_bytes(), &body[..body.len().saturating_sub(8)]].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_a_short_answer_leaves_out_are_not_sent_again() -> anyhow::Result<()> {
    let lost = |_: &[u8]| Vec::new();
    let (mut setup, deeds) = behind_a_proxy(vec![
        ("INSERT+INTO+raw_events", vec![Deed::Alter(lost)]),
        ("SELECT src_offset FROM", vec![Deed::Alter(short), Deed::Alter(short), Deed::Alter(lost), Deed::Alter(short)]),
    ])
    .await?;
    produce_events(&setup, Some(0), 0..200).await?;
    setup.start(Service::ClickHouse).await?;
    // Until the partition goes on.
    each_once(&setup, "raw_events", &setup.topics().raw()).await?;
    produce_events(&setup, Some(0), 200..300).await?;
    each_once(&setup, "raw_events", &setup.topics().raw()).await?;
    let missing = setup.metric(Service::ClickHouse, "aftersend_clickhouse_missing_rows_total{table=\"raw_events\"}").await?;
    assert_eq!(missing, 0.0, "all of them were there");
    each_once_after(&deeds, setup).await
}

use std::ffi::CString;
use std::time::Duration;

use aftersend_pipeline::kafka::producer_config;
use aftersend_schemas::headers::Received;
use aftersend_tests::{Service, Setup, eventually, read_topic};
use anyhow::ensure;
use rdkafka::error::IsError as _;
use rdkafka::producer::{BaseProducer, FutureRecord, Producer as _};

use super::{event, produce, produce_events, producer, received, without_merges};

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_clickhouse_refuses_are_found_among_the_others_and_only_they_go_to_the_dead_letters() -> anyhow::Result<()> {
    let mut setup = Setup::new("").await?;
    without_merges(&setup, &["raw_events"]).await?;
    setup.database().query("ALTER TABLE raw_events ADD CONSTRAINT short_keys CHECK length(key) < 20").execute().await?;
    let (producer, raw) = (producer(&setup)?, setup.topics().raw());
    produce_events(&setup, Some(0), 0..200).await?;
    let address = "somebody.with.a.long.name@shop.example";
    for number in [200, 201] {
        produce(&producer, &raw, Some(0), address, &event(number)).await?;
    }
    produce_events(&setup, Some(0), 202..400).await?;
    produce(&producer, &raw, Some(0), address, &event(400)).await?;

    setup.start(Service::ClickHouse).await?;
    eventually(Duration::from_secs(60), async || {
        let rows = setup.count("SELECT count() FROM raw_events").await?;
        let dead = setup.count("SELECT count() FROM dead_letters_current").await?;
        ensure!(rows == 398 && dead == 3, "{rows} rows, {dead} dead letters");
        Ok(())
    })
    .await?;
    assert_eq!(setup.count("SELECT uniqExact(src_offset) FROM raw_events").await?, 398);
    let letters = "SELECT src_offset, reason, stage, error FROM dead_letters_current ORDER BY src_offset";
    let letters = setup.database().query(letters).fetch_all::<(u64, String, String, String)>().await?;
    let offsets: Vec<u64> = letters.iter().map(|letter| letter.0).collect();
    assert_eq!(offsets, [200, 201, 400]);
    for (_, reason, stage, error) in &letters {
        assert_eq!((reason.as_str(), stage.as_str()), ("refused_by_clickhouse", "sink.clickhouse.raw_events"));
        assert!(error.contains("rule short_keys") && error.contains("column key"), "{error}");
        assert!(!error.contains("somebody") && error.contains("characters"), "no address: {error}");
    }
    let (config, dead) = (setup.config.clone(), setup.topics().dead());
    let dead = tokio::task::spawn_blocking(move || read_topic(&config, &dead)).await??;
    assert_eq!(dead[0].value.as_deref().map(|value| value.starts_with(b"{")), Some(true), "the original bytes");
    assert_eq!(setup.metric(Service::ClickHouse, "aftersend_clickhouse_stopped_partitions").await?, 0.0);
    setup.finish().await
}

/// The table's partitions go by the time in an id, whatever the event's own time is.
#[tokio::test(flavor = "multi_thread")]
async fn ids_of_hundreds_of_times_at_once_hold_nothing_up() -> anyhow::Result<()> {
    let mut setup = Setup::new("").await?;
    let (producer, raw) = (producer(&setup)?, setup.topics().raw());
    let letters: Vec<char> = "0123456789ABCDEFGHJKMNPQRSTVWXYZ".chars().collect();
    for number in 0..400 {
        let id = format!("01{}{}{number:022}", letters[number % 32], letters[number / 32]);
        let body = format!(
            r#"{{"event_id":"{id}","object_type":"email","metric":"delivered","timestamp":1770000000,"data":{{"customer_id":"u","delivery_id":"d{number}"}}}}"#
        );
        produce(&producer, &raw, Some(0), "u", body.as_bytes()).await?;
    }
    setup.start(Service::ClickHouse).await?;
    eventually(Duration::from_secs(60), async || {
        let rows = setup.count("SELECT count() FROM message_outcomes").await?;
        ensure!(rows == 400, "{rows} rows");
        Ok(())
    })
    .await?;
    assert_eq!(setup.count("SELECT uniqExact(intDiv(slice, 1024)) FROM message_outcomes").await?, 400);
    assert_eq!(
        setup.metric(Service::ClickHouse, "aftersend_clickhouse_inserts_total{result=\"failed\",table=\"message_outcomes\"").await?,
        0.0
    );
    setup.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_claims_to_arrive_after_2106_is_kept() -> anyhow::Result<()> {
    let mut setup = Setup::new("").await?;
    let (producer, raw) = (producer(&setup)?, setup.topics().raw());
    let headers = aftersend_pipeline::record_headers::raw(&Received { received_at: 5_000_000_000_000, ..received() });
    let body = event(1);
    let record = FutureRecord::to(&raw).key("c-1").payload(&body).headers(headers);
    producer.send(record, Duration::from_secs(30)).await.map_err(|(error, _)| error)?;
    setup.start(Service::ClickHouse).await?;
    for table in ["raw_events", "message_outcomes"] {
        eventually(Duration::from_secs(30), async || {
            ensure!(setup.count(&format!("SELECT count() FROM {table}")).await? == 1, "no row in {table}");
            Ok(())
        })
        .await?;
        setup.database().query(&format!("OPTIMIZE TABLE {table} FINAL")).execute().await?;
        assert_eq!(setup.count(&format!("SELECT count() FROM {table}")).await?, 1, "{table}");
    }
    setup.finish().await
}

/// A record in partition 0 with a header whose name is no UTF-8, and one that says its source.
#[expect(unsafe_code, reason = "rdkafka takes names as text only")]
fn produce_with_odd_header(setup: &Setup, topic: &str, body: &[u8]) -> anyhow::Result<()> {
    use rdkafka::bindings::{RD_KAFKA_MSG_F_COPY, rd_kafka_producev, rd_kafka_vtype_t as vtype};
    let producer: BaseProducer = producer_config(&setup.config, "test", 30_000).create()?;
    let (topic, key, value) = (CString::new(topic)?, "c-1", "default");
    // SAFETY: tags and what follows them are as librdkafka's `rd_kafka_vtype_t` has them, and everything is copied before it returns.
    let answer = unsafe {
        rd_kafka_producev(
            producer.client().native_ptr(),
            vtype::RD_KAFKA_VTYPE_TOPIC,
            topic.as_ptr(),
            vtype::RD_KAFKA_VTYPE_PARTITION,
            0_i32,
            vtype::RD_KAFKA_VTYPE_MSGFLAGS,
            RD_KAFKA_MSG_F_COPY,
            vtype::RD_KAFKA_VTYPE_KEY,
            key.as_ptr(),
            key.len(),
            vtype::RD_KAFKA_VTYPE_VALUE,
            body.as_ptr(),
            body.len(),
            vtype::RD_KAFKA_VTYPE_HEADER,
            c"\xff\xfe".as_ptr(),
            value.as_ptr(),
            value.len(),
            vtype::RD_KAFKA_VTYPE_HEADER,
            c"source".as_ptr(),
            value.as_ptr(),
            value.len(),
            vtype::RD_KAFKA_VTYPE_END,
        )
    };
    ensure!(!answer.is_error(), "{answer:?}");
    Ok(producer.flush(Duration::from_secs(30))?)
}

/// Any producer can write such a header, and one that cannot be read must not keep what follows it from anybody.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_with_a_header_whose_name_is_no_text_is_one_like_any_other() -> anyhow::Result<()> {
    let mut setup = Setup::new("").await?;
    let (producer, raw) = (producer(&setup)?, setup.topics().raw());
    produce_with_odd_header(&setup, &raw, &event(1))?;
    produce(&producer, &raw, Some(0), "c-2", &event(2)).await?;
    setup.start(Service::ClickHouse).await?;
    setup.start(Service::Processor).await?;
    for table in ["raw_events_current", "message_outcomes_current", "profiles_current"] {
        eventually(Duration::from_secs(60), async || {
            let rows = setup.count(&format!("SELECT count() FROM {table}")).await?;
            ensure!(rows == 2, "{rows} rows of {table}");
            Ok(())
        })
        .await?;
    }
    assert_eq!(setup.count("SELECT count() FROM raw_events WHERE source = 'default'").await?, 2, "its other headers are read");
    setup.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_its_table_refuses_is_written_once_more_and_not_for_ever() -> anyhow::Result<()> {
    let mut setup = Setup::new("").await?;
    setup.database().query("ALTER TABLE dead_letters ADD CONSTRAINT five CHECK length(payload) != 5").execute().await?;
    let (producer, raw) = (producer(&setup)?, setup.topics().raw());
    // None of them is an event, so each becomes a dead letter of `message_outcomes`.
    for body in ["abcde", "abcdef"] {
        produce(&producer, &raw, Some(0), "u", body.as_bytes()).await?;
    }
    setup.start(Service::ClickHouse).await?;
    let refused = "aftersend_clickhouse_unreadable_records_total{reason=\"refused_by_clickhouse\",table=\"dead_letters\"";
    eventually(Duration::from_secs(60), async || {
        let (refused, rows) = (setup.metric(Service::ClickHouse, refused).await?, setup.count("SELECT count() FROM dead_letters").await?);
        ensure!(refused == 2.0 && rows == 1, "{refused} refused, {rows} rows");
        Ok(())
    })
    .await?;
    // Behind everything that was given up.
    produce(&producer, &raw, Some(0), "u", b"abcdefg").await?;
    eventually(Duration::from_secs(60), async || {
        let rows = setup.count("SELECT count() FROM dead_letters").await?;
        ensure!(rows == 2, "{rows} rows");
        Ok(())
    })
    .await?;
    let (config, dead) = (setup.config.clone(), setup.topics().dead());
    let dead = tokio::task::spawn_blocking(move || read_topic(&config, &dead)).await??;
    assert_eq!(dead.len(), 4, "three, and the refused one once more");
    setup.finish().await
}

//! Records as ingest writes them: 560 bytes, spread over all partitions.

use std::time::Duration;

use aftersend_pipeline::kafka::producer_config;
use aftersend_pipeline::{record_headers, unix_millis};
use aftersend_schemas::headers::Received;
use aftersend_tests::Setup;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

const BODY_BYTES: usize = 560;

/// The body of an event and the key of its record.
pub(crate) fn event(n: usize, now: i64) -> (String, Vec<u8>) {
    let customer = format!("{}", 100_000 + n % 4_096);
    let (metric, more) = match n % 8 {
        0..3 => ("delivered", ""),
        3..5 => ("opened", r#","machine":false,"proxied":true"#),
        5 => ("clicked", r#","href":"https://shop.example/sale?utm_source=cio","link_id":3"#),
        6 => ("sent", ""),
        _ => ("bounced", r#","failure_message":"550 5.1.1 Recipient address rejected: User unknown""#),
    };
    let event = format!(
        r#"{{"data":{{"action_id":118,"campaign_id":31,"customer_id":"{customer}","delivery_id":"RPILAgUB{n:020}=","identifiers":{{"id":"{customer}"}},"recipient":"customer-{customer}@shop.example"{more},"subject":"{{}}"}},"event_id":"01KGE4QRED{n:016}","object_type":"email","metric":"{metric}","timestamp":{now}}}"#
    );
    let room = BODY_BYTES - event.len() + 2;
    (customer, event.replace("{}", &"News from the shop ".repeat(30)[..room]).into_bytes())
}

pub(crate) fn received(now: i64) -> Received<'static> {
    Received {
        source: "default".into(),
        workspace: "default".into(),
        received_at: now,
        signature_timestamp: (now / 1000).to_string().into(),
        content_type: "application/json".into(),
        ingest_id: "01KGDPA0000000000000000001".into(),
    }
}

/// Writes so many and waits until the broker has them.
pub(crate) async fn produce(setup: &Setup, count: usize) -> anyhow::Result<()> {
    static WRITTEN: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let first = WRITTEN.fetch_add(count, std::sync::atomic::Ordering::Relaxed);
    let (config, topic) = (setup.config.clone(), setup.topics().raw());
    tokio::task::spawn_blocking(move || {
        let producer: BaseProducer = producer_config(&config, "bench", 60_000).create()?;
        let now = unix_millis();
        let received = received(now);
        for n in first..first + count {
            let (key, body) = event(n, now / 1000);
            let mut record = BaseRecord::to(&topic).key(&key).payload(&body).timestamp(now).headers(record_headers::raw(&received));
            while let Err((_, back)) = producer.send(record) {
                record = back;
                producer.poll(Duration::from_millis(5));
            }
        }
        producer.flush(Duration::from_secs(60))?;
        anyhow::Ok(())
    })
    .await?
}

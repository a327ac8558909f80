//! What is read: 560-byte events of many customers, some of whom get most of the mail; 5 % come twice, 10 % late.

use std::time::Duration;

use aftersend_pipeline::config::Config;
use aftersend_pipeline::kafka::producer_config;
use aftersend_pipeline::record_headers;
use aftersend_pipeline::unix_millis;
use aftersend_schemas::headers::Received;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use ulid::Ulid;

const BODY: usize = 560;
const DAY: i64 = 86_400;

pub(crate) struct Events {
    random: SmallRng,
    customers: u32,
    number: u64,
    /// Written again, or written late.
    kept: Vec<(String, String, i64)>,
}

impl Events {
    pub(crate) fn of(customers: u32, seed: u64) -> Self {
        Self { random: SmallRng::seed_from_u64(seed), customers, number: 0, kept: Vec::new() }
    }

    /// Key, body, arrival in Unix milliseconds.
    pub(crate) fn next(&mut self, now: i64) -> (String, String, i64) {
        if !self.kept.is_empty() && self.random.random_range(0..100) < 5 {
            let place = self.random.random_range(0..self.kept.len());
            return self.kept[place].clone();
        }
        self.number += 1;
        // The cube of an even number: a tenth of the customers gets nearly half of the mail.
        let share: f64 = self.random.random();
        let customer = ((share * share * share * f64::from(self.customers)) as u32).min(self.customers - 1);
        let customer = format!("cust-{:08}", customer.wrapping_mul(2_654_435_761) % self.customers);
        let late = if self.random.random_range(0..100) < 10 { self.random.random_range(0..30 * DAY) } else { 0 };
        let at = now / 1000 - late;
        let (metric, more) = match self.random.random_range(0..1000) {
            0..600 => ("delivered", ""),
            600..850 => ("opened", r#""proxied":false,"prefetched":false,"#),
            850..950 => ("clicked", r#""href":"https://shop.example/spring","link_id":4,"#),
            950..960 => ("converted", ""),
            960..980 => ("bounced", r#""failure_message":"421 4.4.2 Connection timed out","#),
            980..985 => ("bounced", r#""failure_message":"550 5.1.1 User unknown","#),
            985..995 => ("deferred", r#""failure_message":"421 4.7.0 Try again later","#),
            _ => ("unsubscribed", ""),
        };
        let delivery = self.number / 3;
        let mut body = format!(
            r#"{{"data":{{"customer_id":"{customer}","identifiers":{{"id":"{customer}"}},"delivery_id":"dgLI{delivery:016x}","campaign_id":31,"action_id":118,{more}"recipient":"{customer}@shop{}.example","subject":""#,
            self.number % 50
        );
        // With the time of the event: one of another time would not be believed.
        let event_id = Ulid::from_parts(u64::try_from(at * 1000).unwrap_or_default(), self.number.into());
        let rest = format!(r#""}},"event_id":"{event_id}","object_type":"email","metric":"{metric}","timestamp":{at}}}"#);
        while body.len() + rest.len() < BODY {
            body.push('x');
        }
        body.push_str(&rest);
        let event = (customer, body, now);
        if self.kept.len() < 10_000 {
            self.kept.push(event.clone());
        } else {
            let place = self.random.random_range(0..self.kept.len());
            self.kept[place] = event.clone();
        }
        event
    }
}

pub(crate) struct Writer {
    producer: ThreadedProducer<DefaultProducerContext>,
    topic: String,
}

impl Writer {
    pub(crate) fn to(config: &Config, topic: &str) -> anyhow::Result<Self> {
        let mut client = producer_config(config, "bench", 60_000);
        client.set("linger.ms", "5").set("batch.size", "1000000");
        Ok(Self { producer: client.create()?, topic: topic.to_owned() })
    }

    pub(crate) fn write(&self, (key, body, received_at): &(String, String, i64)) -> anyhow::Result<()> {
        let received = Received {
            source: "default".into(),
            workspace: "default".into(),
            received_at: *received_at,
            signature_timestamp: (received_at / 1000).to_string().into(),
            content_type: "application/json".into(),
            ingest_id: "01KGDPA0000000000000000001".into(),
        };
        let mut record = BaseRecord::to(&self.topic).key(key).payload(body).timestamp(*received_at).headers(record_headers::raw(&received));
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }

    pub(crate) fn flush(&self) -> anyhow::Result<()> {
        Ok(self.producer.flush(Duration::from_secs(120))?)
    }
}

/// Fills a topic.
pub(crate) fn fill(config: &Config, topic: &str, customers: u32, count: usize) -> anyhow::Result<()> {
    let writer = Writer::to(config, topic)?;
    let mut events = Events::of(customers, 7);
    // As if it had come in the hour before.
    let begin = unix_millis() - 3_600_000;
    for n in 0..count {
        let now = begin + i64::try_from(n * 3_000_000 / count)?;
        writer.write(&events.next(now))?;
    }
    writer.flush()
}

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use aftersend_pipeline::config::Config;
use aftersend_pipeline::consumer::{Handle, Partition};
use aftersend_pipeline::kafka::{ClientWatch, transactional_producer_config};
use aftersend_pipeline::offsets::NextOffset;
use aftersend_schemas::topics::{PARTITIONS, Topics};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientContext, Offset, Statistics, TopicPartitionList};
use tokio::sync::mpsc;

use super::input::Input;
use super::store::Checkpoint;

const TIMEOUT: Duration = Duration::from_secs(15);

/// A record for its partition.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) key: Box<[u8]>,
    pub(super) timestamp: i64,
    /// Nothing: a tombstone.
    pub(super) value: Option<Vec<u8>>,
}

/// What is written together, or not at all.
#[derive(Debug, Default)]
pub(super) struct Flight {
    pub(super) outputs: Vec<Output>,
    pub(super) offsets: Vec<(Partition, NextOffset)>,
    /// Committed beside what is written there.
    pub(super) places: Vec<Place>,
}

/// How far a partition of `profiles` is known, and the number of its topic: see `aftersend_pipeline::store`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) partition: i32,
    pub(super) topic: u64,
    pub(super) next: i64,
}

/// How it ended.
#[derive(Debug)]
pub(super) enum Landing {
    /// Written. Where `profiles` goes on, by partition.
    Committed { next: BTreeMap<i32, i64>, seconds: f64 },
    /// Nothing of it was written: it can be tried again.
    Aborted(KafkaError),
    /// Nobody knows, or never again with this producer.
    Failed(KafkaError),
}

/// See [`fenced_producer`].
pub(super) type FencedProducer = ThreadedProducer<Delivered>;

/// The one transactional producer of this replica's name: a predecessor can write no more, and what it left open is aborted. Blocks.
pub(super) fn fenced_producer(config: &Config) -> KafkaResult<FencedProducer> {
    let topics = Topics::new(&config.kafka.topic_prefix);
    let client = transactional_producer_config(config, "processor", &topics.processor_group());
    let watch = ClientWatch::new(config);
    let producer: FencedProducer = client.create_with_context(Delivered::to(topics.profiles(), watch.clone()))?;
    watch.attach(producer.client());
    producer.init_transactions(TIMEOUT)?;
    Ok(producer)
}

/// Runs transactions one after the other on a thread of its own, since every call blocks.
pub(super) struct Transactions {
    flights: std::sync::mpsc::Sender<Flight>,
    landings: mpsc::Receiver<Landing>,
    thread: std::thread::JoinHandle<()>,
}

impl Transactions {
    /// Begins with none.
    pub(super) fn start(producer: FencedProducer, group: Handle<Input>, profiles: &str) -> KafkaResult<Self> {
        let (flights, queue) = std::sync::mpsc::channel::<Flight>();
        let (landed, landings) = mpsc::channel(1);
        let runner = Runner { producer, group, profiles: profiles.to_owned() };
        let thread = std::thread::Builder::new()
            .name("transactions".into())
            .spawn(move || {
                for flight in queue {
                    if landed.blocking_send(runner.fly(&flight)).is_err() {
                        return;
                    }
                }
            })
            .map_err(|error| KafkaError::ClientCreation(format!("cannot start the thread for transactions: {error}")))?;
        Ok(Self { flights, landings, thread })
    }

    /// Starts one. The one before must have landed.
    pub(super) fn depart(&self, flight: Flight) {
        // Without its thread nothing lands either, which is where that is noticed.
        let _ = self.flights.send(flight);
    }

    /// Waits for the one under way.
    pub(super) async fn landing(&mut self) -> Landing {
        match self.landings.recv().await {
            Some(landing) => landing,
            None => Landing::Failed(KafkaError::Canceled),
        }
    }
}

impl Transactions {
    /// Waits until the producer is gone.
    pub(super) async fn close(self) {
        let Self { flights, mut landings, thread } = self;
        drop(flights);
        landings.close();
        let _ = tokio::task::spawn_blocking(move || thread.join()).await;
    }
}

struct Runner {
    producer: FencedProducer,
    group: Handle<Input>,
    profiles: String,
}

impl Runner {
    fn fly(&self, flight: &Flight) -> Landing {
        let started = Instant::now();
        self.producer.context().reset();
        let Err(error) = self.try_fly(flight) else {
            return Landing::Committed { next: self.producer.context().next(), seconds: started.elapsed().as_secs_f64() };
        };
        let is_fatal = matches!(&error, KafkaError::Transaction(error) if error.is_fatal());
        if is_fatal || self.producer.client().fatal_error().is_some() {
            return Landing::Failed(error);
        }
        match self.producer.abort_transaction(TIMEOUT) {
            Ok(()) => Landing::Aborted(error),
            Err(abort) => {
                tracing::warn!(error = %abort, "cannot abort the transaction; the next start does");
                Landing::Failed(error)
            }
        }
    }

    fn try_fly(&self, flight: &Flight) -> KafkaResult<()> {
        self.producer.begin_transaction()?;
        for output in &flight.outputs {
            self.send(output)?;
        }
        // Everything is in the log before the group hears of it: whoever is given these partitions next looks for the end of the log after that, and so
        // finds all that comes with the offsets it starts from.
        self.producer.flush(TIMEOUT)?;
        let member = self.group.group_metadata().ok_or_else(|| KafkaError::ClientCreation("no membership of the group".into()))?;
        self.producer.send_offsets_to_transaction(&self.offsets(flight)?, &member, TIMEOUT)?;
        loop {
            match self.producer.commit_transaction(TIMEOUT) {
                // The outcome is not known yet; asking again is what the protocol wants.
                Err(KafkaError::Transaction(error)) if error.is_retriable() => tracing::warn!(%error, "commit is retried"),
                result => return result,
            }
        }
    }

    fn offsets(&self, flight: &Flight) -> KafkaResult<TopicPartitionList> {
        let mut list = aftersend_pipeline::consumer::list(&flight.offsets)?;
        let next = self.producer.context().next();
        for place in &flight.places {
            let written = next.get(&place.partition).copied().unwrap_or_default();
            let mut element = list.add_partition(&self.profiles, place.partition);
            element.set_offset(Offset::Offset(place.next.max(written)))?;
            element.set_metadata(Checkpoint::note(place.topic));
        }
        Ok(list)
    }

    fn send(&self, output: &Output) -> KafkaResult<()> {
        let mut record: BaseRecord<'_, [u8], [u8]> =
            BaseRecord::to(&output.topic).partition(output.partition).key(output.key.as_ref()).timestamp(output.timestamp);
        if let Some(value) = &output.value {
            record = record.payload(value);
        }
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    self.producer.poll(Duration::from_millis(10));
                }
                Err((error, _)) => return Err(error),
            }
        }
    }
}

/// Where the records of a transaction came to lie in `profiles`.
pub(super) struct Delivered {
    topic: String,
    /// By partition: the offset behind the last record.
    next: Vec<AtomicI64>,
    watch: ClientWatch,
}

impl Delivered {
    fn to(topic: String, watch: ClientWatch) -> Self {
        Self { topic, next: (0..PARTITIONS).map(|_| AtomicI64::new(0)).collect(), watch }
    }

    fn reset(&self) {
        for next in &self.next {
            next.store(0, Ordering::SeqCst);
        }
    }

    fn next(&self) -> BTreeMap<i32, i64> {
        let next = self.next.iter().map(|next| next.load(Ordering::SeqCst));
        (0..).zip(next).filter(|(_, next)| *next > 0).collect()
    }
}

impl ClientContext for Delivered {
    fn error(&self, error: KafkaError, reason: &str) {
        self.watch.error(&error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        self.watch.stats(&statistics);
    }
}

impl ProducerContext for Delivered {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        // A record that was not delivered fails its transaction.
        if let Ok(message) = result
            && message.topic() == self.topic
            && let Some(next) = usize::try_from(message.partition()).ok().and_then(|partition| self.next.get(partition))
        {
            next.fetch_max(message.offset() + 1, Ordering::SeqCst);
        }
    }
}

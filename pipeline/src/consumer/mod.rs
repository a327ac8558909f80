//! The one consumer loop: a thread that polls, a channel of notices, and a revoke that waits until its owner has let go.
//!
//! ```text
//! librdkafka ─▶ poll thread ─▶ Assigned, Records, Revoked ─▶ service
//!                    ▲                                          │
//!                    └────────── commit, pause, resume ─────────┘
//! ```
//!
//! rdkafka runs the rebalance callback inside `poll`, synchronously: polling therefore has a thread of its own, and the callback hands the revoked
//! partitions over and waits (up to a deadline) until the service has drained them.

mod alone;
mod context;
mod ownership;
mod poll;
mod progress;
mod range;
mod reader;
mod restore;
mod tail;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc as blocking};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::{Semaphore, mpsc};

use crate::config::Config;
use crate::kafka::{ClientWatch, consumer_config};
use crate::offsets::NextOffset;
use crate::record::Record;
use crate::telemetry::ConsumerMetrics;

use context::Context;
pub use context::Released;
pub use progress::Progress;
pub use range::RangeReader;
pub use reader::{Reader, Whole};
pub use restore::{RestoreError, Restored, read_to_end, restore_partitions};
pub use tail::Tail;

/// A topic's partition.
pub type Partition = (Arc<str>, i32);

/// What the poll thread tells the service, in order. `T` is what a [`Reader`] makes of a message.
#[derive(Debug)]
pub enum Notice<T = Record> {
    /// These partitions are ours now.
    Assigned(Vec<Partition>),
    /// The next records, any partitions mixed, each partition in order.
    Records(Vec<T>),
    /// These partitions go. Finish or drop their work, commit, then drop the guard; the group waits for it.
    Revoked(Vec<Partition>, Released),
    /// The consumer cannot go on (fenced by another member of the same name, for one).
    Failed(KafkaError),
}

/// A group member.
pub struct Consumer<T: Send + 'static = Record> {
    notices: mpsc::UnboundedReceiver<Notice<T>>,
    /// Permits for chunks of records. Rebalances need none: they are never lost behind records that nobody takes.
    room: Arc<Semaphore>,
    /// Chunks taken while held back.
    owed: Option<usize>,
    handle: Handle<T>,
    thread: Option<std::thread::JoinHandle<()>>,
    /// Dropping it ends the watch over partitions without an owner.
    #[expect(dead_code, reason = "dropping it is the message")]
    ownership: Option<blocking::Sender<()>>,
}

/// Acts on the group from any task.
pub struct Handle<T: Send + 'static = Record> {
    consumer: Arc<BaseConsumer<Context<T>>>,
    stop: Arc<AtomicBool>,
    /// A revoke was not drained in time: partitions went while there was work on them.
    overrun: Arc<AtomicBool>,
    /// Partitions that the service wants no more of for now.
    paused: Arc<Mutex<HashSet<Partition>>>,
}

/// What the group has committed for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Where to read next; nothing if the group has never committed here.
    pub next: Option<NextOffset>,
    /// The text committed beside it; empty if there was none or it is not text.
    pub metadata: String,
}

/// The thread that polls has died: a defect, and the log says where. Starting over would meet the same record again.
#[derive(Debug, thiserror::Error)]
#[error("the thread that reads from Kafka died")]
pub struct PollThreadDied;

const SEEK: Duration = Duration::from_secs(10);

/// Chunks that may wait between the poll thread and the service.
const CHUNKS: usize = 2;

impl<T: Send + 'static> Clone for Handle<T> {
    fn clone(&self) -> Self {
        Self { consumer: self.consumer.clone(), stop: self.stop.clone(), overrun: self.overrun.clone(), paused: self.paused.clone() }
    }
}

impl Consumer {
    /// Joins `group` and subscribes. `drain` bounds how long a revoke waits for its [`Released`] guard.
    pub fn subscribe(
        config: &Config,
        service: &str,
        group: &str,
        topics: &[&str],
        drain: Duration,
        metrics: ConsumerMetrics,
    ) -> KafkaResult<Self> {
        Self::subscribe_with(Whole, config, service, group, topics, drain, metrics)
    }
}

impl<T: Send + 'static> Consumer<T> {
    /// As [`Consumer::subscribe`], with messages read by `reader` on the polling thread, where they need not be copied.
    pub fn subscribe_with<R: Reader<Item = T>>(
        reader: R,
        config: &Config,
        service: &str,
        group: &str,
        topics: &[&str],
        drain: Duration,
        metrics: ConsumerMetrics,
    ) -> KafkaResult<Self> {
        let (sender, notices) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(CHUNKS));
        let overrun = Arc::new(AtomicBool::new(false));
        let watch = ClientWatch::new(config);
        let context = Context::new(watch.clone(), sender.downgrade(), drain, metrics.clone(), overrun.clone());
        let mut client = consumer_config(config, service, group);
        client.set("enable.partition.eof", if R::WANTS_ENDS { "true" } else { "false" });
        if R::COLLECTS {
            client.set("fetch.min.bytes", "262144").set("fetch.wait.max.ms", "200");
        }
        let consumer: Arc<BaseConsumer<Context<T>>> = Arc::new(client.create_with_context(context)?);
        watch.attach(consumer.client());
        consumer.subscribe(topics)?;
        let handle = Handle { consumer, stop: Arc::new(AtomicBool::new(false)), overrun, paused: Arc::default() };
        let (polled, polled_room, owners) = (handle.clone(), room.clone(), metrics.clone());
        let thread = std::thread::Builder::new()
            .name(format!("poll-{service}"))
            .spawn(move || poll::run(reader, &polled, &sender, &polled_room, &metrics))
            .map_err(|error| KafkaError::ClientCreation(format!("cannot start the poll thread: {error}")))?;
        // A member without a fixed name leaves when it dies, and then the group shares everything out.
        let ownership = if config.instance.is_some() { Some(watch_ownership(&handle, service, group, topics, owners)?) } else { None };
        Ok(Self { notices, room, owed: None, handle, thread: Some(thread), ownership })
    }

    /// The next notice; nothing once the poll thread has died.
    pub async fn next(&mut self) -> Option<Notice<T>> {
        let notice = self.notices.recv().await;
        if let Some(Notice::Records(_)) = notice {
            match &mut self.owed {
                Some(owed) => *owed += 1,
                None => self.room.add_permits(1),
            }
        }
        notice
    }

    /// While held, at most two more chunks of records come; rebalances go on.
    pub fn hold(&mut self, hold: bool) {
        match (hold, self.owed) {
            (true, None) => self.owed = Some(0),
            (false, Some(owed)) => {
                self.owed = None;
                self.room.add_permits(owed);
            }
            _ => {}
        }
    }

    /// For committing and the like from other tasks.
    pub fn handle(&self) -> Handle<T> {
        self.handle.clone()
    }

    /// Leaves the group. Work must be finished and committed before; whatever still comes is dropped unread.
    pub async fn close(mut self) {
        self.handle.stop.store(true, Ordering::Relaxed);
        // Dropping pending notices lets a waiting revoke go.
        self.notices.close();
        while self.notices.recv().await.is_some() {}
        if let Some(thread) = self.thread.take() {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

impl<T: Send + 'static> Handle<T> {
    /// Commits, and waits for the group coordinator's answer. `metadata` is kept beside each offset: ASCII, at most 4,096 bytes. Blocks.
    pub fn commit(&self, offsets: &[(Partition, NextOffset)], metadata: &str) -> KafkaResult<()> {
        let noted: Vec<_> = offsets.iter().map(|(partition, next)| (partition.clone(), *next, metadata.to_owned())).collect();
        self.commit_noted(&noted)
    }

    /// As [`Handle::commit`], with metadata for each partition. It may be of a topic that the group does not read.
    pub fn commit_noted(&self, offsets: &[(Partition, NextOffset, String)]) -> KafkaResult<()> {
        if offsets.is_empty() {
            return Ok(());
        }
        let mut list = TopicPartitionList::new();
        for ((topic, partition), next, metadata) in offsets {
            let mut element = list.add_partition(topic, *partition);
            element.set_offset(Offset::Offset(next.0))?;
            if !metadata.is_empty() {
                element.set_metadata(metadata);
            }
        }
        self.consumer.commit(&list, CommitMode::Sync)
    }

    /// What the group has committed for a partition. Blocks.
    pub fn committed(&self, partition: &Partition, timeout: Duration) -> KafkaResult<Committed> {
        let list = self.consumer.committed_offsets(Self::partitions(partition), timeout)?;
        let element = list.find_partition(&partition.0, partition.1);
        let next = element.as_ref().and_then(|element| match element.offset() {
            Offset::Offset(next) => Some(NextOffset(next)),
            _ => None,
        });
        // The client panics at bytes that are no UTF-8; whoever wrote them, it was not us.
        let read = || element.map(|element| element.metadata().to_owned()).unwrap_or_default();
        let metadata = std::panic::catch_unwind(std::panic::AssertUnwindSafe(read)).unwrap_or_default();
        Ok(Committed { next, metadata })
    }

    /// The first offset that a partition still holds, and the one behind its last committed record. Blocks.
    pub fn bounds(&self, partition: &Partition, timeout: Duration) -> KafkaResult<(i64, i64)> {
        self.consumer.fetch_watermarks(&partition.0, partition.1, timeout)
    }

    /// Proof of membership for a transaction; nothing once a revoke was not drained in time: from then on it may prove too much, since a member that
    /// lost partitions is a member still. Nothing either while the group has given this member up: a proof without a generation would be believed.
    pub fn group_metadata(&self) -> Option<ConsumerGroupMetadata> {
        let member = self.consumer.group_metadata();
        // Asked after the proof was made: a proof of before the overrun is refused by the coordinator.
        let is_member = !self.overrun.load(Ordering::SeqCst) && !self.consumer.assignment_lost();
        is_member.then_some(member).flatten()
    }

    /// Stops delivery of a partition; what has been delivered stays with the service.
    pub fn pause(&self, partition: &Partition) -> KafkaResult<()> {
        self.paused().insert(partition.clone());
        self.consumer.pause(&Self::partitions(partition))
    }

    /// Undoes [`Handle::pause`].
    pub fn resume(&self, partition: &Partition) -> KafkaResult<()> {
        self.paused().remove(partition);
        self.consumer.resume(&Self::partitions(partition))
    }

    /// Reads a partition from its beginning again; what was delivered before comes once more. Blocks.
    pub fn seek_to_beginning(&self, partition: &Partition) -> KafkaResult<()> {
        self.consumer.seek(&partition.0, partition.1, Offset::Beginning, SEEK)
    }

    /// A partition went: whoever gets it next begins unpaused.
    pub fn forget(&self, partition: &Partition) {
        self.paused().remove(partition);
    }

    fn paused(&self) -> std::sync::MutexGuard<'_, HashSet<Partition>> {
        self.paused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn partitions(partition: &Partition) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        list.add_partition(&partition.0, partition.1);
        list
    }
}

/// Starts the thread that finds partitions without an owner; it ends when what is returned is dropped.
fn watch_ownership<T: Send + 'static>(
    handle: &Handle<T>,
    service: &str,
    group: &str,
    topics: &[&str],
    metrics: ConsumerMetrics,
) -> KafkaResult<blocking::Sender<()>> {
    let watched = ownership::Watched {
        consumer: Arc::downgrade(&handle.consumer),
        group: group.to_owned(),
        topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
        metrics,
    };
    let (end, until) = blocking::channel();
    std::thread::Builder::new()
        .name(format!("owners-{service}"))
        .spawn(move || ownership::watch(&watched, &until))
        .map_err(|error| KafkaError::ClientCreation(format!("cannot start the thread that looks after the group: {error}")))?;
    Ok(end)
}

/// Offsets as clients want them.
pub fn list(offsets: &[(Partition, NextOffset)]) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for ((topic, partition), next) in offsets {
        list.add_partition_offset(topic, *partition, Offset::Offset(next.0))?;
    }
    Ok(list)
}

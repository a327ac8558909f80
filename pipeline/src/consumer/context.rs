use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as blocking;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::statistics::Statistics;
use rdkafka::{ClientContext, TopicPartitionList};
use tokio::sync::mpsc;

use super::{Notice, Partition};
use crate::kafka::ClientWatch;
use crate::telemetry::ConsumerMetrics;

/// Held by whoever still works on revoked partitions; dropping it lets the rebalance go on.
#[derive(Debug)]
pub struct Released {
    #[expect(dead_code, reason = "dropping it is the message")]
    guard: blocking::SyncSender<()>,
    lost: bool,
}

impl Released {
    /// The group has given the partitions away already: nothing of them can be committed any more.
    pub fn lost(&self) -> bool {
        self.lost
    }
}

/// Hands rebalances to the service and lags to the metrics.
pub(super) struct Context<T: Send + 'static> {
    /// The polling thread alone keeps the channel open, so that its end is heard.
    notices: mpsc::WeakUnboundedSender<Notice<T>>,
    drain: Duration,
    metrics: ConsumerMetrics,
    overrun: Arc<AtomicBool>,
    /// What changed since the polling thread last asked.
    changes: Mutex<Changes>,
    watch: ClientWatch,
}

/// Rebalances as the polling thread sees them.
#[derive(Default)]
pub(super) struct Changes {
    /// What was read of them and not handed on belongs to their next owner.
    pub(super) gone: Vec<Partition>,
    /// There are new ones; they deliver from the beginning.
    pub(super) came: bool,
}

impl<T: Send + 'static> Context<T> {
    pub(super) fn new(
        watch: ClientWatch,
        notices: mpsc::WeakUnboundedSender<Notice<T>>,
        drain: Duration,
        metrics: ConsumerMetrics,
        overrun: Arc<AtomicBool>,
    ) -> Self {
        Self { notices, drain, metrics, overrun, changes: Mutex::default(), watch }
    }

    /// What changed since the last call.
    pub(super) fn take_changes(&self) -> Changes {
        std::mem::take(&mut self.changes())
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A service that has ended needs to hear nothing.
    fn send(&self, notice: Notice<T>) {
        let _ = self.notices.upgrade().map(|notices| notices.send(notice));
    }
}

fn partitions(list: &TopicPartitionList) -> Vec<Partition> {
    list.elements().iter().map(|element| (Arc::from(element.topic()), element.partition())).collect()
}

/// Records behind the committed offset; behind the last one read, where the client does not see what is committed.
fn lag(partition: &rdkafka::statistics::Partition, commits_in_transactions: bool) -> Option<i64> {
    if !commits_in_transactions {
        return (partition.consumer_lag >= 0).then_some(partition.consumer_lag);
    }
    // Before the first record the position is where fetching began.
    let position = if partition.app_offset >= 0 { partition.app_offset } else { partition.next_offset };
    (position >= 0 && partition.ls_offset >= 0).then(|| (partition.ls_offset - position).max(0))
}

impl<T: Send + 'static> ClientContext for Context<T> {
    fn stats(&self, statistics: Statistics) {
        self.watch.stats(&statistics);
        for (name, topic) in &statistics.topics {
            for (number, partition) in &topic.partitions {
                if *number >= 0
                    && let Some(lag) = lag(partition, self.metrics.commits_in_transactions)
                {
                    self.metrics.set_lag(name, *number, lag);
                }
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.watch.error(&error, reason);
    }
}

impl<T: Send + 'static> ConsumerContext for Context<T> {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Rebalance::Revoke(list) = rebalance else { return };
        if list.count() == 0 {
            return;
        }
        let revoked = partitions(list);
        for (topic, partition) in &revoked {
            self.metrics.forget_lag(topic, *partition);
        }
        let lost = consumer.assignment_lost();
        tracing::info!(partitions = revoked.len(), lost, "partitions revoked");
        self.changes().gone.extend(revoked.iter().cloned());
        let (guard, wait) = blocking::sync_channel(0);
        self.send(Notice::Revoked(revoked, Released { guard, lost }));
        // Nobody ever sends: the wait ends when the guard is dropped, or in time.
        if wait.recv_timeout(self.drain) == Err(blocking::RecvTimeoutError::Timeout) {
            self.overrun.store(true, Ordering::SeqCst);
            tracing::error!(
                limit_seconds = self.drain.as_secs(),
                "revoked partitions were not drained in time; their work will be done again"
            );
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(list) if list.count() > 0 => {
                let assigned = partitions(list);
                tracing::info!(partitions = assigned.len(), "partitions assigned");
                // The client remembers what was paused before a partition went.
                if let Err(error) = consumer.resume(list) {
                    tracing::warn!(%error, "cannot resume what was assigned");
                }
                self.changes().came = true;
                self.send(Notice::Assigned(assigned));
            }
            Rebalance::Error(error) => tracing::error!(%error, "rebalance failed"),
            _ => {}
        }
    }
}

use std::ffi::CString;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use rdkafka::statistics::Statistics;
use rdkafka::types::RDKafka;

use super::complaints::Complaints;
use crate::config::Config;

/// Looks after a client: what it complains of goes to the log, and one that knows no broker any more is told of them again. The whole context of a client
/// that has no more to say.
///
/// librdkafka 2.12 forgets every broker that an answer about the cluster does not name. Brokers that have just been fenced (all of them at once: a machine
/// that stood still, a controller that was away) name none, and then its own way back is cut off by a race
/// (<https://github.com/confluentinc/librdkafka/issues/5301>): the client stays deaf for good, without a word.
#[derive(Debug, Clone)]
pub struct ClientWatch(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    complaints: Complaints,
    brokers: CString,
    /// Null until the client is there.
    client: AtomicPtr<RDKafka>,
}

impl ClientWatch {
    /// For a client of these brokers.
    pub fn new(config: &Config) -> Self {
        // A NUL cannot be in a list that was taken before.
        let brokers = CString::new(config.kafka.brokers.as_str()).unwrap_or_default();
        Self(Arc::new(Inner { complaints: Complaints::default(), brokers, client: AtomicPtr::new(ptr::null_mut()) }))
    }

    /// Begins with it: once, when the client whose context it is part of has been made.
    pub fn attach<C: ClientContext>(&self, client: &Client<C>) {
        self.0.client.store(client.native_ptr(), Ordering::Release);
    }

    /// For [`ClientContext::error`] of this client.
    pub fn error(&self, error: &KafkaError, reason: &str) {
        self.0.complaints.tell(error, reason);
    }

    /// For [`ClientContext::stats`] of this client, and for nobody else.
    #[expect(unsafe_code, reason = "rdkafka has no call for it")]
    pub fn stats(&self, statistics: &Statistics) {
        let client = self.0.client.load(Ordering::Acquire);
        if client.is_null() || !knows_no_broker(statistics) {
            return;
        }
        tracing::warn!(client = statistics.client_id, "no broker is known any more: beginning with kafka.brokers again");
        // SAFETY: the client itself calls this, so it is there; it reads the text before it returns.
        unsafe {
            rdkafka::bindings::rd_kafka_brokers_add(client, self.0.brokers.as_ptr());
        }
    }
}

/// Those that are down count; what stands for "the coordinator, whoever that is" does not.
fn knows_no_broker(statistics: &Statistics) -> bool {
    !statistics.brokers.values().any(|broker| matches!(broker.source.as_str(), "learned" | "configured"))
}

impl ClientContext for ClientWatch {
    fn error(&self, error: KafkaError, reason: &str) {
        self.error(&error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        self.stats(&statistics);
    }
}

impl ConsumerContext for ClientWatch {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_knows_no_broker_when_all_that_is_left_is_a_name_for_one() {
        let of = |source: &str| {
            let broker = rdkafka::statistics::Broker { source: source.to_owned(), state: "DOWN".to_owned(), ..Default::default() };
            (source.to_owned(), broker)
        };
        let of = |sources: &[&str]| Statistics { brokers: sources.iter().map(|source| of(source)).collect(), ..Default::default() };
        assert!(knows_no_broker(&of(&[])));
        assert!(knows_no_broker(&of(&["logical", "internal"])));
        assert!(!knows_no_broker(&of(&["logical", "configured"])), "it will try that again by itself");
        assert!(!knows_no_broker(&of(&["learned"])));
    }
}

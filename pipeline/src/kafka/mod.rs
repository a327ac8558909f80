//! Kafka clients with the settings on which our promises rest.

mod admin;
mod client;
mod complaints;
mod dead_letter_queue;
mod watch;

pub use admin::{TopicError, check_topics, create_topics, topic_setting, wait_for_topics};
pub use client::{consumer_config, producer, producer_config, transactional_producer_config};
pub use dead_letter_queue::DeadLetterQueue;
pub use watch::ClientWatch;

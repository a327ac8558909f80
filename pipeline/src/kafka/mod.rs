//! Kafka clients with the settings on which our promises rest.

mod admin;
mod client;
mod complaints;
mod dead_letter_queue;

pub use admin::{TopicError, check_topics, create_topics, topic_setting, wait_for_topics};
pub use client::{consumer_config, producer_config, transactional_producer_config};
pub use complaints::Complaints;
pub use dead_letter_queue::DeadLetterQueue;

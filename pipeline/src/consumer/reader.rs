use std::sync::Arc;

use rdkafka::message::BorrowedMessage;

use crate::offsets::NextOffset;
use crate::record::Record;

/// Makes of messages what a service works with, on the polling thread.
pub trait Reader: Send + 'static {
    /// What a message becomes.
    type Item: Send + 'static;

    /// True if the end of a partition is of interest.
    const WANTS_ENDS: bool = false;
    /// True for who collects records for much longer than a fifth of a second: so long a fetch may wait for more of them, which costs client and broker a
    /// fraction of answering each few at once.
    const COLLECTS: bool = false;

    /// Reads a message.
    fn read(&mut self, message: &BorrowedMessage<'_>, topic: &Arc<str>) -> Self::Item;

    /// Everything there is of a partition has been read, for now. The client does not say of which topic.
    fn end(&mut self, _partition: i32) -> Option<Self::Item> {
        None
    }

    /// The same, for who has to know which end that was. `position` tells how far a topic has been read there: behind the last record and what ended its
    /// transaction; nothing while nothing has been read.
    fn end_at(&mut self, partition: i32, _position: impl Fn(&str) -> Option<NextOffset>) -> Option<Self::Item> {
        self.end(partition)
    }

    /// False for what [`Reader::end`] gave: it is counted nowhere.
    fn is_record(_: &Self::Item) -> bool {
        true
    }

    /// Topic and partition that an item came from.
    fn place(item: &Self::Item) -> (&str, i32);

    /// Bytes it occupies, roughly: for limits.
    fn size(item: &Self::Item) -> usize;
}

/// Copies messages as they are, for sinks that collect them.
#[derive(Debug, Clone, Copy)]
pub struct Whole;

impl Reader for Whole {
    type Item = Record;

    const COLLECTS: bool = true;

    fn read(&mut self, message: &BorrowedMessage<'_>, topic: &Arc<str>) -> Record {
        Record::copy(message, topic.clone())
    }

    fn place(item: &Record) -> (&str, i32) {
        (&item.topic, item.partition)
    }

    fn size(item: &Record) -> usize {
        item.size()
    }
}

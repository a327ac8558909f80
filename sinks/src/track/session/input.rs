//! Profiles as they come from the polling thread.

use std::sync::Arc;

use aftersend_pipeline::consumer::Reader;
use aftersend_pipeline::offsets::NextOffset;
use aftersend_pipeline::record::Record;
use rdkafka::message::BorrowedMessage;

/// What the polling thread hands over.
pub(super) enum Input {
    Profile(Record),
    /// Everything there is of a partition has been read, for now; up to where.
    End(Arc<str>, i32, Option<NextOffset>),
}

/// Copies profiles, and tells where they end.
pub(super) struct ProfileReader {
    pub(super) topic: Arc<str>,
}

impl Reader for ProfileReader {
    type Item = Input;

    const WANTS_ENDS: bool = true;

    fn read(&mut self, message: &BorrowedMessage<'_>, topic: &Arc<str>) -> Input {
        Input::Profile(Record::copy(message, topic.clone()))
    }

    fn end_at(&mut self, partition: i32, position: impl Fn(&str) -> Option<NextOffset>) -> Option<Input> {
        Some(Input::End(self.topic.clone(), partition, position(&self.topic)))
    }

    fn is_record(item: &Input) -> bool {
        matches!(item, Input::Profile(_))
    }

    fn place(item: &Input) -> (&str, i32) {
        match item {
            Input::Profile(record) => (&record.topic, record.partition),
            Input::End(topic, partition, _) => (topic, *partition),
        }
    }

    fn size(item: &Input) -> usize {
        match item {
            Input::Profile(record) => record.size(),
            Input::End(..) => 0,
        }
    }
}

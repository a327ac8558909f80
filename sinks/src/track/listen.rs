//! What every replica hears: the brake's log and the decisions of operators, from their beginning and for as long as it runs.

use aftersend_pipeline::config::Config;
use aftersend_pipeline::consumer::{PollThreadDied, Tail};
use aftersend_pipeline::record::Record;
use aftersend_schemas::DecodeError;
use aftersend_schemas::brake::{BrakeEntry, BrakeRelease};
use aftersend_schemas::operator::OperatorRecord;
use aftersend_schemas::topics::{PARTITIONS, Topics};
use rdkafka::error::KafkaResult;

const WAITING: usize = 4_096;

/// What was heard.
#[derive(Debug)]
pub(super) enum Heard {
    /// The next entry of the brake's log, and the broker's time of it.
    Brake { offset: i64, at: i64, entry: BrakeEntry },
    /// An operator decided something about a person.
    Decided(OperatorRecord),
    /// An operator released a brake.
    Released(BrakeRelease),
    /// Everything there was at the start has been heard.
    CaughtUp,
    /// A newer release wrote something that this one must not pass over.
    TooNew(DecodeError),
}

/// Listens on a thread of its own until it is dropped.
pub(super) struct Listener {
    tail: Tail<Heard>,
}

impl Listener {
    pub(super) fn start(config: &Config) -> KafkaResult<Self> {
        let topics = Topics::new(&config.kafka.topic_prefix);
        let (brake, operator) = (vec![(0, None)], Vec::from_iter((0..PARTITIONS).map(|partition| (partition, None))));
        let mut reading = Reading { brake: topics.track_brake(), unread: brake.len() + operator.len() };
        let tail = Tail::start_with(move |record| reading.hear(record), config, "sink-track-listener", "listener", WAITING)?;
        tail.follow(&topics.track_brake(), &brake)?;
        tail.follow(&topics.operator(), &operator)?;
        Ok(Self { tail })
    }

    /// What is heard next. Whoever cannot listen any more must not go on.
    pub(super) async fn next(&mut self) -> Result<Heard, PollThreadDied> {
        self.tail.next().await.ok_or(PollThreadDied)
    }
}

/// Makes of records what is heard. Pure.
struct Reading {
    brake: String,
    /// Ends of partitions that are still to come.
    unread: usize,
}

impl Reading {
    /// Reads a record, or takes notice that a partition has ended for now.
    fn hear(&mut self, record: Option<Record>) -> Option<Heard> {
        let Some(Record { topic, partition, offset, timestamp: at, key, value, .. }) = record else {
            self.unread = self.unread.checked_sub(1)?;
            return (self.unread == 0).then_some(Heard::CaughtUp);
        };
        let value = value?;
        let read = if *topic == *self.brake {
            BrakeEntry::decode(&value).map(|entry| Heard::Brake { offset, at, entry })
        } else if std::str::from_utf8(&key).is_ok_and(|key| BrakeRelease::workspace_of(key).is_some()) {
            BrakeRelease::decode(&value).map(Heard::Released)
        } else {
            OperatorRecord::decode(&value).map(Heard::Decided)
        };
        match read {
            Ok(heard) => Some(heard),
            Err(error @ DecodeError::TooNew { .. }) => Some(Heard::TooNew(error)),
            Err(error) => {
                tracing::warn!(%error, %topic, partition, offset, "passed over");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use aftersend_schemas::identity::{Namespace, Person};
    use aftersend_schemas::operator::Decision;

    use super::*;

    #[test]
    fn records_are_heard_as_what_they_are_and_the_last_end_once() {
        let mut reading = Reading { brake: "t.track-brake".into(), unread: 2 };
        let record = |topic: &str, key: &str, value: Option<Vec<u8>>| {
            let (topic, key) = (topic.into(), key.as_bytes().to_vec());
            Some(Record { topic, partition: 0, offset: 3, timestamp: 9, key, value, headers: Default::default() })
        };
        let entry = BrakeEntry::Known { partition: 1, people: Default::default() };
        let heard = reading.hear(record("t.track-brake", "", Some(entry.encode())));
        assert!(matches!(heard, Some(Heard::Brake { offset: 3, at: 9, entry: heard }) if heard == entry));
        let release = BrakeRelease { workspace: "shop".into(), at: 7, by: String::new(), reason: String::new() };
        let heard = reading.hear(record("t.operator", &release.key(), Some(release.encode())));
        assert!(matches!(heard, Some(Heard::Released(heard)) if heard == release));
        let person = Person { workspace: "shop".into(), namespace: Namespace::Id, id: "u-1".into() };
        let decided = OperatorRecord::new(person, Decision::NeverSuppress, 7);
        assert!(reading.hear(None).is_none(), "another partition has not ended");
        let heard = reading.hear(record("t.operator", &decided.key(), Some(decided.encode())));
        assert!(matches!(heard, Some(Heard::Decided(heard)) if heard == decided));
        assert!(matches!(reading.hear(None), Some(Heard::CaughtUp)));
        assert!(reading.hear(None).is_none(), "said once");
        for value in [None, Some(b"{".to_vec())] {
            assert!(reading.hear(record("t.operator", "k", value)).is_none());
        }
        assert!(matches!(reading.hear(record("t.operator", "k", Some(b"{\"version\":99}".to_vec()))), Some(Heard::TooNew(_))));
    }
}

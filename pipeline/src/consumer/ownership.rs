//! Partitions that the group gave to nobody.
//!
//! A cooperative rebalance takes a partition away in one round and gives it away in the next, which the member that had it asks for. A static member that
//! dies in between and comes back is given what was assigned at that moment, without a rebalance
//! ([KIP-345](https://cwiki.apache.org/confluence/display/KAFKA/KIP-345)): nobody asks for the next round, and the partition rests until something else
//! makes the group share anew. No member sees more than its own part, so each asks the coordinator what all have.

use std::collections::BTreeSet;
use std::sync::{Weak, mpsc};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaResult;

use super::context::Context;
use crate::telemetry::ConsumerMetrics;

/// A topic's name and a partition's number.
type Named = (String, i32);

/// Between two looks.
const EVERY: Duration = Duration::from_secs(10);
/// A member that drains has not asked for the next round yet: what is without an owner in so many looks one after the other waits for nobody.
const LOOKS: u32 = 3;
const ANSWER: Duration = Duration::from_secs(5);

/// What [`watch`] looks after.
pub(super) struct Watched<T: Send + 'static> {
    pub(super) consumer: Weak<BaseConsumer<Context<T>>>,
    pub(super) group: String,
    pub(super) topics: Vec<String>,
    pub(super) metrics: ConsumerMetrics,
}

/// Looks every ten seconds whether each partition has an owner. Where one has none for three looks, this member leaves the group and joins it again, so that
/// the group shares all of them out. Ends when `until` has no sender any more.
pub(super) fn watch<T: Send + 'static>(watched: &Watched<T>, until: &mpsc::Receiver<()>) {
    let mut waiting = BTreeSet::new();
    let mut looks = 0;
    while until.recv_timeout(EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
        let Some(consumer) = watched.consumer.upgrade() else { return };
        let seen = match without_owner(&consumer, &watched.group, &watched.topics) {
            Ok(seen) => seen,
            Err(error) => {
                tracing::debug!(%error, group = watched.group, "cannot ask who has which partitions");
                continue;
            }
        };
        waiting = if looks == 0 { seen } else { waiting.intersection(&seen).cloned().collect() };
        looks = if waiting.is_empty() { 0 } else { looks + 1 };
        if looks < LOOKS {
            continue;
        }
        looks = 0;
        tracing::warn!(
            group = watched.group,
            partitions = waiting.len(),
            "partitions have no owner: leaving the group and joining it again, so that it shares them out"
        );
        watched.metrics.rejoins.inc();
        let topics: Vec<&str> = watched.topics.iter().map(String::as_str).collect();
        consumer.unsubscribe();
        if let Err(error) = consumer.subscribe(&topics) {
            tracing::error!(%error, group = watched.group, "cannot join again: restart this service");
        }
    }
}

/// Partitions of `topics` that no member has. None while the group is being shared out, nor where the answer cannot be read.
fn without_owner<T: Send + 'static>(consumer: &BaseConsumer<Context<T>>, group: &str, topics: &[String]) -> KafkaResult<BTreeSet<Named>> {
    let groups = consumer.client().fetch_group_list(Some(group), ANSWER)?;
    let Some(group) = groups.groups().iter().find(|found| found.name() == group && found.state() == "Stable") else {
        return Ok(BTreeSet::new());
    };
    let mut rest = BTreeSet::new();
    for topic in topics {
        let metadata = consumer.fetch_metadata(Some(topic), ANSWER)?;
        let partitions = metadata.topics().iter().flat_map(|found| found.partitions());
        rest.extend(partitions.map(|partition| (topic.clone(), partition.id())));
    }
    for member in group.members() {
        let Some(assigned) = read_assignment(member.assignment().unwrap_or_default()) else { return Ok(BTreeSet::new()) };
        rest.retain(|partition| !assigned.contains(partition));
    }
    Ok(rest)
}

/// `ConsumerProtocolAssignment` of the Kafka protocol, of any version: a version, then topics, each with its partitions; what follows is of no interest.
/// Empty for a member that has nothing, nothing where it is something else.
fn read_assignment(bytes: &[u8]) -> Option<BTreeSet<Named>> {
    let mut assigned = BTreeSet::new();
    if bytes.is_empty() {
        return Some(assigned);
    }
    let (_version, mut rest) = bytes.split_first_chunk::<2>()?;
    let topics = take_i32(&mut rest)?;
    for _ in 0..topics {
        let (length, name) = rest.split_first_chunk()?;
        let (name, after) = name.split_at_checked(usize::try_from(i16::from_be_bytes(*length)).ok()?)?;
        let name = std::str::from_utf8(name).ok()?;
        rest = after;
        for _ in 0..take_i32(&mut rest)? {
            assigned.insert((name.to_owned(), take_i32(&mut rest)?));
        }
    }
    Some(assigned)
}

fn take_i32(bytes: &mut &[u8]) -> Option<i32> {
    let (number, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(i32::from_be_bytes(*number))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_OF_RAW: &[u8] = b"\0\x03\0\0\0\x01\0\x03raw\0\0\0\x02\0\0\0\x04\0\0\0\x0b\0\0\0\0";

    #[test]
    fn an_assignment_is_read_as_kafka_writes_it() {
        let expected = BTreeSet::from([("raw".to_owned(), 4), ("raw".to_owned(), 11)]);
        assert_eq!(read_assignment(TWO_OF_RAW), Some(expected));
        assert_eq!(read_assignment(b""), Some(BTreeSet::new()));
        assert_eq!(read_assignment(b"\0\0\0\0\0\0\xff\xff\xff\xff"), Some(BTreeSet::new()));
    }

    #[test]
    fn an_assignment_that_was_cut_is_none() {
        for end in 1..TWO_OF_RAW.len() - 4 {
            assert_eq!(read_assignment(&TWO_OF_RAW[..end]), None, "at {end}");
        }
        assert_eq!(read_assignment(b"\0\0\0\0\0\x01\xff\xff\0\0\0\0"), None, "a name shorter than nothing");
    }
}

use std::time::{Duration, Instant};

use rdkafka::Offset;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaErrorCode;

use super::Partition;
use super::alone::{alone_config, watched};
use crate::config::Config;
use crate::kafka::ClientWatch;
use crate::record::Record;

/// No progress for so long is an error.
const STALL: Duration = Duration::from_secs(20);

/// Reads records again by their offsets, outside of any group. One that has failed is to be dropped: the next one finds its brokers anew.
pub struct RangeReader {
    consumer: BaseConsumer<ClientWatch>,
}

impl RangeReader {
    /// A client of its own; nothing is ever committed by it.
    pub fn new(config: &Config) -> KafkaResult<Self> {
        let mut client = alone_config(config, "read_committed", "range");
        // Nobody polls it between two ranges.
        client.set("queued.max.messages.kbytes", "4096").set("statistics.interval.ms", "0");
        Ok(Self { consumer: watched(config, &client)? })
    }

    /// The committed records from `first` to `last` that the log still holds, in order. Blocks.
    pub fn read(&mut self, partition: &Partition, first: i64, last: i64) -> KafkaResult<Vec<Record>> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&partition.0, partition.1, Offset::Offset(first))?;
        self.consumer.assign(&list)?;
        let read = self.read_assigned(partition, last);
        self.consumer.unassign()?;
        read
    }

    fn read_assigned(&self, partition: &Partition, last: i64) -> KafkaResult<Vec<Record>> {
        let mut records = Vec::new();
        let mut moved = Instant::now();
        while moved.elapsed() < STALL {
            match self.consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    moved = Instant::now();
                    let record = Record::copy(&message, partition.0.clone());
                    let at = record.offset;
                    if at <= last {
                        records.push(record);
                    }
                    if at >= last {
                        return Ok(records);
                    }
                }
                // The end, unless a broker that has just come back does not know yet how far it was.
                Some(Err(KafkaError::PartitionEOF(_))) if self.consumer.fetch_watermarks(&partition.0, partition.1, STALL)?.1 > last => {
                    return Ok(records);
                }
                Some(Err(error)) => tracing::debug!(%error, "reading a range again"),
                None => {}
            }
        }
        Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut))
    }
}

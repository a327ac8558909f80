//! Names and settings of the topics, and of the consumer groups that read them.

/// Partitions of every topic but one. Fixed for good: a key must stay in its partition, since state and ledger live there.
pub const PARTITIONS: i32 = 12;

/// The topic whose records have one order for everybody.
const TRACK_BRAKE: &str = "track-brake";

/// The partition in which records with this key are, as Kafka's default partitioner chooses it (`murmur2_random` in librdkafka).
pub fn partition_of(key: &[u8]) -> i32 {
    let positive = murmur2(key) & 0x7fff_ffff;
    i32::try_from(positive).unwrap_or_default() % PARTITIONS
}

/// MurmurHash2, 32 bits, as `org.apache.kafka.common.utils.Utils.murmur2` seeds it.
fn murmur2(bytes: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let (words, rest) = bytes.as_chunks::<4>();
    let mut hash = words.iter().fold(0x9747_b28c ^ length, |hash, word| {
        let k = u32::from_le_bytes(*word).wrapping_mul(M);
        hash.wrapping_mul(M) ^ (k ^ (k >> 24)).wrapping_mul(M)
    });
    if !rest.is_empty() {
        hash ^= rest.iter().enumerate().fold(0, |tail, (place, byte)| tail | u32::from(*byte) << (8 * place));
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// Derives every name from `[kafka] topic_prefix`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    prefix: String,
}

/// A topic as `migrate` creates it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Full name.
    pub name: String,
    /// Number of partitions.
    pub partitions: i32,
    /// The rest of its configuration.
    pub config: Vec<(&'static str, String)>,
}

const DAY_MS: u64 = 86_400_000;

impl Topics {
    /// Names under a prefix without its dot.
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.into() }
    }

    /// Bodies as they came.
    pub fn raw(&self) -> String {
        self.name("raw")
    }

    /// What could not go on, with the reason.
    pub fn dead(&self) -> String {
        self.name("dead")
    }

    /// State and score of every person.
    pub fn profiles(&self) -> String {
        self.name("profiles")
    }

    /// What Customer.io has acknowledged for every person.
    pub fn track_ledger(&self) -> String {
        self.name("track-ledger")
    }

    /// Every call to the Track API: intent and answer.
    pub fn track_calls(&self) -> String {
        self.name("track-calls")
    }

    /// Who asked to do something irreversible, in the one order that decides who may.
    pub fn track_brake(&self) -> String {
        self.name(TRACK_BRAKE)
    }

    /// Partitions that the topic of this name has.
    pub fn partitions(name: &str) -> i32 {
        if name.ends_with(&format!(".{TRACK_BRAKE}")) { 1 } else { PARTITIONS }
    }

    /// What operators decided.
    pub fn operator(&self) -> String {
        self.name("operator")
    }

    /// How much mail to each provider bounced, in windows of event time: each partition of `raw` adds what it saw to its own partition.
    pub fn providers(&self) -> String {
        self.name("providers")
    }

    /// The processor's consumer group.
    pub fn processor_group(&self) -> String {
        self.name("processor")
    }

    /// The consumer group that fills one ClickHouse table.
    pub fn clickhouse_group(&self, table: &str) -> String {
        self.name(&format!("sink.clickhouse.{table}"))
    }

    /// The Track sink's consumer group.
    pub fn track_group(&self) -> String {
        self.name("sink.track")
    }

    /// Every topic, made for records of at most so many bytes.
    pub fn specs(&self, max_record_bytes: usize) -> Vec<TopicSpec> {
        let keep_days = |days: u64| vec![("cleanup.policy", "delete".into()), ("retention.ms", (days * DAY_MS).to_string())];
        let compact = |lag_hours: u64| {
            let lag = (lag_hours * 3_600_000).to_string();
            vec![("cleanup.policy", "compact".into()), ("min.compaction.lag.ms", lag)]
        };
        [
            (self.raw(), keep_days(30)),
            (self.dead(), keep_days(30)),
            (self.profiles(), compact(6)),
            (self.track_ledger(), compact(0)),
            (self.track_calls(), keep_days(30)),
            (self.operator(), compact(0)),
            // Webhooks may be a week late, and what is usual is taken from the week before.
            (self.providers(), vec![("cleanup.policy", "compact,delete".into()), ("retention.ms", (16 * DAY_MS).to_string())]),
            // The broker's clock decides what an hour is. One hour counts; the rest is for whoever comes later.
            (self.track_brake(), [keep_days(7), vec![("message.timestamp.type", "LogAppendTime".into())]].concat()),
        ]
        .into_iter()
        .map(|(name, mut config)| {
            config.push(("max.message.bytes", max_record_bytes.to_string()));
            TopicSpec { partitions: Self::partitions(&name), name, config }
        })
        .collect()
    }

    fn name(&self, part: &str) -> String {
        format!("{}.{part}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_the_partitions_that_clients_choose() {
        // From the tests of Kafka's Java client.
        for (key, hash) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
        assert_eq!(Topics::partitions("aftersend.track-brake"), 1);
    }

    #[test]
    fn names_are_those_that_other_programs_rely_on() {
        let topics = Topics::new("aftersend");
        let names: Vec<_> = topics.specs(1).into_iter().map(|spec| spec.name).collect();
        assert_eq!(
            names,
            [
                "aftersend.raw",
                "aftersend.dead",
                "aftersend.profiles",
                "aftersend.track-ledger",
                "aftersend.track-calls",
                "aftersend.operator",
                "aftersend.providers",
                "aftersend.track-brake"
            ]
        );
        assert_eq!(topics.processor_group(), "aftersend.processor");
        assert_eq!(topics.clickhouse_group("raw_events"), "aftersend.sink.clickhouse.raw_events");
        assert_eq!(topics.track_group(), "aftersend.sink.track");
    }
}

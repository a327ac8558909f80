//! Names and settings of the topics, and of the consumer groups that read them.

/// Partitions of every topic. Fixed for good: a key must stay in its partition, since state and ledger live there.
pub const PARTITIONS: i32 = 12;

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
    /// Topic configuration beside the partition count, which is [`PARTITIONS`].
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
            // What is usual is taken from the week before.
            (self.providers(), vec![("cleanup.policy", "compact,delete".into()), ("retention.ms", (9 * DAY_MS).to_string())]),
        ]
        .into_iter()
        .map(|(name, mut config)| {
            config.push(("max.message.bytes", max_record_bytes.to_string()));
            TopicSpec { name, config }
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
                "aftersend.providers"
            ]
        );
        assert_eq!(topics.processor_group(), "aftersend.processor");
        assert_eq!(topics.clickhouse_group("raw_events"), "aftersend.sink.clickhouse.raw_events");
        assert_eq!(topics.track_group(), "aftersend.sink.track");
    }
}

-- Base tables. Each holds its row's identity in the sorting key and replaces by replay epoch, so a repeated record is one row in the `_current` views
-- and, once merged, in the table. Statements end with a semicolon at the end of a line; {database} is the configured database.

-- One row per event. Identity: (workspace, event_id). By month, so that a replay over years stays within one insert's limit of partitions.
CREATE TABLE IF NOT EXISTS {database}.message_outcomes
(
    event_id String,
    event_type LowCardinality(String),
    channel LowCardinality(String),
    metric LowCardinality(String),
    timestamp DateTime('UTC') CODEC(Delta, ZSTD(1)),
    customer_id String,
    cio_id String,
    message_id String,
    campaign_id Nullable(UInt64),
    broadcast_id Nullable(UInt64),
    newsletter_id Nullable(UInt64),
    transactional_message_id Nullable(UInt64),
    action_id Nullable(UInt64),
    bounce_class LowCardinality(String),
    failure_message String CODEC(ZSTD(3)),
    href String CODEC(ZSTD(3)),
    recipient_domain LowCardinality(String),
    mailbox_provider LowCardinality(String),
    email_hash String,
    metadata String CODEC(ZSTD(3)),
    source LowCardinality(String),
    received_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    src_topic LowCardinality(String),
    src_partition UInt32,
    src_offset UInt64 CODEC(Delta, ZSTD(1)),
    workspace LowCardinality(String),
    epoch UInt32,
    INDEX by_customer customer_id TYPE bloom_filter(0.01) GRANULARITY 4,
    INDEX by_message message_id TYPE bloom_filter(0.01) GRANULARITY 4,
    INDEX by_offset src_offset TYPE minmax GRANULARITY 4
)
ENGINE = ReplacingMergeTree(epoch)
PARTITION BY toYYYYMM(timestamp)
ORDER BY (workspace, event_id)
TTL toDateTime(received_at) + INTERVAL 730 DAY
SETTINGS non_replicated_deduplication_window = 10000;

-- The body as received. Identity: where it stood in the log.
CREATE TABLE IF NOT EXISTS {database}.raw_events
(
    payload String CODEC(ZSTD(3)),
    key String,
    source LowCardinality(String),
    workspace LowCardinality(String),
    signature_timestamp String,
    content_type LowCardinality(String),
    received_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    src_topic LowCardinality(String),
    src_partition UInt32,
    src_offset UInt64 CODEC(Delta, ZSTD(1)),
    epoch UInt32
)
ENGINE = ReplacingMergeTree(epoch)
PARTITION BY toYYYYMMDD(received_at)
ORDER BY (src_topic, src_partition, src_offset)
TTL toDateTime(received_at) + INTERVAL 30 DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

-- Every version of every person. Identity: where it stood in the log.
CREATE TABLE IF NOT EXISTS {database}.profiles
(
    workspace LowCardinality(String),
    namespace LowCardinality(String),
    person_id String,
    score UInt8,
    state LowCardinality(String),
    email_deliverable Bool,
    email_promotional_ok Bool,
    best_channel LowCardinality(String),
    reason String CODEC(ZSTD(3)),
    contributions String CODEC(ZSTD(3)),
    as_of DateTime('UTC') CODEC(Delta, ZSTD(1)),
    policy_version UInt32,
    written_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    src_topic LowCardinality(String),
    src_partition UInt32,
    src_offset UInt64 CODEC(Delta, ZSTD(1)),
    epoch UInt32
)
ENGINE = ReplacingMergeTree(epoch)
PARTITION BY toYYYYMM(written_at)
ORDER BY (workspace, namespace, person_id, src_topic, src_partition, src_offset)
SETTINGS non_replicated_deduplication_window = 10000;

-- What could not go on. Identity: where it came from, and which service gave it up.
CREATE TABLE IF NOT EXISTS {database}.dead_letters
(
    reason LowCardinality(String),
    stage LowCardinality(String),
    error String,
    payload String CODEC(ZSTD(3)),
    key String,
    source LowCardinality(String),
    workspace LowCardinality(String),
    received_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    src_topic LowCardinality(String),
    src_partition UInt32,
    src_offset UInt64 CODEC(Delta, ZSTD(1)),
    epoch UInt32
)
ENGINE = ReplacingMergeTree(epoch)
PARTITION BY toYYYYMMDD(received_at)
ORDER BY (src_topic, src_partition, src_offset, stage)
TTL toDateTime(received_at) + INTERVAL 30 DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

-- Every Track API call: an intent before it, an answer after it.
CREATE TABLE IF NOT EXISTS {database}.track_calls
(
    workspace LowCardinality(String),
    namespace LowCardinality(String),
    person_id String,
    call LowCardinality(String),
    phase LowCardinality(String),
    rule LowCardinality(String),
    evidence String CODEC(ZSTD(3)),
    policy_version UInt32,
    at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    status UInt16,
    latency_ms UInt32,
    evidence_received_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    src_topic LowCardinality(String),
    src_partition UInt32,
    src_offset UInt64 CODEC(Delta, ZSTD(1)),
    epoch UInt32
)
ENGINE = ReplacingMergeTree(epoch)
PARTITION BY toYYYYMM(at)
ORDER BY (workspace, namespace, person_id, src_topic, src_partition, src_offset)
TTL toDateTime(at) + INTERVAL 730 DAY
SETTINGS non_replicated_deduplication_window = 10000;

-- Right before merges: one row per identity.
CREATE OR REPLACE VIEW {database}.message_outcomes_current AS SELECT * FROM {database}.message_outcomes FINAL;
CREATE OR REPLACE VIEW {database}.raw_events_current AS SELECT * FROM {database}.raw_events FINAL;
CREATE OR REPLACE VIEW {database}.dead_letters_current AS SELECT * FROM {database}.dead_letters FINAL;
CREATE OR REPLACE VIEW {database}.track_calls_current AS SELECT * FROM {database}.track_calls FINAL;

-- The latest version of every person: a person stays in one partition, so its offset decides.
CREATE OR REPLACE VIEW {database}.profiles_current AS
SELECT * FROM {database}.profiles FINAL
ORDER BY workspace, namespace, person_id, src_offset DESC
LIMIT 1 BY workspace, namespace, person_id;

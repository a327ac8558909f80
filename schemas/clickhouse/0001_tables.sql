-- Base tables. Each holds its row's identity in the sorting key and replaces by replay epoch, so a repeated record is one row in the `_current` views
-- and, once merged, in the table. Partition and sorting key are made of the identity alone, or of what no copy of a row can have otherwise.
-- Retention is set by `migrate` from the configuration. How placeholders are read: schemas/src/migrations.rs.

-- One row per event. Identity: (workspace, event_id).
-- `slice` is the 17.5 minutes of a ULID's time, and one of 256 for any other id: the unit in which outcomes are counted, and the order of the table.
-- It depends on the id alone, so copies of an event meet in one partition whatever else is in them. A partition is 12.4 days.
-- `stored_at` is the server's clock: what was stored since a count must be counted again.
CREATE TABLE IF NOT EXISTS {database}.message_outcomes{on_cluster}
(
    event_id String CODEC(ZSTD(1)),
    event_type LowCardinality(String),
    channel LowCardinality(String),
    metric LowCardinality(String),
    timestamp DateTime('UTC') CODEC(Delta, ZSTD(1)),
    customer_id String CODEC(ZSTD(1)),
    cio_id String CODEC(ZSTD(1)),
    message_id String CODEC(ZSTD(1)),
    campaign_id Nullable(UInt64) CODEC(ZSTD(1)),
    broadcast_id Nullable(UInt64) CODEC(ZSTD(1)),
    newsletter_id Nullable(UInt64) CODEC(ZSTD(1)),
    transactional_message_id Nullable(UInt64) CODEC(ZSTD(1)),
    action_id Nullable(UInt64) CODEC(ZSTD(1)),
    bounce_class LowCardinality(String),
    bounce_rule LowCardinality(String),
    bounce_confidence UInt8 CODEC(ZSTD(1)),
    bounce_table UInt32 CODEC(ZSTD(1)),
    machine Bool,
    failure_message String CODEC(ZSTD(3)),
    href String CODEC(ZSTD(3)),
    recipient_domain LowCardinality(String),
    mailbox_provider LowCardinality(String),
    email_hash String CODEC(ZSTD(1)),
    metadata String CODEC(ZSTD(3)),
    source LowCardinality(String),
    received_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    src_topic LowCardinality(String),
    src_partition UInt32 CODEC(ZSTD(1)),
    src_offset UInt64 CODEC(Delta, ZSTD(1)),
    workspace LowCardinality(String),
    epoch UInt32 CODEC(ZSTD(1)),
    stored_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    slice UInt32 MATERIALIZED if(
        match(event_id, '^01[0-9A-HJKMNP-TV-Z]{24}$'),
        bitShiftLeft(toUInt32(position('0123456789ABCDEFGHJKMNPQRSTVWXYZ', substring(event_id, 3, 1)) - 1), 15)
            + bitShiftLeft(toUInt32(position('0123456789ABCDEFGHJKMNPQRSTVWXYZ', substring(event_id, 4, 1)) - 1), 10)
            + bitShiftLeft(toUInt32(position('0123456789ABCDEFGHJKMNPQRSTVWXYZ', substring(event_id, 5, 1)) - 1), 5)
            + toUInt32(position('0123456789ABCDEFGHJKMNPQRSTVWXYZ', substring(event_id, 6, 1)) - 1),
        1048576 + sipHash64(event_id) % 256) CODEC(Delta, ZSTD(1)),
    INDEX by_time timestamp TYPE minmax GRANULARITY 1,
    INDEX by_stored stored_at TYPE minmax GRANULARITY 1,
    INDEX by_customer customer_id TYPE bloom_filter(0.005) GRANULARITY 1,
    INDEX by_message message_id TYPE bloom_filter(0.01) GRANULARITY 4,
    INDEX by_offset src_offset TYPE minmax GRANULARITY 1
)
ENGINE = {ReplacingMergeTree epoch}
PARTITION BY intDiv(slice, 1024)
ORDER BY (slice, workspace, event_id)
SETTINGS {deduplication}, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1;

-- The body as received. Identity: where it stood in the log.
CREATE TABLE IF NOT EXISTS {database}.raw_events{on_cluster}
(
    payload String CODEC(ZSTD(3)),
    key String CODEC(ZSTD(1)),
    source LowCardinality(String),
    workspace LowCardinality(String),
    signature_timestamp String CODEC(ZSTD(1)),
    content_type LowCardinality(String),
    received_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    src_topic LowCardinality(String),
    src_partition UInt32 CODEC(ZSTD(1)),
    src_offset UInt64 CODEC(Delta, ZSTD(1)),
    epoch UInt32 CODEC(ZSTD(1))
)
ENGINE = {ReplacingMergeTree epoch}
PARTITION BY toYYYYMMDD(received_at)
ORDER BY (src_topic, src_partition, src_offset)
SETTINGS {deduplication}, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1;

-- Every version of every person. Identity: where it stood in the log.
CREATE TABLE IF NOT EXISTS {database}.profiles{on_cluster}
(
    workspace LowCardinality(String),
    namespace LowCardinality(String),
    person_id String CODEC(ZSTD(1)),
    score UInt8,
    state LowCardinality(String),
    email_deliverable Bool,
    email_promotional_ok Bool,
    best_channel LowCardinality(String),
    reason String CODEC(ZSTD(3)),
    contributions String CODEC(ZSTD(3)),
    as_of DateTime('UTC') CODEC(Delta, ZSTD(1)),
    policy_version UInt32 CODEC(ZSTD(1)),
    written_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    src_topic LowCardinality(String),
    src_partition UInt32 CODEC(ZSTD(1)),
    src_offset UInt64 CODEC(Delta, ZSTD(1)),
    epoch UInt32 CODEC(ZSTD(1)),
    INDEX by_offset src_offset TYPE minmax GRANULARITY 1
)
ENGINE = {ReplacingMergeTree epoch}
PARTITION BY toYYYYMM(written_at)
ORDER BY (workspace, namespace, person_id, src_topic, src_partition, src_offset)
SETTINGS {deduplication}, materialize_ttl_recalculate_only = 1;

-- What could not go on. Identity: where it came from, and which service gave it up.
CREATE TABLE IF NOT EXISTS {database}.dead_letters{on_cluster}
(
    reason LowCardinality(String),
    stage LowCardinality(String),
    error String CODEC(ZSTD(3)),
    payload String CODEC(ZSTD(3)),
    key String CODEC(ZSTD(1)),
    source LowCardinality(String),
    workspace LowCardinality(String),
    received_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    src_topic LowCardinality(String),
    src_partition UInt32 CODEC(ZSTD(1)),
    src_offset UInt64 CODEC(Delta, ZSTD(1)),
    epoch UInt32 CODEC(ZSTD(1))
)
ENGINE = {ReplacingMergeTree epoch}
PARTITION BY toYYYYMMDD(received_at)
ORDER BY (src_topic, src_partition, src_offset, stage)
SETTINGS {deduplication}, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1;

-- Every Track API call: an intent before it, an answer after it. Identity: where it stood in the log.
CREATE TABLE IF NOT EXISTS {database}.track_calls{on_cluster}
(
    workspace LowCardinality(String),
    namespace LowCardinality(String),
    person_id String CODEC(ZSTD(1)),
    call LowCardinality(String),
    phase LowCardinality(String),
    rule LowCardinality(String),
    evidence String CODEC(ZSTD(3)),
    policy_version UInt32 CODEC(ZSTD(1)),
    at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    status UInt16 CODEC(ZSTD(1)),
    latency_ms UInt32 CODEC(ZSTD(1)),
    evidence_received_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    src_topic LowCardinality(String),
    src_partition UInt32 CODEC(ZSTD(1)),
    src_offset UInt64 CODEC(Delta, ZSTD(1)),
    epoch UInt32 CODEC(ZSTD(1)),
    INDEX by_offset src_offset TYPE minmax GRANULARITY 1
)
ENGINE = {ReplacingMergeTree epoch}
PARTITION BY toYYYYMM(at)
ORDER BY (workspace, namespace, person_id, src_topic, src_partition, src_offset)
SETTINGS {deduplication}, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1;

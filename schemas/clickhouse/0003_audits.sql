-- What needs a look at whole deliveries and people, listed anew by every audit. Valid: the rows of the latest finished one, which `audits` names.

-- Deliveries of which a part is missing: `no_outcome` (sent, and nothing came of it in 72 hours), `no_sent` (an outcome, and never sent).
CREATE TABLE IF NOT EXISTS {database}.delivery_gaps{on_cluster}
(
    audited_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    gap LowCardinality(String),
    workspace LowCardinality(String),
    channel LowCardinality(String),
    at DateTime('UTC') CODEC(Delta, ZSTD(1)),
    kind LowCardinality(String),
    campaign UInt64 CODEC(ZSTD(1)),
    mailbox_provider LowCardinality(String),
    message_id String CODEC(ZSTD(1))
)
ENGINE = {ReplacingMergeTree audited_at}
PARTITION BY toYYYYMMDD(audited_at)
ORDER BY (audited_at, gap, workspace, channel, at, message_id)
TTL toDateTime(audited_at) + INTERVAL 3 DAY
SETTINGS ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1;

-- Mail sent to people who were marked undeliverable at that time.
CREATE TABLE IF NOT EXISTS {database}.suppression_leaks{on_cluster}
(
    audited_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    workspace LowCardinality(String),
    at DateTime('UTC') CODEC(Delta, ZSTD(1)),
    namespace LowCardinality(String),
    person_id String CODEC(ZSTD(1)),
    event_id String CODEC(ZSTD(1)),
    message_id String CODEC(ZSTD(1)),
    kind LowCardinality(String),
    campaign UInt64 CODEC(ZSTD(1)),
    state LowCardinality(String),
    reason String CODEC(ZSTD(1)),
    marked_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1))
)
ENGINE = {ReplacingMergeTree audited_at}
PARTITION BY toYYYYMMDD(audited_at)
ORDER BY (audited_at, workspace, at, event_id)
TTL toDateTime(audited_at) + INTERVAL 3 DAY
SETTINGS ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1;

-- Audits that were finished.
CREATE TABLE IF NOT EXISTS {database}.audits{on_cluster}
(
    audited_at DateTime64(3, 'UTC')
)
ENGINE = {ReplacingMergeTree audited_at}
ORDER BY audited_at
TTL toDateTime(audited_at) + INTERVAL 30 DAY;

-- How many people have which score and state; each snapshot comes with one insert, so all of it is there or none.
CREATE TABLE IF NOT EXISTS {database}.people_counts{on_cluster}
(
    counted_at DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    workspace LowCardinality(String),
    state LowCardinality(String),
    score UInt8,
    people UInt64 CODEC(T64, ZSTD(1))
)
ENGINE = {ReplacingMergeTree counted_at}
PARTITION BY toYYYYMMDD(counted_at)
ORDER BY (counted_at, workspace, state, score)
TTL toDateTime(counted_at) + INTERVAL 30 DAY
SETTINGS ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1;

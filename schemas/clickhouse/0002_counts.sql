-- Outcomes, counted by slice. What is here only makes views fast: they count anew, when asked, every slice of which something was stored since the
-- mark. So a count that is late, missing or made twice never shows. Counts replace the earlier ones of their slice, none is ever added to another.

-- By campaign, newsletter, broadcast or transactional message, and by its step. Valid: the rows of the latest count of a slice; all of them come with
-- one insert into one partition, so all are there or none.
-- Clicks and conversions come more than once for a delivery, so they are kept as the hashes of the deliveries.
CREATE TABLE IF NOT EXISTS {database}.campaign_counts{on_cluster}
(
    slice UInt32 CODEC(Delta, ZSTD(1)),
    workspace LowCardinality(String),
    hour DateTime('UTC') CODEC(Delta, ZSTD(1)),
    channel LowCardinality(String),
    kind LowCardinality(String),
    campaign UInt64 CODEC(ZSTD(1)),
    action UInt64 CODEC(ZSTD(1)),
    bounce_class LowCardinality(String),
    sent UInt64 CODEC(T64, ZSTD(1)),
    delivered UInt64 CODEC(T64, ZSTD(1)),
    bounced UInt64 CODEC(T64, ZSTD(1)),
    dropped UInt64 CODEC(T64, ZSTD(1)),
    failed UInt64 CODEC(T64, ZSTD(1)),
    opened UInt64 CODEC(T64, ZSTD(1)),
    opened_by_machine UInt64 CODEC(T64, ZSTD(1)),
    complained UInt64 CODEC(T64, ZSTD(1)),
    unsubscribed UInt64 CODEC(T64, ZSTD(1)),
    clicked Array(UInt64) CODEC(ZSTD(1)),
    converted Array(UInt64) CODEC(ZSTD(1)),
    counted_at DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1))
)
ENGINE = {ReplacingMergeTree counted_at}
PARTITION BY intDiv(slice, 1024)
ORDER BY (slice, workspace, hour, channel, kind, campaign, action, bounce_class)
SETTINGS ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1;

-- By mailbox provider; `example` is one failure text of the class.
CREATE TABLE IF NOT EXISTS {database}.provider_counts{on_cluster}
(
    slice UInt32 CODEC(Delta, ZSTD(1)),
    workspace LowCardinality(String),
    hour DateTime('UTC') CODEC(Delta, ZSTD(1)),
    channel LowCardinality(String),
    mailbox_provider LowCardinality(String),
    bounce_class LowCardinality(String),
    sent UInt64 CODEC(T64, ZSTD(1)),
    delivered UInt64 CODEC(T64, ZSTD(1)),
    deferred UInt64 CODEC(T64, ZSTD(1)),
    bounced UInt64 CODEC(T64, ZSTD(1)),
    clicked UInt64 CODEC(T64, ZSTD(1)),
    complained UInt64 CODEC(T64, ZSTD(1)),
    unsubscribed UInt64 CODEC(T64, ZSTD(1)),
    failures UInt64 CODEC(T64, ZSTD(1)),
    example String CODEC(ZSTD(1)),
    counted_at DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1))
)
ENGINE = {ReplacingMergeTree counted_at}
PARTITION BY intDiv(slice, 1024)
ORDER BY (slice, workspace, hour, channel, mailbox_provider, bounce_class)
SETTINGS ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1;

-- Everything that was stored before the latest mark is counted.
CREATE TABLE IF NOT EXISTS {database}.count_marks{on_cluster}
(
    one UInt8 DEFAULT 1,
    mark DateTime64(3, 'UTC')
)
ENGINE = {ReplacingMergeTree mark}
ORDER BY one;

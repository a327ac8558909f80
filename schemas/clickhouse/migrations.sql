-- Which migrations were applied, by which release. The largest number says how new the database is.
CREATE TABLE IF NOT EXISTS {database}.migrations{on_cluster}
(
    number UInt32,
    name String,
    checksum String,
    release String,
    applied_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = {ReplacingMergeTree applied_at}
ORDER BY number;

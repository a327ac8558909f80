-- What the Track API said of a call that it refused, without what identifies anybody.
ALTER TABLE {database}.track_calls{on_cluster} ADD COLUMN IF NOT EXISTS error String CODEC(ZSTD(3)) AFTER latency_ms;

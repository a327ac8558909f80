-- {slices} is a list of numbers, {now} nanoseconds, of which no two counts have the same.
INSERT INTO {database}.campaign_counts
SELECT *, fromUnixTimestamp64Nano({now}, 'UTC') FROM {database}.campaign_counts_live WHERE slice IN ({slices})
SETTINGS min_insert_block_size_rows = 1000000, min_insert_block_size_bytes = 0, max_insert_threads = 1;
INSERT INTO {database}.provider_counts
SELECT *, fromUnixTimestamp64Nano({now}, 'UTC') FROM {database}.provider_counts_live WHERE slice IN ({slices})
SETTINGS min_insert_block_size_rows = 1000000, min_insert_block_size_bytes = 0, max_insert_threads = 1;

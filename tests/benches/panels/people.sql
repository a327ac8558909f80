-- What else panels look at: 3 million versions of 800,000 people, 200,000 calls, 20,000 dead letters, written from {base} (Unix milliseconds) on.
INSERT INTO {database}.profiles
(workspace, namespace, person_id, score, state, email_deliverable, reason, contributions, as_of, policy_version, written_at, src_topic, src_partition, src_offset)
SELECT
    if(person % 10 = 0, 'other', 'default'), 'id', toString(person), cityHash64(number) % 101,
    ['healthy', 'watch', 'sunset', 'degraded', 'dead'][1 + least(cityHash64(number, 1) % 40, 4)], cityHash64(number, 1) % 400 != 0,
    'some reason', '[{"name":"validity","points":45}]',
    toDateTime(intDiv({base}, 1000) + intDiv(number * 8, 10)), 1, fromUnixTimestamp64Milli(toInt64({base} + number * 800), 'UTC'),
    'aftersend.profiles', person % 12, number
FROM (SELECT number, cityHash64(number) % 800000 AS person FROM numbers(3000000))
SETTINGS max_partitions_per_insert_block = 100;
INSERT INTO {database}.track_calls (workspace, namespace, person_id, call, phase, rule, evidence, at, status, src_topic, src_partition, src_offset)
SELECT
    'default', 'id', toString(cityHash64(number) % 800000), if(number % 20 = 0, 'suppress', 'identify'), if(number % 2 = 0, 'intent', 'acknowledged'),
    if(number % 20 = 0, 'on_hard_bounce', 'attributes'), 'some evidence', fromUnixTimestamp64Milli(toInt64({base} + number * 12000), 'UTC'), 200,
    'aftersend.track-calls', number % 12, number
FROM numbers(200000)
SETTINGS max_partitions_per_insert_block = 100;
INSERT INTO {database}.dead_letters (reason, stage, source, workspace, payload, received_at, src_topic, src_partition, src_offset)
SELECT
    ['body_not_json', 'body_empty', 'not_an_event'][1 + number % 3], 'ingest', 'default', 'default', repeat('x', 300),
    fromUnixTimestamp64Milli(toInt64({base} + number * 120000), 'UTC'), 'aftersend.raw', number % 12, number
FROM numbers(20000)
SETTINGS max_partitions_per_insert_block = 100;

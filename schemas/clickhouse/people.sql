-- {now} is nanoseconds, of which no two counts have the same. Of each person the latest version; copies of a version say the same.
INSERT INTO {database}.people_counts
SELECT fromUnixTimestamp64Nano({now}, 'UTC'), workspace, latest.1 AS state, latest.2 AS score, count()
FROM
(
    SELECT workspace, argMax((state, score), (src_offset, epoch)) AS latest
    FROM {database}.profiles
    GROUP BY workspace, namespace, person_id
)
GROUP BY workspace, state, score;

-- {count} deliveries from number {first} on, one every {gap} milliseconds from {base} (Unix milliseconds): 2.26 outcomes each.
INSERT INTO {database}.message_outcomes
(
    event_id, event_type, channel, metric, timestamp, customer_id, cio_id, message_id, campaign_id, newsletter_id, transactional_message_id, action_id,
    bounce_class, bounce_rule, bounce_confidence, bounce_table, machine, failure_message, href, recipient_domain, mailbox_provider, email_hash, metadata,
    source, received_at, src_topic, src_partition, src_offset, workspace, epoch
)
WITH (x, n) -> arrayStringConcat(arrayMap(
    k -> substring('0123456789ABCDEFGHJKMNPQRSTVWXYZ', 1 + bitAnd(bitShiftRight(x, 5 * (n - 1 - k)), 31), 1), range(n))) AS base32
SELECT
    concat(base32(ms, 10), base32(bitAnd(cityHash64(d, m.1, m.3), 1099511627775), 8), base32(bitAnd(cityHash64(m.1, d, 7), 1099511627775), 8)),
    concat('email_', m.1), 'email', m.1,
    toDateTime(intDiv(ms, 1000), 'UTC'),
    toString(person), lower(hex(sipHash64(person))),
    base64Encode(reinterpretAsString(sipHash128(d))),
    if(kind < 6, 100 + kind, NULL),
    if(kind >= 6 AND kind < 9, 1000 + intDiv(d, 60000), NULL),
    if(kind = 9, 500 + h3 % 10, NULL),
    if(kind < 6, kind * 10 + h3 % 4, NULL),
    if(m.1 = 'bounced', ['hard_recipient', 'hard_recipient', 'hard_domain', 'mailbox_full', 'transient', 'block_reputation', 'undetermined'][1 + h4 % 7], ''),
    if(m.1 = 'bounced', concat('rule-', toString(h4 % 17)), ''), if(m.1 = 'bounced', 90, 0), if(m.1 = 'bounced', 123456, 0),
    m.1 = 'opened' AND h4 % 3 = 0,
    if(m.1 = 'bounced', concat('550 5.1.1 The email account that you tried to reach does not exist ', toString(h4 % 1000)), ''),
    if(m.1 = 'clicked', concat('https://shop.example/p/', toString(h4 % 5000)), ''),
    ['gmail.com', 'outlook.com', 'yahoo.com', 'icloud.com', 'gmx.de', 'web.de', 'hotmail.com', 'aol.com'][1 + least(h2 % 11, 7)],
    ['google', 'microsoft', 'yahoo', 'apple', 'gmx', 'gmx', 'microsoft', 'yahoo'][1 + least(h2 % 11, 7)],
    lower(hex(sipHash128(person, 3))),
    concat('{"subject":"Offer ', toString(kind), '","journey_id":"', hex(sipHash64(h3 % 100)), '","content_id":', toString(100 + h3 % 10), '}'),
    'default', fromUnixTimestamp64Milli(toInt64(ms + 800 + h4 % 3000), 'UTC'),
    'aftersend.raw', toUInt32(person % 12), toUInt64(intDiv(d * 3 + m.3, 12)),
    if(d % 10 = 0, 'other', 'default'), 0
FROM
(
    SELECT
        d, cityHash64(d) AS h1, cityHash64(d, 1) AS h2, cityHash64(d, 2) AS h3, cityHash64(d, 9) % 800000 AS person,
        multiIf(h1 % 10 < 6, h1 % 6, h1 % 10 < 9, 6 + h1 % 3, 9) AS kind,
        {base} + d * {gap} AS t0,
        arrayJoin(arrayFilter(e -> e.2 >= 0, [
            ('sent', toInt64(0), 0),
            ('delivered', if(h2 % 1000 < 970, toInt64(1500 + h2 % 40000), -1), 1),
            ('bounced', if(h2 % 1000 >= 975, toInt64(1500 + h2 % 90000), -1), 2),
            ('opened', if(h2 % 1000 < 220, toInt64(60000 + bitShiftRight(h3, 8) % 40000000), -1), 3),
            ('clicked', if(h2 % 1000 < 30, toInt64(90000 + bitShiftRight(h3, 9) % 50000000), -1), 4),
            ('clicked', if(h2 % 1000 < 8, toInt64(99000 + bitShiftRight(h3, 10) % 60000000), -1), 5),
            ('converted', if(h2 % 1000 < 4, toInt64(200000 + bitShiftRight(h3, 11) % 60000000), -1), 6),
            ('spammed', if(h2 % 1000 = 500, toInt64(300000 + bitShiftRight(h3, 12) % 60000000), -1), 7),
            ('unsubscribed', if(h2 % 1000 IN (29, 501), toInt64(300000 + bitShiftRight(h3, 13) % 60000000), -1), 8)
        ])) AS m,
        cityHash64(d, m.1, m.3) AS h4,
        toUInt64(t0 + m.2) AS ms
    FROM (SELECT number AS d FROM numbers({first}, {count}))
);

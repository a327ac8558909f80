-- {now} is milliseconds.

-- Mail and text messages: only of these something must come. Customer.io tries for seven days, so what a delivery of the last 11 days began with lies in
-- the last 18. An event without a date is there, and only does not say when.
INSERT INTO {database}.delivery_gaps
WITH
    fromUnixTimestamp64Milli({now}, 'UTC') AS now,
    toDateTime(now, 'UTC') - INTERVAL 72 HOUR AS settled,
    toDateTime(now, 'UTC') - INTERVAL 11 DAY AS since
SELECT
    now,
    if(sents > 0, 'no_outcome', 'no_sent') AS gap,
    workspace, channel,
    if(sents > 0, sent_at, outcome_at) AS at,
    kind, campaign, mailbox_provider, message_id
FROM
(
    SELECT
        workspace, channel, message_id,
        countIf(metric = 'sent') AS sents,
        minIf(timestamp, metric = 'sent' AND timestamp > 0) AS sent_at,
        minIf(timestamp, metric IN ('delivered', 'bounced') AND timestamp > 0) AS outcome_at,
        countIf(metric NOT IN ('sent', 'drafted', 'attempted', 'deferred')) AS outcomes,
        any(multiIf(
            isNotNull(campaign_id), 'campaign', isNotNull(newsletter_id), 'newsletter', isNotNull(broadcast_id), 'broadcast',
            isNotNull(transactional_message_id), 'transactional', '')) AS kind,
        any(coalesce(campaign_id, newsletter_id, broadcast_id, transactional_message_id, 0)) AS campaign,
        any(mailbox_provider) AS mailbox_provider
    FROM {database}.message_outcomes FINAL
    WHERE slice >= intDiv({now} - 18 * 86400000 - 1099511627776, 1048576) AND channel IN ('email', 'sms') AND message_id != ''
    GROUP BY workspace, channel, message_id
)
WHERE at >= since AND at < settled AND (sents = 0 OR outcomes = 0)
SETTINGS max_bytes_before_external_group_by = 2000000000;

INSERT INTO {database}.suppression_leaks
SELECT
    fromUnixTimestamp64Milli({now}, 'UTC'),
    sent.workspace, sent.at, sent.namespace, sent.person_id, sent.event_id, sent.message_id, sent.kind, sent.campaign,
    profile.state, profile.reason, profile.written_at
FROM
(
    SELECT
        workspace, event_id, message_id, timestamp AS at,
        toDateTime64(timestamp, 3, 'UTC') AS sent_at,
        multiIf(customer_id != '', 'id', cio_id != '', 'cio', 'email') AS namespace,
        multiIf(customer_id != '', customer_id, cio_id != '', cio_id, email_hash) AS person_id,
        multiIf(
            isNotNull(campaign_id), 'campaign', isNotNull(newsletter_id), 'newsletter', isNotNull(broadcast_id), 'broadcast',
            isNotNull(transactional_message_id), 'transactional', '') AS kind,
        coalesce(campaign_id, newsletter_id, broadcast_id, transactional_message_id, 0) AS campaign
    FROM {database}.message_outcomes FINAL
    WHERE slice >= intDiv({now} - 14 * 86400000 - 1099511627776, 1048576)
        AND channel = 'email' AND metric = 'sent' AND timestamp >= fromUnixTimestamp64Milli({now}, 'UTC') - INTERVAL 14 DAY
        AND (workspace, namespace, person_id) IN (SELECT workspace, namespace, person_id FROM {database}.profiles WHERE NOT email_deliverable)
) AS sent
ASOF JOIN
(
    SELECT workspace, namespace, person_id, written_at, email_deliverable, state, reason
    FROM {database}.profiles FINAL
    WHERE (workspace, namespace, person_id) IN (SELECT workspace, namespace, person_id FROM {database}.profiles WHERE NOT email_deliverable)
) AS profile
ON sent.workspace = profile.workspace AND sent.namespace = profile.namespace AND sent.person_id = profile.person_id
    AND sent.sent_at >= profile.written_at
WHERE NOT profile.email_deliverable;

-- Last: what is named here is there.
INSERT INTO {database}.audits SELECT fromUnixTimestamp64Milli({now}, 'UTC');

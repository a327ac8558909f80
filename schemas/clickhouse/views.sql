-- What people ask. Every view is right whatever is merged, repeated, replayed or late; how, and what each column means: docs/tables.md.

-- One row per identity.
CREATE OR REPLACE VIEW {database}.message_outcomes_current{on_cluster} AS SELECT *, slice FROM {database}.message_outcomes FINAL;
CREATE OR REPLACE VIEW {database}.raw_events_current{on_cluster} AS SELECT * FROM {database}.raw_events FINAL;
CREATE OR REPLACE VIEW {database}.dead_letters_current{on_cluster} AS SELECT * FROM {database}.dead_letters FINAL;
CREATE OR REPLACE VIEW {database}.track_calls_current{on_cluster} AS SELECT * FROM {database}.track_calls FINAL;

-- The latest version of every person: a person stays in one partition, so its offset decides.
CREATE OR REPLACE VIEW {database}.profiles_current{on_cluster} AS
SELECT * FROM {database}.profiles FINAL
ORDER BY workspace, namespace, person_id, src_offset DESC
LIMIT 1 BY workspace, namespace, person_id;

-- Slices of which something was stored since the mark.
CREATE OR REPLACE VIEW {database}.slices_to_count{on_cluster} AS
SELECT DISTINCT slice FROM {database}.message_outcomes WHERE stored_at >= (SELECT max(mark) FROM {database}.count_marks);

-- What a slice comes to, by campaign.
CREATE OR REPLACE VIEW {database}.campaign_counts_live{on_cluster} AS
SELECT
    slice,
    workspace,
    toStartOfHour(timestamp) AS hour,
    channel,
    multiIf(
        isNotNull(campaign_id), 'campaign', isNotNull(newsletter_id), 'newsletter', isNotNull(broadcast_id), 'broadcast',
        isNotNull(transactional_message_id), 'transactional', '') AS kind,
    coalesce(campaign_id, newsletter_id, broadcast_id, transactional_message_id, 0) AS campaign,
    ifNull(action_id, 0) AS action,
    bounce_class,
    countIf(metric = 'sent') AS sent,
    countIf(metric = 'delivered') AS delivered,
    countIf(metric = 'bounced') AS bounced,
    countIf(metric = 'dropped') AS dropped,
    countIf(metric IN ('failed', 'undeliverable')) AS failed,
    countIf(metric = 'opened' AND NOT machine) AS opened,
    countIf(metric = 'opened' AND machine) AS opened_by_machine,
    countIf(metric = 'spammed') AS complained,
    countIf(metric = 'unsubscribed') AS unsubscribed,
    groupUniqArrayIf(sipHash64(if(message_id = '', event_id, message_id)), metric = 'clicked' AND NOT machine) AS clicked,
    groupUniqArrayIf(sipHash64(if(message_id = '', event_id, message_id)), metric = 'converted') AS converted
FROM {database}.message_outcomes FINAL
GROUP BY slice, workspace, hour, channel, kind, campaign, action, bounce_class;

-- What a slice comes to, by mailbox provider.
CREATE OR REPLACE VIEW {database}.provider_counts_live{on_cluster} AS
SELECT
    slice,
    workspace,
    toStartOfHour(timestamp) AS hour,
    channel,
    mailbox_provider,
    bounce_class,
    countIf(metric = 'sent') AS sent,
    countIf(metric = 'delivered') AS delivered,
    countIf(metric = 'deferred') AS deferred,
    countIf(metric = 'bounced') AS bounced,
    countIf(metric = 'clicked' AND NOT machine) AS clicked,
    countIf(metric = 'spammed') AS complained,
    countIf(metric = 'unsubscribed') AS unsubscribed,
    countIf(metric IN ('bounced', 'dropped', 'deferred') AND bounce_class != '') AS failures,
    maxIf(left(failure_message, 300), metric IN ('bounced', 'dropped', 'deferred') AND bounce_class != '') AS example
FROM {database}.message_outcomes FINAL
GROUP BY slice, workspace, hour, channel, mailbox_provider, bounce_class;

-- The latest count of every slice; a slice of which something was stored since is counted on the spot.
CREATE OR REPLACE VIEW {database}.campaign_counts_current{on_cluster} AS
SELECT * EXCEPT counted_at FROM {database}.campaign_counts
WHERE (slice, counted_at) IN (
    SELECT slice, max(counted_at) FROM {database}.campaign_counts
    WHERE slice NOT IN (SELECT slice FROM {database}.slices_to_count)
    GROUP BY slice)
UNION ALL
SELECT * FROM {database}.campaign_counts_live
WHERE slice IN (SELECT slice FROM {database}.slices_to_count);

CREATE OR REPLACE VIEW {database}.provider_counts_current{on_cluster} AS
SELECT * EXCEPT counted_at FROM {database}.provider_counts
WHERE (slice, counted_at) IN (
    SELECT slice, max(counted_at) FROM {database}.provider_counts
    WHERE slice NOT IN (SELECT slice FROM {database}.slices_to_count)
    GROUP BY slice)
UNION ALL
SELECT * FROM {database}.provider_counts_live
WHERE slice IN (SELECT slice FROM {database}.slices_to_count);

-- One row per hour and campaign.
CREATE OR REPLACE VIEW {database}.campaigns_hourly{on_cluster} AS
SELECT
    workspace, hour, channel, kind, campaign,
    sum(counts.sent) AS sent,
    sum(counts.delivered) AS delivered,
    sum(counts.opened) AS opened,
    uniqExactArray(counts.clicked) AS clicked,
    uniqExactArray(counts.converted) AS converted,
    sum(counts.bounced) AS bounced,
    sumIf(counts.bounced, bounce_class IN ('hard_recipient', 'hard_domain')) AS hard_bounced,
    sum(counts.dropped) AS dropped,
    sum(counts.failed) AS failed,
    sum(counts.complained) AS complained,
    sum(counts.unsubscribed) AS unsubscribed
FROM {database}.campaign_counts_current AS counts
GROUP BY workspace, hour, channel, kind, campaign;

-- One row per hour and mailbox provider.
CREATE OR REPLACE VIEW {database}.providers_hourly{on_cluster} AS
SELECT
    workspace, hour, channel, mailbox_provider,
    sum(counts.sent) AS sent,
    sum(counts.delivered) AS delivered,
    sum(counts.deferred) AS deferred,
    sum(counts.bounced) AS bounced,
    sumIf(counts.bounced, bounce_class IN ('hard_recipient', 'hard_domain')) AS hard_bounced,
    sumIf(counts.bounced, bounce_class IN ('mailbox_full', 'transient', 'undetermined')) AS soft_bounced,
    sumIf(counts.bounced, bounce_class IN ('block_reputation', 'block_content')) AS blocked,
    sum(counts.clicked) AS clicked,
    sum(counts.complained) AS complained,
    sum(counts.unsubscribed) AS unsubscribed
FROM {database}.provider_counts_current AS counts
GROUP BY workspace, hour, channel, mailbox_provider;

-- The funnel of every campaign from the hour of one time to before the hour of another, with its health. Rates are of what was delivered (hard bounces: of
-- what was delivered or bounced). `..._shrunk` is the mean, and `p_...` the probability of being above the threshold, of a beta distribution: the
-- campaign's own counts on top of 500 deliveries at the workspace's rate in the 28 days before `until`, which itself stands on 500 deliveries at half of the
-- rate that is warned of: of a workspace without a history nothing bad is known. Without an event of its own no campaign is warned of. The probability is integrated over the logarithm of the odds, where the
-- density is smooth even for the smallest rates, on the side of the threshold that the mean is not on: there it falls from the first step, and is
-- below e^-20 of that within the width (Gauss-Legendre, 20 nodes: off by 3e-7 at most).
CREATE OR REPLACE VIEW {database}.campaign_funnel{on_cluster} AS
WITH
    [0.0034357004, 0.0180140364, 0.0438827859, 0.0804415141, 0.1268340468, 0.1819731596, 0.2445664990, 0.3131469556, 0.3861070744, 0.4617367394,
     0.5382632606, 0.6138929256, 0.6868530444, 0.7554335010, 0.8180268404, 0.8731659532, 0.9195584859, 0.9561172141, 0.9819859636, 0.9965642996] AS nodes,
    [0.0088070036, 0.0203007149, 0.0313360242, 0.0416383708, 0.0509650599, 0.0590972660, 0.0658443192, 0.0710480547, 0.0745864932, 0.0763766936,
     0.0763766936, 0.0745864932, 0.0710480547, 0.0658443192, 0.0590972660, 0.0509650599, 0.0416383708, 0.0313360242, 0.0203007149, 0.0088070036] AS weights,
    arrayMap(
        (a, b, limit) -> if(
            a > (a + b) * limit,
            -20 / a - sqrt(40 / a),
            log1p(20 / ((a + b) * limit) + sqrt(40 / ((a + b) * limit)))),
        all_a, all_b, limits) AS widths,
    arrayMap((a, b) -> lgamma(a + b) - lgamma(a) - lgamma(b), all_a, all_b) AS scales,
    arrayMap(
        (a, b, limit, width, scale) -> width * arraySum(
            (node, weight) -> weight * exp(a * node - (a + b) * log1p(exp(node)) + scale),
            arrayMap(node -> log(limit / (1 - limit)) + width * node, nodes),
            weights),
        all_a, all_b, limits, widths, scales) AS beyond,
    arrayMap((side, width) -> greatest(0., least(1., if(width < 0, 1 + side, side))), beyond, widths) AS p
SELECT
    workspace, channel, kind, campaign,
    sent, delivered, opened, clicked, converted, bounced, hard_bounced, soft_bounced, blocked, bounces_by_class, dropped, failed, complained,
    unsubscribed,
    if(delivered = 0, NULL, clicked / delivered) AS click_rate,
    if(delivered = 0, NULL, converted / delivered) AS conversion_rate,
    if(delivered = 0, NULL, complained / delivered) AS complaint_rate,
    if(delivered = 0, NULL, unsubscribed / delivered) AS unsubscribe_rate,
    if(delivered + bounced = 0, NULL, hard_bounced / (delivered + bounced)) AS hard_bounce_rate,
    complaint_a / (complaint_a + complaint_b) AS complaint_rate_shrunk,
    hard_bounce_a / (hard_bounce_a + hard_bounce_b) AS hard_bounce_rate_shrunk,
    p[1] AS p_complaints_above_warning,
    p[2] AS p_complaints_above_limit,
    p[3] AS p_hard_bounces_above_warning,
    p[4] AS p_hard_bounces_above_limit,
    multiIf(
        complained > 0 AND p[2] > 0.95 OR hard_bounced > 0 AND p[4] > 0.95, 'stop',
        complained > 0 AND p[1] > 0.95 OR hard_bounced > 0 AND p[3] > 0.95, 'watch',
        'ok') AS verdict
FROM
(
    SELECT
        *,
        500 * usual_complaint_rate + complained AS complaint_a,
        500 * (1 - usual_complaint_rate) + greatest(toInt64(delivered) - toInt64(complained), 0) AS complaint_b,
        500 * usual_hard_bounce_rate + hard_bounced AS hard_bounce_a,
        500 * (1 - usual_hard_bounce_rate) + delivered + bounced - hard_bounced AS hard_bounce_b,
        [complaint_a, complaint_a, hard_bounce_a, hard_bounce_a] AS all_a,
        [complaint_b, complaint_b, hard_bounce_b, hard_bounce_b] AS all_b,
        [0.001, 0.003, 0.01, 0.02] AS limits
    FROM
    (
        SELECT
            *,
            (sum(usually_complained) OVER peers + 500 * 0.0005) / (sum(greatest(usually_delivered, usually_complained)) OVER peers + 500)
                AS usual_complaint_rate,
            (sum(usually_hard_bounced) OVER peers + 500 * 0.005) / (sum(usually_delivered + usually_bounced) OVER peers + 500) AS usual_hard_bounce_rate
        FROM
        (
            WITH
                hour >= toStartOfHour({from:DateTime('UTC')}) AS asked,
                -- No time is before 1970.
                greatest({until:DateTime('UTC')}, toDateTime(0, 'UTC') + INTERVAL 28 DAY) - INTERVAL 28 DAY AS usual_since,
                hour >= usual_since AS usual,
                bounce_class IN ('hard_recipient', 'hard_domain') AS hard
            SELECT
                workspace, channel, kind, campaign,
                countIf(asked) AS found,
                sumIf(counts.sent, asked) AS sent,
                sumIf(counts.delivered, asked) AS delivered,
                sumIf(counts.opened, asked) AS opened,
                uniqExactArrayIf(counts.clicked, asked) AS clicked,
                uniqExactArrayIf(counts.converted, asked) AS converted,
                sumIf(counts.bounced, asked) AS bounced,
                sumIf(counts.bounced, asked AND hard) AS hard_bounced,
                sumIf(counts.bounced, asked AND bounce_class IN ('mailbox_full', 'transient', 'undetermined')) AS soft_bounced,
                sumIf(counts.bounced, asked AND bounce_class IN ('block_reputation', 'block_content')) AS blocked,
                sumMapIf(map(bounce_class, counts.bounced), asked AND counts.bounced > 0) AS bounces_by_class,
                sumIf(counts.dropped, asked) AS dropped,
                sumIf(counts.failed, asked) AS failed,
                sumIf(counts.complained, asked) AS complained,
                sumIf(counts.unsubscribed, asked) AS unsubscribed,
                sumIf(counts.delivered, usual) AS usually_delivered,
                sumIf(counts.bounced, usual) AS usually_bounced,
                sumIf(counts.bounced, usual AND hard) AS usually_hard_bounced,
                sumIf(counts.complained, usual) AS usually_complained
            FROM {database}.campaign_counts_current AS counts
            WHERE hour >= least(toStartOfHour({from:DateTime('UTC')}), usual_since) AND hour < {until:DateTime('UTC')}
            GROUP BY workspace, channel, kind, campaign
        )
        WINDOW peers AS (PARTITION BY workspace, channel)
    )
    WHERE found > 0
);

-- Everything about one person, oldest first: by the index of people to the ids, and by the ids to the rows.
CREATE OR REPLACE VIEW {database}.customer_timeline{on_cluster} AS
SELECT * FROM {database}.message_outcomes FINAL
WHERE workspace = {workspace:String} AND customer_id = {customer_id:String}
    AND (slice, workspace, event_id) IN (
        SELECT slice, workspace, event_id FROM {database}.message_outcomes
        WHERE workspace = {workspace:String} AND customer_id = {customer_id:String})
ORDER BY timestamp, event_id;

-- Every suppress and unsubscribe that was made, refused or rehearsed: by which rule, on what evidence, and what the API said.
CREATE OR REPLACE VIEW {database}.suppression_calls{on_cluster} AS
SELECT workspace, namespace, person_id, at, call, phase, rule, evidence, policy_version, status, error
FROM {database}.track_calls FINAL
WHERE call IN ('suppress', 'unsubscribe') AND phase != 'intent';

-- Who is suppressed or unsubscribed: by the last of these calls that Customer.io has acknowledged, unless an operator has freed them since.
CREATE OR REPLACE VIEW {database}.suppressions_current{on_cluster} AS
SELECT workspace, namespace, person_id, at, call, phase, rule, evidence, policy_version, status, error
FROM
(
    SELECT *
    FROM {database}.track_calls FINAL
    WHERE call IN ('suppress', 'unsubscribe', 'unsuppress') AND phase = 'acknowledged'
    ORDER BY at DESC, src_offset DESC
    LIMIT 1 BY workspace, namespace, person_id
)
WHERE call != 'unsuppress';

-- The latest finished audit.
CREATE OR REPLACE VIEW {database}.delivery_gaps_current{on_cluster} AS
SELECT * FROM {database}.delivery_gaps FINAL WHERE audited_at = (SELECT max(audited_at) FROM {database}.audits);

CREATE OR REPLACE VIEW {database}.suppression_leaks_current{on_cluster} AS
SELECT * FROM {database}.suppression_leaks FINAL WHERE audited_at = (SELECT max(audited_at) FROM {database}.audits);

-- Per hour: what was sent, and what is missing.
CREATE OR REPLACE VIEW {database}.completeness_hourly{on_cluster} AS
SELECT workspace, hour, channel, sum(sent) AS sent, sum(no_outcome) AS no_outcome, sum(no_sent) AS no_sent
FROM
(
    SELECT workspace, hour, channel, sent, 0 AS no_outcome, 0 AS no_sent FROM {database}.provider_counts_current
    UNION ALL
    SELECT workspace, toStartOfHour(at), channel, 0, gap = 'no_outcome', gap = 'no_sent' FROM {database}.delivery_gaps_current
)
GROUP BY workspace, hour, channel;

-- The latest count of people.
CREATE OR REPLACE VIEW {database}.people_counts_current{on_cluster} AS
SELECT workspace, state, score, people FROM {database}.people_counts FINAL
WHERE counted_at = (SELECT max(counted_at) FROM {database}.people_counts);

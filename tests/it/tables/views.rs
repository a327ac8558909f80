use std::collections::{BTreeMap, BTreeSet};

use aftersend_pipeline::telemetry::Metrics;
use aftersend_pipeline::unix_millis;
use aftersend_schemas::migrations::Target;
use aftersend_sinks::clickhouse::Rollups;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::Database;
use super::naive::{DAY, Event, HOUR, Row, beta_above, current, delivery, group, read_otherwise};

/// Rows in random order, some twice, some again in a later epoch and read otherwise, some long after their time; counted now and then, broken off now
/// and then, merged now and then: whatever was stored, the views say what one gets by going through the rows.
#[tokio::test(flavor = "multi_thread")]
async fn views_are_right_under_duplicates_epochs_disorder_and_late_rows() -> anyhow::Result<()> {
    let mut random = random();
    let database = Database::new().await?;
    let rollups = Rollups::new(&database.config, &Metrics::new());
    let now = unix_millis().cast_unsigned() / 1000;
    let mut coming: Vec<Row> = Vec::new();
    for number in 0..400 {
        for event in delivery(&mut random, number, now) {
            if random.random_bool(0.1) {
                coming.push(Row { event: read_otherwise(&event, &mut random), epoch: random.random_range(1..3) });
            }
            let copies = if random.random_bool(0.1) { 2 } else { 1 };
            coming.extend((0..copies).map(|_| Row { event: event.clone(), epoch: 0 }));
        }
    }
    // Two copies of one epoch that differ would be decided by which came last; that is not what is asked here.
    let mut seen = BTreeSet::new();
    coming.retain(|row| row.epoch == 0 || seen.insert((row.event.workspace, row.event.id.clone(), row.epoch)));
    coming.shuffle(&mut random);
    let (mut stored, mut summed_wrongly, mut counted) = (Vec::new(), false, 0);
    // A clock of its own, so that rows are stored long before they are counted and after.
    let mut clock = unix_millis() - 3_600_000;
    for batch in coming.chunks(coming.len() / 12 + 1) {
        clock += 600_000;
        insert(&database, batch, clock, stored.len()).await?;
        stored.extend_from_slice(batch);
        match random.random_range(0..6) {
            0 => {}
            1 => broken_off(&database, clock).await?,
            2 => database.execute("OPTIMIZE TABLE message_outcomes FINAL").await?,
            _ => counted += rollups.count(clock + 130_000).await?,
        }
        if random.random_bool(0.3) {
            database.execute("OPTIMIZE TABLE campaign_counts FINAL").await?;
        }
        let events = current(&stored);
        campaigns(&database, &events).await?;
        providers(&database, &events).await?;
        funnel(&database, &events, now).await?;
        let sent = database.rows::<u64>("SELECT sum(sent) FROM campaign_counts").await?;
        summed_wrongly |= sent != [events.iter().filter(|event| event.metric == "sent").count() as u64];
    }
    assert!(counted > 0 && summed_wrongly, "{counted} slices were counted: nothing was tested");
    rollups.count(clock + 130_000).await?;
    assert_eq!(rollups.count(clock + 800_000).await?, 0, "what is counted is not counted again");
    let events = current(&stored);
    campaigns(&database, &events).await?;
    funnel(&database, &events, now).await?;
    timeline(&database, &events).await?;
    audits(&database, &rollups, &events, now, &mut random).await?;
    database.finish().await
}

/// A workspace with one campaign that is looked at, and one before it.
struct Sizes {
    /// Delivered, complained, bounced hard.
    now: [u64; 3],
    before: [u64; 3],
}

/// From nothing to a hundred thousand of each, with and without deliveries, near the limits and far from them.
#[tokio::test(flavor = "multi_thread")]
async fn the_probabilities_of_the_funnel_are_right_for_campaigns_of_every_size() -> anyhow::Result<()> {
    let mut random = random();
    let database = Database::new().await?;
    let now = unix_millis().cast_unsigned() / 1000;
    let (from, until) = (hour(now - DAY), hour(now) + 3600);
    let mut workspaces = vec![
        Sizes { now: [0, 0, 200_000], before: [0; 3] },
        Sizes { now: [0, 100_000, 0], before: [0; 3] },
        Sizes { now: [100_000, 0, 0], before: [100_000, 0, 0] },
        Sizes { now: [1, 0, 0], before: [0; 3] },
    ];
    let mut counts = || {
        let delivered = 10_f64.powf(random.random_range(0.0..5.0)) as u64;
        let mut some = || match random.random_range(0..4) {
            0 => 0,
            1 => random.random_range(0..=delivered),
            _ => (delivered as f64 * random.random_range(0.0..0.03)) as u64,
        };
        let (complained, bounced) = (some(), some());
        [if bounced % 5 == 1 { 0 } else { delivered }, complained, bounced]
    };
    workspaces.extend((0..500).map(|_| Sizes { now: counts(), before: counts() }));
    let row = |workspace: usize, campaign: u64, hour: u32, [delivered, complained, hard]: [u64; 3]| {
        format!(
            "(0, 'w{workspace}', {hour}, 'email', 'campaign', {campaign}, '', {delivered}, {complained}, 0, {now}), (0, 'w{workspace}', {hour}, 'email', 'campaign', {campaign}, 'hard_recipient', 0, 0, {hard}, {now})"
        )
    };
    let rows: Vec<String> = workspaces
        .iter()
        .enumerate()
        .flat_map(|(number, sizes)| [row(number, 1, hour(now), sizes.now), row(number, 2, hour(now - 10 * DAY), sizes.before)])
        .collect();
    let columns = "slice, workspace, hour, channel, kind, campaign, bounce_class, delivered, complained, bounced, counted_at";
    database.execute(&format!("INSERT INTO campaign_counts ({columns}) VALUES {}", rows.join(","))).await?;

    let query = format!(
        "SELECT workspace::String, [p_complaints_above_warning, p_complaints_above_limit, p_hard_bounces_above_warning, p_hard_bounces_above_limit], verdict FROM campaign_funnel(from = {from}, until = {until}) ORDER BY toUInt32(substring(workspace, 2))"
    );
    let found = database.rows::<(String, Vec<f64>, String)>(&query).await?;
    assert_eq!(found.len(), workspaces.len());
    for ((workspace, probabilities, verdict), Sizes { now, before }) in found.into_iter().zip(&workspaces) {
        let base = (now[0].max(now[1]) + before[0].max(before[1])) as f64;
        let complaints = 500.0 * ((now[1] + before[1]) as f64 + 500.0 * 0.0005) / (base + 500.0);
        let reached = (now[0] + now[2] + before[0] + before[2]) as f64;
        let hard = 500.0 * ((now[2] + before[2]) as f64 + 500.0 * 0.005) / (reached + 500.0);
        let (a, b) = (complaints + now[1] as f64, 500.0 - complaints + now[0].saturating_sub(now[1]) as f64);
        let (c, d) = (hard + now[2] as f64, 500.0 - hard + now[0] as f64);
        let wanted = [beta_above(a, b, 0.001), beta_above(a, b, 0.003), beta_above(c, d, 0.01), beta_above(c, d, 0.02)];
        for (found, wanted) in probabilities.iter().zip(wanted) {
            assert!((found - wanted).abs() < 1e-6, "{workspace} {now:?} {before:?}: {probabilities:?}, worked out {wanted}");
        }
        let is_stopped = now[1] > 0 && wanted[1] > 0.95 || now[2] > 0 && wanted[3] > 0.95;
        assert_eq!(verdict == "stop", is_stopped, "{workspace} {now:?} {before:?}: {probabilities:?}");
    }
    database.finish().await
}

/// A workspace of which nothing is known yet, a channel in which nothing is ever delivered, a time long after the last mail; half of an hour.
#[tokio::test(flavor = "multi_thread")]
async fn no_campaign_is_warned_of_before_something_bad_has_happened() -> anyhow::Result<()> {
    let database = Database::new().await?;
    let now = unix_millis().cast_unsigned() / 1000;
    let at = hour(now - 2 * DAY);
    let row = |workspace: &str, channel: &str, sent: u64, delivered: u64, complained: u64| {
        format!("(0, '{workspace}', {at}, '{channel}', 'campaign', 1, '', {sent}, {delivered}, {complained}, {now})")
    };
    let rows = [
        row("new", "email", 5, 5, 0),
        row("waiting", "email", 2_000, 0, 0),
        row("app", "in_app", 2_000, 0, 0),
        row("one", "email", 3, 3, 1),
        row("bad", "email", 500, 500, 20),
    ];
    let columns = "slice, workspace, hour, channel, kind, campaign, bounce_class, sent, delivered, complained, counted_at";
    database.execute(&format!("INSERT INTO campaign_counts ({columns}) VALUES {}", rows.join(","))).await?;
    let found = async |from: u64, until: u64| {
        let query = format!("SELECT workspace::String, verdict FROM campaign_funnel(from = {from}, until = {until}) ORDER BY workspace");
        database.rows::<(String, String)>(&query).await
    };
    let verdict = |workspace: &str| (workspace.to_owned(), if workspace == "bad" { "stop" } else { "ok" }.to_owned());
    let expected: Vec<_> = ["app", "bad", "new", "one", "waiting"].map(verdict).into();
    let at = u64::from(at);
    assert_eq!(found(at + 1_800, at + 3_600).await?, expected, "the hour in which the time begins");
    assert_eq!(found(at, at + 90 * DAY).await?, expected, "nothing lies in the 28 days before");
    assert_eq!(found(at + 3_600, at + 7_200).await?, []);
    database.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_suppressed_is_told_from_rehearsals_refusals_and_those_who_were_freed() -> anyhow::Result<()> {
    let database = Database::new().await?;
    let calls = [
        ("gone", "suppress", "acknowledged"),
        ("rehearsed", "suppress", "dry_run"),
        ("refused", "suppress", "refused"),
        ("freed", "suppress", "acknowledged"),
        ("freed", "unsuppress", "acknowledged"),
        ("stopped", "unsubscribe", "acknowledged"),
        ("both", "unsubscribe", "acknowledged"),
        ("both", "suppress", "acknowledged"),
        ("kept", "suppress", "acknowledged"),
        ("kept", "unsuppress", "refused"),
    ];
    for (offset, (person, call, phase)) in calls.iter().enumerate() {
        let columns = "person_id, call, phase, at, src_offset";
        let row = format!("'{person}', '{call}', '{phase}', now64(3) - INTERVAL {} SECOND, {offset}", 60 - offset);
        database.execute(&format!("INSERT INTO track_calls ({columns}) VALUES ({row})")).await?;
    }
    let query = "SELECT person_id, call::String FROM suppressions_current ORDER BY person_id";
    let found = database.rows::<(String, String)>(query).await?;
    let expected = [("both", "suppress"), ("gone", "suppress"), ("kept", "suppress"), ("stopped", "unsubscribe")];
    assert_eq!(found, expected.map(|(person, call)| (person.to_owned(), call.to_owned())));
    assert_eq!(database.rows::<u64>("SELECT count() FROM suppression_calls").await?, [8]);
    database.finish().await
}

/// Another one in each run; `VIEWS_SEED` repeats one.
#[expect(clippy::print_stdout, reason = "what repeats a failure")]
fn random() -> StdRng {
    let seed = std::env::var("VIEWS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| unix_millis().cast_unsigned());
    println!("VIEWS_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

async fn insert(database: &Database, rows: &[Row], clock: i64, first: usize) -> anyhow::Result<()> {
    let rows: Vec<String> = rows.iter().enumerate().map(|(index, row)| values(row, clock, first + index)).collect();
    let columns = "workspace, event_id, event_type, channel, metric, timestamp, customer_id, cio_id, message_id, campaign_id, newsletter_id, broadcast_id, transactional_message_id, mailbox_provider, bounce_class, machine, received_at, src_offset, epoch, stored_at";
    database.execute(&format!("INSERT INTO message_outcomes ({columns}) VALUES {}", rows.join(","))).await
}

fn values(row: &Row, clock: i64, offset: usize) -> String {
    let Event { workspace, id, metric, channel, at, customer, cio, message, kind, campaign, provider, class, machine } = &row.event;
    let of = |name: &str| if *kind == name { campaign.to_string() } else { "NULL".to_owned() };
    format!(
        "('{workspace}', '{id}', '{channel}_{metric}', '{channel}', '{metric}', {at}, '{customer}', '{cio}', '{message}', {}, {}, {}, {}, '{provider}', '{class}', {machine}, {received}, {offset}, {}, {stored})",
        of("campaign"),
        of("newsletter"),
        of("broadcast"),
        of("transactional"),
        row.epoch,
        received = seconds(clock),
        stored = seconds(clock),
    )
}

fn seconds(millis: i64) -> String {
    format!("{}.{:03}", millis / 1000, millis % 1000)
}

/// A count that died behind its first statement, before the mark moved.
async fn broken_off(database: &Database, clock: i64) -> anyhow::Result<()> {
    let target = Target { database: &database.config.database, cluster: database.config.cluster.as_deref() };
    let slices = database.rows::<u32>("SELECT slice FROM slices_to_count ORDER BY slice").await?;
    database.execute(&target.count(&slices[..slices.len() / 2], (clock + 130_000) * 1_000_000)[0]).await
}

fn hour(at: u64) -> u32 {
    (at / HOUR * HOUR) as u32
}

async fn campaigns(database: &Database, events: &[&Event]) -> anyhow::Result<()> {
    type Key = (String, u32, String, String, u64);
    type Counts = (u64, u64, u64, u64, u64, u64, u64, u64, u64, u64);
    let rows = database
        .rows::<(Key, Counts)>(
            "SELECT tuple(workspace::String, toUInt32(hour), channel::String, kind::String, campaign), tuple(sent, delivered, opened, clicked, converted, bounced, hard_bounced, failed, complained, unsubscribed) FROM campaigns_hourly",
        )
        .await?;
    let found: BTreeMap<Key, Counts> = rows.into_iter().collect();
    let groups =
        group(events, |event| Some((event.workspace.into(), hour(event.at), event.channel.into(), event.kind.into(), event.campaign)));
    let expected: BTreeMap<Key, Counts> = groups
        .into_iter()
        .map(|(key, sums)| {
            let (clicked, converted, hard) = (sums.clicked.len() as u64, sums.converted.len() as u64, sums.hard());
            (
                key,
                (
                    sums.sent,
                    sums.delivered,
                    sums.opened,
                    clicked,
                    converted,
                    sums.bounced,
                    hard,
                    sums.failed,
                    sums.complained,
                    sums.unsubscribed,
                ),
            )
        })
        .collect();
    same(&found, &expected)
}

async fn providers(database: &Database, events: &[&Event]) -> anyhow::Result<()> {
    type Key = (String, u32, String, String);
    type Counts = (u64, u64, u64, u64, u64, u64, u64, u64, u64, u64);
    let rows = database
        .rows::<(Key, Counts)>(
            "SELECT tuple(workspace::String, toUInt32(hour), channel::String, mailbox_provider::String), tuple(sent, delivered, deferred, bounced, hard_bounced, soft_bounced, blocked, clicked, complained, unsubscribed) FROM providers_hourly",
        )
        .await?;
    let found: BTreeMap<Key, Counts> = rows.into_iter().collect();
    let groups = group(events, |event| Some((event.workspace.into(), hour(event.at), event.channel.into(), event.provider.into())));
    let expected: BTreeMap<Key, Counts> = groups
        .into_iter()
        .map(|(key, sums)| {
            let (soft, blocked) =
                (sums.of(&["mailbox_full", "transient", "undetermined"]), sums.of(&["block_reputation", "block_content"]));
            let bounces = (sums.bounced, sums.hard(), soft, blocked);
            let counts = (
                sums.sent,
                sums.delivered,
                sums.deferred,
                bounces.0,
                bounces.1,
                bounces.2,
                bounces.3,
                sums.clicks,
                sums.complained,
                sums.unsubscribed,
            );
            (key, counts)
        })
        .collect();
    same(&found, &expected)
}

/// The funnel of the last five days, and the probabilities against another way of working them out.
async fn funnel(database: &Database, events: &[&Event], now: u64) -> anyhow::Result<()> {
    type Key = (String, String, String, u64);
    type Counts = (u64, u64, u64, u64, u64, u64);
    let (from, until) = (hour(now - 5 * DAY), hour(now) + 3600);
    let query = format!(
        "SELECT tuple(workspace::String, channel::String, kind::String, campaign), tuple(sent, delivered, clicked, converted, bounced, complained), arraySort(mapKeys(bounces_by_class))::Array(String), [complaint_rate_shrunk, hard_bounce_rate_shrunk, p_complaints_above_warning, p_complaints_above_limit, p_hard_bounces_above_warning, p_hard_bounces_above_limit], verdict FROM campaign_funnel(from = {from}, until = {until})"
    );
    let rows = database.rows::<(Key, Counts, Vec<String>, Vec<f64>, String)>(&query).await?;
    let inside = |event: &Event, from: u32| hour(event.at) >= from && hour(event.at) < until;
    let usual = group(events, |event| inside(event, until - 28 * DAY as u32).then_some((event.workspace, event.channel)));
    let mut expected = group(events, |event| {
        inside(event, from).then(|| (event.workspace.into(), event.channel.into(), event.kind.into(), event.campaign))
    });
    assert_eq!(rows.len(), expected.len());
    for (key, counts, classes, numbers, verdict) in rows {
        let sums = expected.remove(&key).ok_or_else(|| anyhow::anyhow!("{key:?} has no such events"))?;
        let (clicked, converted) = (sums.clicked.len() as u64, sums.converted.len() as u64);
        assert_eq!(counts, (sums.sent, sums.delivered, clicked, converted, sums.bounced, sums.complained), "{key:?}");
        assert_eq!(classes, sums.by_class.keys().cloned().collect::<Vec<_>>(), "{key:?}");
        let usual = &usual[&(sums_key(&key.0), sums_key(&key.1))];
        let reached = (usual.delivered + usual.bounced) as f64;
        let complaints = (usual.complained as f64 + 500.0 * 0.0005) / (usual_base(events, &key, until) + 500.0);
        let hard = (usual.hard() as f64 + 500.0 * 0.005) / (reached + 500.0);
        let (a, b) = (
            500.0 * complaints + sums.complained as f64,
            500.0 * (1.0 - complaints) + sums.delivered.saturating_sub(sums.complained) as f64,
        );
        let (c, d) = (500.0 * hard + sums.hard() as f64, 500.0 * (1.0 - hard) + (sums.delivered + sums.bounced - sums.hard()) as f64);
        let p = [beta_above(a, b, 0.001), beta_above(a, b, 0.003), beta_above(c, d, 0.01), beta_above(c, d, 0.02)];
        let wanted = [a / (a + b), c / (c + d), p[0], p[1], p[2], p[3]];
        for (found, wanted) in numbers.iter().zip(wanted) {
            assert!((found - wanted).abs() < 1e-6, "{key:?}: {numbers:?}, worked out {wanted}");
        }
        let above = |complaints: f64, hard: f64| sums.complained > 0 && complaints > 0.95 || sums.hard() > 0 && hard > 0.95;
        let expected = if above(p[1], p[3]) {
            "stop"
        } else if above(p[0], p[2]) {
            "watch"
        } else {
            "ok"
        };
        assert_eq!(verdict, expected, "{key:?}");
    }
    Ok(())
}

/// Names of workspaces and channels are few and fixed.
fn sums_key(name: &str) -> &'static str {
    ["shop", "club", "email", "sms"].into_iter().find(|known| *known == name).unwrap_or_default()
}

/// Deliveries that a complaint rate is of: campaign by campaign never fewer than complaints.
fn usual_base(events: &[&Event], key: &(String, String, String, u64), until: u32) -> f64 {
    let since = until - 28 * DAY as u32;
    let peers = group(events, |event| {
        let peer = event.workspace == key.0 && event.channel == key.1 && hour(event.at) >= since && hour(event.at) < until;
        peer.then_some((event.kind, event.campaign))
    });
    peers.values().map(|sums| sums.delivered.max(sums.complained) as f64).sum()
}

async fn timeline(database: &Database, events: &[&Event]) -> anyhow::Result<()> {
    for customer in ["u-0", "u-1", "nobody"] {
        let query = format!("SELECT event_id FROM customer_timeline(workspace = 'shop', customer_id = '{customer}')");
        let mut expected: Vec<_> = events.iter().filter(|event| event.workspace == "shop" && event.customer == customer).collect();
        expected.sort_by_key(|event| (event.at, &event.id));
        assert_eq!(database.rows::<String>(&query).await?, expected.iter().map(|event| event.id.clone()).collect::<Vec<_>>());
    }
    Ok(())
}

/// Gaps and leaks of the latest finished audit.
async fn audits(database: &Database, rollups: &Rollups, events: &[&Event], now: u64, random: &mut StdRng) -> anyhow::Result<()> {
    // Of each person (workspace, namespace, id) when each version was written, in milliseconds, at which offset, and whether mail may go there.
    type Versions = BTreeMap<u64, (usize, bool)>;
    let mut people: BTreeMap<(&str, &str, String), Versions> = BTreeMap::new();
    let mut rows = Vec::new();
    for event in events {
        let (namespace, id) = person(event);
        if random.random_bool(0.2) {
            let at = (now - random.random_range(0..14 * DAY)) * 1000 + random.random_range(0..1000);
            let deliverable = random.random_bool(0.5);
            if people.entry((event.workspace, namespace, id.clone())).or_default().insert(at, (rows.len(), deliverable)).is_none() {
                let row = format!(
                    "('{}', '{namespace}', '{id}', {deliverable}, '{deliverable}', {}, {})",
                    event.workspace,
                    seconds(at.cast_signed()),
                    rows.len()
                );
                rows.push(row.clone());
                if random.random_bool(0.2) {
                    rows.push(row);
                }
            }
        }
    }
    database
        .execute(&format!(
            "INSERT INTO profiles (workspace, namespace, person_id, email_deliverable, state, written_at, src_offset) VALUES {}",
            rows.join(",")
        ))
        .await?;
    rollups.audit((now * 1000).cast_signed() - 1).await?;
    rollups.audit((now * 1000).cast_signed()).await?;
    let mut scores: BTreeMap<(&str, String), u64> = BTreeMap::new();
    for ((workspace, ..), versions) in &people {
        // Offsets ascend with the order of writing here, not with time: the latest is the last inserted.
        let latest = versions.values().max_by_key(|(offset, _)| *offset).map(|(_, deliverable)| deliverable.to_string());
        *scores.entry((workspace, latest.unwrap_or_default())).or_default() += 1;
    }
    rollups.count_people((now * 1000).cast_signed()).await?;
    rollups.count_people((now * 1000).cast_signed() + 1).await?;
    let counted = database.rows::<(String, String, u64)>("SELECT workspace, state, people FROM people_counts_current").await?;
    let expected: BTreeSet<_> = scores.into_iter().map(|((workspace, state), people)| (workspace.to_owned(), state, people)).collect();
    assert_eq!(counted.iter().cloned().collect::<BTreeSet<_>>(), expected);
    assert_eq!(counted.len(), expected.len());
    // One that is under way.
    database.execute("INSERT INTO delivery_gaps (audited_at, gap, message_id) SELECT now64(3) + 60, 'no_sent', 'unfinished'").await?;

    let mut deliveries: BTreeMap<(&str, &str, &str), Vec<&Event>> = BTreeMap::new();
    for event in events.iter().filter(|event| !event.message.is_empty()) {
        deliveries.entry((event.workspace, event.channel, &event.message)).or_default().push(event);
    }
    let mut gaps = BTreeSet::new();
    for ((workspace, channel, message), events) in deliveries {
        let of = |metrics: &[&str]| events.iter().filter(|event| metrics.contains(&event.metric)).map(|event| event.at).collect::<Vec<_>>();
        let first = |times: Vec<u64>| times.into_iter().filter(|at| *at > 0).min();
        let (sent, outcome) = (of(&["sent"]), of(&["delivered", "bounced"]));
        let ended = events.iter().any(|event| !["sent", "drafted", "attempted", "deferred"].contains(&event.metric));
        let gap = match sent.is_empty() {
            true => first(outcome).map(|at| ("no_sent", at)),
            false if !ended => first(sent).map(|at| ("no_outcome", at)),
            false => None,
        };
        if let Some((gap, at)) = gap
            && at >= now - 11 * DAY
            && at < now - 72 * HOUR
        {
            gaps.insert((gap.to_owned(), workspace.to_owned(), channel.to_owned(), message.to_owned(), u32::try_from(at)?));
        }
    }
    let query = "SELECT gap::String, workspace::String, channel::String, message_id, toUInt32(at) FROM delivery_gaps_current";
    let found = database.rows::<(String, String, String, String, u32)>(query).await?;
    assert_eq!(found.iter().cloned().collect::<BTreeSet<_>>(), gaps);
    assert_eq!(found.len(), gaps.len());
    assert!(["no_outcome", "no_sent"].iter().all(|gap| gaps.iter().any(|(found, ..)| found == gap)), "{gaps:?}");
    let sums = database.rows::<(u64, u64, u64)>("SELECT sum(sent), sum(no_outcome), sum(no_sent) FROM completeness_hourly").await?;
    let of = |name: &str| gaps.iter().filter(|(gap, ..)| gap == name).count() as u64;
    let sent = events.iter().filter(|event| event.metric == "sent").count() as u64;
    assert_eq!(sums, [(sent, of("no_outcome"), of("no_sent"))]);

    let mut leaks = BTreeSet::new();
    for event in events.iter().filter(|event| event.metric == "sent" && event.channel == "email" && event.at > 0) {
        let (namespace, id) = person(event);
        let versions = people.get(&(event.workspace, namespace, id.clone()));
        if versions.and_then(|versions| versions.range(..=event.at * 1000).next_back()).is_some_and(|(_, (_, deliverable))| !deliverable) {
            leaks.insert((event.workspace.to_owned(), event.id.clone(), namespace.to_owned(), id));
        }
    }
    let query = "SELECT workspace::String, event_id, namespace::String, person_id FROM suppression_leaks_current";
    let found = database.rows::<(String, String, String, String)>(query).await?;
    assert_eq!(found.iter().cloned().collect::<BTreeSet<_>>(), leaks);
    assert_eq!(found.len(), leaks.len());
    assert!(leaks.len() > 10, "{leaks:?}");
    Ok(())
}

fn person(event: &Event) -> (&'static str, String) {
    if event.customer.is_empty() { ("cio", event.cio.clone()) } else { ("id", event.customer.clone()) }
}

fn same<K: Ord + std::fmt::Debug, V: PartialEq + std::fmt::Debug>(found: &BTreeMap<K, V>, expected: &BTreeMap<K, V>) -> anyhow::Result<()> {
    for (key, expected) in expected {
        anyhow::ensure!(found.get(key) == Some(expected), "{key:?}: {:?}, should be {expected:?}", found.get(key));
    }
    for (key, found) in found {
        anyhow::ensure!(expected.contains_key(key), "{key:?}: {found:?} comes of no event");
    }
    Ok(())
}

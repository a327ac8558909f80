use std::time::{Duration, Instant};

use aftersend::traffic::{Crowd, Random, SeedableRng as _, disturb};
use aftersend_pipeline::unix_millis;
use aftersend_tests::{Fleet, RawLog, Setup, eventually};
use anyhow::ensure;
use rand::Rng as _;
use tokio_util::sync::CancellationToken;

use super::{agrees, explained, none_hangs};

/// `AFTERSEND_KILLS=300` for a longer run; `AFTERSEND_SEED` for another one.
fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Three processors, traffic flowing, one of them killed every other second. Most come back under their name at once; some are replaced by a stranger,
/// which moves partitions at once and again when the group gives the dead one up.
#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_any_processor_at_any_time_changes_nobodys_profile() -> anyhow::Result<()> {
    let setup = Setup::new("").await?;
    let (kills, seed) = (number("AFTERSEND_KILLS", 50), number("AFTERSEND_SEED", 1));
    let mut random = Random::seed_from_u64(seed);
    let mut fleet = Fleet::of(&setup);
    let mut names: Vec<String> = (0..3).map(|n| format!("p{n}")).collect();
    for name in &names {
        fleet.launch(name)?;
    }
    for name in &names {
        fleet.ready(name).await?;
    }

    let log = RawLog::new(&setup.config)?;
    let stop = CancellationToken::new();
    let writing = {
        let stop = stop.clone();
        tokio::spawn(async move {
            let crowd = Crowd { customers: 400, days: 60, bad_percent: 2, now: unix_millis() / 1000, seed };
            let mut tick = tokio::time::interval(Duration::from_millis(20));
            for bodies in disturb(crowd.events(200_000), 10, 500, seed).chunks(12) {
                tick.tick().await;
                for body in bodies {
                    log.write("default", body, unix_millis())?;
                }
                if stop.is_cancelled() {
                    break;
                }
            }
            log.flush()?;
            anyhow::Ok(log)
        })
    };

    let started = Instant::now();
    let mut strangers = 0;
    for kill in 0..kills {
        tokio::time::sleep(Duration::from_millis(random.random_range(300..2_200))).await;
        let victim = random.random_range(0..names.len());
        fleet.kill(&names[victim])?;
        if kill % 5 == 4 {
            strangers += 1;
            names[victim] = format!("p{}", 2 + strangers);
        }
        fleet.launch(&names[victim])?;
        // Whoever starts more than once a minute without being killed is broken.
        for name in &names {
            if *name != names[victim] {
                fleet.ready(name).await?;
            }
        }
    }
    eprintln!("{kills} kills in {:.0} s, {strangers} of them replaced by a stranger", started.elapsed().as_secs_f64());
    stop.cancel();
    let log = writing.await??;

    let records = agrees(&setup.config, &log, Duration::from_secs(90)).await?;
    explained(&records, &log.reference()?)?;
    // Strangers were given partitions that others had: once the group has given up the dead, if not before.
    for name in names.iter().filter(|name| !["p0", "p1", "p2"].contains(&name.as_str())) {
        eventually(Duration::from_secs(60), async || {
            ensure!(fleet.log(name).contains("partitions assigned"), "nothing moved to {name}");
            Ok(())
        })
        .await?;
    }
    let seen = |what: &str| (0..3 + strangers).map(|n| fleet.log(&format!("p{n}")).matches(what).count()).sum::<usize>();
    let (assigned, revoked) = (seen("partitions assigned"), seen("partitions revoked"));
    none_hangs(&setup.config).await?;
    eprintln!("{} events, {} profiles written, partitions assigned {assigned} and revoked {revoked} times", log.len(), records.len());
    fleet.stop_all().await?;
    setup.finish().await
}

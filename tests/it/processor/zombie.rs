use std::time::Duration;

use aftersend::traffic::{Crowd, disturb};
use aftersend_pipeline::unix_millis;
use aftersend_tests::{Fleet, RawLog, Setup, eventually};
use anyhow::ensure;

use super::{agrees, explained, none_hangs, records};

/// A processor that sleeps through its session wakes up believing that its partitions are its own, with a batch in its hands.
#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_writes_nothing_that_is_read() -> anyhow::Result<()> {
    let setup = Setup::new("").await?;
    let mut fleet = Fleet::of(&setup);
    fleet.launch("sleeper")?;
    fleet.ready("sleeper").await?;
    let log = RawLog::new(&setup.config)?;
    let crowd = Crowd { customers: 200, days: 60, bad_percent: 2, now: unix_millis() / 1000, seed: 5 };
    let bodies = disturb(crowd.events(6_000), 10, 500, 5);
    let (first, rest) = bodies.split_at(3_000);
    let mut written = first.chunks(100);
    for chunk in written.by_ref().take(20) {
        for body in chunk {
            log.write("default", body, unix_millis())?;
        }
    }
    eventually(Duration::from_secs(30), async || {
        ensure!(!records(&setup.config)?.is_empty(), "no profile yet");
        Ok(())
    })
    .await?;
    // It is stopped while there is something to do.
    for chunk in written {
        for body in chunk {
            log.write("default", body, unix_millis())?;
        }
    }
    fleet.signal("sleeper", "STOP")?;
    fleet.launch("heir")?;
    for body in rest {
        log.write("default", body, unix_millis())?;
    }
    let before = agrees(&setup.config, &log, Duration::from_secs(90)).await?;
    fleet.signal("sleeper", "CONT")?;
    // Both work on from here: what the sleeper held was worked out by its heir.
    eventually(Duration::from_secs(60), async || {
        let log = fleet.log("sleeper");
        ensure!(log.contains("partitions revoked") || log.contains("starting over"), "the sleeper has not noticed yet:\n{log}");
        Ok(())
    })
    .await?;
    for body in rest {
        log.write("default", body, unix_millis())?;
    }
    let after = agrees(&setup.config, &log, Duration::from_secs(60)).await?;
    explained(&after, &log.reference()?)?;
    ensure!(after.len() >= before.len());
    none_hangs(&setup.config).await?;
    fleet.stop_all().await?;
    setup.finish().await
}

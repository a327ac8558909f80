use std::time::Duration;

use aftersend_tests::bench::{Figure, Goal};
use aftersend_tests::{Service, Setup, eventually};
use anyhow::{Context as _, ensure};

use super::{figure, ledger, write};

/// A ledger of 500,000 people: a start without a cache, and one with the cache of a predecessor.
pub(super) async fn restore() -> anyhow::Result<[Figure; 2]> {
    const PEOPLE: i64 = 500_000;
    let mut setup = Setup::new("").await?;
    write(&setup, &setup.topics().track_ledger(), (0..PEOPLE).map(|person| ledger(person, 1))).await?;
    let cache = setup.directory().join("cache").to_string_lossy().into_owned();
    let mut starts = Vec::new();
    for (start, what) in ["whole", "from its cache"].into_iter().enumerate() {
        setup.launch_with(Service::Track, &[("AFTERSEND__TRACK__STATE_DIR", cache.as_str())])?;
        let seconds = eventually(Duration::from_secs(120), async || restored(&setup.process(Service::Track)?.log(), start)).await?;
        let status = std::fs::read_to_string(format!("/proc/{}/status", setup.process(Service::Track)?.id()))?;
        let (resident, peak) = (mebibytes(&status, "VmRSS:")?, mebibytes(&status, "VmHWM:")?);
        eprintln!("{PEOPLE} people, {what}: restored in {seconds:.2} s, resident {resident:.0} MiB, at most {peak:.0} MiB");
        ensure!(setup.stop(Service::Track).await?.success());
        starts.push((seconds, resident));
    }
    setup.finish().await?;
    let [whole, cached] = starts[..] else { anyhow::bail!("two starts") };
    Ok([
        figure("ledger_restore_s", "s", cached.0, Some((whole.0, "a start without a cache")), Goal::None)?,
        figure("ledger_resident_mib", "MiB", cached.1, Some((whole.1, "a start without a cache")), Goal::None)?,
    ])
}

/// What a start says of its restore; the log goes on where that of the one before ended.
fn restored(log: &str, start: usize) -> anyhow::Result<f64> {
    let last = log.split("track sink is starting").nth(start + 1).context("it starts")?;
    let line = last.lines().find(|line| line.contains("ledger restored")).context("it restores")?;
    let (_, seconds) = line.rsplit_once("seconds").context("seconds")?;
    let digits = |c: char| c.is_ascii_digit() || c == '.';
    let text: String = seconds.chars().skip_while(|c| !digits(*c)).take_while(|c| digits(*c)).collect();
    Ok(text.parse()?)
}

fn mebibytes(status: &str, field: &str) -> anyhow::Result<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field)).context("a field of the status")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}

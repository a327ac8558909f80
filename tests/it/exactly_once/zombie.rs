use std::process::Command;
use std::time::Duration;

use aftersend_tests::{Process, Service, Setup, binary, eventually};
use anyhow::ensure;

use super::{each_once, produce_events, without_merges};

/// Two sinks of one group. The first is stopped between its accepted intents and its inserts, past its session, and woken when the second has finished
/// its work: what it then sends, and what it then tries to announce, changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_was_stopped_past_its_session_loses_and_doubles_nothing_when_it_wakes() -> anyhow::Result<()> {
    let mut setup = Setup::new("").await?;
    without_merges(&setup, &["raw_events"]).await?;
    let raw = setup.topics().raw();
    produce_events(&setup, None, 0..500).await?;
    // Some batches go through; then a thread sleeps just after an intent was accepted.
    setup.launch_with(Service::ClickHouse, &[("FAILPOINTS", "clickhouse-after-intent=9*off->2*sleep(3000)->off")])?;
    eventually(Duration::from_secs(30), async || {
        ensure!(setup.count("SELECT count() FROM raw_events").await? > 0);
        Ok(())
    })
    .await?;
    produce_events(&setup, None, 500..1_000).await?;
    setup.process(Service::ClickHouse)?.signal("STOP")?;
    produce_events(&setup, None, 1_000..1_500).await?;

    let configuration = std::fs::read_to_string(setup.file())?
        .replace("instance = \"test\"", "instance = \"second\"")
        .replace(&setup.config.clickhouse.admin, "127.0.0.1:0");
    let file = setup.directory().join("second.toml");
    std::fs::write(&file, configuration)?;
    let mut command = Command::new(binary()?);
    command.args(["sink", "clickhouse", "--config"]).arg(&file);
    let second = Process::spawn("second sink".to_owned(), &mut command, setup.directory().join("second.log"))?;
    each_once(&setup, "raw_events", &raw).await?;

    setup.process(Service::ClickHouse)?.signal("CONT")?;
    eventually(Duration::from_secs(90), async || {
        let log = setup.process(Service::ClickHouse)?.log();
        ensure!(log.contains("partitions revoked"), "the first has not noticed yet:\n{log}");
        Ok(())
    })
    .await?;
    produce_events(&setup, None, 1_500..2_000).await?;
    each_once(&setup, "raw_events", &raw).await?;
    assert!(second.terminate().await?.success());
    produce_events(&setup, None, 2_000..2_200).await?;
    each_once(&setup, "raw_events", &raw).await?;
    setup.finish().await
}

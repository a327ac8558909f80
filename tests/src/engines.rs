use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::ports::free_address;
use crate::process::{Process, repository};

/// A Kafka, and if wanted a ClickHouse, of a test's own, so that they can be killed.
pub struct Engines {
    directory: tempfile::TempDir,
    kafka: u16,
    controller: u16,
    clickhouse: Option<u16>,
}

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// The broker.
    Kafka,
    /// The adapter with the engine in it.
    ClickHouse,
}

impl Engines {
    /// A broker only; ClickHouse is the one that is given.
    pub fn kafka() -> anyhow::Result<Self> {
        Self::start(None)
    }

    /// Both.
    pub fn both() -> anyhow::Result<Self> {
        Self::start(Some(free_address()?.port()))
    }

    fn start(clickhouse: Option<u16>) -> anyhow::Result<Self> {
        let engines =
            Self { directory: tempfile::tempdir()?, kafka: free_address()?.port(), controller: free_address()?.port(), clickhouse };
        engines.heal()?;
        Ok(engines)
    }

    /// Starts what is not running.
    pub fn heal(&self) -> anyhow::Result<()> {
        self.script("up.sh")
    }

    fn script(&self, name: &str) -> anyhow::Result<()> {
        let mut command = Command::new(repository().join("deploy/local").join(name));
        command
            .env("AFTERSEND_LOCAL", self.directory.path())
            .env("KAFKA_PORT", self.kafka.to_string())
            .env("KAFKA_CONTROLLER_PORT", self.controller.to_string())
            .env_remove("KAFKA_BROKERS")
            .stdin(Stdio::null());
        match self.clickhouse {
            Some(port) => command.env_remove("CLICKHOUSE_URL").env("CLICKHOUSE_PORT", port.to_string()),
            // Not to be started here.
            None => command.env("CLICKHOUSE_URL", std::env::var("CLICKHOUSE_URL").unwrap_or_else(|_| "none".into())),
        };
        let output = command.output()?;
        ensure!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Address of the broker.
    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.kafka)
    }

    /// Address of ClickHouse.
    pub fn clickhouse_url(&self) -> anyhow::Result<String> {
        Ok(format!("http://127.0.0.1:{}", self.clickhouse.context("this ClickHouse is not the test's own")?))
    }

    /// SIGKILL.
    pub fn kill(&self, engine: Engine) -> anyhow::Result<()> {
        ensure!(Command::new("kill").args(["-KILL", &self.pid(engine)?]).status()?.success());
        Ok(())
    }

    /// Stands still for so long, as on a machine that was put to sleep.
    pub async fn pause(&self, engine: Engine, length: Duration) -> anyhow::Result<()> {
        let pid = self.pid(engine)?;
        ensure!(Command::new("kill").args(["-STOP", &pid]).status()?.success());
        tokio::time::sleep(length).await;
        ensure!(Command::new("kill").args(["-CONT", &pid]).status()?.success());
        Ok(())
    }

    /// SIGKILL as soon as an engine is about to rename a file, before it has done so. Nothing where the system has no strace.
    pub fn kill_at_rename(&self, engine: Engine) -> anyhow::Result<Option<Process>> {
        if !Path::new("/usr/bin/strace").exists() {
            return Ok(None);
        }
        let calls = "rename,renameat,renameat2";
        let mut command = Command::new("/usr/bin/strace");
        command.args(["-f", "-qq", "-e", &format!("trace={calls}"), "-e", &format!("inject={calls}:signal=SIGKILL:when=1")]);
        command.args(["-p", &self.pid(engine)?]);
        Ok(Some(Process::spawn("strace".to_owned(), &mut command, self.directory.path().join("strace.log"))?))
    }

    /// True while an engine's process is there.
    pub fn is_running(&self, engine: Engine) -> anyhow::Result<bool> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid(engine)?)).unwrap_or_default();
        Ok(stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X'])))
    }

    fn pid(&self, engine: Engine) -> anyhow::Result<String> {
        let name = match engine {
            Engine::Kafka => "kafka",
            Engine::ClickHouse => "clickhouse",
        };
        let pid = std::fs::read_to_string(self.directory.path().join(name).join("pid"))?;
        Ok(pid.split_whitespace().next().context("no pid")?.to_owned())
    }
}

impl Drop for Engines {
    fn drop(&mut self) {
        let _ = self.script("down.sh");
    }
}

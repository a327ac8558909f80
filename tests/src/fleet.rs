use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::ports::free_address;
use crate::process::{Process, binary};
use crate::{Setup, eventually};

/// Several processors of one set-up, each with a name, a port and a directory of its own.
pub struct Fleet {
    file: PathBuf,
    directory: PathBuf,
    members: BTreeMap<String, Member>,
}

struct Member {
    process: Process,
    admin: String,
}

impl Fleet {
    /// None yet. The set-up must outlive them.
    pub fn of(setup: &Setup) -> Self {
        Self { file: setup.file().to_owned(), directory: setup.directory().to_owned(), members: BTreeMap::new() }
    }

    /// Starts a processor under a name; one that had it before leaves it the directory.
    pub fn launch(&mut self, name: &str) -> anyhow::Result<()> {
        self.launch_with(name, &[])
    }

    /// As [`Fleet::launch`], with more variables in its environment.
    pub fn launch_with(&mut self, name: &str, variables: &[(&str, &str)]) -> anyhow::Result<()> {
        self.launch_by(name, Command::new(binary()?), variables)
    }

    /// As [`Fleet::launch_with`], by a command that ends in the binary.
    pub fn launch_by(&mut self, name: &str, mut command: Command, variables: &[(&str, &str)]) -> anyhow::Result<()> {
        let admin = free_address()?.to_string();
        command
            .args(["processor", "--config"])
            .arg(&self.file)
            .env("AFTERSEND__INSTANCE", name)
            .env("AFTERSEND__PROCESSOR__ADMIN", &admin)
            .env("AFTERSEND__PROCESSOR__STATE_DIR", self.state_dir(name))
            .envs(variables.iter().copied());
        let process = Process::spawn(format!("processor {name}"), &mut command, self.log_file(name))?;
        self.members.insert(name.to_owned(), Member { process, admin });
        Ok(())
    }

    /// Where a processor keeps its store.
    pub fn state_dir(&self, name: &str) -> PathBuf {
        self.directory.join(format!("state-{name}"))
    }

    fn log_file(&self, name: &str) -> PathBuf {
        self.directory.join(format!("processor-{name}.log"))
    }

    /// What a processor of that name has ever logged.
    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.log_file(name)).unwrap_or_default()
    }

    /// Waits for `/readyz`.
    pub async fn ready(&mut self, name: &str) -> anyhow::Result<()> {
        eventually(Duration::from_secs(60), async || {
            let member = self.members.get_mut(name).context("no such processor")?;
            member.process.check()?;
            let answer = reqwest::get(format!("http://{}/readyz", member.admin)).await?;
            ensure!(answer.status().is_success(), "{name} is not ready:\n{}", member.process.log());
            Ok(())
        })
        .await
    }

    /// Where a processor serves its metrics.
    pub fn metrics_url(&self, name: &str) -> anyhow::Result<String> {
        Ok(format!("http://{}/metrics", self.members.get(name).context("no such processor")?.admin))
    }

    /// A running processor.
    pub fn process(&mut self, name: &str) -> anyhow::Result<&mut Process> {
        Ok(&mut self.members.get_mut(name).context("no such processor")?.process)
    }

    /// Sum over every series whose line begins with `series`.
    pub async fn metric(&self, name: &str, series: &str) -> anyhow::Result<f64> {
        let member = self.members.get(name).context("no such processor")?;
        let text = reqwest::get(format!("http://{}/metrics", member.admin)).await?.text().await?;
        let values = text.lines().filter(|line| line.starts_with(series)).filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
        Ok(values.sum())
    }

    /// Names of those that run.
    pub fn names(&self) -> Vec<String> {
        self.members.keys().cloned().collect()
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str, signal: &str) -> anyhow::Result<()> {
        self.members.get(name).context("no such processor")?.process.signal(signal)
    }

    /// SIGKILL.
    pub fn kill(&mut self, name: &str) -> anyhow::Result<()> {
        self.members.remove(name).context("no such processor")?.process.kill()
    }

    /// SIGTERM; the exit must be clean.
    pub async fn stop(&mut self, name: &str) -> anyhow::Result<()> {
        let status = self.members.remove(name).context("no such processor")?.process.terminate().await?;
        ensure!(status.success(), "{name} ended with {status}:\n{}", self.log(name));
        Ok(())
    }

    /// SIGTERM to all.
    pub async fn stop_all(&mut self) -> anyhow::Result<()> {
        for name in self.names() {
            self.stop(&name).await?;
        }
        Ok(())
    }
}

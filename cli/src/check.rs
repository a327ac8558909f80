//! `aftersend check`: every connection that the services will need, tried one by one.

use std::io::Write as _;
use std::process::ExitCode;

use aftersend_ingest::check_certificate;
use aftersend_pipeline::config::{Config, EmailPrivacy, Reaction, TrackCredentials, TrackMode};
use aftersend_pipeline::kafka::check_topics;
use aftersend_pipeline::unix_millis;
use aftersend_schemas::topics::Topics;
use aftersend_sinks::clickhouse::check_database;
use aftersend_sinks::track::{Api, Greeting};

/// Prints a line for each thing that was looked at. Exit code 1 if any is wrong.
pub async fn run(config: &Config) -> anyhow::Result<ExitCode> {
    let mut wrong = false;
    let mut say = |ok: bool, what: &str, result: &str| {
        wrong |= !ok;
        line(ok, what, result);
    };
    match config.require_sources() {
        Ok(sources) => say(true, "sources", &format!("{} configured", sources.len())),
        Err(error) => say(false, "sources", &error.to_string()),
    }
    if let Some(tls) = &config.ingest.tls {
        let now = unix_millis() / 1_000;
        match check_certificate(tls) {
            Ok(expires_at) if expires_at <= now => say(false, "tls", "the certificate has expired: renew it"),
            Ok(expires_at) => say(true, "tls", &format!("the certificate is good for {} days", (expires_at - now) / 86_400)),
            Err(error) => say(false, "tls", &error.to_string()),
        }
    }
    match config.privacy.email {
        EmailPrivacy::Hash => {
            say(true, "privacy", "addresses are kept as keyed hashes; people known only by an address are scored and not written back to");
        }
        EmailPrivacy::Plain => say(
            true,
            "privacy",
            "addresses are kept in clear, beside their hashes; people known only by an address are written back to at that address",
        ),
        EmailPrivacy::Drop => say(
            true,
            "privacy",
            "no address is kept: a hard bounce gates its person whatever the address, and people known only by an address get no profile",
        ),
    }
    let specs = Topics::new(&config.kafka.topic_prefix).specs(config.max_record_bytes());
    let names: Vec<String> = specs.into_iter().map(|spec| spec.name).collect();
    match check_topics(config, &names).await {
        Ok(()) => say(true, "kafka", &format!("{} topics with prefix {}", names.len(), config.kafka.topic_prefix)),
        Err(error) => say(false, "kafka", &error.to_string()),
    }
    match check_database(&config.clickhouse).await {
        Ok(()) => say(true, "clickhouse", &format!("database {} is as this release fills it", config.clickhouse.database)),
        Err(error) => say(false, "clickhouse", &error.to_string()),
    }
    match config.track.mode {
        TrackMode::Off => say(true, "track", "off: nothing is consumed"),
        mode => {
            for (workspace, credentials) in &config.track.workspaces {
                let (ok, message) = match region(credentials).await {
                    Ok(message) => (true, message),
                    Err(message) => (false, message),
                };
                say(ok, &format!("track {workspace}"), &message);
            }
            if config.track.workspaces.is_empty() {
                say(true, "track", "no credentials: nobody is called");
            }
            if mode == TrackMode::DryRun {
                say(true, "track", "dry run: intents are written to track-calls, nobody is called");
            }
        }
    }
    for workspace in config.track.workspaces.keys() {
        let rules = config.policy.rules_for(workspace);
        for (key, reaction) in [("on_hard_bounce", rules.on_hard_bounce), ("on_complaint", rules.on_complaint)] {
            if reaction == Reaction::Suppress {
                let message =
                    format!("{key} = \"suppress\" deletes the person at Customer.io for good, with all channels; \"identify\" does not");
                note(&format!("policy {workspace}"), &message);
            }
        }
    }
    Ok(if wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Asks the API which region and workspace the credentials belong to.
async fn region(credentials: &TrackCredentials) -> Result<String, String> {
    let api = Api::new(credentials).map_err(|error| error.to_string())?;
    match api.greet().await {
        Greeting::Welcome(message) => Ok(message),
        Greeting::Refused(fix) => Err(fix.to_owned()),
        Greeting::Unknown(message) => Err(message),
    }
}

fn line(ok: bool, what: &str, result: &str) {
    print(if ok { "ok" } else { "WRONG" }, what, result);
}

/// Something to know before it is too late.
fn note(what: &str, result: &str) {
    print("NOTE", what, result);
}

fn print(word: &str, what: &str, result: &str) {
    // Whoever reads may have read enough: the exit code tells the rest.
    let _ = writeln!(std::io::stdout(), "{word:<5} {what:<16} {result}");
}

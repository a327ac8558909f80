//! `aftersend check`: every connection that the services will need, tried one by one.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use aftersend_ingest::check_certificate;
use aftersend_pipeline::config::{Config, EmailPrivacy, Reaction, TrackCredentials, TrackMode};
use aftersend_pipeline::kafka::check_topics;
use aftersend_pipeline::unix_millis;
use aftersend_schemas::topics::Topics;
use aftersend_sinks::clickhouse::check_schema;

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
        EmailPrivacy::Hash => say(true, "privacy", "addresses are kept as keyed hashes"),
        EmailPrivacy::Plain => say(true, "privacy", "addresses are kept in clear, beside their hashes"),
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
    match check_schema(&config.clickhouse).await {
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
                say(true, &format!("policy {workspace}"), &message);
            }
        }
    }
    Ok(if wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Asks the API which region and workspace the credentials belong to.
async fn region(credentials: &TrackCredentials) -> Result<String, String> {
    let url = format!("{}/api/v1/accounts/region", credentials.base_url());
    let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).redirect(reqwest::redirect::Policy::none()).build();
    let request = client.map_err(|error| error.to_string())?.get(&url).basic_auth(&credentials.site_id, Some(credentials.api_key.reveal()));
    let response = request.send().await.map_err(|error| format!("{url} does not answer: {}", error.without_url()))?;
    match response.status().as_u16() {
        200 => {
            let body: serde_json::Value = response.json().await.unwrap_or_default();
            if !body["region"].is_string() {
                return Err(format!("{url} answered 200 without a region: is this the Track API?"));
            }
            Ok(format!("credentials accepted, region {}, environment {}", body["region"], body["environment_id"]))
        }
        401 | 403 => Err("credentials refused: check site_id and api_key".into()),
        300..=399 => Err("redirected: the workspace is in the other region; set track.region".into()),
        status => Err(format!("{url} answered {status}")),
    }
}

fn line(ok: bool, what: &str, result: &str) {
    // Whoever reads may have read enough: the exit code tells the rest.
    let _ = writeln!(std::io::stdout(), "{:<5} {what:<16} {result}", if ok { "ok" } else { "WRONG" });
}

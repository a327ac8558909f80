//! What others rely on: records of every version, the schemas of what outsiders read, the row of every sample.

mod headers;
mod json_schema;
mod migrations;
mod outcomes;
mod records;

use std::path::PathBuf;

use serde::de::DeserializeOwned;

/// A path inside this crate.
fn path(relative: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(relative)
}

/// The fixtures of one version of a record.
fn fixtures<F: DeserializeOwned>(record: &str, version: u32) -> Vec<F> {
    let path = path(&format!("fixtures/records/{record}-v{version}.json"));
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("every version of a record has fixtures, {}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

//! Lines for people, and those of `target/bench/clickhouse-sink.json` that are about tables.

use aftersend_tests::profile_directory;
use serde_json::{Value, json};

use crate::outcomes::Size;

/// Slowest panel, milliseconds.
const GOAL: f64 = 200.0;

pub(crate) struct Panel {
    pub(crate) title: String,
    /// Milliseconds.
    pub(crate) runs: Vec<f64>,
    /// One run with nothing counted.
    pub(crate) uncounted: Option<f64>,
}

impl Panel {
    fn median(&self) -> f64 {
        let mut runs = self.runs.clone();
        runs.sort_by(f64::total_cmp);
        runs.get(runs.len() / 2).copied().unwrap_or_default()
    }

    fn max(&self) -> f64 {
        self.runs.iter().copied().fold(0.0, f64::max)
    }
}

pub(crate) fn print(panels: &[Panel], size: &Size) {
    eprintln!("\n{:<44} {:>9} {:>9} {:>14}", "milliseconds", "median", "max", "not counted");
    for panel in panels {
        let uncounted = panel.uncounted.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0}"));
        eprintln!("{:<44} {:>9.0} {:>9.0} {uncounted:>14}", panel.title, panel.median(), panel.max());
    }
    let slow = panels.iter().filter(|panel| panel.median() > GOAL).count();
    eprintln!("goal: each below {GOAL} ms; {slow} of {} are not", panels.len());
    eprintln!("{} rows, {:.1} bytes each on disk, {:.1} in memory", size.rows, per_row(size.bytes, size), per_row(size.uncompressed, size));
}

fn per_row(bytes: u64, size: &Size) -> f64 {
    bytes as f64 / size.rows.max(1) as f64
}

/// Replaces our lines and leaves those of others.
pub(crate) fn write(panels: &[Panel], size: &Size) -> anyhow::Result<()> {
    let mut lines: Vec<Value> = panels
        .iter()
        .map(|panel| line(&format!("panel_query_ms: {}", panel.title), panel.median(), panel.uncounted, "ms", panel.runs.len()))
        .collect();
    if let Some(slowest) = panels.iter().max_by(|a, b| a.median().total_cmp(&b.median())) {
        lines.push(line("panel_query_max_ms", slowest.median(), slowest.uncounted, "ms", slowest.runs.len()));
    }
    lines.push(line("bytes_per_row", per_row(size.bytes, size), Some(per_row(size.uncompressed, size)), "bytes", 1));
    lines.push(line("count_bytes_per_row", per_row(size.count_bytes, size), None, "bytes", 1));
    let directory = profile_directory()?.join("../bench");
    std::fs::create_dir_all(&directory)?;
    let path = directory.join("clickhouse-sink.json");
    let ours = |line: &Value| line["name"].as_str().is_some_and(|name| name.starts_with("panel_") || name.ends_with("bytes_per_row"));
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    let others = before.lines().filter_map(|line| serde_json::from_str(line).ok()).filter(|line| !ours(line));
    let text: String = others.chain(lines).map(|line: Value| format!("{line}\n")).collect();
    Ok(std::fs::write(path, text)?)
}

fn line(name: &str, ours: f64, baseline: Option<f64>, unit: &str, runs: usize) -> Value {
    let rounded = |value: f64| (value * 100.0).round() / 100.0;
    json!({
        "name": name,
        "ours": rounded(ours),
        "baseline": baseline.map(rounded),
        "ratio": baseline.map(|baseline| (ours / baseline * 10_000.0).round() / 10_000.0),
        "unit": unit,
        "runs": runs,
    })
}

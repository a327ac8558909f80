//! `aftersend classify`

use std::io::{BufRead as _, Write as _};

use aftersend_schemas::bounce::{Table, VerdictLine};
use aftersend_schemas::json;
use anyhow::bail;

use crate::args::ClassifyOptions;

/// Reads texts from standard input and prints class, rule and confidence of each, a line for a line. With `--json`, what is no JSON string gets a line
/// with `error`, and the command fails at its end.
pub fn run(options: &ClassifyOptions, table: &Table) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let verdict = |text: &str| match &options.channel {
        Some(channel) => table.classify_for(channel, text),
        None => table.classify(text),
    };
    let mut unreadable = 0;
    for line in std::io::stdin().lock().split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end_matches('\r');
        let written = if !options.json {
            let verdict = verdict(line);
            writeln!(out, "{:<16} {:<28} {:.2}", verdict.class.as_str(), verdict.rule, f64::from(verdict.confidence) / 100.0)
        } else if let Some(text) = json::text_of(line) {
            writeln!(out, "{}", serde_json::to_string(&VerdictLine::from(verdict(&text)))?)
        } else {
            unreadable += 1;
            writeln!(out, "{}", serde_json::json!({"error": "this line is no JSON string"}))
        };
        match written {
            // Whoever read us has had enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            written => written?,
        }
    }
    if unreadable > 0 {
        bail!("{unreadable} lines are no JSON strings; each has a line with `error` in the output");
    }
    Ok(())
}

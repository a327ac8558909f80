//! `aftersend classify`

use std::io::{BufRead as _, Write as _};

use aftersend_schemas::bounce::{Table, VerdictLine};
use anyhow::Context as _;

use crate::args::ClassifyOptions;

/// Reads texts from standard input and prints class, rule and confidence (percent) of each.
pub fn run(options: &ClassifyOptions, table: &Table) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for (number, line) in std::io::stdin().lock().split(b'\n').enumerate() {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end_matches('\r');
        let written = if options.json {
            let text: String = serde_json::from_str(line).with_context(|| format!("line {} is no JSON string", number + 1))?;
            let line = VerdictLine::from(table.classify(&text));
            writeln!(out, "{}", serde_json::to_string(&line)?)
        } else {
            let verdict = table.classify(line);
            writeln!(out, "{:<16} {:<28} {:.2}", verdict.class.as_str(), verdict.rule, f64::from(verdict.confidence) / 100.0)
        };
        match written {
            // Whoever read us has had enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            written => written?,
        }
    }
    Ok(())
}

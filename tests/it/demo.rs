use std::process::Command;

use aftersend_tests::{binary, free_address};
use anyhow::{Context as _, ensure};

/// Two runs, one after the other, as a newcomer makes them.
#[tokio::test(flavor = "multi_thread")]
async fn the_demo_checks_itself_and_can_be_run_again() -> anyhow::Result<()> {
    for _ in 0..2 {
        let output = Command::new(binary()?)
            .args(["demo", "--once"])
            .env("AFTERSEND__INGEST__LISTEN", free_address()?.to_string())
            .env("AFTERSEND__INGEST__ADMIN", free_address()?.to_string())
            .env("AFTERSEND__PROCESSOR__ADMIN", free_address()?.to_string())
            .env("AFTERSEND__CLICKHOUSE__ADMIN", free_address()?.to_string())
            .env("AFTERSEND__TRACK__ADMIN", free_address()?.to_string())
            .output()?;
        let (out, err) = (String::from_utf8(output.stdout)?, String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "{}\n{out}\n{err}", output.status);
        let line = out.lines().last().with_context(|| format!("no summary:\n{err}"))?;
        let summary: serde_json::Value = serde_json::from_str(line)?;
        let number = |name: &str| summary[name].as_u64().with_context(|| format!("no {name} in {line}"));
        assert_eq!(summary["ok"], true, "{line}\n{err}");
        assert_eq!(number("accepted")?, number("outcomes")? + number("duplicates")? + number("dead")?, "{line}");
        assert_eq!(number("dead")?, 4, "{line}");
        assert!(number("duplicates")? > 100 && number("profiles")? > 250 && number("track_calls")? > 250, "{line}");
    }
    Ok(())
}

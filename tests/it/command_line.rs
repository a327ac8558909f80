use std::process::{Command, Stdio};

use aftersend_tests::binary;
use std::io::Write as _;

#[test]
fn a_bad_configuration_ends_with_64_and_names_key_value_and_fix() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("bad.toml");
    for (text, command, expected) in [
        ("[kafka]\nbrokerz = \"x\"\n", "ingest", "kafka.brokerz: unknown field"),
        ("[privacy]\nemail = \"drop\"\n", "ingest", "source: add a [[source]]"),
        ("", "processor", "privacy.hash_keys"),
        (
            "[ingest]\nlisten = \"here\"\n[privacy]\nemail = \"drop\"\n[[source]]\nname = \"a\"\nsigning_keys = \"k\"\n",
            "ingest",
            "ingest.listen = \"here\"",
        ),
    ] {
        std::fs::write(&file, text)?;
        let output = Command::new(binary()?).arg(command).arg("--config").arg(&file).output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{error}");
        assert!(error.contains(expected), "{error}");
    }
    Ok(())
}

#[test]
fn classify_reads_texts_and_json_strings() -> anyhow::Result<()> {
    let run = |arguments: &[&str], input: &str| -> anyhow::Result<String> {
        let mut child = Command::new(binary()?).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes())).transpose()?;
        Ok(String::from_utf8(child.wait_with_output()?.stdout)?)
    };
    let text = run(&["classify"], "550 5.1.1 User unknown\n452 4.2.2 over quota\n")?;
    let classes: Vec<_> = text.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(classes, ["hard_recipient", "mailbox_full"]);
    let json = run(&["classify", "--json"], "\"550 5.1.1 User\\nunknown\\ud800\"\n")?;
    let verdict: serde_json::Value = serde_json::from_str(&json)?;
    assert_eq!(verdict["class"], "hard_recipient");
    let mixed = run(&["classify", "--json"], "5\n\n\"452 4.2.2 over quota\"\n")?;
    let lines: Vec<serde_json::Value> = mixed.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    assert_eq!(lines.len(), 3, "a line for a line");
    assert!(lines[0]["error"].is_string() && lines[1]["error"].is_string());
    assert_eq!(lines[2]["class"], "mailbox_full");
    Ok(())
}

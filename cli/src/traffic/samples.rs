use super::Body;

/// One event of every documented kind, and the odd shapes that have been seen; the last repeats an earlier one byte for byte.
pub fn samples() -> Vec<Body> {
    let lines = include_str!("../../../schemas/fixtures/samples.jsonl").lines();
    lines
        .map(|line| {
            let event: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
            Body { event_id: event["event_id"].as_str().map(str::to_owned), bytes: line.as_bytes().to_vec() }
        })
        .collect()
}

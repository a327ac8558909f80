use super::Body;

/// People of the samples who are scored and can be addressed: each must be identified, and nobody else. Those of the undocumented events (`u-1023`, `u-1024`) are not.
pub const SAMPLE_PEOPLE: [&str; 33] = [
    "u-1001",
    "u-1002",
    "u-1003",
    "u-1004",
    "u-1005",
    "u-1006",
    "u-1007",
    "u-1008",
    "u-1009",
    "u-1010",
    "u-1011",
    "u-1012",
    "u-1013",
    "u-1014",
    "u-1015",
    "u-1016",
    "u-1017",
    "u-1018",
    "u-1019",
    "u-1020",
    "u-1021",
    "u-1022",
    "u-1025",
    "u-1026",
    "u-1027",
    "u-1028",
    "u-1029",
    "u-1030",
    "u-1031",
    "u-1032",
    "20010245",
    "kund-åäö-7",
    "cio_b1f400000888",
];
/// Of these, whoever must be suppressed:certain hard bounces (lines 13, 17, 35 and 47) and a complaint (line 20).
pub const SAMPLE_SUPPRESSED: [&str; 5] = ["u-1008", "u-1012", "u-1014", "u-1031", "cio_b1f400000777"];

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

//! Read, classify, normalise and encode, beside `serde_json::Value` on the same bytes. Results go to `target/bench/schemas.json`.

mod events;

use std::hint::black_box;
use std::path::{Path, PathBuf};

use aftersend_schemas::bounce::Table;
use aftersend_schemas::event::Event;
use aftersend_schemas::headers::Received;
use aftersend_schemas::identity::Subject;
use aftersend_schemas::normaliser::Normaliser;
use aftersend_schemas::privacy::{HashKey, HashKeys, Privacy};
use aftersend_schemas::row_binary::Block;
use aftersend_schemas::rows::Position;
use criterion::Criterion;

const EVENTS: [(&str, &str); 3] = [("bounced", events::BOUNCED), ("clicked", events::CLICKED), ("delivered", events::DELIVERED)];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let keys = HashKeys::new(vec![HashKey::new(b"0123456789abcdef0123456789abcdef", 0)]);
    let privacy = keys.map_or(Privacy::Drop, Privacy::Hash);
    let normaliser = Normaliser::new(privacy.clone());
    let received = Received {
        source: "default".into(),
        workspace: "default".into(),
        received_at: 1_770_001_262_000,
        signature_timestamp: "1770001262".into(),
        content_type: "application/json".into(),
        ingest_id: "01KGDPA0000000000000000001".into(),
    };
    let position = Position { topic: "aftersend.raw", partition: 3, offset: 7 };
    let mut block = Block::default();
    for (name, body) in EVENTS {
        let body = body.as_bytes();
        assert_eq!(body.len(), 560);
        let mut group = criterion.benchmark_group(name);
        group.bench_function("normalise", |bencher| {
            bencher.iter(|| {
                block.clear();
                let row = normaliser.outcome(black_box(body), &received, &position, 0);
                row.map(|row| block.push(&row).is_ok())
            });
        });
        group.bench_function("serde_json_value", |bencher| bencher.iter(|| serde_json::from_slice::<serde_json::Value>(black_box(body))));
        group.bench_function("key", |bencher| {
            bencher.iter(|| Event::read(black_box(body)).map(|event| Subject::of(&event, &privacy).key().len()));
        });
        group.finish();
    }
    let text = "550 5.1.1 <gone@dead.example>: Recipient address rejected: User unknown in virtual mailbox table";
    criterion.bench_function("classify", |bencher| bencher.iter(|| Table::builtin().classify_for("email", black_box(text)).confidence));
    criterion.final_summary();
    if std::env::args().any(|argument| argument == "--bench")
        && let Err(error) = write_results(allocations_of_the_key(&privacy))
    {
        eprintln!("results were not written: {error}");
        std::process::exit(1);
    }
}

/// Heap allocations of reading an event and finding its key.
fn allocations_of_the_key(privacy: &Privacy) -> u64 {
    let of = |body: &str| {
        let counted = allocation_counter::measure(|| {
            black_box(Event::read(black_box(body.as_bytes())).map(|event| Subject::of(&event, privacy).key().len()).ok());
        });
        counted.count_total
    };
    EVENTS.into_iter().map(|(_, body)| of(body)).max().unwrap_or_default()
}

/// One JSON line a figure: `{"name","ours","baseline","ratio","unit"}`. The bounce, which alone is classified, is the event of the two main figures.
fn write_results(key_allocations: u64) -> std::io::Result<()> {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(target, PathBuf::from);
    let median = |id: &str| -> std::io::Result<f64> {
        let estimates = std::fs::read(target.join("criterion").join(id).join("new/estimates.json"))?;
        let estimates: serde_json::Value = serde_json::from_slice(&estimates)?;
        estimates["median"]["point_estimate"].as_f64().ok_or_else(|| std::io::Error::other("no median"))
    };
    let mut lines = vec![
        serde_json::json!({"name": "normalise_ns", "ours": median("bounced/normalise")?, "baseline": null, "ratio": null, "unit": "ns"}),
        serde_json::json!({"name": "key_allocations", "ours": key_allocations, "baseline": null, "ratio": null, "unit": "allocations"}),
    ];
    for (event, name) in [
        ("bounced", "normalise_vs_serde_value"),
        ("clicked", "normalise_clicked_vs_serde_value"),
        ("delivered", "normalise_delivered_vs_serde_value"),
    ] {
        let (ours, baseline) = (median(&format!("{event}/normalise"))?, median(&format!("{event}/serde_json_value"))?);
        lines.push(serde_json::json!({"name": name, "ours": ours, "baseline": baseline, "ratio": baseline / ours, "unit": "ns"}));
    }
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    std::fs::create_dir_all(target.join("bench"))?;
    std::fs::write(target.join("bench/schemas.json"), &text)?;
    eprint!("{text}");
    Ok(())
}

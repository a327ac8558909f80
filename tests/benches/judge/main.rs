//! Joining what an event says, and judging what is known. Results go to `target/bench/processor.json`. See `tests/README.md`.

mod people;

use std::hint::black_box;

use aftersend_processor::fold::{Observation, State};
use aftersend_processor::score::{NoQuarantine, Policy, evaluate};
use aftersend_schemas::event::Event;
use aftersend_schemas::normaliser::Normaliser;
use aftersend_schemas::privacy::{HashKey, HashKeys, Privacy};
use aftersend_tests::bench::{Figure, Goal, Spread, print, write};
use aftersend_tests::profile_directory;
use anyhow::Context as _;
use criterion::{BatchSize, Criterion};
use serde_json::Value;

fn main() -> anyhow::Result<()> {
    let mut criterion = Criterion::default().configure_from_args();
    let policy = Policy::new(&aftersend_pipeline::config::Policy::default(), "default");
    let people = people::crowd();
    let states: Vec<State> = people.iter().map(|person| people::folded(person)).collect();

    // Each person's last events, joined to all that came before.
    let mut group = criterion.benchmark_group("fold");
    let before: Vec<State> = people.iter().map(|person| people::folded(&person[..person.len() - 4])).collect();
    let next: Vec<&[Observation]> = people.iter().map(|person| &person[person.len() - 4..]).collect();
    group.bench_function("four_events", |bencher| {
        let mut turn = 0;
        bencher.iter_batched_ref(
            || {
                turn = (turn + 1) % before.len();
                (before[turn].clone(), next[turn])
            },
            |(state, observations)| {
                for observation in *observations {
                    black_box(state.observe(observation));
                }
            },
            BatchSize::SmallInput,
        );
    });
    let keys = HashKeys::new(vec![HashKey::new(b"0123456789abcdef0123456789abcdef", 0)]);
    let normaliser = Normaliser::new(keys.map_or(Privacy::Drop, Privacy::Hash));
    let body = people::DELIVERED.as_bytes();
    group.bench_function("observation", |bencher| {
        let event = Event::read(body);
        bencher.iter(|| event.as_ref().ok().and_then(|event| Observation::of(black_box(event), 0, &normaliser)));
    });
    group.finish();

    let mut group = criterion.benchmark_group("score");
    group.bench_function("evaluate", |bencher| {
        let mut turn = 0;
        bencher.iter(|| {
            turn = (turn + 1) % states.len();
            evaluate(black_box(&states[turn]), &policy, &NoQuarantine, people::NOW)
        });
    });
    group.finish();

    let mut group = criterion.benchmark_group("state");
    let encoded: Vec<Vec<u8>> = states.iter().map(State::encode).collect();
    group.bench_function("encode", |bencher| {
        let mut turn = 0;
        bencher.iter(|| {
            turn = (turn + 1) % states.len();
            black_box(&states[turn]).encode().len()
        });
    });
    group.bench_function("decode", |bencher| {
        let mut turn = 0;
        bencher.iter(|| {
            turn = (turn + 1) % encoded.len();
            State::decode(black_box(&encoded[turn])).is_ok()
        });
    });
    group.finish();
    criterion.final_summary();
    if std::env::args().any(|argument| argument == "--bench") {
        let figures = figures()?;
        print(&figures);
        eprintln!("written to {}", write("processor.json", "judge", &figures)?.display());
    }
    Ok(())
}

/// Of people with 30 deliveries over 90 days each, as many of whom answer as do in the crowd.
fn bytes_per_customer() -> [f64; 2] {
    let mean = |people: Vec<Vec<Observation>>| {
        let bytes: usize = people.iter().map(|person| people::folded(person).encode().len()).sum();
        bytes as f64 / people.len() as f64
    };
    [mean(people::deliveries()), mean(people::crowd())]
}

fn figures() -> anyhow::Result<Vec<Figure>> {
    let measured = profile_directory()?.join("../criterion");
    let median = |id: &str| -> anyhow::Result<f64> {
        let estimates = std::fs::read(measured.join(id).join("new/estimates.json"))?;
        let estimates: Value = serde_json::from_slice(&estimates)?;
        estimates["median"]["point_estimate"].as_f64().context("no median")
    };
    let [deliveries, crowd] = bytes_per_customer();
    let figures = [
        ("fold_ns", median("fold/four_events")? / 4.0, "ns", Goal::AtMost(400.0)),
        ("observation_ns", median("fold/observation")?, "ns", Goal::None),
        ("score_ns", median("score/evaluate")?, "ns", Goal::AtMost(1_000.0)),
        ("state_encode_ns", median("state/encode")?, "ns", Goal::None),
        ("state_decode_ns", median("state/decode")?, "ns", Goal::None),
        ("bytes_per_customer", deliveries, "bytes", Goal::AtMost(256.0)),
        ("bytes_per_customer_with_answers", crowd, "bytes", Goal::None),
    ];
    let figure = |(name, value, unit, goal): (&'static str, _, _, _)| {
        let ours = Spread::of(vec![value])?;
        Some(Figure { name: name.into(), unit, ours, baseline: None, beside: None, goal })
    };
    Ok(figures.into_iter().filter_map(figure).collect())
}

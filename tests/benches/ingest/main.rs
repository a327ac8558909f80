//! Ingest under load, beside an echo on the same server and the recipe it replaces; generator and broker share the machine.
//! Results go to `target/bench/ingest.json`. See `tests/README.md`.

mod candidate;
mod connection;
mod figures;
mod load;
mod options;
mod recipe;
mod requests;
mod rounds;
mod soak;
mod topic;

use aftersend_tests::bench::{Spread, print, write};
use clap::Parser as _;

use crate::candidate::Candidate;
use crate::figures::Measured;
use crate::options::{Options, Part};
use crate::rounds::{Bench, Load};

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    // `cargo test --all-targets` runs benchmarks too, with nothing to run them on.
    if !options.bench {
        return Ok(());
    }
    // One thread: the rest of the machine belongs to what is measured.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        if let Some(seconds) = options.soak {
            return soak::run(&options, seconds).await;
        }
        let bench = Bench::start(&options.candidates).await?;
        let measured = measure(&bench, &options).await?;
        bench.candidates.finish().await?;
        let figures = measured.figures()?;
        print(&figures);
        if figures.len() == figures::COUNT {
            eprintln!("written to {}", write("ingest.json", "ingest", &figures)?.display());
        }
        Ok(())
    })
}

async fn measure(bench: &Bench, options: &Options) -> anyhow::Result<Measured> {
    use Candidate::{Echo, Ours, Recipe};
    let mut measured = Measured::default();
    let (rounds, span, connections) = (options.rounds, options.span(), options.connections);
    let full = Load::Closed { connections };
    // Node compiles what is hot while it runs; nobody's first seconds count.
    bench.rounds("warm-up", &[Ours, Echo, Recipe], full, 1, span).await?;
    if options.wants(Part::FullLoad) {
        measured.full = bench.rounds("full load", &[Ours, Echo, Recipe], full, rounds, span).await?;
    }
    if options.wants(Part::OneConnection) {
        let one = Load::Closed { connections: 1 };
        measured.one = bench.rounds("one connection", &[Ours, Recipe], one, rounds, span).await?;
    }
    if options.wants(Part::HalfLoad) && bench.target(Ours).is_some() {
        let half = |spread: Spread| spread.median / 2.0;
        let rate = match options.rate.or_else(|| measured.full.spread(Ours, load::Run::per_second).map(half)) {
            Some(rate) => rate,
            None => {
                let maximum = bench.rounds("maximum", &[Ours], full, 1, span).await?;
                maximum.spread(Ours, load::Run::per_second).map_or(1_000.0, half)
            }
        };
        eprintln!("half load: {rate:.0} requests/s");
        let half = Load::Open { connections, rate };
        // The echo shows how much of it is the machine's.
        measured.half = bench.rounds("half load", &[Ours, Echo], half, rounds, span).await?;
    }
    Ok(measured)
}

//! The processor under load on one core, beside a consumer that does nothing and a Kafka Streams application that does less.
//! Results go to `target/bench/processor.json`. See `tests/README.md`.

mod events;
mod latency;
mod pinned;
mod runs;
mod streams;

use aftersend_tests::bench::{Figure, print, write};
use clap::Parser;

/// See `tests/README.md`.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// Events of a run.
    #[arg(long, env = "BENCH_EVENTS", default_value_t = 2_000_000)]
    events: usize,
    /// Customers they are about.
    #[arg(long, default_value_t = 1_000_000)]
    customers: u32,
    /// Runs of each, interleaved.
    #[arg(long, env = "BENCH_ROUNDS", default_value_t = 3)]
    rounds: usize,
    /// Customers of the large run of `growth`.
    #[arg(long, default_value_t = 5_000_000)]
    many: u32,
    /// Only these parts.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// Seconds for which the Kafka Streams application is measured.
    #[arg(long, default_value_t = 15)]
    streams_seconds: u64,
    /// The core that whoever is measured runs on.
    #[arg(long, default_value_t = 1)]
    core: usize,
    /// Read the topic and do nothing: this process is the baseline.
    #[arg(long, hide = true)]
    consume: Option<String>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Throughput,
    Restore,
    Latency,
    Growth,
}

impl Options {
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if let Some(topic) = &options.consume {
        return runs::consume(topic, options.events);
    }
    // `cargo test --all-targets` runs benchmarks too, with nothing to run them on.
    if !options.bench {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        if options.wants(Part::Throughput) || options.wants(Part::Restore) {
            let (throughput, restore) = runs::throughput(&options).await?;
            report("throughput", &throughput)?;
            report("restore", &restore)?;
        }
        if options.wants(Part::Latency) {
            report("latency", &latency::measure(&options).await?)?;
        }
        if options.wants(Part::Growth) {
            report("growth", &runs::growth(&options).await?)?;
        }
        Ok(())
    })
}

fn report(part: &str, figures: &[Figure]) -> anyhow::Result<()> {
    if !figures.is_empty() {
        print(figures);
        eprintln!("written to {}", write("processor.json", part, figures)?.display());
    }
    Ok(())
}

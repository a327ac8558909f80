//! Parses, runs, and turns the result into an exit code: 0 clean, 64 bad configuration, 1 anything else.

use std::process::ExitCode;

use aftersend::args::{Args, Command, SinkCommand};
use aftersend::{check, classify, demo, explain, migrate, services, simulate, track};
use aftersend_pipeline::config::Config;
use aftersend_pipeline::shutdown;
use aftersend_pipeline::telemetry::init_logs;
use clap::Parser;

/// Records are allocated by one thread and freed by another, by the Kafka client too, whose `malloc` this also is.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `EX_USAGE`
const BAD_CONFIGURATION: u8 = 64;

fn main() -> ExitCode {
    let args = Args::parse();
    #[cfg(feature = "failpoints")]
    let _faults = fail::FailScenario::setup();
    init_logs(args.log_format.into(), args.command.default_log_filter());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "cannot start the runtime");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(run(args));
    // Blocking work that cannot be cancelled (a client waiting for a broker) must not keep a stopped service alive.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match result {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{}", message(&error));
            ExitCode::from(if services::is_configuration(&error) { BAD_CONFIGURATION } else { 1 })
        }
    }
}

async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let config = || Config::load(args.config.as_deref());
    let shutdown = shutdown::on_signal()?;
    match args.command {
        Command::Ingest => services::ingest(&config()?, shutdown).await?,
        Command::Processor => services::processor(&config()?, shutdown).await?,
        Command::Sink(SinkCommand::Clickhouse) => services::clickhouse(&config()?, shutdown).await?,
        Command::Sink(SinkCommand::Track) => services::track(&config()?, shutdown).await?,
        Command::Migrate => migrate::run(&config()?).await?,
        Command::Check => return check::run(&config()?).await,
        Command::Track(command) => track::run(&command, &config()?).await?,
        Command::Simulate(options) => return simulate::run(&options, shutdown).await,
        Command::Classify(options) => {
            // The built-in rules need no configuration.
            let configured = args.config.is_some().then(config).transpose()?;
            let table = configured.unwrap_or_default().bounce.table()?;
            classify::run(&options, &table)?;
        }
        Command::Explain(options) => explain::run(&config()?, &options).await?,
        Command::Demo(options) => return demo::run(&options, shutdown).await,
    }
    Ok(ExitCode::SUCCESS)
}

/// The error and its causes, none of them twice: some errors name their cause themselves.
fn message(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |message, cause| match message.is_empty() {
        true => cause,
        false if message.contains(&cause) => message,
        false => format!("{message}: {cause}"),
    })
}

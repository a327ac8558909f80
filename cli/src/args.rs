//! The command line.

use std::path::PathBuf;

use aftersend_pipeline::telemetry;
use aftersend_schemas::bounce::CHANNELS;
use clap::builder::{OsStringValueParser, PossibleValuesParser, TypedValueParser as _};
use clap::{Parser, Subcommand, ValueEnum};

/// What happens after you press send: Customer.io's reporting webhooks, kept in Kafka, turned into a deliverability score per customer, stored in
/// ClickHouse, and told back to Customer.io.
#[derive(Debug, Parser)]
#[command(name = "aftersend", version, max_term_width = 120)]
pub struct Args {
    /// Configuration file (TOML). Every key can be overridden by AFTERSEND__SECTION__KEY
    // An empty one is no file: who reads it says so, with the exit code of a bad configuration.
    #[arg(long, short, global = true, env = "AFTERSEND_CONFIG", value_name = "FILE", value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pub config: Option<PathBuf>,
    /// How log lines look; AFTERSEND_LOG filters them (info, debug, aftersend_ingest=debug,...)
    #[arg(long, global = true, env = "AFTERSEND_LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

impl From<LogFormat> for telemetry::LogFormat {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Text => Self::Text,
            LogFormat::Json => Self::Json,
        }
    }
}

/// One per service, and the operator's.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Receive webhooks: verify each, write it to Kafka, answer once the brokers have it
    Ingest,
    /// Fold events into profiles: one score per person, whatever the order and however often an event came
    Processor,
    /// Carry results out of Kafka
    #[command(subcommand)]
    Sink(SinkCommand),
    /// Create or update topics and ClickHouse tables; may run any number of times
    Migrate,
    /// Read the configuration, reach Kafka, ClickHouse and the Track API, and say what is wrong
    Check,
    /// Look at what Customer.io was told, and decide what the Track sink may do
    #[command(subcommand)]
    Track(TrackCommand),
    /// Send signed traffic to an ingest: for trying a set-up, and for load
    Simulate(SimulateOptions),
    /// Say what a bounce text means: one text a line on standard input
    Classify(ClassifyOptions),
    /// Say what is known of somebody, what it amounts to, and what time alone will make of it
    Explain(ExplainOptions),
    /// Run the whole pipeline on signed sample traffic and show what comes of it (needs Kafka and ClickHouse: `make demo` starts both)
    Demo(DemoOptions),
}

impl Command {
    /// What is logged unless AFTERSEND_LOG says otherwise.
    pub fn default_log_filter(&self) -> &'static str {
        match self {
            Self::Demo(_) => "error",
            Self::Ingest | Self::Processor | Self::Sink(_) => "info",
            _ => "warn",
        }
    }
}

/// The sinks.
#[derive(Debug, Subcommand)]
pub enum SinkCommand {
    /// Fill the ClickHouse tables
    Clickhouse,
    /// Tell Customer.io: identify, and suppress or unsubscribe by policy
    Track,
}

/// `aftersend track`
#[derive(Debug, Subcommand)]
pub enum TrackCommand {
    /// What Customer.io has acknowledged for one customer, the last calls, and what operators decided
    Status(TrackStatusOptions),
    /// Let go what the brake holds, and what is too old to be suppressed by itself: what had arrived by now, for a day
    Release(TrackReleaseOptions),
    /// Free a suppressed customer's identifiers; the deleted profile does not come back
    Unsuppress(TrackUnsuppressOptions),
}

/// Which customer.
#[derive(Debug, clap::Args)]
pub struct Customer {
    /// The customer's id; Customer.io's own id as cio_...; who is known only by an address as email:ADDRESS, or email: and its hash; or anybody's key as
    /// these commands print it, workspace:namespace:id with the namespace id, cio or email. An id that looks like a key needs its own: default:id:shop:id:7
    /// is the id shop:id:7 of the workspace default
    #[arg(value_name = "CUSTOMER")]
    pub customer: String,
    /// Workspace, as configured; not beside the key of another one [default: default]
    #[arg(long)]
    pub workspace: Option<String>,
}

/// `aftersend track status`
#[derive(Debug, clap::Args)]
pub struct TrackStatusOptions {
    /// Which customer
    #[command(flatten)]
    pub customer: Customer,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// How many of the last calls
    #[arg(long, default_value_t = 10)]
    pub calls: usize,
}

/// Who decided, and why.
#[derive(Debug, clap::Args)]
pub struct Decider {
    /// Who decides; kept with the decision
    #[arg(long, env = "USER", default_value = "")]
    pub by: String,
    /// Why; kept with the decision, addresses masked unless privacy.email = "plain"
    #[arg(long, default_value = "")]
    pub reason: String,
}

/// `aftersend track release`
#[derive(Debug, clap::Args)]
pub struct TrackReleaseOptions {
    /// Workspace, as configured
    #[arg(long, default_value = "default")]
    pub workspace: String,
    /// Only say how many people wait, and release nobody
    #[arg(long)]
    pub dry_run: bool,
    /// Who and why
    #[command(flatten)]
    pub decider: Decider,
}

/// `aftersend track unsuppress`
#[derive(Debug, clap::Args)]
pub struct TrackUnsuppressOptions {
    /// Which customer
    #[command(flatten)]
    pub customer: Customer,
    /// Ask Customer.io also if the ledger does not know that we suppressed this customer
    #[arg(long)]
    pub force: bool,
    /// Who and why
    #[command(flatten)]
    pub decider: Decider,
}

/// `aftersend simulate`
#[derive(Debug, clap::Args)]
pub struct SimulateOptions {
    /// Address of the webhook endpoint
    #[arg(long, default_value = "http://127.0.0.1:8080/v1/webhooks/customerio/reporting")]
    pub url: String,
    /// Signing key of the source
    #[arg(long, env = "AFTERSEND_SIGNING_KEY", hide_env_values = true)]
    pub signing_key: String,
    /// Number of distinct events
    #[arg(long, default_value_t = 1_000)]
    pub count: usize,
    /// Requests a second; 0 for as many as the connections carry
    #[arg(long, default_value_t = 0)]
    pub rate: u32,
    /// Connections
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub connections: u16,
    /// Customers among whom the events are spread
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub customers: u32,
    /// Events lie anywhere in the last so many days; 0 for events of this moment
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(..=730))]
    pub days: u16,
    /// Percent of events that are sent a second time
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub duplicates: u8,
    /// Events are mixed within windows of this many; 1 keeps them in order
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub disorder: u32,
    /// Percent of events that are hard bounces or complaints
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub bad: u8,
    /// The same seed gives the same customers and stories
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// `aftersend classify`
#[derive(Debug, clap::Args)]
pub struct ClassifyOptions {
    /// Read JSON strings, one a line, and print JSON lines
    #[arg(long)]
    pub json: bool,
    /// Ask only the rules for this channel, as the services do for an event of it. Without it a text is read as mail, and by the rules of the other
    /// channels where none for mail decides
    #[arg(long, value_parser = PossibleValuesParser::new(CHANNELS))]
    pub channel: Option<String>,
}

/// `aftersend explain`
#[derive(Debug, clap::Args)]
pub struct ExplainOptions {
    /// Which customer
    #[command(flatten)]
    pub customer: Customer,
    /// Judge as of this time instead of now, by all that is known today: RFC 3339, or Unix seconds
    #[arg(long, value_parser = moment)]
    pub at: Option<i64>,
}

/// A time given by hand, in Unix seconds.
fn moment(text: &str) -> Result<i64, String> {
    let seconds = text.parse().or_else(|_| text.parse().map(jiff::Timestamp::as_second));
    seconds.map_err(|_| "write a time such as 2026-11-01T00:00:00Z, or Unix seconds".to_owned())
}

/// `aftersend demo`
#[derive(Debug, clap::Args)]
pub struct DemoOptions {
    /// Check the result, print one JSON line, and end: 0 if everything is as expected, 1 with the difference
    #[arg(long)]
    pub once: bool,
    /// Kafka to use
    #[arg(long, env = "KAFKA_BROKERS", default_value = "127.0.0.1:9092")]
    pub brokers: String,
    /// ClickHouse to use
    #[arg(long, env = "CLICKHOUSE_URL", default_value = "http://127.0.0.1:8123")]
    pub clickhouse: String,
}

#[cfg(test)]
mod tests {
    use aftersend_pipeline::config::Config;

    use super::*;

    #[test]
    fn an_empty_name_of_a_file_is_a_bad_configuration_and_no_bad_command() {
        let args = Args::try_parse_from(["aftersend", "--config", "", "classify"]).unwrap();
        let said = Config::load(args.config.as_deref()).unwrap_err().to_string();
        assert!(said.starts_with("cannot read \"\": ") && said.contains("AFTERSEND_CONFIG"), "{said}");
    }
}

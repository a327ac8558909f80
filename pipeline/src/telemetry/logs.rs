use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// The HTTP server writes a line for each connection that does not speak HTTP: whoever can reach the door could fill the disk. They are counted
/// instead. A filter that names it brings the lines back.
const QUIET: &str = "actix_http=off,h2=error";

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Logs where a panic happened, and not its message: that may quote the payload in hand.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        tracing::error!(place, thread, "a defect: this code panicked");
    }));
}

/// Sends logs, panics among them, to standard error. `AFTERSEND_LOG` filters them (`info` by default, `aftersend_ingest=debug,warn` and the like).
pub fn init_logs(format: LogFormat, default_filter: &str) {
    log_panics();
    let given = std::env::var_os("AFTERSEND_LOG").map(|given| EnvFilter::try_new(format!("{QUIET},{}", given.to_string_lossy())));
    let is_unreadable = matches!(given, Some(Err(_)));
    let filter = given.and_then(Result::ok).unwrap_or_else(|| EnvFilter::new(format!("{QUIET},{default_filter}")));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    // A second call (tests start several services in one process) keeps the first.
    let _ = match format {
        LogFormat::Text => lines.with_target(false).try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    if is_unreadable {
        tracing::warn!("AFTERSEND_LOG is no filter and is not used: write a level, or pairs such as aftersend_ingest=debug,warn");
    }
}

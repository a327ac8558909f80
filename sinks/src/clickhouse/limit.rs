//! How long ClickHouse may take for what is asked beside the inserts: a server or a balancer may accept a question and never answer.

use std::time::Duration;

use clickhouse::error::{Error, Result};

/// For a question about tables, columns or clocks, or about what a table holds.
pub(super) const QUESTION: Duration = Duration::from_secs(30);
/// For a statement of a migration; servers give up on those of a cluster after three minutes.
pub(super) const MIGRATION: Duration = Duration::from_secs(600);
/// For a statement that counts or audits.
pub(super) const ROLLUP: Duration = Duration::from_secs(3600);

/// What the work comes to, or [`Error::TimedOut`].
pub(super) async fn within<T>(limit: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(limit, work).await.unwrap_or(Err(Error::TimedOut))
}

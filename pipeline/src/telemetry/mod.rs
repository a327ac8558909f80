//! What a service tells about itself: logs, metrics and the admin pages.

mod admin;
mod logs;
mod metrics;
mod readiness;

pub use admin::{AdminError, serve, serve_on};
pub use logs::{LogFormat, init_logs};
pub use metrics::{ConsumerFamilies, ConsumerMetrics, Metrics};
pub use readiness::{Latch, Readiness};

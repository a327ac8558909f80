use prometheus::core::Collector;
use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

/// Buckets for durations, in seconds: from a tenth of a millisecond to half a minute.
const SECONDS: &[f64] = &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Buckets for waits that are meant to be long, in seconds: from a tenth of a second to a week.
const LONG_SECONDS: &[f64] =
    &[0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 1_200.0, 3_600.0, 21_600.0, 86_400.0, 172_800.0, 604_800.0];

/// The metrics of one service. Every name gets the prefix `aftersend_`; units are seconds and bytes.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// An empty set of the service's own, so that several services can live in one process.
    pub fn new() -> Self {
        Self { registry: Registry::new() }
    }

    /// A counter with labels; `name` ends in `_total`.
    pub fn counter_vec(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.register(IntCounterVec::new(opts(name, help), labels))
    }

    /// A counter; `name` ends in `_total`.
    pub fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(IntCounter::with_opts(opts(name, help)))
    }

    /// A gauge with labels.
    pub fn gauge_vec(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.register(IntGaugeVec::new(opts(name, help), labels))
    }

    /// A gauge of whole numbers.
    pub fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::with_opts(opts(name, help)))
    }

    /// A histogram of seconds; `name` ends in `_seconds`.
    pub fn seconds(&self, name: &str, help: &str) -> Histogram {
        self.register(Histogram::with_opts(HistogramOpts::from(opts(name, help)).buckets(SECONDS.to_vec())))
    }

    /// A gauge of seconds with labels.
    pub fn seconds_gauge_vec(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        self.register(GaugeVec::new(opts(name, help), labels))
    }

    /// A histogram of seconds for waits of up to a week.
    pub fn long_seconds(&self, name: &str, help: &str) -> Histogram {
        self.register(Histogram::with_opts(HistogramOpts::from(opts(name, help)).buckets(LONG_SECONDS.to_vec())))
    }

    /// As [`Metrics::long_seconds`], with labels.
    pub fn long_seconds_vec(&self, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
        self.register(HistogramVec::new(HistogramOpts::from(opts(name, help)).buckets(LONG_SECONDS.to_vec()), labels))
    }

    /// A histogram of seconds with labels.
    pub fn seconds_vec(&self, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
        self.register(HistogramVec::new(HistogramOpts::from(opts(name, help)).buckets(SECONDS.to_vec()), labels))
    }

    /// What `/metrics` answers, in Prometheus' text form.
    pub fn render(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }

    #[expect(
        clippy::expect_used,
        reason = "a metric's name and labels are literals: a clash is a mistake that the first start and every test shows"
    )]
    fn register<C: Collector + Clone + 'static>(&self, metric: prometheus::Result<C>) -> C {
        let metric = metric.expect("the metric's name and labels are legal");
        self.registry.register(Box::new(metric.clone())).expect("the metric's name is used once");
        metric
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(format!("aftersend_{name}"), help)
}

/// What every group member counts.
#[derive(Clone)]
pub struct ConsumerMetrics {
    /// Records handed to the service.
    pub records: IntCounter,
    pub(crate) rejoins: IntCounter,
    lag: IntGaugeVec,
    group: String,
    pub(crate) commits_in_transactions: bool,
}

/// The families behind [`ConsumerMetrics`], shared by the groups of one service.
#[derive(Clone)]
pub struct ConsumerFamilies {
    records: IntCounterVec,
    rejoins: IntCounterVec,
    lag: IntGaugeVec,
}

impl ConsumerFamilies {
    /// Registers the families.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            records: metrics.counter_vec("consumer_records_total", "Records read, by consumer group.", &["group"]),
            rejoins: metrics.counter_vec(
                "consumer_rejoins_total",
                "Times this replica left its group and came back, because partitions had no owner.",
                &["group"],
            ),
            lag: metrics.gauge_vec(
                "consumer_lag_records",
                "Records between the group and the end of a partition.",
                &["group", "topic", "partition"],
            ),
        }
    }

    /// The metrics of one group.
    pub fn of(&self, group: &str) -> ConsumerMetrics {
        ConsumerMetrics {
            records: self.records.with_label_values(&[group]),
            rejoins: self.rejoins.with_label_values(&[group]),
            lag: self.lag.clone(),
            group: group.to_owned(),
            commits_in_transactions: false,
        }
    }
}

impl ConsumerMetrics {
    /// For a group whose offsets are committed by a producer: the client does not see those, so its lag is counted from what was read.
    pub fn in_transactions(mut self) -> Self {
        self.commits_in_transactions = true;
        self
    }

    /// How far behind the end of its partition the group is.
    pub(crate) fn set_lag(&self, topic: &str, partition: i32, lag: i64) {
        self.lag.with_label_values(&[&self.group, topic, &partition.to_string()]).set(lag);
    }

    /// A partition went: somebody else reports its lag now.
    pub(crate) fn forget_lag(&self, topic: &str, partition: i32) {
        let _ = self.lag.remove_label_values(&[&self.group, topic, &partition.to_string()]);
    }
}

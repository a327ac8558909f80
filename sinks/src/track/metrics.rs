use aftersend_pipeline::telemetry::{ConsumerFamilies, Metrics};
use aftersend_schemas::track_call::Call;
use prometheus::{Histogram, HistogramVec, IntCounterVec, IntGauge};

use super::plan::Done;

#[derive(Clone)]
pub(super) struct TrackMetrics {
    pub(super) calls: IntCounterVec,
    pub(super) call_seconds: HistogramVec,
    pub(super) evidence_seconds: Histogram,
    pub(super) profiles: IntCounterVec,
    pub(super) open: IntGauge,
    pub(super) stopped: IntGauge,
    pub(super) brake: IntGauge,
    pub(super) unreadable: prometheus::IntCounter,
    pub(super) consumers: ConsumerFamilies,
}

impl TrackMetrics {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let this = Self {
            calls: metrics.counter_vec("track_calls_total", "Calls to the Track API by how each attempt ended.", &["call", "result"]),
            call_seconds: metrics.seconds_vec("track_call_seconds", "Duration of one attempt.", &["call"]),
            evidence_seconds: metrics.long_seconds(
                "track_suppress_delay_seconds",
                "From the arrival of the evidence to an acknowledged suppress, hold included.",
            ),
            profiles: metrics.counter_vec("track_profiles_total", "Profiles by why there was nothing more to do.", &["result"]),
            open: metrics.gauge("track_open_people", "People with something to do: a call, or a suppress that is held."),
            stopped: metrics
                .gauge("track_stopped", "1 while the API refuses the credentials or the region: nothing is lost, nothing is sent."),
            brake: metrics.gauge(
                "track_brake",
                "1 once more irreversible calls were wanted within an hour than allowed: none is made until a restart.",
            ),
            unreadable: metrics
                .counter("track_unreadable_profiles_total", "Profiles that could not be read; they are in the dead letters."),
            consumers: ConsumerFamilies::new(metrics),
        };
        for call in [Call::Identify, Call::Unsubscribe, Call::Suppress] {
            for result in ["acknowledged", "refused", "retried", "stopped", "dry_run"] {
                let _ = this.calls.with_label_values(&[call.as_str(), result]);
            }
        }
        for done in Done::ALL {
            let _ = this.profiles.with_label_values(&[done.as_str()]);
        }
        this
    }
}

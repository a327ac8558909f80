use aftersend_pipeline::store::Doubt;
use aftersend_pipeline::telemetry::{ConsumerFamilies, Metrics};
use aftersend_schemas::track_call::Call;
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::plan::{Done, Lane};

#[derive(Clone)]
pub(super) struct TrackMetrics {
    pub(super) calls: IntCounterVec,
    pub(super) requests: IntCounter,
    pub(super) call_seconds: HistogramVec,
    pub(super) evidence_seconds: Histogram,
    pub(super) profiles: IntCounterVec,
    pub(super) open: IntGauge,
    pub(super) stopped: IntGauge,
    pub(super) paused: IntGaugeVec,
    pub(super) brake: IntGaugeVec,
    pub(super) awaits_processor: IntGauge,
    pub(super) concurrency: IntGaugeVec,
    pub(super) freshness: HistogramVec,
    pub(super) saved: IntCounter,
    pub(super) unreadable: IntCounter,
    pub(super) ledger_restored: IntCounter,
    pub(super) ledger_pending: IntGauge,
    pub(super) stores_discarded: IntCounterVec,
    pub(super) store_bytes: IntGauge,
    pub(super) consumers: ConsumerFamilies,
}

impl TrackMetrics {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let this = Self {
            calls: metrics.counter_vec("track_calls_total", "Calls to the Track API by how each attempt ended.", &["call", "result"]),
            requests: metrics.counter("track_requests_total", "Requests to the Track API: fewer than calls where these go in batches."),
            call_seconds: metrics.seconds_vec("track_call_seconds", "Duration of one attempt.", &["call"]),
            evidence_seconds: metrics.long_seconds(
                "track_suppress_delay_seconds",
                "From the arrival of the evidence to an acknowledged suppress, hold included.",
            ),
            profiles: metrics.counter_vec("track_profiles_total", "Profiles by why there was nothing more to do.", &["result"]),
            open: metrics.gauge("track_open_people", "People with something to do: a call, or a suppress that is held."),
            stopped: metrics
                .gauge("track_stopped", "1 while the API refuses credentials, region or address: nothing is lost, nothing is sent."),
            paused: metrics.gauge_vec(
                "track_paused_seconds",
                "How long no call is started from now on, since the API asked for a pause or does not answer.",
                &["workspace"],
            ),
            awaits_processor: metrics.gauge(
                "track_awaits_processor",
                "Partitions in which a suppress for a hard bounce waits until the processor has read what had arrived.",
            ),
            brake: metrics.gauge_vec(
                "track_brake",
                "1 once more people were to be suppressed within an hour than allowed: nobody is until `aftersend track release`.",
                &["workspace", "cause"],
            ),
            concurrency: metrics.gauge_vec(
                "track_concurrency",
                "Calls that a workspace's API gets at a time, as it answers.",
                &["workspace"],
            ),
            freshness: metrics.long_seconds_vec(
                "track_freshness_seconds",
                "From the first profile that is not known at Customer.io to an acknowledged call, hold included.",
                &["lane"],
            ),
            saved: metrics.counter("track_calls_saved_total", "Calls that were wanted and not made, since a newer profile came before."),
            unreadable: metrics
                .counter("track_unreadable_profiles_total", "Profiles that could not be read; they are in the dead letters."),
            ledger_restored: metrics
                .counter("track_ledger_restored_total", "Records of track-ledger read at assignments: what the local cache had missed."),
            ledger_pending: metrics.gauge("track_ledger_pending", "People of whom more is known than was read back from track-ledger."),
            stores_discarded: metrics.counter_vec(
                "track_store_discarded_total",
                "Partitions whose local cache was thrown away and restored whole, by why.",
                &["reason"],
            ),
            store_bytes: metrics.gauge("track_store_bytes", "Size of the local cache of the ledger on disk."),
            consumers: ConsumerFamilies::new(metrics),
        };
        for call in [Call::Identify, Call::Unsubscribe, Call::Suppress] {
            for result in ["acknowledged", "refused", "retried", "stopped", "split", "withdrawn", "dry_run"] {
                let _ = this.calls.with_label_values(&[call.as_str(), result]);
            }
        }
        // Of a ledger none is ever too old: it has no tombstones to miss.
        for doubt in Doubt::ALL.into_iter().filter(|doubt| *doubt != Doubt::TooOld) {
            let _ = this.stores_discarded.with_label_values(&[doubt.as_str()]);
        }
        for lane in Lane::ALL {
            let _ = this.freshness.with_label_values(&[lane.as_str()]);
        }
        for done in ["braked", "no_credentials"] {
            let _ = this.profiles.with_label_values(&[done]);
        }
        for done in Done::ALL {
            let _ = this.profiles.with_label_values(&[done.as_str()]);
        }
        this
    }
}

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use aftersend_pipeline::store::Doubt;
use aftersend_pipeline::telemetry::{ConsumerFamilies, Metrics};
use aftersend_schemas::oddity::Oddity;
use aftersend_schemas::profile::EmailState;
use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::odd_events::OddEvents;

/// Undocumented kinds with a label of their own; what comes after them is counted together.
const KINDS: usize = 100;
/// The label of what has none of its own.
const OTHER: &str = "(other)";

/// How an event of `raw` ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// It changed what is known of a person.
    Applied,
    /// It added nothing: a duplicate, or no evidence.
    Unchanged,
    /// It is about no person.
    NoPerson,
    /// It has no usable time.
    Undated,
    /// Its kind is not documented.
    Undocumented,
    /// The configuration calls it a test.
    TestEvent,
    /// Not a JSON object. Ingest lets none through.
    NotAnEvent,
}

impl Ending {
    const ALL: [Self; 7] =
        [Self::Applied, Self::Unchanged, Self::NoPerson, Self::Undated, Self::Undocumented, Self::TestEvent, Self::NotAnEvent];

    fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::NoPerson => "no_person",
            Self::Undated => "undated",
            Self::Undocumented => "undocumented",
            Self::TestEvent => "test_event",
            Self::NotAnEvent => "not_an_event",
        }
    }
}

#[derive(Clone)]
pub(super) struct ProcessorMetrics {
    events: IntCounterVec,
    oddities: IntCounterVec,
    undocumented: IntCounterVec,
    kinds: Arc<Mutex<BTreeSet<(String, String)>>>,
    people: IntGaugeVec,
    pub(super) profiles: IntCounter,
    pub(super) timers: IntCounter,
    pub(super) forgotten: IntCounter,
    pub(super) restored: IntCounter,
    pub(super) stores_discarded: IntCounterVec,
    pub(super) store_bytes: IntGauge,
    pub(super) quarantines: IntGauge,
    pub(super) aborted: IntCounter,
    pub(super) timer_delay_seconds: Histogram,
    pub(super) transaction_seconds: Histogram,
    pub(super) sessions_ended: IntCounter,
    pub(super) consumers: ConsumerFamilies,
}

impl ProcessorMetrics {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let this = Self {
            events: metrics.counter_vec(
                "processor_events_total",
                "Events read, by what became of them. Counted when their transaction is committed.",
                &["result"],
            ),
            oddities: metrics.counter_vec(
                "processor_odd_events_total",
                "Events with something unusual about them, by what it was. None of it stops an event.",
                &["oddity"],
            ),
            undocumented: metrics.counter_vec(
                "processor_undocumented_events_total",
                "Events of a kind that Customer.io does not document, by name; the first hundred kinds have names of their own.",
                &["object_type", "metric"],
            ),
            kinds: Arc::default(),
            people: metrics.gauge_vec("processor_people", "People in this replica's partitions, by the state of their e-mail.", &["state"]),
            profiles: metrics.counter("processor_profiles_written_total", "Profiles written because of an event."),
            timers: metrics.counter("processor_timers_fired_total", "Profiles written because of the time alone."),
            forgotten: metrics
                .counter("processor_profiles_forgotten_total", "People without evidence for so long that they were forgotten."),
            restored: metrics.counter(
                "processor_profiles_restored_total",
                "Records of profiles read back when partitions were assigned: what the local store did not have.",
            ),
            stores_discarded: metrics.counter_vec(
                "processor_store_discarded_total",
                "Partitions whose local copy was thrown away and restored whole, by why.",
                &["reason"],
            ),
            store_bytes: metrics.gauge("processor_store_bytes", "Size of the local store on disk."),
            quarantines: metrics.gauge("processor_quarantines", "Mailbox providers whose hard bounces are not believed at the moment."),
            aborted: metrics
                .counter("processor_transactions_aborted_total", "Transactions that came to nothing and were worked out again."),
            timer_delay_seconds: metrics
                .seconds("processor_timer_delay_seconds", "From the time of a timer to its firing, where the wall clock drives it."),
            transaction_seconds: metrics.seconds("processor_transaction_seconds", "From the begin of a transaction to its commit."),
            sessions_ended: metrics.counter(
                "processor_sessions_failed_total",
                "Times a session ended with an error; the next one starts over from what is committed.",
            ),
            consumers: ConsumerFamilies::new(metrics),
        };
        for ending in Ending::ALL {
            let _ = this.events.with_label_values(&[ending.as_str()]);
        }
        for oddity in Oddity::ALL {
            let _ = this.oddities.with_label_values(&[oddity.as_str()]);
        }
        for reason in Doubt::ALL {
            let _ = this.stores_discarded.with_label_values(&[reason.as_str()]);
        }
        for state in EmailState::ALL {
            let _ = this.people.with_label_values(&[state.as_str()]);
        }
        this
    }

    pub(super) fn ended(&self, endings: &[Ending]) {
        let mut counts = [0; Ending::ALL.len()];
        for ending in endings {
            counts[*ending as usize] += 1;
        }
        for (ending, count) in Ending::ALL.into_iter().zip(counts) {
            self.events.with_label_values(&[ending.as_str()]).inc_by(count);
        }
    }

    pub(super) fn noted(&self, odd: &OddEvents) {
        for (oddity, count) in &odd.oddities {
            self.oddities.with_label_values(&[oddity]).inc_by(*count);
        }
        let mut known = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        for (kind, count) in &odd.kinds {
            if known.len() < KINDS && !known.contains(kind) {
                known.insert(kind.clone());
            }
            let (object_type, metric) = if known.contains(kind) { (kind.0.as_str(), kind.1.as_str()) } else { (OTHER, OTHER) };
            self.undocumented.with_label_values(&[object_type, metric]).inc_by(*count);
        }
    }

    /// All people of a partition came or went.
    pub(super) fn people(&self, people: &[i64], sign: i64) {
        for (state, count) in EmailState::ALL.iter().zip(people) {
            self.people.with_label_values(&[state.as_str()]).add(sign * count);
        }
    }

    pub(super) fn moved(&self, from: Option<EmailState>, to: Option<EmailState>) {
        if let Some(from) = from {
            self.people.with_label_values(&[from.as_str()]).dec();
        }
        if let Some(to) = to {
            self.people.with_label_values(&[to.as_str()]).inc();
        }
    }
}

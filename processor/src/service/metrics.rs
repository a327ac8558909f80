use aftersend_pipeline::telemetry::{ConsumerFamilies, Metrics};
use aftersend_schemas::profile::EmailState;
use prometheus::{Histogram, IntCounter, IntCounterVec, IntGaugeVec};

/// How an event of `raw` ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// It changed a person's evidence.
    Applied,
    /// It added nothing: a duplicate, or no evidence.
    Unchanged,
    /// It is about no person.
    NoPerson,
    /// It has no usable time.
    Undated,
    /// Its kind is not documented.
    Undocumented,
    /// Not a JSON object. Ingest lets none through.
    NotAnEvent,
}

impl Ending {
    const ALL: [Self; 6] = [Self::Applied, Self::Unchanged, Self::NoPerson, Self::Undated, Self::Undocumented, Self::NotAnEvent];

    fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::NoPerson => "no_person",
            Self::Undated => "undated",
            Self::Undocumented => "undocumented",
            Self::NotAnEvent => "not_an_event",
        }
    }
}

#[derive(Clone)]
pub(super) struct ProcessorMetrics {
    events: IntCounterVec,
    people: IntGaugeVec,
    pub(super) profiles: IntCounter,
    pub(super) restored: IntCounter,
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
            people: metrics.gauge_vec("processor_people", "People in this replica's partitions, by the state of their e-mail.", &["state"]),
            profiles: metrics.counter("processor_profiles_written_total", "Profiles written."),
            restored: metrics.counter("processor_profiles_restored_total", "Profiles read back when partitions were assigned."),
            transaction_seconds: metrics.seconds("processor_transaction_seconds", "From the first record of a batch to its commit."),
            sessions_ended: metrics
                .counter("processor_sessions_failed_total", "Times everything was dropped and restored after a failed transaction."),
            consumers: ConsumerFamilies::new(metrics),
        };
        for ending in Ending::ALL {
            let _ = this.events.with_label_values(&[ending.as_str()]);
        }
        for state in EmailState::ALL {
            let _ = this.people.with_label_values(&[state.as_str()]);
        }
        this
    }

    pub(super) fn ended(&self, endings: &[Ending]) {
        for ending in Ending::ALL {
            let count = endings.iter().filter(|known| **known == ending).count();
            self.events.with_label_values(&[ending.as_str()]).inc_by(count as u64);
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

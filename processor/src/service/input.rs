use std::sync::Arc;

use aftersend_pipeline::consumer::Reader;
use aftersend_pipeline::record::{self, Record};
use aftersend_pipeline::store::Key;
use aftersend_schemas::DecodeError;
use aftersend_schemas::address::Address;
use aftersend_schemas::brake::BrakeRelease;
use aftersend_schemas::event::Event;
use aftersend_schemas::headers::{RECEIVED_AT, Received, WORKSPACE};
use aftersend_schemas::identity::Subject;
use aftersend_schemas::normaliser::Normaliser;
use aftersend_schemas::oddity::Oddity;
use aftersend_schemas::operator::OperatorRecord;
use rdkafka::Message as _;
use rdkafka::message::BorrowedMessage;

use super::metrics::Ending;
use super::odd_events::OddEvents;
use crate::fold::{ClearAddress, Fact, Observation};
use crate::providers::{Mailed, text_of};

/// What the session is told, in the order of each partition.
#[derive(Debug)]
pub(super) enum Input {
    Event(Said),
    /// Everything there is of this partition of `raw` has been read, for now.
    End(Arc<str>, i32),
}

/// What a record says.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// Unix milliseconds of its arrival; nothing if it moves no clock.
    pub(super) received_at: Option<i64>,
    /// Unix milliseconds at which it counts, at the earliest.
    pub(super) judged_at: i64,
    pub(super) what: Result<(Key, Observation), Ending>,
    /// What it says of where its person can be written to.
    pub(super) address: ClearAddress,
    /// What it says of the mailbox provider.
    pub(super) mailed: Option<Mailed>,
    pub(super) odd: Option<Box<OddEvents>>,
}

impl Said {
    /// A record of `operator`. It moves no clock: its time is an operator's, not a stream's.
    pub(super) fn by_operator(record: &Record) -> Result<Self, DecodeError> {
        let what = match OperatorRecord::decode(record.value.as_deref().unwrap_or_default()) {
            // The release of a brake: for the Track sink.
            _ if std::str::from_utf8(&record.key).is_ok_and(|key| BrakeRelease::workspace_of(key).is_some()) => Err(Ending::NoPerson),
            Ok(decided) => {
                Observation::decided(&decided).map(|what| (Key::new(record.partition, &decided.person), what)).ok_or(Ending::Undated)
            }
            // What was decided must not be passed over; what was never a decision about a person is none.
            Err(error @ DecodeError::TooNew { .. }) => return Err(error),
            Err(DecodeError::Malformed { .. }) => Err(Ending::NotAnEvent),
        };
        Ok(Self {
            topic: record.topic.clone(),
            partition: record.partition,
            offset: record.offset,
            received_at: None,
            judged_at: record.timestamp,
            what,
            address: ClearAddress::default(),
            mailed: None,
            odd: None,
        })
    }
}

/// Reads events where the client holds them.
pub(super) struct EventReader {
    pub(super) normaliser: Normaliser,
    /// `raw`: the client does not say of which topic an end is.
    pub(super) topic: Arc<str>,
}

impl EventReader {
    fn said(
        &self,
        message: &BorrowedMessage<'_>,
        received: &Received<'_>,
        odd: &mut Option<Box<OddEvents>>,
        mailed: &mut Option<Mailed>,
        address: &mut ClearAddress,
    ) -> Result<(Key, Observation), Ending> {
        let mut event = self.normaliser.event(message.payload().unwrap_or_default()).map_err(|_| Ending::NotAnEvent)?;
        event.arrived(received.received_at);
        if !event.oddities.is_empty() {
            odd.get_or_insert_default().note(&event);
        }
        if event.oddities.contains(Oddity::TestEvent) {
            return Err(Ending::TestEvent);
        }
        let subject = Subject::of(&event, &self.normaliser.privacy);
        let record_key = String::from_utf8_lossy(message.key().unwrap_or_default());
        let person = subject.person(&received.workspace, &record_key).ok_or(Ending::NoPerson)?;
        if event.oddities.contains(Oddity::Undocumented) {
            return Err(Ending::Undocumented);
        }
        let observation = Observation::of(&event, received.received_at, &self.normaliser).ok_or(Ending::Undated)?;
        *mailed = Self::mailed(&event, &observation, received.received_at);
        *address = ClearAddress::of(&event, &person, &self.normaliser.privacy);
        Ok((Key::new(message.partition(), &person), observation))
    }

    /// Mail that arrived, or bounced hard, and where. What is dated ahead counts when it came: one clock that is wrong must not make the windows of
    /// everybody else look old.
    fn mailed(event: &Event<'_>, observation: &Observation, received_at: i64) -> Option<Mailed> {
        let hard = match &observation.fact {
            Fact::Delivered => None,
            Fact::Bounced { class, deferred: false, .. } if class.is_hard() => Some(text_of(&event.failure_message()?)),
            _ => return None,
        };
        let provider = Address::read(&event.address()?)?.provider_id();
        let at = observation.at.min(u32::try_from(received_at / 1000).unwrap_or(u32::MAX));
        Some(Mailed { provider, at, message: observation.message, hard })
    }
}

impl Reader for EventReader {
    type Item = Input;

    const WANTS_ENDS: bool = true;

    fn read(&mut self, message: &BorrowedMessage<'_>, topic: &Arc<str>) -> Input {
        let headers = record::headers(message).filter(|(name, _)| *name == WORKSPACE || *name == RECEIVED_AT);
        let received = Received::from_headers(headers, message.timestamp().to_millis().unwrap_or_default());
        let (mut odd, mut mailed, mut address) = (None, None, ClearAddress::default());
        let what = self.said(message, &received, &mut odd, &mut mailed, &mut address);
        Input::Event(Said {
            topic: topic.clone(),
            partition: message.partition(),
            offset: message.offset(),
            received_at: Some(received.received_at),
            judged_at: 0,
            what,
            address,
            mailed,
            odd,
        })
    }

    fn end(&mut self, partition: i32) -> Option<Input> {
        Some(Input::End(self.topic.clone(), partition))
    }

    fn is_record(item: &Input) -> bool {
        matches!(item, Input::Event(_))
    }

    fn place(item: &Input) -> (&str, i32) {
        match item {
            Input::Event(said) => (&said.topic, said.partition),
            Input::End(topic, partition) => (topic, *partition),
        }
    }

    /// What was read is small: chunks close by their number.
    fn size(_: &Input) -> usize {
        512
    }
}

#[cfg(test)]
mod tests {
    use aftersend_schemas::privacy::Privacy;

    use super::*;

    #[test]
    fn mail_that_is_dated_ahead_counts_for_its_provider_when_it_came() {
        let at = |timestamp: i64| {
            let body = format!(
                r#"{{"event_id":"e","object_type":"email","metric":"bounced","timestamp":{timestamp},"data":{{"customer_id":"u",
                "recipient":"u@dead.example","failure_message":"550 5.1.1 user unknown"}}}}"#
            );
            let normaliser = Normaliser::new(Privacy::Drop);
            let event = normaliser.event(body.as_bytes()).unwrap();
            let received_at = 1_770_000_000_000;
            let observation = Observation::of(&event, received_at, &normaliser).unwrap();
            EventReader::mailed(&event, &observation, received_at).unwrap().at
        };
        assert_eq!(at(1_770_000_000 - 86_400), 1_770_000_000 - 86_400);
        assert_eq!(at(1_770_000_000 + 20 * 86_400), 1_770_000_000);
    }
}

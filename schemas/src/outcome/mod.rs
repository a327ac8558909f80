//! The `message_outcomes` row of an event.

mod metadata;
mod shown;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use self::shown::end_of_host;
use crate::address::Address;
use crate::bounce::BounceClass;
use crate::event::Event;
use crate::headers::Received;
use crate::json::NotAnObject;
use crate::members::Field;
use crate::normaliser::Normaliser;
use crate::oddity::Oddity;
use crate::rows::{MessageOutcome, Position};

impl Normaliser {
    /// The row of an event. Fails only for a body that ingest would have sent to `dead`.
    pub fn outcome<'a>(
        &'a self,
        body: &'a [u8],
        received: &'a Received<'_>,
        position: &Position<'a>,
        epoch: u32,
    ) -> Result<MessageOutcome<'a>, NotAnObject> {
        let mut event = self.event(body)?;
        event.arrived(received.received_at);
        let address = event.address();
        let read_address = address.as_deref().and_then(Address::read);
        let read = Read {
            // What stands where an address should is one, however it is written.
            unreadable: address.filter(|text| read_address.is_none() && is_meant_as_address(text)),
            of_person: event
                .identifier(Field::Email)
                .filter(|text| read_address.as_ref().is_none_or(|address| address.as_str() != text))
                .and_then(|text| Address::read(&text)),
            address: read_address,
            cio_id: event.cio_id().unwrap_or_default(),
            message_id: event.delivery_id().unwrap_or_default(),
        };
        let failure_message = event.failure_message();
        let verdict = failure_message.as_deref().map(|text| self.verdict(&event, text));
        if event.oddities.contains(Oddity::Undocumented) {
            // Documented names hold no address; others may hold anything.
            event.object_type = self.shown(event.object_type);
            event.metric = self.shown(event.metric);
        }
        let id = |field| event.integer(field).and_then(|id| u64::try_from(id).ok());
        Ok(MessageOutcome {
            event_type: event.event_type().into(),
            timestamp: event.time.seconds().and_then(|seconds| u32::try_from(seconds).ok()).unwrap_or_default(),
            customer_id: event.customer_id().unwrap_or_default(),
            campaign_id: id(Field::CampaignId),
            broadcast_id: id(Field::BroadcastId),
            newsletter_id: id(Field::NewsletterId),
            transactional_message_id: id(Field::TransactionalMessageId),
            action_id: id(Field::ActionId),
            bounce_class: verdict
                .map(|verdict| verdict.class)
                .or_else(|| class_without_text(&event.metric))
                .map_or("", BounceClass::as_str),
            bounce_rule: verdict.map_or("", |verdict| verdict.rule).into(),
            bounce_confidence: verdict.map_or(0, |verdict| verdict.confidence),
            bounce_table: verdict.map_or(0, |verdict| verdict.generation),
            machine: event.by_machine(),
            failure_message: failure_message.map(|text| self.shown_of(&read, text)).unwrap_or_default(),
            href: event.text(Field::Href).map(|text| self.shown_behind(&read, text, end_of_host)).unwrap_or_default(),
            mailbox_provider: read.mailbox(&event).map(Address::provider).unwrap_or_default(),
            recipient_domain: read.mailbox(&event).map(|address| address.domain().to_owned()).unwrap_or_default().into(),
            email_hash: read
                .address
                .as_ref()
                .and_then(|address| self.privacy.hash(address, event.time.seconds()))
                .unwrap_or_default()
                .into(),
            metadata: self.metadata(&event, &read).into(),
            cio_id: read.cio_id,
            message_id: read.message_id,
            source: received.source.as_ref().into(),
            received_at: received.received_at,
            src_topic: position.topic.into(),
            src_partition: position.partition_u32(),
            src_offset: position.offset_u64(),
            workspace: received.workspace.as_ref().into(),
            epoch,
            event_id: event.event_id,
            channel: event.object_type,
            metric: event.metric,
        })
    }
}

/// What the columns and the rest are both made with.
struct Read<'a> {
    address: Option<Address>,
    /// The person's, if it is another.
    of_person: Option<Address>,
    /// What stands in the place of an address and cannot be read as one.
    unreadable: Option<Cow<'a, str>>,
    /// Empty if unknown; so is the next.
    cio_id: Cow<'a, str>,
    message_id: Cow<'a, str>,
}

impl Read<'_> {
    /// The mailbox that an event was sent to.
    fn mailbox(&self, event: &Event<'_>) -> Option<&Address> {
        self.address.as_ref().filter(|_| event.is_of_a_mailbox())
    }
}

/// True for what somebody may have written for an address: `jane @example.com`, `jane (at) example.com`.
fn is_meant_as_address(text: &str) -> bool {
    text.contains('@') || [" at ", "(at)", "[at]"].iter().any(|at| text.to_ascii_lowercase().contains(at))
}

/// The class of a failure that comes without a text.
fn class_without_text(metric: &str) -> Option<BounceClass> {
    match metric {
        "bounced" | "deferred" => Some(BounceClass::Undetermined),
        "dropped" => Some(BounceClass::Suppressed),
        _ => None,
    }
}

//! What an event says that has no column.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::Read;
use crate::address::{self, Address};
use crate::ascii::letters_digits_and;
use crate::event::{self, Event};
use crate::event_time::EventTime;
use crate::json;
use crate::members::{Field, Member, Scope};
use crate::normaliser::Normaliser;
use crate::oddity::Oddity;

/// Member of the metadata that lists what was unusual about the event.
const ODDITIES: &str = "aftersend_oddities";

/// What the members of `identifiers` are called in the metadata, before their names.
const OF_IDENTIFIERS: &str = "identifiers.";

/// Before the name of a member that was sent under one of the two above.
const SENT: &str = "sent.";

impl Normaliser {
    /// What has no column, as one JSON object with sorted names. A name that stands both at the top and in `data` keeps both values.
    pub(super) fn metadata(&self, event: &Event<'_>, read: &Read<'_>) -> String {
        let mut rest: SmallVec<[Rest<'_>; 16]> = SmallVec::new();
        let mut masked = 0;
        for member in event.members() {
            if self.has_a_column(event, read, member) {
                continue;
            }
            let mut name = member.name().string().unwrap_or_default();
            if !is_word(&name) {
                let shown = self.shown(name.clone());
                let is_masked = shown != name || !self.privacy.keeps_clear_text() && name.contains(address::MASK);
                // Masked names are alike and must not take each other's place, nor that of one that was sent so.
                masked += usize::from(is_masked);
                let is_numbered = is_masked && (masked > 1 || shown.contains('#'));
                name = if is_numbered { Cow::Owned(format!("{shown}#{masked}")) } else { shown };
            }
            let name = match member.scope() {
                Scope::Identifiers | Scope::TopIdentifiers if member.scope() != event.identifiers() => continue,
                Scope::Identifiers | Scope::TopIdentifiers => Cow::Owned([OF_IDENTIFIERS, &name].concat()),
                Scope::Top | Scope::Data if is_of_ours(&name) => Cow::Owned([SENT, &name].concat()),
                Scope::Top | Scope::Data => name,
            };
            let beside_data = member.scope() == Scope::Top && event.payload() == Scope::Data;
            let has_twin = beside_data && member.field().is_some_and(|field| event.value(field).is_some());
            let mut value = self.shown_json(member.value().get());
            if let Some(unreadable) = &read.unreadable
                && !self.privacy.keeps_clear_text()
            {
                // In JSON it may be written with escapes.
                let mut quoted = String::new();
                json::quote(&mut quoted, unreadable);
                value = Cow::Owned(value.replace(quoted.trim_matches('"'), address::MASK));
            }
            rest.push(Rest { name, beside_data, has_twin, value });
        }
        // Of one name, what stands beside `data` comes first.
        rest.sort_by(|a, b| (&a.name, b.beside_data).cmp(&(&b.name, a.beside_data)));
        let mut oddities = event.oddities;
        if rest.windows(2).any(|pair| pair[0].name == pair[1].name && pair[0].beside_data == pair[1].beside_data) {
            oddities.insert(Oddity::RepeatedMember);
        }
        if !oddities.is_empty() {
            let names: Vec<&str> = oddities.iter().map(Oddity::as_str).collect();
            let value = Cow::Owned(format!("[\"{}\"]", names.join("\",\"")));
            let place = rest.partition_point(|other| *other.name < *ODDITIES);
            rest.insert(place, Rest { name: Cow::Borrowed(ODDITIES), beside_data: false, has_twin: false, value });
        }
        let room = rest.iter().map(|rest| rest.name.len() + rest.value.len() + 8).sum::<usize>();
        let mut metadata = String::with_capacity(room + 2);
        metadata.push('{');
        let mut renamed: SmallVec<[Cow<'_, str>; 2]> = SmallVec::new();
        for (place, member) in rest.iter().enumerate() {
            let next = rest.get(place + 1).filter(|next| next.name == member.name);
            // Of a repeated name the last counts.
            if next.is_some_and(|next| next.beside_data == member.beside_data) {
                continue;
            }
            let mut name = member.name.clone();
            if member.has_twin || next.is_some() {
                // Again where a member is really called `top.name`, or another was renamed so.
                let is_taken = |name: &Cow<'_, str>| renamed.contains(name) || rest.binary_search_by(|other| other.name.cmp(name)).is_ok();
                while is_taken(&name) {
                    name = Cow::Owned(["top.", &name].concat());
                }
                renamed.push(name.clone());
            }
            if metadata.len() > 1 {
                metadata.push(',');
            }
            match name {
                // It stood in a document without escapes.
                Cow::Borrowed(name) => metadata.extend(["\"", name, "\""]),
                Cow::Owned(name) => json::quote(&mut metadata, &name),
            }
            metadata.push(':');
            metadata.push_str(&member.value);
        }
        metadata.push('}');
        metadata
    }

    /// True if nothing is lost by leaving a member out: a column holds it, it is empty, or it must not be shown.
    fn has_a_column(&self, event: &Event<'_>, read: &Read<'_>, member: Member<'_>) -> bool {
        let value = member.value();
        let Some(field) = member.field() else { return value.is_null() };
        let in_payload = member.scope() == event.payload();
        let in_identifiers = member.scope() == event.identifiers();
        let is_text = || value.text().is_some();
        let is_id = || value.text().is_some_and(|text| event::is_id(&text));
        // An address and nothing else; mostly the one that was read already. Whom a mail goes to is one by nature, with whatever name. Where it stands
        // within something else, the rest is kept, if no address is left in it.
        let is_address = || {
            let known = |text: &str| read.address.as_ref().is_some_and(|address| address.as_str() == text);
            let is_of_mail = event.object_type == "email" && field == Field::Recipient;
            let is_left = |text: &str| Address::read(text).is_some();
            let is_one = |text: &str| if is_of_mail { is_left(text) } else { Address::is_all_of(text) || is_left(&address::mask(text)) };
            value.text().is_some_and(|text| known(&text) || is_one(&text))
        };
        let is_held = match field {
            Field::Data => member.scope() == Scope::Top && value.is_object(),
            Field::Identifiers => in_payload && value.is_object(),
            Field::Timestamp => member.scope() == Scope::Top && matches!(event.time, EventTime::Stated(_)),
            Field::ObjectType | Field::Metric => member.scope() == Scope::Top && is_text(),
            Field::EventId => value.text().is_some_and(|text| text == event.event_id),
            Field::CustomerId => in_payload && is_id(),
            Field::DeliveryId => in_payload && !read.message_id.is_empty(),
            Field::FailureMessage | Field::Href => in_payload && is_text(),
            Field::CampaignId | Field::BroadcastId | Field::NewsletterId | Field::TransactionalMessageId | Field::ActionId => {
                in_payload && value.integer().is_some_and(|id| id >= 0)
            }
            // Personal data, and whole mails, are left to the original bytes unless they are asked for.
            Field::Recipient | Field::EmailAddress => is_address() && !self.privacy.keeps_clear_text(),
            Field::Email => in_identifiers && is_address() && !self.privacy.keeps_clear_text(),
            Field::Content | Field::Headers => event.metric == "sent" && !self.keeps_content,
            Field::Id => in_identifiers && is_id() && !event.oddities.contains(Oddity::IdentifiersDiffer),
            Field::CioId => in_identifiers && !read.cio_id.is_empty(),
            Field::Recipients | Field::LinkId | Field::Prefetched | Field::Machine => false,
        };
        is_held || value.is_blank()
    }
}

/// A member of the metadata.
struct Rest<'a> {
    name: Cow<'a, str>,
    /// It stands at the top, and `data` is an object.
    beside_data: bool,
    /// It is known that `data` has a member of that name too.
    has_twin: bool,
    /// JSON.
    value: Cow<'a, str>,
}

/// True for names of members that would be taken for what the normaliser calls its own, or for what it renames such members to.
fn is_of_ours(mut name: &str) -> bool {
    while let Some(rest) = name.strip_prefix(SENT) {
        name = rest;
    }
    name == ODDITIES || name.starts_with(OF_IDENTIFIERS)
}

/// True for names that can hold no address.
fn is_word(name: &str) -> bool {
    name.bytes().all(|byte| OF_WORDS[usize::from(byte)])
}

/// ASCII letters, digits and underscores.
const OF_WORDS: [bool; 256] = letters_digits_and(b"_");

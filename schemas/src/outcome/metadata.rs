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
use crate::oddity::{Oddities, Oddity};

/// Member of the metadata that lists what was unusual about the event.
const ODDITIES: &str = "aftersend_oddities";

/// What the members of `identifiers` are called in the metadata, before their names.
const OF_IDENTIFIERS: &str = "identifiers.";

/// Before the name of a member that was sent under one of the two above.
const SENT: &str = "sent.";

impl Normaliser {
    /// What has no column, as one JSON object with sorted names. A name that stands both at the top and in `data` keeps both values.
    pub(super) fn metadata(&self, event: &Event<'_>, read: &Read<'_>) -> String {
        let mut rest = self.collect(event, read);
        let mut oddities = event.oddities;
        if order(&mut rest) {
            oddities.insert(Oddity::RepeatedMember);
        }
        list(oddities, &mut rest);
        name_twins(&mut rest);
        write(&rest)
    }

    /// The members without a column, as they are shown.
    fn collect<'a>(&self, event: &Event<'a>, read: &Read<'_>) -> Rest<'a> {
        let mut rest = Rest::new();
        let mut masked = 0;
        for member in event.members() {
            if self.has_a_column(event, read, member) {
                continue;
            }
            let name = self.shown_name(member.name().string().unwrap_or_default(), &mut masked);
            let name = match member.scope() {
                Scope::Identifiers | Scope::TopIdentifiers if member.scope() != event.identifiers() => continue,
                Scope::Identifiers | Scope::TopIdentifiers => Cow::Owned([OF_IDENTIFIERS, &name].concat()),
                Scope::Top | Scope::Data if is_of_ours(&name) => Cow::Owned([SENT, &name].concat()),
                Scope::Top | Scope::Data => name,
            };
            let beside_data = member.scope() == Scope::Top && event.payload() == Scope::Data;
            let has_twin = beside_data && member.field().is_some_and(|field| event.value(field).is_some());
            rest.push(Shown { name, beside_data, has_twin, value: self.shown_json_of(read, member.value()) });
        }
        rest
    }

    /// What a member is called; `masked` counts the names that hold an address.
    fn shown_name<'a>(&self, name: Cow<'a, str>, masked: &mut usize) -> Cow<'a, str> {
        if is_word(&name) {
            return name;
        }
        let shown = self.shown(name.clone());
        let is_masked = shown != name || !self.privacy.keeps_clear_text() && name.contains(address::MASK);
        // Masked names are alike and must not take each other's place, nor that of one that was sent so.
        *masked += usize::from(is_masked);
        let is_numbered = is_masked && (*masked > 1 || shown.contains('#'));
        if is_numbered { Cow::Owned(format!("{shown}#{masked}")) } else { shown }
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
            let is_readable = |text: &str| Address::read(text).is_some();
            let is_one =
                |text: &str| if is_of_mail { is_readable(text) } else { Address::is_all_of(text) || is_readable(&address::mask(text)) };
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
struct Shown<'a> {
    name: Cow<'a, str>,
    /// It stands at the top, and `data` is an object.
    beside_data: bool,
    /// It is known that `data` has a member of that name too.
    has_twin: bool,
    /// JSON.
    value: Cow<'a, str>,
}

type Rest<'a> = SmallVec<[Shown<'a>; 16]>;

/// Sorts by name; of one name, what stands beside `data` comes first. True if one was repeated: its last value counts.
fn order(rest: &mut Rest<'_>) -> bool {
    rest.sort_by(|a, b| (&a.name, b.beside_data).cmp(&(&b.name, a.beside_data)));
    let count = rest.len();
    rest.dedup_by(|later, kept| {
        let is_again = later.name == kept.name && later.beside_data == kept.beside_data;
        if is_again {
            std::mem::swap(later, kept);
        }
        is_again
    });
    rest.len() < count
}

/// Puts what was unusual in its place.
fn list(oddities: Oddities, rest: &mut Rest<'_>) {
    if oddities.is_empty() {
        return;
    }
    let names: Vec<&str> = oddities.iter().map(Oddity::as_str).collect();
    let value = Cow::Owned(format!("[\"{}\"]", names.join("\",\"")));
    let place = rest.partition_point(|other| *other.name < *ODDITIES);
    rest.insert(place, Shown { name: Cow::Borrowed(ODDITIES), beside_data: false, has_twin: false, value });
}

/// Gives members beside `data` that share a name with one in it a name of their own.
fn name_twins(rest: &mut Rest<'_>) {
    let mut renamed: SmallVec<[(usize, String); 2]> = SmallVec::new();
    for (place, member) in rest.iter().enumerate() {
        if !member.has_twin && rest.get(place + 1).is_none_or(|next| next.name != member.name) {
            continue;
        }
        // Again where a member is really called `top.name`, or another was renamed so.
        let is_taken = |name: &str| {
            renamed.iter().any(|(_, other)| other == name) || rest.binary_search_by(|other| other.name.as_ref().cmp(name)).is_ok()
        };
        let mut name = ["top.", &member.name].concat();
        while is_taken(&name) {
            name.insert_str(0, "top.");
        }
        renamed.push((place, name));
    }
    for (place, name) in renamed {
        rest[place].name = Cow::Owned(name);
    }
}

/// One JSON object.
fn write(rest: &[Shown<'_>]) -> String {
    let room = rest.iter().map(|member| member.name.len() + member.value.len() + 4).sum::<usize>();
    let mut object = String::with_capacity(room + 2);
    object.push('{');
    for member in rest {
        if object.len() > 1 {
            object.push(',');
        }
        match &member.name {
            // It stood in a document without escapes.
            Cow::Borrowed(name) => object.extend(["\"", name, "\""]),
            Cow::Owned(name) => json::quote(&mut object, name),
        }
        object.push(':');
        object.push_str(&member.value);
    }
    object.push('}');
    object
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

//! The `message_outcomes` row of an event.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::address::{self, Address};
use crate::ascii::letters_digits_and;
use crate::bounce::BounceClass;
use crate::event::{self, Event};
use crate::event_time::EventTime;
use crate::headers::Received;
use crate::json::{self, NotAnObject};
use crate::link;
use crate::members::{Field, Member, Scope};
use crate::normaliser::Normaliser;
use crate::oddity::Oddity;
use crate::rows::{MessageOutcome, Position};

/// Member of the metadata that lists what was unusual about the event.
const ODDITIES: &str = "aftersend_oddities";

/// What the members of `identifiers` are called in the metadata, before their names.
const OF_IDENTIFIERS: &str = "identifiers.";

/// Before the name of a member that was sent under one of the two above.
const SENT: &str = "sent.";

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

    fn shown<'a>(&self, text: Cow<'a, str>) -> Cow<'a, str> {
        if self.privacy.keeps_clear_text() {
            return text;
        }
        match text {
            Cow::Borrowed(text) => address::mask(text),
            Cow::Owned(text) => Cow::Owned(address::mask(&text).into_owned()),
        }
    }

    /// As [`Self::shown`], without what stands where the address should, and without the local part alone: the domain has a column.
    fn shown_of<'a>(&self, read: &Read<'_>, text: Cow<'a, str>) -> Cow<'a, str> {
        self.shown_behind(read, text, |_| 0)
    }

    /// As [`Self::shown_of`], the local part alone being looked for from a place on.
    fn shown_behind<'a>(&self, read: &Read<'_>, text: Cow<'a, str>, from: impl Fn(&str) -> usize) -> Cow<'a, str> {
        if self.privacy.keeps_clear_text() {
            return text;
        }
        let text = match &read.unreadable {
            Some(unreadable) if text.contains(unreadable.as_ref()) => Cow::Owned(text.replace(unreadable.as_ref(), address::MASK)),
            _ => text,
        };
        let shown = self.shown(text);
        let names = [&read.address, &read.of_person].into_iter().flatten().flat_map(names_in);
        names.filter(|name| is_telling(name)).fold(shown, |shown, name| {
            let (before, behind) = shown.split_at(from(&shown));
            match address::mask_word(behind, name) {
                Some(behind) => Cow::Owned([before, &behind].concat()),
                None => shown,
            }
        })
    }

    fn shown_json<'a>(&self, source: &'a str) -> Cow<'a, str> {
        let may_hold_text = matches!(source.as_bytes().first(), Some(b'"' | b'{' | b'['));
        if !may_hold_text {
            return Cow::Borrowed(source);
        }
        let source = json::without_lone_surrogates(source);
        if self.privacy.keeps_clear_text() {
            return source;
        }
        match source {
            Cow::Borrowed(source) => address::mask_json(source),
            Cow::Owned(source) => Cow::Owned(address::mask_json(&source).into_owned()),
        }
    }

    /// What has no column, as one JSON object with sorted names. A name that stands both at the top and in `data` keeps both values.
    fn metadata(&self, event: &Event<'_>, read: &Read<'_>) -> String {
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

/// The local part of an address, and what it is a tagged form of: `jane` of `jane+news`.
fn names_in(address: &Address) -> impl Iterator<Item = &str> {
    let local = address.local().trim_matches('"');
    [Some(local), local.split_once('+').map(|(base, _)| base)].into_iter().flatten()
}

/// Local parts that name nobody: roles, and what failure texts say of everybody.
const OF_NOBODY: &str = "abuse account accounts address admin administrator billing contact hello help hostmaster info mail mailbox \
    marketing news newsletter no-reply noreply office postmaster recipient root sales service support team test user webmaster";

/// True for a local part that may tell whose it is where it stands alone.
fn is_telling(local: &str) -> bool {
    local.chars().count() >= 4 && OF_NOBODY.split(' ').all(|word| word != local)
}

/// Where the host of a link ends: somebody's name may be a word of it.
fn end_of_host(link: &str) -> usize {
    let Some(scheme) = link::scheme_end(link) else { return 0 };
    let host = scheme + 3;
    link[host..].find(['/', '?', '#']).map_or(link.len(), |end| host + end)
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

/// The class of a failure that comes without a text.
fn class_without_text(metric: &str) -> Option<BounceClass> {
    match metric {
        "bounced" | "deferred" => Some(BounceClass::Undetermined),
        "dropped" => Some(BounceClass::Suppressed),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{bounce, privacy};

    fn normaliser() -> Normaliser {
        Normaliser::new(privacy::for_tests())
    }

    fn with<R>(body: &[u8], check: impl FnOnce(Result<MessageOutcome<'_>, NotAnObject>) -> R) -> R {
        let received = Received { received_at: 1_770_000_000_000, ..Received::default() };
        check(normaliser().outcome(body, &received, &Position { topic: "aftersend.raw", partition: 3, offset: 7 }, 0))
    }

    fn metadata(body: &str) -> String {
        with(body.as_bytes(), |row| row.unwrap().metadata.into_owned())
    }

    #[test]
    fn what_has_no_column_is_kept_in_the_metadata() {
        let sent = r#"{"event_id":"e","object_type":"email","metric":"sent","timestamp":1770000000,"extra":{"a":[1,"x@y.example"]},"href":"top",
                "data":{"customer_id":"u","campaign_id":"not a number","action_id":-1,"newsletter_id":7,"recipient":"x@y.example","content":"<html>",
                "extra":2,"href":"h","identifiers":{"id":"u","phone":"+15550100","email":"x@y.example"}}}"#;
        assert_eq!(
            metadata(sent),
            r#"{"action_id":-1,"campaign_id":"not a number","top.extra":{"a":[1,"[address]"]},"extra":2,"top.href":"top","identifiers.phone":"+15550100"}"#,
            "a name that stands at the top and in data keeps both"
        );
        with(sent.as_bytes(), |row| {
            let row = row.unwrap();
            assert_eq!((row.newsletter_id, row.campaign_id, row.href.as_ref()), (Some(7), None, "h"));
        });
        let ahead = r#"{"event_id":"e","object_type":"email","metric":"sent","timestamp":1770000301,"data":{}}"#;
        assert_eq!(metadata(ahead), r#"{"aftersend_oddities":["ahead_of_arrival"]}"#);
    }

    #[test]
    fn members_whose_names_are_masked_do_not_take_each_others_place() {
        let body =
            r#"{"event_id":"e","object_type":"email","metric":"sent","timestamp":1770000000,"data":{"a@x.example":1,"b@x.example":2}}"#;
        assert_eq!(metadata(body), r#"{"[address]":1,"[address]#2":2}"#);
    }

    #[test]
    fn nobody_can_pass_off_a_member_as_our_list_of_oddities() {
        let body =
            r#"{"event_id":"e","object_type":"email","metric":"sent","timestamp":1770000000,"data":{"aftersend_oddities":["forged"]}}"#;
        assert_eq!(metadata(body), r#"{"sent.aftersend_oddities":["forged"]}"#);
    }

    #[test]
    fn no_member_takes_the_place_of_one_that_is_named_here() {
        let metadata = |data: &str| {
            metadata(&format!(r#"{{"event_id":"e","object_type":"email","metric":"sent","timestamp":1770000000,"data":{data}}}"#))
        };
        assert_eq!(
            metadata(r#"{"identifiers":{"phone":["x"]},"identifiers.phone":"y","sent.identifiers.phone":"z"}"#),
            r#"{"identifiers.phone":["x"],"sent.identifiers.phone":"y","sent.sent.identifiers.phone":"z"}"#
        );
        assert_eq!(
            metadata(r#"{"aftersend_oddities":1,"sent.aftersend_oddities":2}"#),
            r#"{"sent.aftersend_oddities":1,"sent.sent.aftersend_oddities":2}"#
        );
        assert_eq!(metadata(r#"{"identifiers":{"aftersend_oddities":1}}"#), r#"{"identifiers.aftersend_oddities":1}"#);
        assert_eq!(
            metadata(r#"{"[address]#2":1,"a@x.example":2,"[address]":3}"#),
            r#"{"[address]#2":2,"[address]#2#1":1,"[address]#3":3}"#
        );
    }

    #[test]
    fn what_is_around_an_address_is_kept_and_a_name_beside_it_is_not() {
        let slack = |recipient: &str| {
            metadata(&format!(
                r#"{{"event_id":"e","object_type":"slack","metric":"sent","timestamp":1770000000,"data":{{"recipient":"{recipient}"}}}}"#
            ))
        };
        assert_eq!(slack("general, owner a@b.example"), r#"{"recipient":"general, owner [address]"}"#);
        for alone in ["a@b.example", "A@B.example", "Ann Lee <a@b.example>", "a@b.example (Ann Lee)"] {
            assert_eq!(slack(alone), "{}", "{alone}");
        }
        assert_eq!(slack("general, owner a\u{2605}@b.example"), "{}", "what cannot be masked is left out");
        for of_mail in ["Lee, Ann <a@b.example>", "Ann Lee a@b.example"] {
            let event = format!(
                r#"{{"event_id":"e","object_type":"email","metric":"sent","timestamp":1770000000,"data":{{"recipient":"{of_mail}"}}}}"#
            );
            assert_eq!(metadata(&event), "{}", "{of_mail}");
        }
    }

    #[test]
    fn a_local_part_does_not_stay_without_its_at_sign() {
        let shown = |address: &str, text: &str| {
            let body = format!(
                r#"{{"event_id":"e","object_type":"email","metric":"bounced","data":{{"recipient":"{address}","failure_message":"{text}","href":"{text}"}}}}"#
            );
            with(body.as_bytes(), |row| {
                let row = row.unwrap();
                assert_eq!(row.failure_message, row.href);
                row.failure_message.into_owned()
            })
        };
        let domino = "User jane.doe (jane.doe@d.example) not listed in Domino Directory";
        assert_eq!(shown("Jane.Doe@d.example", domino), "User [address] ([address]) not listed in Domino Directory");
        assert_eq!(shown("zq45leak@d.example", "550 <ZQ45leak>... User unknown"), "550 <[address]>... User unknown");
        for (address, text) in [
            ("jo@d.example", "550 <jo>... User unknown"),
            ("user@d.example", "550 no such user"),
            ("address@d.example", "550 no such address"),
        ] {
            assert_eq!(shown(address, text), text, "too short, or a word of every failure");
        }
        assert_eq!(shown("leakjane+news@d.example", "550 <leakjane>, leakjane+news"), "550 <[address]>, [address]");
        assert_eq!(shown("leakzoë@d.example", "550 LEAKZOË unknown"), "550 [address] unknown");
        let forwarded = br#"{"event_id":"e","object_type":"email","metric":"bounced",
            "data":{"recipient":"jane@d.example","identifiers":{"email":"leak.cust@d.example"},"failure_message":"550 <jane@d.example> leak.cust unknown"}}"#;
        with(forwarded, |row| assert_eq!(row.unwrap().failure_message, "550 <[address]> [address] unknown"));
        let link = br#"{"event_id":"e","object_type":"email","metric":"clicked","data":{"recipient":"shop@d.example","href":"https://shop.b.example/?to=shop"}}"#;
        with(link, |row| assert_eq!(row.unwrap().href, "https://shop.b.example/?to=[address]"));
        let plain = Normaliser { privacy: privacy::plain_for_tests(), ..normaliser() };
        let body = br#"{"event_id":"e","object_type":"email","metric":"bounced","data":{"recipient":"jane@d.example","failure_message":"no jane"}}"#;
        let received = Received::default();
        let row = plain.outcome(body, &received, &Position { topic: "t", partition: 0, offset: 0 }, 0).unwrap();
        assert_eq!(row.failure_message, "no jane");
    }

    #[test]
    fn a_bounce_of_one_of_two_recipients_is_not_certain_of_either() {
        let confidence = |recipient: &str| {
            let body = format!(
                r#"{{"event_id":"e","object_type":"email","metric":"bounced","data":{{"recipient":"{recipient}","failure_message":"550 5.1.1 User unknown"}}}}"#
            );
            with(body.as_bytes(), |row| row.map(|row| (row.bounce_class, row.bounce_confidence)).unwrap())
        };
        assert_eq!(confidence("a@d.example"), ("hard_recipient", 95));
        assert_eq!(confidence("a@d.example, b@d.example"), ("hard_recipient", bounce::IN_DOUBT));
    }

    #[test]
    fn a_recipient_that_is_no_address_is_kept() {
        let slack = r##"{"event_id":"e","object_type":"slack","metric":"sent","timestamp":1770000000,"data":{"recipient":"#general"}}"##;
        assert_eq!(metadata(slack), r##"{"recipient":"#general"}"##);
        let webhook = r#"{"event_id":"e","object_type":"webhook","metric":"sent","timestamp":1770000000,"data":{"recipient":"https://hooks.example/notify?user=ann@s.example&x=1"}}"#;
        assert_eq!(
            metadata(webhook),
            r#"{"recipient":"https://hooks.example/notify?user=[address]&x=1"}"#,
            "what is around an address is kept"
        );
    }

    #[test]
    fn what_stands_for_an_address_and_cannot_be_read_as_one_is_shown_nowhere() {
        for written in ["jane @gmail.example", "jane@ gmail.example", "jane at gmail.example", "jane(at)gmail.example"] {
            let body = format!(
                r#"{{"event_id":"e","object_type":"email","metric":"bounced","timestamp":1770000000,"data":{{"recipient":"{written}",
                    "failure_message":"Unable to parse recipient address: '{written}'","note":["{written}"],"identifiers":{{"email":"{written}"}}}}}}"#
            );
            with(body.as_bytes(), |row| {
                let row = row.unwrap();
                assert!(!row.failure_message.contains("jane"), "{}", row.failure_message);
                assert!(
                    !row.metadata.contains("jane") && serde_json::from_str::<serde_json::Value>(&row.metadata).is_ok(),
                    "{}",
                    row.metadata
                );
            });
        }
    }

    #[test]
    fn a_text_cut_within_an_emoji_is_still_understood() {
        let body = br#"{"event_id":"e","object_type":"email","metric":"bounced","timestamp":1770000000,"data":{"failure_message":"550 5.1.1 user unknown \ud83d","note":"\ud83d"}}"#;
        with(body, |row| {
            let row = row.unwrap();
            assert_eq!(row.bounce_class, "hard_recipient");
            let metadata: serde_json::Value = serde_json::from_str(&row.metadata).unwrap();
            assert!(metadata["note"].as_str().unwrap().starts_with('\u{fffd}'));
        });
    }

    #[test]
    fn no_name_of_the_metadata_stands_twice() {
        let twins =
            metadata(r#"{"event_id":"e","metric":"x","extra":1,"href":"a","data":{"extra":2,"top.extra":3,"top.href":4,"href":"b"}}"#);
        assert_eq!(
            twins,
            r#"{"aftersend_oddities":["undocumented","undated"],"top.top.extra":1,"extra":2,"top.top.href":"a","top.extra":3,"top.href":4}"#
        );
        let named_alike = metadata(r#"{"event_id":"e","metric":"x","x":1,"top.x":2,"data":{"x":3,"top.x":4}}"#);
        assert_eq!(named_alike, r#"{"aftersend_oddities":["undocumented","undated"],"top.top.x":2,"top.x":4,"top.top.top.x":1,"x":3}"#);
    }

    #[test]
    fn a_known_member_of_an_unknown_shape_is_not_lost() {
        let odd = metadata(r#"{"event_id":["e"],"metric":{"m":1},"data":[1,2],"identifiers":"none","timestamp":"soon","href":true}"#);
        for kept in [
            r#""data":[1,2]"#,
            r#""identifiers":"none""#,
            r#""event_id":["e"]"#,
            r#""metric":{"m":1}"#,
            r#""timestamp":"soon""#,
            r#""href":true"#,
        ] {
            assert!(odd.contains(kept), "{kept} is not in {odd}");
        }
        let long = "x".repeat(600);
        assert!(
            metadata(&format!(r#"{{"data":{{"customer_id":"{long}","identifiers":{{"id":"u"}}}}}}"#)).contains(&long),
            "too long for an id"
        );
        assert!(metadata(r#"{"metric":"sent","data":{"timestamp":5,"metric":"other"}}"#).contains(r#""metric":"other","timestamp":5"#));
    }

    #[test]
    fn two_ids_of_one_event_are_both_kept_and_flagged() {
        let body = r#"{"event_id":"e","object_type":"email","metric":"sent","timestamp":1770000000,"data":{"customer_id":"a","identifiers":{"id":"b"}}}"#;
        assert_eq!(metadata(body), r#"{"aftersend_oddities":["identifiers_differ"],"identifiers.id":"b"}"#);
    }

    #[test]
    fn a_verdict_names_its_rule_and_its_table() {
        let body = br#"{"event_id":"e","object_type":"email","metric":"bounced","data":{"failure_message":"550 5.1.1 <a@b.example> User unknown"}}"#;
        with(body, |row| {
            let row = row.unwrap();
            assert_eq!((row.bounce_class, row.failure_message.as_ref()), ("hard_recipient", "550 5.1.1 <[address]> User unknown"));
            assert!(!row.bounce_rule.is_empty() && row.bounce_confidence >= 90);
            assert_eq!(row.bounce_table, normaliser().bounces.generation());
        });
        with(br#"{"event_id":"e","object_type":"push","metric":"dropped"}"#, |row| {
            let row = row.unwrap();
            assert_eq!((row.bounce_class, row.bounce_rule.as_ref(), row.bounce_table), ("suppressed", "", 0));
        });
    }

    #[test]
    fn an_address_in_the_name_of_a_kind_is_masked_too() {
        with(br#"{"event_id":"e","object_type":"a@b.example","metric":"c@d.example","data":{}}"#, |row| {
            let row = row.unwrap();
            assert_eq!(
                (row.channel.as_ref(), row.metric.as_ref(), row.event_type.as_ref()),
                ("[address]", "[address]", "[address]_[address]")
            );
        });
    }

    #[test]
    fn whole_mails_are_kept_only_where_asked_for() {
        let body = br#"{"event_id":"e","object_type":"email","metric":"sent","timestamp":1770000000,"data":{"content":"<p>","headers":{"X":["1"]}}}"#;
        let keeping = Normaliser { keeps_content: true, ..normaliser() };
        let received = Received { received_at: 1_770_000_000_000, ..Received::default() };
        let row = keeping.outcome(body, &received, &Position { topic: "t", partition: 0, offset: 0 }, 0).unwrap();
        assert_eq!(row.metadata, r#"{"content":"<p>","headers":{"X":["1"]}}"#);
        assert_eq!(metadata(std::str::from_utf8(body).unwrap()), "{}");
    }

    proptest! {
        #[test]
        fn any_object_gives_a_row_whose_metadata_is_json_without_addresses(
            values in prop::collection::vec((
                prop::sample::select(vec!["event_id", "metric", "object_type", "timestamp", "data", "customer_id", "campaign_id", "href",
                    "failure_message", "identifiers", "recipient", "other"]),
                prop_oneof![
                    Just(serde_json::json!(null)), Just(serde_json::json!("a@b.example")), any::<f64>().prop_map(|n| serde_json::json!(n)),
                    any::<i64>().prop_map(|n| serde_json::json!(n)), ".{0,20}".prop_map(|s| serde_json::json!(s)),
                    Just(serde_json::json!({"id": "x", "customer_id": 5, "deep": {"to": "c@d.example"}})), Just(serde_json::json!([[1], {}])),
                ],
            ), 0..12),
        ) {
            let members: Vec<String> = values.iter().map(|(name, value)| format!("{}:{value}", serde_json::json!(name))).collect();
            let metadata = metadata(&format!("{{{}}}", members.join(",")));
            let read: Result<serde_json::Value, _> = serde_json::from_str(&metadata);
            prop_assert!(read.is_ok_and(|metadata| metadata.is_object()), "{}", metadata);
            prop_assert!(!metadata.contains("b.example") && !metadata.contains("d.example"), "{}", metadata);
        }

        #[test]
        fn unknown_members_come_back_as_they_came(
            top in prop::collection::btree_map("[a-z]{1,3}", any::<i64>(), 0..6),
            data in prop::collection::btree_map("[a-z]{1,3}", "[ -?A-~]{0,8}", 0..6),
        ) {
            let body = serde_json::json!({"event_id": "e", "metric": "sent", "object_type": "email", "timestamp": 1_770_000_000, "data": data}).as_object().cloned();
            let mut body = body.unwrap();
            body.extend(top.iter().filter(|(name, _)| *name != "id").map(|(name, value)| (name.clone(), serde_json::json!(value))));
            let metadata: serde_json::Value = serde_json::from_str(&metadata(&serde_json::Value::Object(body).to_string())).unwrap();
            for (name, value) in data.iter().filter(|(name, value)| *name != "id" && !value.contains('%')) {
                prop_assert_eq!(&metadata[name], value);
            }
            for (name, value) in top.iter().filter(|(name, _)| *name != "id") {
                let name = if data.contains_key(name) { format!("top.{name}") } else { name.clone() };
                prop_assert_eq!(&metadata[&name], value);
            }
        }

        #[test]
        fn any_bytes_give_a_row_or_a_reason(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            with(&bytes, |row| assert!(row.is_err() || row.is_ok_and(|row| !row.event_id.is_empty())));
        }
    }
}

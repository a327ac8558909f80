//! The members of one event: read once, kept flat, those with a meaning found by name in constant time.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::json::{Reader, Span, Value};

macro_rules! fields {
    ($($(#[$doc:meta])* $field:ident = $name:literal,)+) => {
        /// A member that Aftersend reads by name, wherever it stands.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Field {
            $($(#[$doc])* #[doc = concat!("`", $name, "`")] $field,)+
        }

        impl Field {
            const ALL: &[Self] = &[$(Self::$field),+];
            const NAMES: [&str; Self::ALL.len()] = [$($name),+];

            /// Its name.
            #[inline]
            pub const fn as_str(self) -> &'static str {
                Self::NAMES[self as usize]
            }
        }
    };
}

fields! {
    EventId = "event_id",
    ObjectType = "object_type",
    Metric = "metric",
    Timestamp = "timestamp",
    Data = "data",
    CustomerId = "customer_id",
    Identifiers = "identifiers",
    Id = "id",
    Email = "email",
    CioId = "cio_id",
    EmailAddress = "email_address",
    DeliveryId = "delivery_id",
    CampaignId = "campaign_id",
    BroadcastId = "broadcast_id",
    NewsletterId = "newsletter_id",
    TransactionalMessageId = "transactional_message_id",
    ActionId = "action_id",
    Recipient = "recipient",
    Recipients = "recipients",
    FailureMessage = "failure_message",
    Href = "href",
    LinkId = "link_id",
    Content = "content",
    Headers = "headers",
    Prefetched = "prefetched",
    Machine = "machine",
}

/// A name's place in [`FIELDS`], from its length and three of its bytes. No two fields share one: else this file does not compile.
const fn place(name: &[u8]) -> usize {
    let (first, middle, last) = (name[0] as usize, name[name.len() / 2] as usize, name[name.len() - 1] as usize);
    (name.len() + first + middle * 3 + last * 2) % 128
}

const FIELDS: [Option<Field>; 128] = {
    let mut fields = [None; 128];
    let mut number = 0;
    while number < Field::ALL.len() {
        let place = place(Field::ALL[number].as_str().as_bytes());
        assert!(fields[place].is_none(), "two fields share a place: change the factors of `place`");
        fields[place] = Some(Field::ALL[number]);
        number += 1;
    }
    fields
};

impl Field {
    /// The field of this name.
    #[inline]
    pub fn named(name: &[u8]) -> Option<Self> {
        let field = if name.is_empty() { None } else { FIELDS[place(name)] };
        field.filter(|field| field.as_str().as_bytes() == name)
    }
}

/// In which object a member stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The event itself.
    Top,
    /// `data`
    Data,
    /// `identifiers`, beside the other members of a flat event.
    TopIdentifiers,
    /// `data.identifiers`
    Identifiers,
}

const SCOPES: usize = 4;

/// A member as it came.
#[derive(Debug, Clone, Copy)]
pub struct Member<'a> {
    source: &'a str,
    entry: Entry,
}

impl<'a> Member<'a> {
    /// Where it stands.
    #[inline]
    pub fn scope(&self) -> Scope {
        self.entry.scope
    }

    /// What it means there, if anything.
    #[inline]
    pub fn field(&self) -> Option<Field> {
        self.entry.field
    }

    /// Its name, a text.
    #[inline]
    pub fn name(&self) -> Value<'a> {
        self.entry.name.of(self.source)
    }

    /// Its value.
    #[inline]
    pub fn value(&self) -> Value<'a> {
        self.entry.value.of(self.source)
    }
}

/// A member by its places in the source.
#[derive(Debug, Clone, Copy)]
struct Entry {
    scope: Scope,
    field: Option<Field>,
    name: Span,
    value: Span,
}

/// A usual event has fewer members than this and needs no allocation.
const INLINE: usize = 32;

/// The members of an event, of its `data` and of its `identifiers`, borrowed from the body. Of a repeated name the last counts, as in most readers, unless
/// it is blank; of `data` and `identifiers` the last that is an object.
#[derive(Debug)]
pub struct Members<'a> {
    source: &'a str,
    entries: SmallVec<[Entry; INLINE]>,
    /// One more than the place in `entries`, by scope and field; 0 for none.
    places: [[u32; Field::ALL.len()]; SCOPES],
    /// Where the members of a scope begin in `entries`: those before it belong to a repeated object whose last one counts.
    begins: [usize; SCOPES],
    has_repeats: bool,
}

/// An object that is being read, and the member whose value it is.
#[derive(Clone, Copy)]
struct Open {
    scope: Scope,
    field: Option<Field>,
    name: Span,
    from: usize,
}

impl<'a> Members<'a> {
    /// Those of a source that is yet to be read, by [`Self::fill`]: apart from it, since they are large and a result of them would be copied.
    #[inline]
    pub(crate) fn of(source: &'a str) -> Self {
        Self { source, entries: SmallVec::new(), places: [[0; Field::ALL.len()]; SCOPES], begins: [0; SCOPES], has_repeats: false }
    }

    /// Reads the source in one pass. Nothing if it is no JSON object.
    pub(crate) fn fill(&mut self) -> Option<()> {
        let mut reader = Reader::new(self.source);
        let mut outer: SmallVec<[Open; SCOPES]> = SmallVec::new();
        let mut scope = Scope::Top;
        reader.take(b'{');
        let mut is_empty = reader.next()? == b'}';
        loop {
            if !is_empty {
                let name = reader.name()?;
                let field = self.field(name);
                if let Some(inner) = inner(scope, field) {
                    let is_object = reader.next()? == b'{';
                    let from = reader.at();
                    if is_object {
                        self.forget(inner);
                        reader.take(b'{');
                        outer.push(Open { scope, field, name, from });
                        scope = inner;
                        is_empty = reader.next()? == b'}';
                        continue;
                    }
                }
                let value = reader.value()?;
                self.push(scope, field, name, value);
            }
            // Behind a member, or in an object without any.
            while !reader.take(b',') {
                reader.take(b'}').then_some(())?;
                let Some(open) = outer.pop() else { return reader.next().is_none().then_some(()) };
                scope = open.scope;
                self.push(scope, open.field, open.name, reader.span(open.from, false));
            }
            is_empty = false;
        }
    }

    #[inline]
    fn field(&self, name: Span) -> Option<Field> {
        if name.is_escaped {
            return Field::named(name.of(self.source).string()?.as_bytes());
        }
        Field::named(self.source.as_bytes().get(name.from as usize + 1..name.to as usize - 1)?)
    }

    #[inline]
    fn push(&mut self, scope: Scope, field: Option<Field>, name: Span, value: Span) {
        self.entries.push(Entry { scope, field, name, value });
        let Some(field) = field else { return };
        let place = self.entries.len() as u32;
        let before = std::mem::replace(&mut self.places[scope as usize][field as usize], place);
        if before != 0 {
            self.repeated(before, scope, field);
        }
    }

    #[cold]
    fn repeated(&mut self, before: u32, scope: Scope, field: Field) {
        self.has_repeats = true;
        let yields = self.get(scope, field).is_some_and(|value| match inner(scope, Some(field)) {
            Some(_) => !value.is_object(),
            None => value.is_blank(),
        });
        if yields {
            self.places[scope as usize][field as usize] = before;
        }
    }

    /// True if a member with a meaning stands twice in one object.
    pub fn has_repeats(&self) -> bool {
        self.has_repeats
    }

    fn forget(&mut self, scope: Scope) {
        self.places[scope as usize] = [0; Field::ALL.len()];
        self.begins[scope as usize] = self.entries.len();
        if scope == Scope::Data {
            self.forget(Scope::Identifiers);
        }
    }

    /// The value of a field.
    #[inline]
    pub fn get(&self, scope: Scope, field: Field) -> Option<Value<'a>> {
        let place = self.places[scope as usize][field as usize].checked_sub(1)?;
        self.entries.get(place as usize).map(|entry| self.slice(entry.value))
    }

    /// The text of a field; see [`Value::text`].
    #[inline]
    pub fn text(&self, scope: Scope, field: Field) -> Option<Cow<'a, str>> {
        self.get(scope, field)?.text()
    }

    /// Every member that counts, as it came: repeated names included, `data` and `identifiers` behind their members.
    pub fn iter(&self) -> impl Iterator<Item = Member<'a>> {
        let counts = |(place, entry): &(usize, &Entry)| *place >= self.begins[entry.scope as usize];
        self.entries.iter().enumerate().filter(counts).map(|(_, entry)| Member { source: self.source, entry: *entry })
    }

    #[inline]
    fn slice(&self, span: Span) -> Value<'a> {
        span.of(self.source)
    }
}

/// The scope that the members of an object belong to, where they matter.
#[inline]
fn inner(scope: Scope, field: Option<Field>) -> Option<Scope> {
    match (scope, field?) {
        (Scope::Top, Field::Data) => Some(Scope::Data),
        (Scope::Top, Field::Identifiers) => Some(Scope::TopIdentifiers),
        (Scope::Data, Field::Identifiers) => Some(Scope::Identifiers),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{self, NotAnObject};

    impl<'a> Members<'a> {
        pub(crate) fn read(body: &'a [u8]) -> Result<Self, NotAnObject> {
            let mut members = Self::of(json::object_source(body)?);
            members.fill().map(|()| members).ok_or(NotAnObject::NotJson)
        }
    }

    #[test]
    fn of_a_repeated_name_the_last_counts_that_says_something() {
        let body = br#"{"data":{"href":"a","identifiers":{"id":"1"}},"data":{"customer_id":"u"},"metric":"x","metric":"y"}"#;
        let members = Members::read(body).unwrap();
        assert_eq!(members.text(Scope::Data, Field::Href), None);
        assert_eq!(members.text(Scope::Identifiers, Field::Id), None);
        assert_eq!(members.text(Scope::Data, Field::CustomerId).unwrap(), "u");
        assert_eq!(members.text(Scope::Top, Field::Metric).unwrap(), "y");
        let names: Vec<_> = members.iter().map(|member| member.name().get()).collect();
        assert_eq!(names, ["\"data\"", "\"customer_id\"", "\"data\"", "\"metric\"", "\"metric\""]);
        assert!(members.has_repeats());
        let kept = Members::read(br#"{"data":{"href":"a","href":" ","href":null},"data":null}"#).unwrap();
        assert_eq!(kept.text(Scope::Data, Field::Href).unwrap(), "a", "what is blank takes nothing away");
        assert!(!Members::read(br#"{"data":{"id":1,"identifiers":{"id":1}}}"#).unwrap().has_repeats());
    }

    #[test]
    fn blanks_between_tokens_change_nothing() {
        let body = "\n{ \"data\" :\t{ \"customer_id\" : \"u\" ,\r\n\"identifiers\" : { \"id\" : 7 } } , \"metric\" : \"x\" }\n";
        let members = Members::read(body.as_bytes()).unwrap();
        assert_eq!(
            members.get(Scope::Top, Field::Data).unwrap().get(),
            "{ \"customer_id\" : \"u\" ,\r\n\"identifiers\" : { \"id\" : 7 } }"
        );
        assert_eq!(members.get(Scope::Data, Field::Identifiers).unwrap().get(), "{ \"id\" : 7 }");
        assert_eq!(members.text(Scope::Data, Field::CustomerId).unwrap(), "u");
        assert_eq!(members.text(Scope::Identifiers, Field::Id).unwrap(), "7");
        assert_eq!(members.text(Scope::Top, Field::Metric).unwrap(), "x");
    }

    #[test]
    fn an_escaped_name_is_the_same_name() {
        let members = Members::read(br#"{"m\u0065tric":"sent"}"#).unwrap();
        assert_eq!(members.text(Scope::Top, Field::Metric).unwrap(), "sent");
    }
}

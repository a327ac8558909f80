//! Events that somebody sent to try the connection. Customer.io gives them no mark of their own, so the configuration names one.

use std::borrow::Cow;

use crate::event::Event;
use crate::json::Value;
use crate::members::{Member, Scope};

/// One mark: a member and the text it has in test events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestEvent {
    scope: Scope,
    name: String,
    value: String,
    is_prefix: bool,
}

/// A mark that can never be found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadMark {
    /// The field is not of one of the three forms.
    #[error("name a member as `name`, `data.name` or `data.identifiers.name`")]
    Field,
    /// The value would mark everything, or nothing.
    #[error("write the member's text, or how it begins with one `*` behind it")]
    Value,
}

impl TestEvent {
    /// `field` is `name`, `data.name` or `data.identifiers.name`; `value` its text (of a number the digits, of a boolean `true` or `false`), with a
    /// final `*` the beginning of it. Blanks around it do not count, as they do not in an event.
    pub fn new(field: &str, value: &str) -> Result<Self, BadMark> {
        let (scope, name) = match field.strip_prefix("data.") {
            None => (Scope::Top, field),
            Some(rest) => rest.strip_prefix("identifiers.").map_or((Scope::Data, rest), |name| (Scope::Identifiers, name)),
        };
        let value = value.trim();
        let (value, is_prefix) = value.strip_suffix('*').map_or((value, false), |value| (value, true));
        if name.trim().is_empty() || name.contains('.') {
            return Err(BadMark::Field);
        }
        if value.trim().is_empty() || value.contains('*') {
            return Err(BadMark::Value);
        }
        Ok(Self { scope, name: name.to_owned(), value: value.to_owned(), is_prefix })
    }

    /// Where the member stands in an event: those of `data` are at the top of the flat shape.
    fn scope_in(&self, event: &Event<'_>) -> Scope {
        match self.scope {
            Scope::Data => event.payload(),
            Scope::Identifiers => event.identifiers(),
            scope => scope,
        }
    }

    fn marks(&self, scope: Scope, member: Member<'_>) -> bool {
        member.scope() == scope
            && member.name().string().is_some_and(|name| name == self.name)
            && written(member.value()).is_some_and(|text| if self.is_prefix { text.starts_with(&self.value) } else { text == self.value })
    }
}

/// A value as a configuration writes it.
fn written(value: Value<'_>) -> Option<Cow<'_, str>> {
    value.text().or_else(|| Some(value.get()).filter(|source| matches!(*source, "true" | "false")).map(Cow::Borrowed))
}

/// Every mark of a test event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TestEvents(pub Vec<TestEvent>);

impl TestEvents {
    /// True if the event bears any of the marks.
    pub fn contains(&self, event: &Event<'_>) -> bool {
        self.0.iter().any(|mark| {
            let scope = mark.scope_in(event);
            event.members().any(|member| mark.marks(scope, member))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boolean_marks_as_it_is_written_and_blanks_around_a_mark_do_not_count() {
        let body = br#"{"event_id":"e","metric":"sent","data":{"is_test":true,"live":false,"none":null,"subject":" [TEST] hello ","quoted":"true"}}"#;
        let event = Event::read(body).unwrap();
        for (field, value, expected) in [
            ("data.is_test", "true", true),
            ("data.is_test", "false", false),
            ("data.is_test", "tr*", true),
            ("data.live", "false", true),
            ("data.none", "null", false),
            ("data.quoted", "true", true),
            ("data.subject", " [TEST] hello ", true),
            ("data.subject", " [TEST]* ", true),
            ("data.subject", "[TEST]  *", false),
        ] {
            assert_eq!(TestEvents(vec![TestEvent::new(field, value).unwrap()]).contains(&event), expected, "{field} {value}");
        }
    }

    #[test]
    fn an_event_is_a_test_by_the_text_of_a_named_member() {
        let body = br#"{"event_id":"e","metric":"sent","data":{"campaign_id":7,"subject":"[TEST] hello","identifiers":{"id":"qa-1"}}}"#;
        let event = Event::read(body).unwrap();
        for (field, value, expected) in [
            ("data.campaign_id", "7", true),
            ("data.campaign_id", "8", false),
            ("data.subject", "[TEST]*", true),
            ("data.subject", "[TEST]", false),
            ("data.identifiers.id", "qa-*", true),
            ("event_id", "e", true),
            ("campaign_id", "7", false),
        ] {
            assert_eq!(TestEvents(vec![TestEvent::new(field, value).unwrap()]).contains(&event), expected, "{field} {value}");
        }
        let flat = Event::read(br#"{"event_id":"e","metric":"sent","subject":"[TEST] flat","identifiers":{"id":"qa-1"}}"#).unwrap();
        for (field, value) in [("data.subject", "[TEST]*"), ("subject", "[TEST]*"), ("data.identifiers.id", "qa-1")] {
            assert!(TestEvents(vec![TestEvent::new(field, value).unwrap()]).contains(&flat), "{field}");
        }
        for field in ["data.", "", "identifiers.email", "data.headers.X"] {
            assert_eq!(TestEvent::new(field, "x"), Err(BadMark::Field), "{field}");
        }
        for value in ["*", "", "a*b"] {
            assert_eq!(TestEvent::new("data.subject", value), Err(BadMark::Value), "{value}");
        }
        assert!(!TestEvents::default().contains(&event));
    }
}

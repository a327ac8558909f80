use aftersend_schemas::test_events::{BadMark, TestEvent, TestEvents};
use serde::Deserialize;

use super::ConfigError;

/// `[[test_event]]`: how to tell the events of "send test" from real ones. They are stored and shown, and kept out of scores.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TestEventMark {
    /// `name`, `data.name` or `data.identifiers.name`.
    pub field: String,
    /// Its text in test events (of a number the digits); a final `*` stands for anything.
    pub value: String,
}

/// The marks as the rules use them.
pub(super) fn read(marks: &[TestEventMark]) -> Result<TestEvents, ConfigError> {
    let read = |(number, mark): (usize, &TestEventMark)| {
        TestEvent::new(&mark.field, &mark.value).map_err(|error| {
            let (key, value) = if error == BadMark::Field { ("field", &mark.field) } else { ("value", &mark.value) };
            ConfigError::value(format!("test_event[{number}].{key}"), value, error.to_string())
        })
    };
    marks.iter().enumerate().map(read).collect::<Result<_, _>>().map(TestEvents)
}

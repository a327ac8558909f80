//! What the configuration says about reading events. Every service that reads `raw` reads it by the same rules.

use std::sync::Arc;

use crate::bounce;
use crate::event::Event;
use crate::json::NotAnObject;
use crate::oddity::Oddity;
use crate::privacy::Privacy;
use crate::test_events::TestEvents;

/// Turns bodies into events, verdicts and rows. Pure, and always successful where the body is a JSON object.
#[derive(Clone)]
pub struct Normaliser {
    /// What happens to addresses.
    pub privacy: Privacy,
    /// How failure texts are classified.
    pub bounces: Arc<bounce::Table>,
    /// Which events are tests.
    pub test_events: TestEvents,
    /// True if `content` and `headers` of `sent` events go into the metadata.
    pub keeps_content: bool,
}

impl Normaliser {
    /// With the built-in bounce rules, no test events, and the content of messages left to the original bytes.
    pub fn new(privacy: Privacy) -> Self {
        Self { privacy, bounces: Arc::clone(bounce::Table::builtin()), test_events: TestEvents::default(), keeps_content: false }
    }

    /// The event in a body. Fails only for a body that ingest would have sent to `dead`.
    #[inline]
    pub fn event<'a>(&self, body: &'a [u8]) -> Result<Event<'a>, NotAnObject> {
        let mut event = Event::read(body)?;
        if self.test_events.contains(&event) {
            event.oddities.insert(Oddity::TestEvent);
        }
        Ok(event)
    }

    /// What a failure text of an event means. Where the mail went to several addresses, it is not certain whose failure this is.
    pub fn verdict(&self, event: &Event<'_>, text: &str) -> bounce::Verdict<'_> {
        let verdict = self.bounces.classify_for(&event.object_type, text);
        if verdict.class.is_hard() && event.went_to_several() { verdict.in_doubt() } else { verdict }
    }
}

use std::collections::BTreeSet;

use super::Names;
use super::measured::Measured;
use super::track_api::TrackApi;
use crate::traffic::{Body, SAMPLE_PEOPLE, SAMPLE_SUPPRESSED, STORIES_SUPPRESSED, Story};

/// What must come of the traffic, as its sender knows it.
pub(super) struct Expected {
    accepted: usize,
    distinct: BTreeSet<String>,
    duplicates: u64,
    dead: BTreeSet<Vec<u8>>,
    dead_sent: u64,
    pub(super) identified: Names,
    pub(super) suppressed: Names,
    stories: Vec<(String, String, (u8, u8))>,
}

impl Expected {
    pub(super) fn of(bodies: &[Body], stories: &[Story]) -> Self {
        let mut expected = Self {
            accepted: 0,
            distinct: BTreeSet::new(),
            duplicates: 0,
            dead: BTreeSet::new(),
            dead_sent: 0,
            identified: SAMPLE_PEOPLE.iter().chain(&SAMPLE_SUPPRESSED).map(|name| (*name).to_owned()).collect(),
            suppressed: SAMPLE_SUPPRESSED.iter().chain(&STORIES_SUPPRESSED).map(|name| (*name).to_owned()).collect(),
            stories: stories.iter().map(|story| (story.customer.to_owned(), story.state.as_str().to_owned(), story.score)).collect(),
        };
        expected.identified.extend(stories.iter().map(|story| story.customer.to_owned()));
        for body in bodies {
            expected.add(body);
        }
        expected.identified.extend((0..super::CROWD_CUSTOMERS).map(|n| format!("crowd-{n}")));
        expected
    }

    /// One more body that is sent.
    pub(super) fn add(&mut self, body: &Body) {
        self.accepted += 1;
        match &body.event_id {
            None => {
                self.dead.insert(body.bytes.clone());
                self.dead_sent += 1;
            }
            Some(id) if !self.distinct.insert(id.clone()) => self.duplicates += 1,
            Some(_) => {}
        }
    }

    /// What is not as it must be, in words.
    pub(super) fn differences(&self, measured: &Measured, track_api: &TrackApi) -> Vec<String> {
        let mut differences = Vec::new();
        let mut same = |what: &str, found: u64, wanted: u64| {
            if found != wanted {
                differences.push(format!("{what}: {found} instead of {wanted}"));
            }
        };
        same("accepted", measured.accepted as u64, self.accepted as u64);
        same("raw", measured.raw, self.accepted as u64 - self.dead_sent);
        same("outcomes", measured.outcomes, self.distinct.len() as u64);
        same("duplicates", measured.duplicates, self.duplicates);
        same("dead", measured.dead, self.dead_sent);
        same("accepted = outcomes + duplicates + dead", measured.outcomes + measured.duplicates + measured.dead, measured.accepted as u64);
        for (customer, state, (low, high)) in &self.stories {
            match measured.people.get(customer) {
                Some(person) if person.state == *state && (*low..=*high).contains(&person.score) => {}
                found => differences.push(format!("{customer}: {found:?} instead of {state} with a score of {low} to {high}")),
            }
        }
        differences.extend(self.calls(track_api));
        differences
    }

    /// Everybody who must be called was, as they must be, in the right order, and nobody else.
    fn calls(&self, track_api: &TrackApi) -> Vec<String> {
        let asked = track_api.by_person();
        let mut differences = Vec::new();
        let called: Names = asked.keys().cloned().collect();
        let missing: Vec<_> = self.identified.difference(&called).collect();
        let surplus: Vec<_> = called.difference(&self.identified).collect();
        if !missing.is_empty() {
            differences.push(format!("not called: {missing:?}"));
        }
        if !surplus.is_empty() {
            differences.push(format!("called and not expected: {surplus:?}"));
        }
        for (person, calls) in &asked {
            let suppress = self.suppressed.contains(person);
            let right = match calls.split_last() {
                Some((last, before)) if suppress => {
                    last == "suppress" && !before.is_empty() && before.iter().all(|call| call == "identify")
                }
                Some(_) => calls.iter().all(|call| call == "identify"),
                None => false,
            };
            if !right {
                let wanted = if suppress { "identify, then suppress once" } else { "identify" };
                differences.push(format!("{person}: {calls:?} instead of {wanted}"));
            }
        }
        differences
    }
}

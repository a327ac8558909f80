//! What was unusual about the events of a batch, until their transaction is committed.

use std::collections::BTreeMap;

use aftersend_schemas::address;
use aftersend_schemas::event::Event;
use aftersend_schemas::oddity::Oddity;

/// Longest name of an undocumented kind that becomes a label.
const NAME_BYTES: usize = 64;

#[derive(Debug, Default)]
pub(super) struct OddEvents {
    /// By the name of the oddity.
    pub(super) oddities: BTreeMap<&'static str, u64>,
    /// Undocumented kinds, by object type and metric as they came.
    pub(super) kinds: BTreeMap<(String, String), u64>,
}

impl OddEvents {
    pub(super) fn note(&mut self, event: &Event<'_>) {
        for oddity in event.oddities.iter() {
            *self.oddities.entry(oddity.as_str()).or_default() += 1;
        }
        if event.oddities.contains(Oddity::Undocumented) {
            *self.kinds.entry((label(&event.object_type), label(&event.metric))).or_default() += 1;
        }
    }
}

/// A label of bounded size and without addresses, whatever came.
fn label(name: &str) -> String {
    let masked = address::mask(name);
    masked[..masked.floor_char_boundary(NAME_BYTES)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undocumented_kinds_are_counted_by_the_name_they_came_with_and_addresses_are_no_names() {
        let mut odd = OddEvents::default();
        let long = "x".repeat(1000);
        for (object_type, metric) in
            [("inbox", "Reacted"), ("inbox", "Reacted"), ("email", "a@b.example"), ("email", long.as_str()), ("email", "sent")]
        {
            let body =
                format!(r#"{{"event_id":"e","timestamp":1770000000,"object_type":"{object_type}","metric":"{metric}","data":{{}}}}"#);
            odd.note(&Event::read(body.as_bytes()).unwrap());
        }
        let kinds: Vec<_> =
            odd.kinds.iter().map(|((object_type, metric), count)| (object_type.as_str(), metric.as_str(), *count)).collect();
        assert_eq!(kinds, [("email", "[address]", 1), ("email", &long[..64], 1), ("inbox", "Reacted", 2)]);
        assert_eq!(odd.oddities, BTreeMap::from([("undocumented", 4)]));
    }
}

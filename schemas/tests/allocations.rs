//! What ingest does for every request must not touch the heap.

use aftersend_schemas::event::Event;
use aftersend_schemas::identity::Subject;
use aftersend_schemas::privacy::{HashKey, HashKeys, Privacy};

const SAMPLES: &str = include_str!("../fixtures/samples.jsonl");

#[test]
fn finding_the_key_of_an_event_with_a_customer_id_allocates_nothing() {
    let privacy = HashKeys::new(vec![HashKey::new(b"key", 0)]).map_or(Privacy::Drop, Privacy::Hash);
    let mut checked = 0;
    for line in SAMPLES.lines().filter(|line| line.contains(r#""customer_id":"u-"#)) {
        let mut key_bytes = 0;
        let counted = allocation_counter::measure(|| {
            key_bytes = Event::read(line.as_bytes()).map_or(0, |event| Subject::of(&event, &privacy).key().len());
        });
        // Names and texts with escapes are the exception: they have to be written out.
        assert!(counted.count_total == 0 || line.contains('\\'), "{} allocations for {line}", counted.count_total);
        assert!(key_bytes > 0);
        checked += 1;
    }
    assert!(checked > 30, "{checked}");
}

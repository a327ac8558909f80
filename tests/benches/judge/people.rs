//! People who get 30 mails in 90 days: most of them read some, few click, few fail.

use aftersend_processor::fold::{Fact, Observation, State};
use aftersend_schemas::address::ProviderId;
use aftersend_schemas::bounce::BounceClass;
use xxhash_rust::xxh3::xxh3_64;

pub(crate) const NOW: i64 = 1_770_000_000;

/// A delivery of 560 bytes.
pub(crate) const DELIVERED: &str = r#"{"data":{"customer_id":"u-1006","delivery_id":"R6sPrkqW8zyouNb71ufKWZVtaAKQ=","identifiers":{"id":"u-1006","email":"ana@shop.example","cio_id":"b1f435244543"},"campaign_id":31,"action_id":204,"parent_action_id":201,"journey_id":"01KGE4M0H2V9Z6T3B8N5Q7R1SW","recipient":"ana@shop.example","subject":"Spring is here and so is what you asked us for in wNews of February, and a gift for everybody who has been with us since the first day of the first year"},"event_id":"01KGE4EX5M8BEFV4SQRFJA1ZJ3","object_type":"email","metric":"delivered","timestamp":1770000970}"#;

/// The same for the same place, and like chance.
fn chance(person: u32, mail: u32, what: u32) -> u64 {
    xxh3_64(&[person.to_le_bytes(), mail.to_le_bytes(), what.to_le_bytes()].concat())
}

/// A mail every three days, to the second as chance has it.
fn delivery(person: u32, mail: u32) -> Observation {
    let at = NOW as u32 - 90 * 86_400 + mail * 259_200 + (chance(person, mail, 0) % 80_000) as u32;
    let address = chance(person, 0, 2);
    Observation { at, message: chance(person, mail, 1) as u32, address, named: address, fact: Fact::Delivered }
}

/// Deliveries and nothing else.
pub(crate) fn deliveries() -> Vec<Vec<Observation>> {
    (0..1_000).map(|person| (0..30).map(|mail| delivery(person, mail)).collect()).collect()
}

/// The same people, with what they do: 15 % of mails are opened, 3 % clicked, one person in ten has a soft bounce, one in fifty a hard one.
pub(crate) fn crowd() -> Vec<Vec<Observation>> {
    (0..1_000)
        .map(|person| {
            let mut events = Vec::new();
            for mail in 0..30 {
                let delivered = delivery(person, mail);
                let (dice, later) = (chance(person, mail, 3) % 100, 60 + (chance(person, mail, 4) % 40_000) as u32);
                let answer = |fact| Observation { at: delivered.at + later, fact, ..delivered };
                let bounced = |class, confidence| {
                    let provider = ProviderId(1 + person % 20);
                    answer(Fact::Bounced {
                        class,
                        confidence,
                        deferred: false,
                        provider,
                        delivery_id: "R6sPrkqW8zyouNb71ufKWZVtaAKQ=".into(),
                        received_at: NOW * 1000,
                    })
                };
                match dice {
                    0..15 => events.push(answer(Fact::Opened { machine: false })),
                    15..18 => events.push(answer(Fact::Clicked { link: dice as u32, machine: false })),
                    _ if mail == 20 && person % 10 == 0 => events.push(bounced(BounceClass::MailboxFull, 90)),
                    _ if mail == 29 && person % 50 == 0 => events.push(bounced(BounceClass::HardRecipient, 95)),
                    _ => {}
                }
                events.push(delivered);
            }
            events.sort_by_key(|event| event.at);
            events
        })
        .collect()
}

pub(crate) fn folded(events: &[Observation]) -> State {
    let mut state = State::default();
    for event in events {
        state.observe(event);
    }
    state
}

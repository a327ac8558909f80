use aftersend_schemas::address::{Address, ProviderId};
use aftersend_schemas::bounce::BounceClass;
use aftersend_schemas::catalogue::{self, Evidence};
use aftersend_schemas::event::Event;
use aftersend_schemas::members::Field;
use aftersend_schemas::normaliser::Normaliser;
use aftersend_schemas::operator::{Decision, OperatorRecord};
use aftersend_schemas::profile::Channel;
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

/// What one event says about a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// Unix seconds of the event.
    pub at: u32,
    /// Hash of the delivery id (of the event id where there is none): evidence is counted by distinct message.
    pub message: u32,
    /// Hash of the address the event is about; 0 if unknown or not kept.
    pub address: u64,
    /// Hash of the address that the event says is the person's; 0 if it says none.
    pub named: u64,
    /// What happened.
    pub fact: Fact,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// A mail arrived.
    Delivered,
    /// A mail was opened.
    Opened {
        /// A machine said so itself.
        machine: bool,
    },
    /// A link was followed.
    Clicked {
        /// Which link; 0 if unknown.
        link: u32,
        /// A machine said so itself.
        machine: bool,
    },
    /// A goal was met.
    Converted,
    /// A mail bounced or is deferred.
    Bounced {
        /// What the text says.
        class: BounceClass,
        /// Percent.
        confidence: u8,
        /// True while the provider still tries.
        deferred: bool,
        /// Whose mailbox it was.
        provider: ProviderId,
        /// The message's id, for people who look for it.
        delivery_id: String,
        /// Unix milliseconds of arrival.
        received_at: i64,
    },
    /// Marked as spam.
    Complained {
        /// Unix milliseconds of arrival.
        received_at: i64,
    },
    /// Wants no more mail.
    Unsubscribed,
    /// Wants mail again.
    Subscribed,
    /// Something on another channel.
    Elsewhere {
        /// Which.
        channel: Channel,
        /// What.
        reach: Reach,
        /// Hashes of the devices that it came to, or failed at; none where the event names none.
        devices: Devices,
    },
    /// An operator decided something.
    Decided(Decision),
    /// Only that the person was written to, under this address.
    Seen,
}

/// Hashes of devices; a person has few.
pub type Devices = SmallVec<[u32; 2]>;

/// How far a message on another channel came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// It arrived.
    Arrived,
    /// It was opened or answered.
    Answered,
    /// It did not arrive.
    Failed,
}

/// Longest delivery id that is kept.
const DELIVERY_ID_BYTES: usize = 64;

impl Observation {
    /// What an event says. Nothing for an undated event: it is no evidence.
    pub fn of(event: &Event<'_>, received_at: i64, normaliser: &Normaliser) -> Option<Self> {
        let at = u32::try_from(event.time.seconds()?).ok()?;
        let delivery_id = event.delivery_id();
        let message = short_hash(delivery_id.as_deref().unwrap_or(&event.event_id));
        let written = event.address();
        let address = written.as_deref().and_then(Address::read);
        let provider = address.as_ref().map(Address::provider_id).unwrap_or_default();
        let evidence = catalogue::evidence(&event.metric);
        let hash = |address: &Address| normaliser.privacy.compare_hash(address).unwrap_or_default();
        let about = address.as_ref().map(hash).unwrap_or_default();
        let of_person = event.identifier(Field::Email);
        let named = if of_person.is_some() && of_person == written {
            // As in nearly every event: read once, hashed once.
            about
        } else {
            match of_person.and_then(|text| Address::read(&text)) {
                Some(named) => hash(&named),
                None if names_its_address(event, evidence) => about,
                None => 0,
            }
        };
        let fact = match (event.object_type.as_ref(), evidence) {
            // Consent belongs to the person, whatever channel changed it.
            (_, Evidence::Unsubscribed) => Fact::Unsubscribed,
            (_, Evidence::Subscribed) => Fact::Subscribed,
            ("email", Evidence::Delivered) => Fact::Delivered,
            ("email", Evidence::Opened) => Fact::Opened { machine: event.by_machine() },
            ("email", Evidence::Clicked) => {
                let link = event.text(Field::LinkId).or_else(|| event.text(Field::Href));
                let link = link.map_or(0, |link| short_hash(&link));
                Fact::Clicked { link, machine: event.by_machine() }
            }
            ("email", Evidence::Converted) => Fact::Converted,
            ("email", Evidence::Complained) => Fact::Complained { received_at },
            ("email", Evidence::Bounced | Evidence::Deferred) => {
                let text = event.failure_message().unwrap_or_default();
                let verdict = normaliser.verdict(event, &text);
                Fact::Bounced {
                    class: verdict.class,
                    confidence: verdict.confidence,
                    deferred: evidence == Evidence::Deferred,
                    provider,
                    delivery_id: cut(delivery_id.as_deref().unwrap_or_default(), DELIVERY_ID_BYTES).to_owned(),
                    received_at,
                }
            }
            (_, evidence) => elsewhere(event, evidence, normaliser).unwrap_or(Fact::Seen),
        };
        Some(Self { at, message, address: about, named, fact })
    }

    /// What an operator's record says. Nothing for one whose time is none.
    pub fn decided(record: &OperatorRecord) -> Option<Self> {
        let at = u32::try_from(record.through()).ok()?;
        Some(Self { at, message: 0, address: 0, named: 0, fact: Fact::Decided(record.decision) })
    }
}

/// True where the address of an event that says nothing else of the person is the person's: somebody wrote to it just now, or followed a link there, or
/// the event is about the person. All else may be of an old mail.
fn names_its_address(event: &Event<'_>, evidence: Evidence) -> bool {
    match event.object_type.as_ref() {
        "customer" => true,
        "email" => match evidence {
            Evidence::Delivered => true,
            Evidence::Clicked => !event.by_machine(),
            _ => matches!(event.metric.as_ref(), "drafted" | "sent"),
        },
        _ => false,
    }
}

fn elsewhere(event: &Event<'_>, evidence: Evidence, normaliser: &Normaliser) -> Option<Fact> {
    let channel = Channel::parse(&event.object_type).filter(|channel| *channel != Channel::Email)?;
    let reach = match evidence {
        Evidence::Delivered => Reach::Arrived,
        Evidence::Opened | Evidence::Clicked | Evidence::Converted => Reach::Answered,
        Evidence::Bounced => Reach::Failed,
        // A carrier's refusal is reported as one or the other.
        Evidence::None if matches!(channel, Channel::Sms | Channel::Whatsapp) && is_dead_number(event, normaliser) => Reach::Failed,
        _ => return None,
    };
    let mut devices = Devices::new();
    if channel == Channel::Push {
        let all = || event.devices_and_failures();
        // A push that bounced names every device it went to, and says why at those where it did.
        let only_failed = reach == Reach::Failed && all().any(|(_, failed)| failed);
        devices.extend(all().filter(|(_, failed)| *failed || !only_failed).map(|(id, _)| short_hash(&id)));
    }
    Some(Fact::Elsewhere { channel, reach, devices })
}

fn is_dead_number(event: &Event<'_>, normaliser: &Normaliser) -> bool {
    event.metric == "failed" && event.failure_message().is_some_and(|text| normaliser.verdict(event, &text).class.is_hard())
}

/// 32 bits: two messages of one person meet once in ten million people (docs/adr/0016).
fn short_hash(text: &str) -> u32 {
    (xxh3_64(text.as_bytes()) >> 32) as u32
}

fn cut(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

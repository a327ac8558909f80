use std::collections::BTreeMap;

use aftersend_schemas::DecodeError;
use aftersend_schemas::bounce::BounceClass;
use aftersend_schemas::versioned::Format;
use serde::{Deserialize, Serialize};

use super::newest::Newest;
use super::observation::{Fact, Observation};

const FORMAT: Format = Format::new("state in a profile", 1);
/// Mails, opens, clicks and conversions that are remembered, each: more than any rule looks at within its window, for all but bots.
const MAILS: usize = 256;
/// Bounces that are remembered.
const BOUNCES: usize = 64;
/// Hard bounces and complaints that are remembered, each.
const VERDICTS: usize = 16;
/// Channels beside e-mail that are remembered.
const CHANNELS: usize = 8;

/// A mail by its time, message and address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mail {
    /// Unix seconds.
    pub at: u32,
    /// Hash of the delivery id.
    pub message: u64,
    /// Hash of the address; 0 if unknown.
    pub address: u64,
}

/// A click.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Click {
    /// The mail, at the time of the click.
    pub mail: Mail,
    /// Which link; 0 if unknown.
    pub link: u32,
    /// A machine said so itself.
    pub machine: bool,
}

/// A soft bounce, a block or a deferral.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Bounce {
    /// Unix seconds.
    pub at: u32,
    /// Hash of the delivery id.
    pub message: u64,
    /// Hash of the address.
    pub address: u64,
    /// Place of the class in [`BounceClass::ALL`].
    pub class: u8,
    /// True while the provider still tried.
    pub deferred: bool,
}

/// A hard bounce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HardBounce {
    /// Unix seconds.
    pub at: u32,
    /// Hash of the delivery id.
    pub message: u64,
    /// Hash of the address.
    pub address: u64,
    /// True if the domain is to blame, which may come back.
    pub domain: bool,
    /// Percent.
    pub confidence: u8,
}

/// A complaint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Complaint {
    /// Unix seconds.
    pub at: u32,
    /// Hash of the delivery id.
    pub message: u64,
}

/// What is known of another channel: latest times, 0 for never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OtherChannel {
    /// Last delivery, open, click or conversion.
    pub reached_at: u32,
    /// Last bounce.
    pub bounced_at: u32,
}

/// Everything remembered of a person. Public for the score to read; only [`State::observe`] and [`State::merge`] change it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct State {
    /// Mails that arrived.
    pub delivered: Newest<Mail, MAILS>,
    /// Opens that no machine claimed.
    pub opened: Newest<Mail, MAILS>,
    /// Clicks.
    pub clicked: Newest<Click, MAILS>,
    /// Conversions.
    pub converted: Newest<Mail, MAILS>,
    /// Bounces that are not hard.
    pub bounces: Newest<Bounce, BOUNCES>,
    /// Hard bounces, each with its earliest arrival in Unix milliseconds.
    pub hard: Newest<HardBounce, VERDICTS, i64>,
    /// Complaints, each with its earliest arrival.
    pub complaints: Newest<Complaint, VERDICTS, i64>,
    /// First mail that arrived; 0 for never.
    pub first_delivered_at: u32,
    /// Last opt-out; 0 for never.
    pub unsubscribed_at: u32,
    /// Last opt-in; 0 for never.
    pub subscribed_at: u32,
    /// Latest address, by anything but a bounce: time and hash. A bounce tells nothing of which address is in use, and must never lift a gate.
    pub address: (u32, u64),
    /// Latest bounce of any kind: time and delivery id.
    pub last_bounce: (u32, String),
    /// Channels beside e-mail.
    pub channels: BTreeMap<String, OtherChannel>,
}

impl State {
    /// Joins what one event says: any order, any number of times. True if that changed anything.
    pub fn observe(&mut self, observation: &Observation) -> bool {
        let Observation { at, message, address, ref fact } = *observation;
        let mail = Mail { at, message, address };
        let joined = match fact {
            Fact::Delivered => self.delivered.insert(mail) | join_earliest(&mut self.first_delivered_at, at),
            Fact::Opened { machine: true } | Fact::Seen => false,
            Fact::Opened { machine: false } => self.opened.insert(mail),
            Fact::Clicked { link, machine } => self.clicked.insert(Click { mail, link: *link, machine: *machine }),
            Fact::Converted => self.converted.insert(mail),
            Fact::Bounced { class, confidence, deferred, delivery_id, received_at } => {
                let joined = if class.is_hard() && !deferred {
                    let domain = *class == BounceClass::HardDomain;
                    self.hard.insert_with(HardBounce { at, message, address, domain, confidence: *confidence }, *received_at)
                } else {
                    let class = BounceClass::ALL.iter().position(|known| known == class).and_then(|place| u8::try_from(place).ok());
                    self.bounces.insert(Bounce { at, message, address, class: class.unwrap_or(u8::MAX), deferred: *deferred })
                };
                joined | (!deferred && join_latest(&mut self.last_bounce, (at, delivery_id.clone())))
            }
            Fact::Complained { received_at } => self.complaints.insert_with(Complaint { at, message }, *received_at),
            Fact::Unsubscribed => join_latest(&mut self.unsubscribed_at, at),
            Fact::Subscribed => join_latest(&mut self.subscribed_at, at),
            Fact::Elsewhere { channel, reached } => {
                let (reached_at, bounced_at) = if *reached { (at, 0) } else { (0, at) };
                self.join_channel(channel.clone(), OtherChannel { reached_at, bounced_at })
            }
        };
        let names_address = address != 0 && !matches!(fact, Fact::Bounced { .. } | Fact::Elsewhere { .. });
        joined | (names_address && join_latest(&mut self.address, (at, address)))
    }

    /// Joins another state of the same person.
    pub fn merge(&mut self, other: Self) {
        self.delivered.merge(other.delivered);
        self.opened.merge(other.opened);
        self.clicked.merge(other.clicked);
        self.converted.merge(other.converted);
        self.bounces.merge(other.bounces);
        self.hard.merge(other.hard);
        self.complaints.merge(other.complaints);
        if other.first_delivered_at != 0 {
            join_earliest(&mut self.first_delivered_at, other.first_delivered_at);
        }
        join_latest(&mut self.unsubscribed_at, other.unsubscribed_at);
        join_latest(&mut self.subscribed_at, other.subscribed_at);
        join_latest(&mut self.address, other.address);
        join_latest(&mut self.last_bounce, other.last_bounce);
        for (name, channel) in other.channels {
            self.join_channel(name, channel);
        }
    }

    /// Keeps the first channels by name: there are eight documented ones, and a flood of invented names must not grow the state.
    fn join_channel(&mut self, name: String, seen: OtherChannel) -> bool {
        let full = self.channels.len() == CHANNELS && self.channels.last_key_value().is_some_and(|(last, _)| *last < name);
        if full {
            return false;
        }
        let new = !self.channels.contains_key(&name);
        let channel = self.channels.entry(name).or_default();
        let joined = join_latest(&mut channel.reached_at, seen.reached_at) | join_latest(&mut channel.bounced_at, seen.bounced_at);
        if self.channels.len() > CHANNELS {
            self.channels.pop_last();
        }
        new | joined
    }

    /// One version byte, then the fields.
    pub fn encode(&self) -> Vec<u8> {
        FORMAT.encode(self)
    }

    /// Reads what this or an earlier release wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let fields = FORMAT.open(bytes)?;
        match fields.version {
            1 => fields.read(),
            _ => Err(fields.malformed()),
        }
    }
}

fn join_latest<T: Ord>(register: &mut T, value: T) -> bool {
    let later = value > *register;
    if later {
        *register = value;
    }
    later
}

/// 0 stands for never.
fn join_earliest(register: &mut u32, value: u32) -> bool {
    let earlier = *register == 0 || value < *register;
    if earlier {
        *register = value;
    }
    earlier
}

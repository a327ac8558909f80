//! The state as the first version held it: one member for every click and soft bounce, each with its address.

use std::collections::BTreeMap;

use aftersend_schemas::address::ProviderId;
use aftersend_schemas::bounce::BounceClass;
use aftersend_schemas::profile::Channel;
use serde::Deserialize;

use super::day;
use super::hard::HardBounce;
use super::recent;
use super::soft::{SoftClass, SoftDay};
use super::state::{self, OtherChannel};

#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Mail {
    at: u32,
    message: u64,
    address: u64,
}

#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Click {
    mail: Mail,
    link: u32,
    machine: bool,
}

#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Bounce {
    at: u32,
    _message: u64,
    address: u64,
    class: u8,
    deferred: bool,
}

#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Hard {
    at: u32,
    message: u64,
    address: u64,
    domain: bool,
    confidence: u8,
}

#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Complaint {
    at: u32,
    message: u64,
}

#[derive(Deserialize)]
struct Reached {
    reached_at: u32,
    bounced_at: u32,
}

#[derive(Deserialize)]
pub(super) struct State {
    delivered: BTreeMap<Mail, ()>,
    opened: BTreeMap<Mail, ()>,
    clicked: BTreeMap<Click, ()>,
    converted: BTreeMap<Mail, ()>,
    bounces: BTreeMap<Bounce, ()>,
    hard: BTreeMap<Hard, i64>,
    complaints: BTreeMap<Complaint, i64>,
    first_delivered_at: u32,
    unsubscribed_at: u32,
    subscribed_at: u32,
    address: (u32, u64),
    last_bounce: (u32, String),
    channels: BTreeMap<String, Reached>,
}

/// The upper half is what is kept of a hash today.
fn short(hash: u64) -> u32 {
    (hash >> 32) as u32
}

impl From<State> for state::State {
    fn from(first: State) -> Self {
        let mut state = Self {
            first_delivered_at: first.first_delivered_at,
            unsubscribed_at: first.unsubscribed_at,
            subscribed_at: first.subscribed_at,
            address: first.address,
            last_bounce: first.last_bounce,
            ..Self::default()
        };
        for Mail { at, message, address } in first.delivered.into_keys() {
            state.delivered.insert(recent::Mail { at, message: short(message) });
            state.lives.insert(address, at);
        }
        for Mail { at, message, .. } in first.opened.into_keys() {
            state.opened.insert(recent::Response { at, message: short(message) });
        }
        for Click { mail: Mail { at, message, address }, link, .. } in first.clicked.into_keys().filter(|click| !click.machine) {
            state.clicked.insert(recent::Click { at, message: short(message), link });
            state.lives.insert(address, at);
        }
        for Mail { at, message, address } in first.converted.into_keys() {
            state.converted.insert(recent::Response { at, message: short(message) });
            state.lives.insert(address, at);
        }
        for Bounce { at, address, class, deferred, .. } in first.bounces.into_keys() {
            let class = BounceClass::ALL.get(usize::from(class)).and_then(|class| SoftClass::of(*class, deferred));
            if let Some(class) = class {
                state.soft.insert(SoftDay { day: day(at), address, class });
            }
        }
        for (Hard { at, message, address, domain, confidence }, received_at) in first.hard {
            let bounce = HardBounce { at, message: short(message), address, provider: ProviderId::UNKNOWN, domain, confidence };
            state.hard.insert(bounce, received_at);
        }
        for (Complaint { at, message }, received_at) in first.complaints {
            state.complaints.insert(state::Complaint { at, message: short(message) }, received_at);
        }
        for (channel, known) in Channel::OTHERS.iter().zip(&mut state.channels) {
            if let Some(Reached { reached_at, bounced_at }) = first.channels.get(channel.as_str()) {
                *known = OtherChannel { reached_at: *reached_at, answered_at: 0, bounced_at: *bounced_at };
            }
        }
        state
    }
}

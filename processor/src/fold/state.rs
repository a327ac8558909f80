use aftersend_schemas::DecodeError;
use aftersend_schemas::operator::Decision;
use aftersend_schemas::profile::Channel;
use aftersend_schemas::versioned::Format;

use super::hard::{HardBounce, HardBounces};
use super::last_times::LastTimes;
use super::newest::Newest;
use super::observation::{Fact, Observation, Reach};
use super::recent::{Click, Mail, Recent, Response};
use super::soft::{SoftClass, SoftDay, SoftDays};
use super::{day, encoding, first_version};
use crate::score::Policy;

const FORMAT: Format = Format::new("state in a profile", 3);
/// The version that has no devices: written where there are none, so that the release before reads it.
const WITHOUT_DEVICES: u8 = 2;
/// Complaints that are remembered.
const COMPLAINTS: usize = 16;

/// A complaint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Complaint {
    /// Unix seconds.
    pub at: u32,
    /// Hash of the delivery id.
    pub message: u32,
}

/// What is known of another channel: latest times, 0 for never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OtherChannel {
    /// Last delivery, open, click or conversion.
    pub reached_at: u32,
    /// Last open, click or conversion.
    pub answered_at: u32,
    /// Last bounce.
    pub bounced_at: u32,
}

/// Everything remembered of a person. Public for the score to read; only [`State::observe`] and [`State::merge`] change it. Times are Unix seconds, and 0
/// stands for never.
///
/// Bound to an address: hard bounces, soft bounce days, signs of life. Bound to the person: the rest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// Mails that arrived.
    pub delivered: Recent<Mail>,
    /// Opens that no machine claimed.
    pub opened: Recent<Response>,
    /// Clicks that no machine claimed.
    pub clicked: Recent<Click>,
    /// Conversions.
    pub converted: Recent<Response>,
    /// Days on which mail failed for the time being.
    pub soft: SoftDays,
    /// Hard bounces.
    pub hard: HardBounces,
    /// Complaints, each with its earliest arrival in Unix milliseconds.
    pub complaints: Newest<Complaint, COMPLAINTS, i64>,
    /// When each address last took or answered mail.
    pub lives: LastTimes,
    /// First mail that arrived.
    pub first_delivered_at: u32,
    /// Last opt-out.
    pub unsubscribed_at: u32,
    /// Last opt-in.
    pub subscribed_at: u32,
    /// Latest address that an event named as the person's: time and hash. That a mail to an address bounced does not name it.
    pub address: (u32, u64),
    /// Latest bounce of any kind: time and delivery id.
    pub last_bounce: (u32, String),
    /// Channels beside e-mail, by [`Channel::OTHERS`].
    pub channels: [OtherChannel; Channel::OTHERS.len()],
    /// When a push last came to each device.
    pub devices_reached: LastTimes,
    /// When one last failed there; 0 stands for failures that named no device.
    pub devices_failed: LastTimes,
    /// Until when an operator lifted complaints.
    pub complaints_lifted_at: u32,
    /// Until when an operator lifted hard bounces.
    pub hard_lifted_at: u32,
    /// Whether an operator forbade everything irreversible, and since when. Of two decisions in one second the ban counts.
    pub never_suppress: (u32, bool),
}

impl State {
    /// Joins what one event says: any order, any number of times. True if that changed anything.
    pub fn observe(&mut self, observation: &Observation) -> bool {
        let Observation { at, message, address, named, ref fact } = *observation;
        let joined = match fact {
            Fact::Delivered => {
                let lives = self.lives.insert(address, at);
                self.delivered.insert(Mail { at, message }) | join_earliest(&mut self.first_delivered_at, at) | lives
            }
            Fact::Opened { machine: true } | Fact::Clicked { machine: true, .. } | Fact::Seen => false,
            Fact::Opened { machine: false } => self.opened.insert(Response { at, message }),
            Fact::Clicked { link, machine: false } => {
                self.clicked.insert(Click { at, message, link: *link }) | self.lives.insert(address, at)
            }
            // Bought, perhaps long after the mail: the mailbox proves nothing.
            Fact::Converted => self.converted.insert(Response { at, message }),
            Fact::Bounced { class, confidence, deferred, provider, delivery_id, received_at } => {
                let joined = if class.is_hard() && !deferred {
                    let domain = *class == aftersend_schemas::bounce::BounceClass::HardDomain;
                    let bounce = HardBounce { at, message, address, provider: *provider, domain, confidence: *confidence };
                    self.hard.insert(bounce, *received_at)
                } else {
                    let class = SoftClass::of(*class, *deferred);
                    class.is_some_and(|class| self.soft.insert(SoftDay { day: day(at), address, class }))
                };
                let is_later = !deferred && (at, delivery_id.as_str()) > (self.last_bounce.0, self.last_bounce.1.as_str());
                if is_later {
                    self.last_bounce = (at, delivery_id.clone());
                }
                joined | is_later
            }
            Fact::Complained { received_at } => self.complaints.insert(Complaint { at, message }, *received_at),
            Fact::Unsubscribed => join_latest(&mut self.unsubscribed_at, at),
            Fact::Subscribed => join_latest(&mut self.subscribed_at, at),
            Fact::Decided(decision) => self.decide(*decision, at),
            Fact::Elsewhere { channel, reach, devices } => {
                let (reached_at, answered_at, bounced_at) = match reach {
                    Reach::Arrived => (at, 0, 0),
                    Reach::Answered => (at, at, 0),
                    Reach::Failed => (0, 0, at),
                };
                let seen = OtherChannel { reached_at, answered_at, bounced_at };
                let known = Channel::OTHERS.iter().position(|other| other == channel).and_then(|place| self.channels.get_mut(place));
                let mut joined = known.is_some_and(|known| known.join(seen));
                let times = if *reach == Reach::Failed { &mut self.devices_failed } else { &mut self.devices_reached };
                for device in devices {
                    joined |= times.insert(u64::from(*device), at);
                }
                if *channel == Channel::Push && *reach == Reach::Failed && devices.is_empty() {
                    joined |= self.devices_failed.insert(0, at);
                }
                joined
            }
        };
        joined | (named != 0 && join_latest(&mut self.address, (at, named)))
    }

    fn decide(&mut self, decision: Decision, at: u32) -> bool {
        match decision {
            Decision::LiftComplaint => join_latest(&mut self.complaints_lifted_at, at),
            Decision::LiftHardBounce => join_latest(&mut self.hard_lifted_at, at),
            Decision::Unsuppress => join_latest(&mut self.complaints_lifted_at, at) | join_latest(&mut self.hard_lifted_at, at),
            Decision::NeverSuppress => join_latest(&mut self.never_suppress, (at, true)),
            Decision::MaySuppress => join_latest(&mut self.never_suppress, (at, false)),
        }
    }

    /// Joins another state of the same person.
    pub fn merge(&mut self, other: Self) {
        self.delivered.merge(&other.delivered);
        self.opened.merge(&other.opened);
        self.clicked.merge(&other.clicked);
        self.converted.merge(&other.converted);
        self.soft.merge(&other.soft);
        self.hard.merge(&other.hard);
        self.complaints.merge(other.complaints);
        self.lives.merge(&other.lives);
        if other.first_delivered_at != 0 {
            join_earliest(&mut self.first_delivered_at, other.first_delivered_at);
        }
        join_latest(&mut self.unsubscribed_at, other.unsubscribed_at);
        join_latest(&mut self.subscribed_at, other.subscribed_at);
        join_latest(&mut self.address, other.address);
        join_latest(&mut self.last_bounce, other.last_bounce);
        for (known, seen) in self.channels.iter_mut().zip(other.channels) {
            known.join(seen);
        }
        self.devices_reached.merge(&other.devices_reached);
        self.devices_failed.merge(&other.devices_failed);
        join_latest(&mut self.complaints_lifted_at, other.complaints_lifted_at);
        join_latest(&mut self.hard_lifted_at, other.hard_lifted_at);
        join_latest(&mut self.never_suppress, other.never_suppress);
    }

    /// What is known of another channel.
    pub fn channel(&self, channel: Channel) -> OtherChannel {
        let place = Channel::OTHERS.iter().position(|other| *other == channel);
        place.and_then(|place| self.channels.get(place)).copied().unwrap_or_default()
    }

    /// Unix seconds of the latest event that is evidence of anything; nothing for a state without any.
    pub fn last_evidence_at(&self) -> Option<u32> {
        let sets = [self.delivered.last_at(), self.opened.last_at(), self.clicked.last_at(), self.converted.last_at()];
        // The end of a day, since the second is not kept.
        let soft = self.soft.as_slice().last().map(|soft| soft.day.saturating_mul(86_400).saturating_add(86_399));
        let hard = self.hard.as_slice().last().map(|(bounce, _)| bounce.at);
        let complained = self.complaints.iter().next_back().map(|complaint| complaint.at);
        let decided = [self.complaints_lifted_at, self.hard_lifted_at, self.never_suppress.0];
        let registers = [self.unsubscribed_at, self.subscribed_at, self.address.0, self.last_bounce.0].into_iter().chain(decided);
        let channels = self.channels.iter().flat_map(|channel| [channel.reached_at, channel.bounced_at]);
        let latest = sets.into_iter().chain([soft, hard, complained]).flatten().chain(registers).chain(channels).max();
        latest.filter(|at| *at > 0)
    }

    /// The Unix second from which the person may be forgotten if nothing more happens; nothing for whom a complaint, a wish, a hard bounce or an operator's
    /// decision is known: those are kept for good. Without any evidence the time counts from `judged_at`, the last verdict.
    pub fn forget_at(&self, policy: &Policy, judged_at: i64) -> Option<i64> {
        let wished = self.unsubscribed_at.max(self.subscribed_at) > 0;
        let decided = self.complaints_lifted_at.max(self.hard_lifted_at).max(self.never_suppress.0) > 0;
        let is_kept = wished || decided || !self.complaints.is_empty() || !self.hard.as_slice().is_empty();
        (!is_kept).then(|| self.last_evidence_at().map_or(judged_at, i64::from).saturating_add(policy.forget_after))
    }

    /// One version byte, then what `encoding` says.
    pub fn encode(&self) -> Vec<u8> {
        let has_devices = !self.devices_reached.as_slice().is_empty() || !self.devices_failed.as_slice().is_empty();
        encoding::write(self, if has_devices { FORMAT.version() } else { WITHOUT_DEVICES })
    }

    /// Reads what this or an earlier release wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let fields = FORMAT.open(bytes)?;
        match fields.version {
            1 => Ok(fields.read::<first_version::State>()?.into()),
            WITHOUT_DEVICES | 3 => encoding::read(fields.bytes()).ok_or_else(|| fields.malformed()),
            _ => Err(fields.malformed()),
        }
    }
}

impl OtherChannel {
    fn join(&mut self, seen: Self) -> bool {
        join_latest(&mut self.reached_at, seen.reached_at)
            | join_latest(&mut self.answered_at, seen.answered_at)
            | join_latest(&mut self.bounced_at, seen.bounced_at)
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

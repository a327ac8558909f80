//! The record in `profiles`: a person's evidence (opaque to everyone but the processor) and what it amounted to at a stated time.

mod first_version;
mod grounds;
mod second_version;
mod words;

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use grounds::{Grounds, Measures, Reason};

use crate::identity::Person;
use crate::versioned::{DecodeError, Format};

pub(crate) const FORMAT: Format = Format::new("profile", 3);
/// How records without an address are written: those of the release before, byte for byte, so that it can read them.
const WITHOUT_ADDRESS: Format = Format::new("profile", 2);

/// One person, as of one moment. The key of the record is the person's text form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileRecord {
    /// Whom it is about.
    pub person: Person,
    /// Unix seconds of event or stream time at which the evaluation was made.
    pub as_of: i64,
    /// Changes whenever the policy does.
    pub policy_version: u32,
    /// What the evidence amounts to at `as_of`.
    pub evaluation: Evaluation,
    /// The evidence, in the processor's own versioned encoding.
    pub state: Vec<u8>,
    /// The address, in its one spelling, of somebody known only by it: there with `[privacy] email = "plain"`, since the Track API knows them by nothing
    /// else. Personal data; the key of the record holds its hash.
    pub address: Option<String>,
}

/// The verdict on a person's e-mail. Ordered as they take precedence, strongest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmailState {
    /// No evidence yet.
    Unknown,
    /// Score of 70 and more.
    Healthy,
    /// Score from 40 to 69, or recent soft bounces.
    Watch,
    /// Score below 40.
    Degraded,
    /// Nobody clicked for longer than the sunset limit, in spite of enough mail.
    Sunset,
    /// Repeated soft bounces over days: no mail until a delivery or the retry window.
    Failing,
    /// A hard bounce that is not certain: no mail, nothing irreversible.
    Grey,
    /// A hard bounce: the address is gone.
    Dead,
    /// The person does not want mail.
    Unsubscribed,
    /// The person marked mail as spam.
    Complained,
}

impl EmailState {
    /// Every state, weakest first.
    pub const ALL: [Self; 10] = [
        Self::Unknown,
        Self::Healthy,
        Self::Watch,
        Self::Degraded,
        Self::Sunset,
        Self::Failing,
        Self::Grey,
        Self::Dead,
        Self::Unsubscribed,
        Self::Complained,
    ];

    /// As it stands in columns, attributes and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Watch => "watch",
            Self::Degraded => "degraded",
            Self::Sunset => "sunset",
            Self::Failing => "failing",
            Self::Grey => "grey",
            Self::Dead => "dead",
            Self::Unsubscribed => "unsubscribed",
            Self::Complained => "complained",
        }
    }
}

/// A named part of the score.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contribution {
    /// `validity`, `engagement`, `patience` or `gate`.
    pub name: String,
    /// Tenths of a point that this part adds (a gate takes away).
    pub tenths: i32,
    /// The evidence behind it, in words.
    pub evidence: String,
}

/// One part of a score, as it stands in the column `contributions`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ContributionJson<'c> {
    /// `validity`, `engagement`, `patience` or `gate`.
    pub name: Cow<'c, str>,
    /// Points that this part adds; a gate takes away.
    pub points: f64,
    /// The evidence behind it, in words.
    pub evidence: Cow<'c, str>,
}

impl<'c> From<&'c Contribution> for ContributionJson<'c> {
    fn from(part: &'c Contribution) -> Self {
        Self { name: Cow::Borrowed(&part.name), points: f64::from(part.tenths) / 10.0, evidence: Cow::Borrowed(&part.evidence) }
    }
}

/// Why something irreversible may be done to a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A certain hard bounce of the address in use.
    HardBounce,
    /// A spam complaint.
    Complaint,
}

impl Cause {
    /// As it stands in `track-calls` and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HardBounce => "hard_bounce",
            Self::Complaint => "complaint",
        }
    }
}

/// A verdict on which an irreversible call may rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// What happened.
    pub cause: Cause,
    /// Unix seconds of the event.
    pub at: i64,
    /// Earliest arrival (Unix milliseconds) of a record behind it: holds and age limits count from here, so that no replay acts late.
    pub received_at: i64,
}

/// A channel that carries messages to a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// E-mail.
    Email,
    /// Notifications of an app.
    Push,
    /// Text messages.
    Sms,
    /// WhatsApp messages.
    Whatsapp,
    /// Messages inside an app.
    InApp,
    /// Slack messages.
    Slack,
}

impl Channel {
    /// Every channel but e-mail.
    pub const OTHERS: [Self; 5] = [Self::Push, Self::Sms, Self::Whatsapp, Self::InApp, Self::Slack];

    /// As Customer.io names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Push => "push",
            Self::Sms => "sms",
            Self::Whatsapp => "whatsapp",
            Self::InApp => "in_app",
            Self::Slack => "slack",
        }
    }

    /// Reads a name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Email].into_iter().chain(Self::OTHERS).find(|channel| channel.as_str() == name)
    }
}

/// How much promotional mail a person should get. Ordered from most to none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cadence {
    /// All of it.
    Full,
    /// Half of it.
    Half,
    /// Two or three mails that try to win the person back.
    Winback,
    /// None.
    Stop,
}

impl Cadence {
    /// Every cadence, from most to none.
    pub const ALL: [Self; 4] = [Self::Full, Self::Half, Self::Winback, Self::Stop];

    /// As it stands in attributes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Half => "half",
            Self::Winback => "winback",
            Self::Stop => "stop",
        }
    }
}

/// Why a channel is the best one, or none is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelReason {
    /// Promotional e-mail is fine.
    EmailWorks,
    /// E-mail is not, and this channel reached the person after it last failed.
    EmailStopped,
    /// Mail arrives and is not answered, and messages on this channel were, more recently.
    AnswersElsewhere,
    /// The person complained or opted out: that licenses no other channel.
    OptedOut,
    /// E-mail is not fine, and no channel that may be used has reached the person.
    NoneReached,
    /// Written by a release that gave no reason.
    Unstated,
}

impl ChannelReason {
    /// Every reason.
    pub const ALL: [Self; 6] =
        [Self::EmailWorks, Self::EmailStopped, Self::AnswersElsewhere, Self::OptedOut, Self::NoneReached, Self::Unstated];

    /// As it stands in attributes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EmailWorks => "email_works",
            Self::EmailStopped => "email_stopped",
            Self::AnswersElsewhere => "answers_elsewhere",
            Self::OptedOut => "opted_out",
            Self::NoneReached => "none_reached",
            Self::Unstated => "",
        }
    }
}

/// What the evidence amounts to: numbers, which become words where somebody reads them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evaluation {
    /// 0 to 100.
    pub score: u8,
    /// The verdict on e-mail.
    pub state: EmailState,
    /// False if mail to the known address will not arrive or must not be sent (consent is not part of it).
    pub email_deliverable: bool,
    /// False if promotional mail should stop (sunset and consent included).
    pub email_promotional_ok: bool,
    /// False if even mail that the person asked for should stop: the address is gone or fails, or the person complained.
    pub email_transactional_ok: bool,
    /// How much promotional mail to send.
    pub email_cadence: Cadence,
    /// The channel to prefer, if any may be used.
    pub best_channel: Option<Channel>,
    /// Why that one.
    pub best_channel_reason: ChannelReason,
    /// An operator forbade everything irreversible.
    pub never_suppress: bool,
    /// What the score and the state rest on.
    pub grounds: Grounds,
    /// What an irreversible call would rest on, strongest cause first.
    pub verdict: Option<Verdict>,
    /// The facts that are written back as attributes.
    pub facts: Facts,
    /// The earliest Unix second after the evaluation at which state, answers, cadence, channel or `engaged_30d` change by time alone, if nothing more
    /// happens. The score itself moves in between.
    pub changes_at: Option<i64>,
}

/// Facts about a person, all from event times (Unix seconds).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Facts {
    /// Last hard bounce of the address in use.
    pub hard_bounced_at: Option<i64>,
    /// Last bounce of any kind.
    pub bounced_at: Option<i64>,
    /// Its message; empty if unknown.
    pub last_bounce_delivery_id: String,
    /// First complaint.
    pub complained_at: Option<i64>,
    /// Complaints about distinct messages.
    pub complaint_count: u32,
    /// Set while the person is unsubscribed.
    pub unsubscribed_at: Option<i64>,
    /// Last click by a human.
    pub last_click_at: Option<i64>,
    /// Last click, conversion or human open.
    pub last_engaged_at: Option<i64>,
    /// Which of these it was; empty if none.
    pub last_engaged_metric: String,
    /// Engaged within 30 days before the evaluation.
    pub engaged_30d: bool,
    /// Distinct messages delivered in the 90 days before the evaluation.
    pub delivered_90d: u32,
}

impl ProfileRecord {
    /// The record's value.
    pub fn encode(&self) -> Vec<u8> {
        let Self { person, as_of, policy_version, evaluation, state, address } = self;
        match address {
            Some(_) => FORMAT.encode(self),
            None => WITHOUT_ADDRESS.encode(&(person, as_of, policy_version, evaluation, state)),
        }
    }

    /// Reads a value written by this or an earlier release.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let fields = FORMAT.open(bytes)?;
        match fields.version {
            1 => fields.read().map(first_version::ProfileRecord::into),
            2 => fields.read().map(second_version::ProfileRecord::into),
            3 => fields.read(),
            _ => Err(fields.malformed()),
        }
    }
}

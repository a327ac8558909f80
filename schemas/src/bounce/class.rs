//! The twelve classes a failure text can fall into.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a failure text says about the destination, the sender or the way between them.
///
/// The text form, the same everywhere, is snake case and part of the stored data: names never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BounceClass {
    /// The mailbox, device or number does not exist or is closed for good.
    HardRecipient,
    /// The domain does not exist or takes no mail. Domains come back: act only on a second day.
    HardDomain,
    /// An earlier verdict repeated by the sending service's own list. No new blame.
    Suppressed,
    /// The destination exists and has no room.
    MailboxFull,
    /// Throttled, timed out, unreachable or deferred: may work later.
    Transient,
    /// Refused because of who sent it: blocklists, reputation, local policy. Never counts against the recipient.
    BlockReputation,
    /// Refused because of what was sent: spam content, links, attachments. Never counts against the recipient.
    BlockContent,
    /// The sender's own fault: SPF, DKIM, DMARC, reverse DNS, sender address. Never counts against the recipient.
    PolicySender,
    /// The message is bigger than the destination takes.
    TooLarge,
    /// A person's automatic answer, or a challenge that wants one.
    AutoReply,
    /// Our side: limits, templates, credentials, configuration. Never counts against the recipient.
    Admin,
    /// The text does not say. Scored like a soft bounce, never a reason to suppress.
    Undetermined,
}

impl BounceClass {
    /// Every class, in the order of declaration.
    pub const ALL: [Self; 12] = [
        Self::HardRecipient,
        Self::HardDomain,
        Self::Suppressed,
        Self::MailboxFull,
        Self::Transient,
        Self::BlockReputation,
        Self::BlockContent,
        Self::PolicySender,
        Self::TooLarge,
        Self::AutoReply,
        Self::Admin,
        Self::Undetermined,
    ];

    /// The stored name, snake case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HardRecipient => "hard_recipient",
            Self::HardDomain => "hard_domain",
            Self::Suppressed => "suppressed",
            Self::MailboxFull => "mailbox_full",
            Self::Transient => "transient",
            Self::BlockReputation => "block_reputation",
            Self::BlockContent => "block_content",
            Self::PolicySender => "policy_sender",
            Self::TooLarge => "too_large",
            Self::AutoReply => "auto_reply",
            Self::Admin => "admin",
            Self::Undetermined => "undetermined",
        }
    }

    /// Says that the destination is dead: the only classes that may lead to an irreversible call.
    #[must_use]
    pub const fn is_hard(self) -> bool {
        matches!(self, Self::HardRecipient | Self::HardDomain)
    }

    /// Says that the receiver refused us or our content. `policy_sender` is a class of its own and not a block.
    #[must_use]
    pub const fn is_block(self) -> bool {
        matches!(self, Self::BlockReputation | Self::BlockContent)
    }
}

impl fmt::Display for BounceClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is no class.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown bounce class {0:?}: expected a snake case name such as hard_recipient or transient")]
pub struct UnknownClass(pub String);

impl FromStr for BounceClass {
    type Err = UnknownClass;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|class| class.as_str() == name).ok_or_else(|| UnknownClass(name.to_owned()))
    }
}

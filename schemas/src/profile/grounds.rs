use serde::{Deserialize, Serialize};

use super::Contribution;

/// What a score and a state rest on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grounds {
    /// In words already: from a release that wrote them into the record.
    Worded {
        /// In one line.
        reason: String,
        /// The parts of the score.
        contributions: Vec<Contribution>,
    },
    /// In numbers.
    Measured(Reason, Measures),
}

/// Why the state is what it is. Times are Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Marked mail as spam.
    Complained {
        /// First time.
        at: i64,
    },
    /// Opted out.
    Unsubscribed {
        /// Last time.
        at: i64,
    },
    /// The address is gone.
    HardBounced {
        /// Last time.
        at: i64,
    },
    /// A hard bounce that is not certain.
    Grey {
        /// Last time.
        at: i64,
        /// Until when nothing but a second one keeps mail away.
        until: i64,
    },
    /// The same, while its provider refused everybody.
    Quarantined {
        /// Last time.
        at: i64,
        /// As in `grey`.
        until: i64,
    },
    /// Repeated soft bounces.
    Failing {
        /// When the next try may be made.
        until: i64,
    },
    /// Long enough without an answer, in spite of enough mail.
    Sunset {
        /// Days after which it is.
        after_days: u16,
    },
    /// A grey week has passed.
    Recovering {
        /// Last hard bounce.
        at: i64,
    },
    /// Nothing is known.
    Unknown,
    /// Soft bounces since mail last got through.
    SoftBounces,
    /// The score says it.
    Score,
}

/// The parts of a score, in tenths and hundredths, and the evidence behind each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Measures {
    /// Tenths of a point for the validity of the address.
    pub validity: i32,
    /// Tenths of a point for what was done with mail.
    pub engagement: i32,
    /// Tenths of a point for patience with mail that went unanswered.
    pub patience: i32,
    /// Tenths of a point that a gate takes away; never positive.
    pub gate: i32,
    /// Soft bounce days since mail last got through.
    pub soft_days: u32,
    /// Days from the first to the last of them.
    pub soft_span: u32,
    /// Their decayed weight, in hundredths.
    pub soft_weight: u32,
    /// Decayed engagement, in hundredths.
    pub engaged: u32,
    /// Distinct messages delivered in 90 days.
    pub delivered: u32,
    /// Of these, those after the last click or conversion.
    pub unanswered: u32,
}

//! Grounds in words, for people.

use std::borrow::Cow;

use super::{Contribution, Evaluation, Grounds, Measures, Reason};

impl Evaluation {
    /// Why the state is what it is, in one line.
    pub fn reason(&self) -> Cow<'_, str> {
        match &self.grounds {
            Grounds::Worded { reason, .. } => Cow::Borrowed(reason),
            Grounds::Measured(reason, measures) => reason.in_words(measures),
        }
    }

    /// The parts of the score.
    pub fn contributions(&self) -> Vec<Contribution> {
        match &self.grounds {
            Grounds::Worded { contributions, .. } => contributions.clone(),
            Grounds::Measured(reason, measures) => measures.in_words(match (reason, self.facts.hard_bounced_at) {
                // Consent is the state's reason and no part of the score: what took the points is the bounce.
                (Reason::Unsubscribed { .. }, Some(at)) => format!("hard bounce on {}", date(at)),
                _ => reason.in_words(measures).into_owned(),
            }),
        }
    }
}

impl Reason {
    fn in_words(self, measures: &Measures) -> Cow<'static, str> {
        let Measures { soft_days, soft_span, delivered, .. } = measures;
        Cow::Owned(match self {
            Self::Complained { at } => format!("marked mail as spam on {}", date(at)),
            Self::Unsubscribed { at } => format!("unsubscribed on {}", date(at)),
            Self::HardBounced { at } => format!("hard bounce on {}, nothing got through since", date(at)),
            Self::Grey { at, until } => format!("uncertain hard bounce on {}, waiting until {} for a second", date(at), date(until)),
            Self::Quarantined { at, until } => {
                format!("hard bounce on {} while the provider refused everybody, waiting until {} for a second", date(at), date(until))
            }
            Self::Failing { until } => {
                format!("soft bounces on {soft_days} days over {soft_span} days and no delivery since, next try on {}", date(until))
            }
            Self::Sunset { after_days } => format!("{delivered} mails delivered in 90 days and no click for over {after_days} days"),
            Self::Recovering { at } => format!("uncertain hard bounce on {}, no second one since", date(at)),
            Self::Unknown => return Cow::Borrowed("no mail delivered yet"),
            Self::SoftBounces => format!("soft bounces on {soft_days} days since mail last got through"),
            Self::Score => return Cow::Borrowed("score"),
        })
    }
}

impl Measures {
    /// `gate` says why points were taken, where any were.
    fn in_words(&self, gate: String) -> Vec<Contribution> {
        let part = |name: &str, tenths, evidence: String| Contribution { name: name.into(), tenths, evidence };
        let hundredths = |number: u32| f64::from(number) / 100.0;
        let soft = format!("{} soft bounce days since mail last got through, weight {:.2}", self.soft_days, hundredths(self.soft_weight));
        let engaged = format!("{} delivered in 90 days, decayed engagement {:.2}", self.delivered, hundredths(self.engaged));
        let mut parts = vec![
            part("validity", self.validity, soft),
            part("engagement", self.engagement, engaged),
            part("patience", self.patience, format!("{} delivered since the last click", self.unanswered)),
        ];
        if self.gate < 0 {
            parts.push(part("gate", self.gate, gate));
        }
        parts
    }
}

fn date(at: i64) -> String {
    jiff::Timestamp::from_second(at).map(|at| at.strftime("%Y-%m-%d").to_string()).unwrap_or_default()
}

use smallvec::SmallVec;

use super::{DAY, Policy, decayed};
use crate::fold::{Click, Mail, State};

/// Exposure counts over these days.
const EXPOSURE_DAYS: i64 = 90;
/// Answers older than this weigh nothing.
const ANSWER_DAYS: i64 = 365;

/// How somebody answered a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Answer {
    Opened,
    Clicked,
    Converted,
}

impl Answer {
    const ALL: [Self; 3] = [Self::Opened, Self::Clicked, Self::Converted];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Clicked => "clicked",
            Self::Converted => "converted",
        }
    }
}

/// What a person did with the mail that arrived: only what humans do.
#[derive(Debug, Clone)]
pub(super) struct Engagement<'s> {
    /// Mails that arrived, oldest first, each once.
    delivered: &'s [Mail],
    /// The last answer of each kind to each mail, by mail.
    answers: SmallVec<[(u32, Answer, u32); 16]>,
    /// Times of clicks and conversions.
    answered: SmallVec<[u32; 16]>,
    /// Last click.
    pub(super) last_click_at: Option<u32>,
    /// Last click or conversion.
    pub(super) last_answer_at: Option<u32>,
    /// Last answer of any kind, and which it was.
    pub(super) last_engaged: Option<(u32, Answer)>,
}

impl<'s> Engagement<'s> {
    pub(super) fn read(state: &'s State, policy: &Policy, seen_until: i64) -> Self {
        let score = &policy.rules.score;
        let delivered = state.delivered.until(seen_until);
        // Within seconds of the delivery, before or after: clocks differ.
        let is_prompt = |message: u32, at: u32, seconds: u32| {
            let first = delivered.partition_point(|mail| mail.at < at.saturating_sub(seconds));
            let near = delivered[first..].iter().take_while(|mail| mail.at <= at.saturating_add(seconds));
            near.into_iter().any(|mail| mail.message == message)
        };
        let mut engagement = Self {
            delivered,
            answers: SmallVec::new(),
            answered: SmallVec::new(),
            last_click_at: None,
            last_answer_at: None,
            last_engaged: None,
        };
        for opened in state.opened.until(seen_until) {
            if !is_prompt(opened.message, opened.at, score.machine_open_seconds) {
                engagement.note(opened.message, Answer::Opened, opened.at);
            }
        }
        let clicks = state.clicked.until(seen_until);
        for (place, click) in clicks.iter().enumerate() {
            let seconds = score.machine_click_seconds;
            if !is_prompt(click.message, click.at, seconds) && !is_burst(clicks, place, score.burst_links, score.burst_seconds) {
                engagement.note(click.message, Answer::Clicked, click.at);
            }
        }
        for converted in state.converted.until(seen_until) {
            engagement.note(converted.message, Answer::Converted, converted.at);
        }
        engagement.sort();
        engagement
    }

    fn note(&mut self, message: u32, answer: Answer, at: u32) {
        self.last_engaged = self.last_engaged.max(Some((at, answer)));
        if answer == Answer::Clicked {
            self.last_click_at = self.last_click_at.max(Some(at));
        }
        if answer != Answer::Opened {
            self.last_answer_at = self.last_answer_at.max(Some(at));
            self.answered.push(at);
        }
        self.answers.push((message, answer, at));
    }

    /// By mail and kind, of each the latest.
    fn sort(&mut self) {
        self.answers.sort_unstable();
        let mut kept = 0;
        for place in 0..self.answers.len() {
            let is_last = self.answers.get(place + 1).is_none_or(|next| (next.0, next.1) != (self.answers[place].0, self.answers[place].1));
            if is_last {
                self.answers[kept] = self.answers[place];
                kept += 1;
            }
        }
        self.answers.truncate(kept);
    }

    /// Decayed answers, each mail up to a cap. For the same evidence it never grows. At many times: [`Engagement::fading`].
    pub(super) fn mass(&self, policy: &Policy, now: i64) -> f64 {
        self.sum(policy, now, |_, answer, at| weight(policy, answer, now - i64::from(at)))
    }

    /// The mass at many times from `now` on.
    pub(super) fn fading(&self, policy: &Policy, now: i64) -> Fading {
        let weights = self.answers.iter().map(|(_, answer, at)| weight(policy, *answer, now - i64::from(*at)));
        Fading { from: now, weights: weights.collect() }
    }

    fn sum(&self, policy: &Policy, now: i64, weight: impl Fn(usize, Answer, u32) -> f64) -> f64 {
        let cap = policy.rules.score.mail_cap;
        let mut sum = 0.0;
        let mut of_mail = 0.0;
        let mut mail = None;
        for (place, (message, answer, at)) in self.answers.iter().enumerate() {
            if mail != Some(*message) {
                sum += f64::min(of_mail, cap);
                (mail, of_mail) = (Some(*message), 0.0);
            }
            if now - i64::from(*at) <= ANSWER_DAYS * DAY {
                of_mail += weight(place, *answer, *at);
            }
        }
        sum + f64::min(of_mail, cap)
    }

    /// Mails delivered since a time.
    pub(super) fn delivered_since(&self, since: i64) -> usize {
        match self.delivered.first() {
            Some(first) if i64::from(first.at) < since => {
                self.delivered.len() - self.delivered.partition_point(|mail| i64::from(mail.at) < since)
            }
            _ => self.delivered.len(),
        }
    }

    /// Mails delivered in 90 days. For the same evidence it never grows.
    pub(super) fn delivered_90d(&self, now: i64) -> usize {
        self.delivered_since(now - EXPOSURE_DAYS * DAY)
    }

    /// Of these, those after the last click or conversion.
    pub(super) fn unanswered(&self, now: i64) -> usize {
        let after = self.last_answer_at.map_or(i64::MIN, |at| i64::from(at) + 1);
        self.delivered_since(after.max(now - EXPOSURE_DAYS * DAY))
    }

    pub(super) fn delivered(&self) -> &[Mail] {
        self.delivered
    }

    /// The last click or conversion up to a time.
    pub(super) fn last_answer_until(&self, at: i64) -> Option<i64> {
        let last = i64::from(self.last_answer_at?);
        if last <= at { Some(last) } else { self.answered().filter(|answered| *answered <= at).max() }
    }

    /// The first click or conversion after a time.
    pub(super) fn first_answer_after(&self, at: i64) -> Option<i64> {
        let last = i64::from(self.last_answer_at?);
        if last <= at { None } else { self.answered().filter(|answered| *answered > at).min() }
    }

    fn answered(&self) -> impl Iterator<Item = i64> {
        self.answered.iter().copied().map(i64::from)
    }
}

/// What answers weigh at one time. What they will weigh follows by one factor for each kind, equal to the mass up to rounding.
pub(super) struct Fading {
    from: i64,
    weights: SmallVec<[f64; 16]>,
}

impl Fading {
    /// The mass of the same answers at that time or later.
    pub(super) fn mass(&self, engagement: &Engagement<'_>, policy: &Policy, at: i64) -> f64 {
        let factor = |answer| if at == self.from { 1.0 } else { decayed(at - self.from, half_life(policy, answer)) };
        let factors = Answer::ALL.map(factor);
        engagement.sum(policy, at, |place, answer, answered_at| {
            // What is dated ahead does not fade until then.
            if i64::from(answered_at) > self.from {
                weight(policy, answer, at - i64::from(answered_at))
            } else {
                self.weights[place] * factors[answer as usize]
            }
        })
    }
}

fn weight(policy: &Policy, answer: Answer, age: i64) -> f64 {
    let score = &policy.rules.score;
    let fresh = match answer {
        Answer::Opened => score.open_weight,
        Answer::Clicked => score.click_weight,
        Answer::Converted => score.conversion_weight,
    };
    fresh * decayed(age, half_life(policy, answer))
}

fn half_life(policy: &Policy, answer: Answer) -> f64 {
    let score = &policy.rules.score;
    match answer {
        Answer::Opened => score.open_half_life_days,
        Answer::Clicked => score.click_half_life_days,
        Answer::Converted => score.conversion_half_life_days,
    }
}

/// True for a click among clicks on so many links of its mail within so many seconds of it.
fn is_burst(clicks: &[Click], place: usize, links: u16, seconds: u32) -> bool {
    let click = clicks[place];
    let mut seen: SmallVec<[u32; 4]> = SmallVec::new();
    let (before, after) = clicks.split_at(place);
    let near = before.iter().rev().take_while(|other| click.at - other.at <= seconds);
    for other in near.chain(after.iter().take_while(|other| other.at - click.at <= seconds)) {
        if other.message == click.message && !seen.contains(&other.link) {
            seen.push(other.link);
            if seen.len() >= usize::from(links) {
                return true;
            }
        }
    }
    false
}

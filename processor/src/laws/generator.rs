use aftersend_schemas::address::ProviderId;
use aftersend_schemas::bounce::BounceClass;
use aftersend_schemas::operator::Decision;
use aftersend_schemas::profile::Channel;
use proptest::prelude::*;

use super::{Incident, NOW};
use crate::fold::{Devices, Fact, Observation, Reach};
use crate::score::Policy;

/// Times that meet: few days, few seconds, some ahead of the clock.
fn time() -> impl Strategy<Value = u32> {
    let days = prop_oneof![4 => 0_i64..20, 4 => 0_i64..120, 2 => 0_i64..400];
    let seconds = prop_oneof![3 => 0_i64..8, 1 => 0_i64..86_400, 1 => Just(-299_i64), 1 => -400_000_i64..0];
    (days, seconds).prop_map(|(days, seconds)| u32::try_from(NOW - days * 86_400 - seconds).unwrap())
}

fn fact() -> impl Strategy<Value = Fact> {
    let class = prop_oneof![
        3 => prop::sample::select(vec![BounceClass::MailboxFull, BounceClass::Transient, BounceClass::HardRecipient]),
        1 => prop::sample::select(BounceClass::ALL.to_vec()),
    ];
    let bounced = (class, prop::sample::select(vec![60_u8, 79, 80, 95]), prop::bool::weighted(0.2), 1_u32..3, 0_i64..50).prop_map(
        |(class, confidence, deferred, provider, received_at)| Fact::Bounced {
            class,
            confidence,
            deferred,
            provider: ProviderId(provider),
            delivery_id: provider.to_string(),
            received_at,
        },
    );
    let reach = prop::sample::select(vec![Reach::Arrived, Reach::Answered, Reach::Failed]);
    prop_oneof![
        30 => Just(Fact::Delivered),
        8 => prop::bool::weighted(0.2).prop_map(|machine| Fact::Opened { machine }),
        10 => (0_u32..4, prop::bool::weighted(0.1)).prop_map(|(link, machine)| Fact::Clicked { link, machine }),
        3 => Just(Fact::Converted),
        16 => bounced,
        1 => (0_i64..50).prop_map(|received_at| Fact::Complained { received_at }),
        1 => Just(Fact::Unsubscribed),
        2 => Just(Fact::Subscribed),
        2 => prop::sample::select(Decision::ALL.to_vec()).prop_map(Fact::Decided),
        3 => (prop::sample::select(Channel::OTHERS.to_vec()), reach, prop::collection::vec(1_u32..4, 0..3)).prop_map(|(channel, reach, devices)| {
            let devices = if channel == Channel::Push { devices.into() } else { Devices::new() };
            Fact::Elsewhere { channel, reach, devices }
        }),
        2 => Just(Fact::Seen),
    ]
}

pub(super) fn observation() -> impl Strategy<Value = Observation> {
    let address = || prop_oneof![6 => Just(1_u64), 1 => Just(2_u64), 1 => Just(0_u64)];
    // Most events name the address that they are about, bounces most often nothing.
    let named = (prop_oneof![5 => Just(None), 1 => address().prop_map(Some)], fact());
    (time(), 0_u32..14, address(), named).prop_map(|(at, message, address, (named, fact))| {
        let silent = matches!(fact, Fact::Bounced { .. } | Fact::Elsewhere { .. } | Fact::Decided(_));
        Observation { at, message, address, named: named.unwrap_or(if silent { 0 } else { address }), fact }
    })
}

/// A mailbox that takes nothing for weeks, and what is heard elsewhere.
fn failures() -> impl Strategy<Value = Vec<Observation>> {
    let class = prop::sample::select(vec![BounceClass::MailboxFull, BounceClass::MailboxFull, BounceClass::Transient]);
    let days = prop_oneof![4 => 0_i64..90, 1 => 0_i64..400];
    let failed = (days, class).prop_map(|(days, class)| Observation {
        at: u32::try_from(NOW - days * 86_400).unwrap(),
        message: u32::try_from(days).unwrap(),
        address: 1,
        named: 0,
        fact: Fact::Bounced {
            class,
            confidence: 90,
            deferred: false,
            provider: ProviderId(1),
            delivery_id: String::new(),
            received_at: days,
        },
    });
    let elsewhere = (time(), prop::sample::select(vec![Channel::Push, Channel::Sms])).prop_map(|(at, channel)| Observation {
        at,
        message: 0,
        address: 0,
        named: 0,
        fact: Fact::Elsewhere { channel, reach: Reach::Answered, devices: Devices::new() },
    });
    let few = prop_oneof![3 => prop::collection::vec(elsewhere, 0..2), 1 => prop::collection::vec(observation(), 0..3)];
    (prop::collection::vec(failed, 2..16), few).prop_map(|(failed, few)| failed.into_iter().chain(few).collect())
}

/// A mailbox that is certainly gone, and more bounces of it than are remembered.
fn refusals() -> impl Strategy<Value = Vec<Observation>> {
    let refused =
        (0_i64..8, 0_u32..30, prop::sample::select(vec![60_u8, 60, 60, 95])).prop_map(|(days, message, confidence)| Observation {
            at: u32::try_from(NOW - days * 86_400).unwrap() - message,
            message,
            address: 1,
            named: 0,
            fact: Fact::Bounced {
                class: BounceClass::HardRecipient,
                confidence,
                deferred: false,
                provider: ProviderId(1),
                delivery_id: String::new(),
                received_at: days,
            },
        });
    prop::collection::vec(refused, 6..24)
}

/// Somebody's history.
pub(super) fn history() -> impl Strategy<Value = Vec<Observation>> {
    prop_oneof![
        2 => prop::collection::vec(observation(), 0..12),
        3 => prop::collection::vec(observation(), 0..60),
        2 => failures(),
        1 => refusals(),
        // Mail and nothing terminal, so that the score has the word.
        3 => (prop::collection::vec(observation(), 0..10), prop::collection::vec((time(), 14_u32..60), 0..50)).prop_map(|(some, mails)| {
            let is_mild = |fact: &Fact| {
                matches!(fact, Fact::Delivered | Fact::Opened { .. } | Fact::Clicked { .. } | Fact::Converted)
                    || matches!(fact, Fact::Bounced { class, .. } if !class.is_hard())
            };
            let mails = mails.into_iter().map(|(at, message)| Observation { at, message, address: 1, named: 1, fact: Fact::Delivered });
            some.into_iter().filter(|some| is_mild(&some.fact)).chain(mails).collect()
        }),
    ]
}

pub(super) fn incident() -> impl Strategy<Value = Incident> {
    (1_u32..3, time(), prop_oneof![0_u32..200_000, 0_u32..4_000_000]).prop_map(|(provider, from, long)| Incident {
        provider,
        from,
        to: from + long,
    })
}

/// Policies of every kind that the configuration takes.
pub(super) fn policies() -> impl Strategy<Value = Policy> {
    prop::sample::select(vec![
        "",
        "",
        "[policy]\nbounces = \"grey\"",
        "[policy]\ncadence = \"daily\"\nsunset_min_delivered = 3",
        "[policy]\ncadence = \"monthly\"\nhysteresis_days = 0\nchannels = [\"sms\", \"push\"]",
        "[policy]\ncadence = \"weekly\"\nsunset_min_delivered = 2\ngrey_days = 3",
        "[policy.score]\nvalidity = 20\nengagement = 60\npatience = 20\npatience_mails = 4\nhealthy = 60\nwatch = 55\nexposure_weight = 0.4",
        "[policy.soft]\nfailing_weight = 1.0\nfailing_days = 2\nfailing_span_days = 2\nretry_days = 3\nretry_max_days = 10",
    ])
    .prop_map(super::policy)
}

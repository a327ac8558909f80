use aftersend_schemas::bounce::BounceClass;
use proptest::prelude::*;

use super::*;

prop_compose! {
    fn observation()(
        at in 1_700_000_000_u32..1_700_400_000,
        message in 0_u64..40,
        address in 0_u64..3,
        kind in 0_usize..10,
        flag in any::<bool>(),
        class in 0_usize..12,
        confidence in 0_u8..=100,
        received in 0_i64..50,
    ) -> Observation {
        let fact = match kind {
            0 => Fact::Delivered,
            1 => Fact::Opened { machine: flag },
            2 => Fact::Clicked { link: u32::from(confidence), machine: flag },
            3 => Fact::Converted,
            4 | 5 => Fact::Bounced {
                class: BounceClass::ALL[class],
                confidence,
                deferred: flag,
                delivery_id: message.to_string(),
                received_at: received,
            },
            6 => Fact::Complained { received_at: received },
            7 => Fact::Unsubscribed,
            8 => Fact::Subscribed,
            _ => Fact::Elsewhere { channel: format!("c{}", class), reached: flag },
        };
        Observation { at, message, address, fact }
    }
}

fn fold<'a>(observations: impl IntoIterator<Item = &'a Observation>) -> State {
    let mut state = State::default();
    for observation in observations {
        state.observe(observation);
    }
    state
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_order_any_duplicates_and_any_split_give_the_same_bytes(
        observations in prop::collection::vec(observation(), 0..500),
        seed in any::<u64>(),
        split in any::<prop::sample::Index>(),
    ) {
        let expected = fold(&observations).encode();

        let mut shuffled: Vec<&Observation> = observations.iter().chain(observations.iter().step_by(3)).collect();
        shuffled.sort_by_key(|observation| xxhash_rust::xxh3::xxh3_64_with_seed(format!("{observation:?}").as_bytes(), seed));
        prop_assert_eq!(&fold(shuffled).encode(), &expected);

        let (left, right) = observations.split_at(split.index(observations.len() + 1));
        let mut merged = fold(right);
        merged.merge(fold(left));
        merged.merge(fold(left));
        prop_assert_eq!(&merged.encode(), &expected);
        prop_assert_eq!(State::decode(&expected).unwrap(), merged);
    }
}

proptest! {
    #[test]
    fn an_observation_says_truly_whether_it_changed_anything(observations in prop::collection::vec(observation(), 0..300)) {
        let mut state = State::default();
        for observation in &observations {
            let before = state.encode();
            let changed = state.observe(observation);
            prop_assert_eq!(changed, state.encode() != before);
            prop_assert!(!state.observe(observation), "a second time never changes anything");
        }
    }
}

#[test]
fn a_bot_that_clicks_without_end_does_not_grow_the_state() {
    let mut state = State::default();
    for n in 0..100_000_u32 {
        let fact = Fact::Clicked { link: n % 7, machine: false };
        state.observe(&Observation { at: 1_700_000_000 + n, message: u64::from(n), address: 1, fact });
    }
    assert_eq!(state.clicked.len(), 256);
    assert!(state.encode().len() < 10_000, "{}", state.encode().len());
}

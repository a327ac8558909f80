use proptest::prelude::*;

use super::generator::{history, observation};
use super::{folded, histories};
use crate::fold::{Fact, Observation, State};

/// As they came, some of them again, by a seed.
fn shuffled(observations: &[Observation], seed: u64) -> Vec<&Observation> {
    let again = observations.iter().skip(seed as usize % 3).step_by(3);
    let mut shuffled: Vec<&Observation> = observations.iter().chain(again).collect();
    shuffled.sort_by_key(|observation| xxhash_rust::xxh3::xxh3_64_with_seed(format!("{observation:?}").as_bytes(), seed));
    shuffled
}

proptest! {
    #![proptest_config(histories())]

    #[test]
    fn any_order_any_duplicates_and_any_split_give_the_same_bytes(
        observations in history(),
        seed in any::<u64>(),
        splits in prop::collection::vec(any::<prop::sample::Index>(), 1..4),
    ) {
        let expected = folded(&observations).encode();
        let shuffled = shuffled(&observations, seed);
        prop_assert_eq!(&folded(shuffled.iter().copied()).encode(), &expected);

        let mut parts: Vec<&[&Observation]> = vec![&shuffled];
        for split in splits {
            let part = parts.remove(0);
            let (left, right) = part.split_at(split.index(part.len() + 1));
            parts.extend([left, right]);
        }
        let parts: Vec<State> = parts.into_iter().map(|part| folded(part.iter().copied())).collect();
        let mut merged = State::default();
        for part in parts.iter().chain(&parts).rev() {
            merged.merge(part.clone());
        }
        prop_assert_eq!(&merged.encode(), &expected);
        let nested = parts.iter().rev().cloned().reduce(|right, mut left| { left.merge(right); left });
        prop_assert_eq!(&nested.unwrap_or_default().encode(), &expected, "merged from the other side");
        prop_assert_eq!(State::decode(&expected), Ok(merged));
    }

    #[test]
    fn an_observation_says_truly_whether_it_changed_anything(observations in history()) {
        let mut state = State::default();
        for observation in &observations {
            let before = state.encode();
            let changed = state.observe(observation);
            prop_assert_eq!(changed, state.encode() != before);
            prop_assert!(!state.observe(observation), "a second time never changes anything");
        }
    }
}

proptest! {
    // Beyond every bound: few cases, long ones.
    #![proptest_config(ProptestConfig { cases: histories().cases / 20, ..histories() })]

    #[test]
    fn beyond_every_bound_order_makes_no_difference_either(
        kinds in prop::collection::vec(observation(), 3..8),
        spread in prop::sample::select(vec![1_u32, 3_601, 86_400, 1_000_003]),
        seed in any::<u64>(),
    ) {
        let flood: Vec<Observation> = (0..700_u32)
            .map(|n| {
                let mut one = kinds[n as usize % kinds.len()].clone();
                one.at = one.at.wrapping_sub((n * 7 % 300) * spread) % 4_000_000_000;
                one.message = n * 7;
                one.address = if seed % 2 == 0 { one.address } else { u64::from(n % 90) };
                if let Fact::Clicked { link, .. } = &mut one.fact {
                    *link = n % 5;
                }
                one
            })
            .collect();
        let expected = folded(&flood).encode();
        prop_assert_eq!(&folded(shuffled(&flood, seed)).encode(), &expected);
        let (left, right) = flood.split_at(333);
        let mut merged = folded(right);
        merged.merge(folded(left));
        prop_assert_eq!(&merged.encode(), &expected);
    }
}

/// The largest that any history can make a state.
#[test]
fn a_bot_that_clicks_a_million_times_does_not_grow_the_state() {
    let mut state = State::default();
    for n in 0..1_000_000_u32 {
        let fact = match n % 4 {
            0 => Fact::Opened { machine: false },
            1 => Fact::Converted,
            _ => Fact::Clicked { link: n % 7, machine: false },
        };
        state.observe(&Observation {
            at: 1_700_000_000 + n * 11,
            message: n / 5,
            address: u64::from(n % 100),
            named: u64::from(n % 100),
            fact,
        });
    }
    assert_eq!(state.clicked.as_slice().len(), 256);
    assert!(state.encode().len() < 9_000, "{}", state.encode().len());
}

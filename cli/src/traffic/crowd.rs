use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;

use super::Body;

const DAY: i64 = 86_400;

/// Ordinary customers: mail that arrives, opens, clicks, a soft bounce now and then, and as many hard bounces and complaints as asked for.
pub struct Crowd {
    /// Number of customers: `crowd-0` and so on.
    pub customers: u32,
    /// Events lie anywhere in so many days before now; with none, they are of now.
    pub days: u16,
    /// Percent of events that are hard bounces or complaints.
    pub bad_percent: u8,
    /// Unix seconds that count as now.
    pub now: i64,
    /// The same seed gives the same crowd.
    pub seed: u64,
}

impl Crowd {
    /// Exactly `count` events.
    pub fn events(&self, count: usize) -> Vec<Body> {
        let mut random = StdRng::seed_from_u64(self.seed);
        (0..count).map(|n| self.event(n, &mut random)).collect()
    }

    fn event(&self, n: usize, random: &mut StdRng) -> Body {
        let customer = format!("crowd-{}", random.random_range(0..self.customers));
        let delivery = format!("{customer}-{}-{}", self.now, n / 3);
        let at = self.now - random.random_range(0..(i64::from(self.days) * DAY).max(1));
        let bad = random.random_range(0..100) < self.bad_percent;
        let (metric, more) = match random.random_range(0..100) {
            n if bad && n < 70 => ("bounced", json!({"failure_message": "550 5.1.1 User unknown"})),
            _ if bad => ("spammed", json!({})),
            0..35 => ("sent", json!({})),
            35..70 => ("delivered", json!({})),
            70..85 => ("opened", json!({"proxied": true, "prefetched": n.is_multiple_of(2)})),
            85..95 => ("clicked", json!({"href": "https://shop.example/", "link_id": 1})),
            95..98 => ("bounced", json!({"failure_message": "421 4.4.2 Connection timed out"})),
            _ => ("deferred", json!({"failure_message": "421 4.7.0 Try again later"})),
        };
        Body::email(&customer, &delivery, metric, at, more, random)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn events_lie_within_the_days_that_were_asked_for_and_with_none_they_are_of_now() {
        for (days, oldest) in [(0, 0), (2, 2 * DAY - 1)] {
            let crowd = Crowd { customers: 9, days, bad_percent: 50, now: 1_780_000_000, seed: 3 };
            let ages = crowd.events(500).into_iter().map(|body| {
                let event: Value = serde_json::from_slice(&body.bytes).unwrap();
                crowd.now - event["timestamp"].as_i64().unwrap()
            });
            let ages: Vec<i64> = ages.collect();
            assert!(ages.iter().all(|age| (0..=oldest).contains(age)), "{days} days");
            assert!(ages.iter().any(|age| *age > oldest / 2) || days == 0);
        }
    }
}

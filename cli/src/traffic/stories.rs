use aftersend_schemas::profile::EmailState;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::json;

use super::Body;

/// People of the stories who must be suppressed.
pub const STORIES_SUPPRESSED: [&str; 2] = ["gone-greta", "angry-omar"];

const DAY: i64 = 86_400;

/// A customer whose events have one right ending.
#[derive(Debug, Clone)]
pub struct Story {
    /// Customer id.
    pub customer: &'static str,
    /// What happens, in a few words.
    pub title: &'static str,
    /// The state it must end in.
    pub state: EmailState,
    /// Lowest and highest right score.
    pub score: (u8, u8),
    /// What was sent about the customer.
    pub events: Vec<Body>,
}

/// Five people, seen from `now` (Unix seconds).
pub fn stories(now: i64, seed: u64) -> Vec<Story> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut teller = |customer: &'static str| Teller { customer, now, random: StdRng::from_rng(&mut random), events: Vec::new() };

    let mut loyal = teller("loyal-lena");
    for week in 0..12 {
        loyal.mail(week, 7 * week + 1);
        if week < 9 {
            loyal.tell(week, 7 * week + 1, 3_600, "clicked", json!({"href": "https://shop.example/sale", "link_id": 3, "machine": false}));
        }
    }
    loyal.tell(0, 1, 7_200, "converted", json!({}));

    let mut full = teller("full-felix");
    for (mail, days) in [(0, 40), (1, 33)] {
        full.mail(mail, days);
    }
    for (mail, days) in [(2, 26), (3, 22), (4, 18), (5, 14), (6, 10)] {
        full.sent(mail, days);
        full.tell(
            mail,
            days,
            60,
            "bounced",
            json!({"failure_message": "452 4.2.2 The email account that you tried to reach is over quota"}),
        );
    }
    full.mail(7, 3);
    full.tell(7, 3, 5_000, "clicked", json!({"href": "https://shop.example/sale", "link_id": 3}));

    let mut gone = teller("gone-greta");
    for week in 1..6 {
        gone.mail(week, 7 * week);
    }
    gone.sent(9, 1);
    gone.tell(9, 1, 60, "bounced", json!({"failure_message": "550 5.1.1 The email account that you tried to reach does not exist"}));

    let mut angry = teller("angry-omar");
    for week in 1..5 {
        angry.mail(week, 7 * week);
    }
    angry.tell(1, 7, 4_000, "spammed", json!({}));

    let mut cold = teller("cold-carla");
    for week in 0..24 {
        cold.mail(week, 7 * week + 1);
    }

    vec![
        loyal.end("reads and buys", EmailState::Healthy, (85, 100)),
        full.end("mailbox filled up, then recovered", EmailState::Healthy, (75, 95)),
        gone.end("address ceased to exist", EmailState::Dead, (0, 0)),
        angry.end("marked mail as spam", EmailState::Complained, (0, 0)),
        cold.end("half a year without a click", EmailState::Sunset, (40, 80)),
    ]
}

struct Teller {
    customer: &'static str,
    now: i64,
    random: StdRng,
    events: Vec<Body>,
}

impl Teller {
    fn tell(&mut self, mail: i64, days_ago: i64, seconds: i64, metric: &str, more: serde_json::Value) {
        let delivery = format!("{}-{}-{mail}", self.customer, self.now);
        let at = self.now - days_ago * DAY + seconds;
        self.events.push(Body::email(self.customer, &delivery, metric, at, more, &mut self.random));
    }

    fn sent(&mut self, mail: i64, days_ago: i64) {
        self.tell(mail, days_ago, 0, "sent", json!({}));
    }

    fn mail(&mut self, mail: i64, days_ago: i64) {
        self.sent(mail, days_ago);
        self.tell(mail, days_ago, 2, "delivered", json!({}));
    }

    fn end(self, title: &'static str, state: EmailState, score: (u8, u8)) -> Story {
        Story { customer: self.customer, title, state, score, events: self.events }
    }
}

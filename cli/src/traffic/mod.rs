//! Signed traffic as Customer.io would send it: bodies, people with stories, and a sender that retries what it should.

mod body;
mod crowd;
mod samples;
mod sender;
mod stories;

pub use body::Body;
pub use crowd::Crowd;
pub use rand::SeedableRng;
pub use rand::rngs::StdRng as Random;
pub use samples::{SAMPLE_PEOPLE, SAMPLE_SUPPRESSED, samples};
pub use sender::{Outcome, Sender, Sent, sign};
pub use stories::{STORIES_SUPPRESSED, Story, stories};

use rand::Rng as _;
use rand::seq::SliceRandom as _;

/// Repeats `percent` of the bodies and mixes them within windows, so that copies and originals arrive in any order.
pub fn disturb(bodies: Vec<Body>, percent: u8, window: usize, seed: u64) -> Vec<Body> {
    let mut random = Random::seed_from_u64(seed);
    let mut disturbed = Vec::with_capacity(bodies.len() + bodies.len() / 10);
    for body in bodies {
        if random.random_range(0..100) < percent {
            disturbed.push(body.clone());
        }
        disturbed.push(body);
    }
    for window in disturbed.chunks_mut(window.max(1)) {
        window.shuffle(&mut random);
    }
    disturbed
}

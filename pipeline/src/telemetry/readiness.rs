use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Ready once every latch is released, until the service drains.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<State>);

#[derive(Debug, Default)]
struct State {
    latches: AtomicUsize,
    draining: AtomicBool,
}

/// Something that must have happened before the service is ready. Dropping it without releasing keeps the service unready.
#[derive(Debug)]
pub struct Latch(Readiness);

impl Readiness {
    /// Adds something to wait for.
    pub fn latch(&self) -> Latch {
        self.0.latches.fetch_add(1, Ordering::SeqCst);
        Latch(self.clone())
    }

    /// Not ready any more, whatever the latches say.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::SeqCst);
    }

    /// What `/readyz` answers.
    pub fn is_ready(&self) -> bool {
        self.0.latches.load(Ordering::SeqCst) == 0 && !self.0.draining.load(Ordering::SeqCst)
    }
}

impl Latch {
    /// It has happened.
    pub fn release(self) {
        self.0.0.latches.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_ready_when_every_latch_is_released_and_until_it_drains() {
        let readiness = Readiness::default();
        let (first, second) = (readiness.latch(), readiness.latch());
        first.release();
        assert!(!readiness.is_ready());
        second.release();
        assert!(readiness.is_ready());
        readiness.drain();
        assert!(!readiness.is_ready());
    }
}

//! How much may be in flight at once. Above it a request is refused at once: a queue that grows would only answer late.
//!
//! What is not verified yet never takes the place of what is: anybody can begin a request and leave it.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aftersend_pipeline::config;
use aftersend_schemas::topics::{PARTITIONS, partition_of};

const LANES: usize = PARTITIONS as usize;

/// There is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// Counts of what is in flight, and their limits.
pub struct Admission {
    /// Verified requests.
    requests: Count,
    /// Requests that are still being read, beyond the first of their connection.
    arriving: Count,
    bytes: Count,
    /// So much of the bytes for bodies that are waited for: who sends slowly cannot lock out events that are there.
    waiting_bytes: usize,
    /// Of these, what connections may have of which nothing was verified yet.
    strangers_bytes: usize,
    lanes: [Lane; LANES],
}

/// What waits for one partition. A partition without a leader, or a key that is too hot, gets a quarter of the whole and cannot starve the others.
struct Lane {
    records: Count,
    bytes: Count,
}

/// How many there are, and may be.
pub(crate) struct Count {
    now: AtomicUsize,
    limit: usize,
}

impl Count {
    fn new(limit: usize) -> Self {
        Self { now: AtomicUsize::new(0), limit }
    }

    fn take(&self, amount: usize, limit: usize) -> Result<(), Full> {
        let before = self.now.fetch_add(amount, Ordering::Relaxed);
        if before.saturating_add(amount) <= limit {
            return Ok(());
        }
        self.give(amount);
        Err(Full)
    }

    fn give(&self, amount: usize) {
        self.now.fetch_sub(amount, Ordering::Relaxed);
    }

    fn now(&self) -> usize {
        self.now.load(Ordering::Relaxed)
    }
}

impl Admission {
    /// Nothing in flight, and the limits of the configuration.
    pub fn new(limits: &config::Ingest) -> Arc<Self> {
        let bytes = limits.max_in_flight_bytes;
        let lane = |_| Lane {
            records: Count::new(limits.max_in_flight_requests.div_ceil(4)),
            bytes: Count::new((bytes / 4).max(limits.max_body_bytes)),
        };
        Arc::new(Self {
            requests: Count::new(limits.max_in_flight_requests),
            arriving: Count::new(limits.max_in_flight_requests),
            bytes: Count::new(bytes),
            waiting_bytes: (bytes - bytes / 4).max(limits.max_body_bytes),
            strangers_bytes: ((bytes - bytes / 4) / 2).max(limits.max_body_bytes),
            lanes: std::array::from_fn(lane),
        })
    }

    /// A request whose body is to be read. Each connection has one place of its own, further requests beside it (HTTP/2) share the others: all of them
    /// where one of the connection's requests was verified before, else half.
    pub(crate) fn arrive<'c>(&'c self, own: Option<&'c Cell<bool>>, is_proven: bool) -> Result<Place<'c>, Full> {
        match own {
            Some(taken) if !taken.replace(true) => Ok(Place::Own(taken)),
            _ => {
                let limit = self.arriving.limit;
                self.arriving.take(1, if is_proven { limit } else { limit.div_ceil(2) })?;
                Ok(Place::Shared(&self.arriving))
            }
        }
    }

    /// One more verified request, until its answer.
    pub(crate) fn enter(&self) -> Result<RequestPermit<'_>, Full> {
        self.requests.take(1, self.requests.limit)?;
        Ok(RequestPermit(&self.requests))
    }

    /// A body, of which nothing is there yet, on a connection of which a request was verified before, or not: those who only begin bodies must leave room
    /// to those who are known.
    pub fn body(self: &Arc<Self>, is_proven: bool) -> BodyPermit {
        let waiting_bytes = if is_proven { self.waiting_bytes } else { self.strangers_bytes };
        BodyPermit { admission: self.clone(), waiting_bytes, bytes: 0, lane: None }
    }

    /// Verified requests in flight.
    pub(crate) fn requests(&self) -> usize {
        self.requests.now()
    }

    /// Bytes of bodies in flight.
    pub fn bytes(&self) -> usize {
        self.bytes.now()
    }
}

/// A request that is being read.
pub(crate) enum Place<'c> {
    /// The one that its connection has.
    Own(&'c Cell<bool>),
    /// One of those that all connections share.
    Shared(&'c Count),
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        match self {
            Self::Own(taken) => taken.set(false),
            Self::Shared(count) => count.give(1),
        }
    }
}

/// A verified request in flight.
pub(crate) struct RequestPermit<'c>(&'c Count);

impl Drop for RequestPermit<'_> {
    fn drop(&mut self) {
        self.0.give(1);
    }
}

/// The bytes of a body, from its first piece until its record is delivered or given up, which may be after the answer.
pub struct BodyPermit {
    admission: Arc<Admission>,
    waiting_bytes: usize,
    bytes: usize,
    lane: Option<usize>,
}

impl BodyPermit {
    /// So many bytes more: all of the body, or a piece of one that is waited for.
    pub fn grow(&mut self, amount: usize, whole: bool) -> Result<(), Full> {
        let bytes = &self.admission.bytes;
        let limit = if whole { bytes.limit } else { self.waiting_bytes };
        bytes.take(amount, limit)?;
        self.bytes += amount;
        Ok(())
    }

    /// So many bytes less: a body beyond the limit keeps its head only.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        self.admission.bytes.give(self.bytes.saturating_sub(bytes));
        self.bytes = self.bytes.min(bytes);
    }

    /// Joins what waits for the partition of `key`. Once, when the body is whole.
    pub(crate) fn enter_lane(&mut self, key: &[u8]) -> Result<(), Full> {
        let index = usize::try_from(partition_of(key)).unwrap_or_default();
        let lane = &self.admission.lanes[index];
        lane.records.take(1, lane.records.limit)?;
        if lane.bytes.take(self.bytes, lane.bytes.limit).is_err() {
            lane.records.give(1);
            return Err(Full);
        }
        self.lane = Some(index);
        Ok(())
    }
}

impl Drop for BodyPermit {
    fn drop(&mut self) {
        self.admission.bytes.give(self.bytes);
        if let Some(lane) = self.lane.map(|index| &self.admission.lanes[index]) {
            lane.records.give(1);
            lane.bytes.give(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(requests: usize, bytes: usize, body: usize) -> Arc<Admission> {
        Admission::new(&config::Ingest {
            max_in_flight_requests: requests,
            max_in_flight_bytes: bytes,
            max_body_bytes: body,
            ..config::Ingest::default()
        })
    }

    #[test]
    fn what_is_above_a_limit_is_refused_and_what_ends_makes_room() {
        let admission = admission(2, 100, 50);
        let (first, second) = (admission.enter().unwrap(), admission.enter());
        assert!(second.is_ok() && admission.enter().is_err());
        drop(first);
        assert!(admission.enter().is_ok());

        let mut body = admission.body(true);
        assert_eq!((body.grow(60, true), body.grow(40, true), body.grow(1, true)), (Ok(()), Ok(()), Err(Full)));
        body.shrink_to(10);
        assert_eq!(admission.bytes(), 10);
        drop(body);
        assert_eq!(admission.bytes(), 0);
    }

    #[test]
    fn bodies_that_are_waited_for_leave_a_quarter_to_those_that_are_there() {
        let admission = admission(10, 1_000_000, 400_000);
        let mut slow = admission.body(true);
        assert_eq!((slow.grow(750_000, false), slow.grow(1, false)), (Ok(()), Err(Full)));
        assert_eq!(admission.body(true).grow(560, true), Ok(()));
        drop(slow);
        let mut stranger = admission.body(false);
        assert_eq!((stranger.grow(400_000, false), stranger.grow(1, false)), (Ok(()), Err(Full)));
        assert_eq!(admission.body(false).grow(1, false), Err(Full), "of all strangers together");
        assert_eq!(admission.body(true).grow(350_000, false), Ok(()));
    }

    #[test]
    fn requests_that_are_begun_and_left_take_no_place_of_verified_ones_nor_of_other_connections() {
        let admission = admission(2, 100, 50);
        let (one, other) = (Cell::new(false), Cell::new(false));
        let own = admission.arrive(Some(&one), false).unwrap();
        let beside = admission.arrive(Some(&one), false).unwrap();
        assert!(admission.arrive(Some(&one), false).is_err(), "half of the shared places are taken");
        assert!(admission.arrive(Some(&one), true).is_ok(), "who is known has the others");
        assert!(admission.arrive(Some(&other), false).is_ok() && admission.enter().is_ok());
        drop(own);
        assert!(admission.arrive(Some(&one), false).is_ok());
        drop(beside);
        assert!(admission.arrive(None, false).is_ok());
    }

    #[test]
    fn one_partition_gets_a_quarter_and_leaves_the_rest_to_the_others() {
        let admission = admission(8, 1_000_000, 1);
        let mut hot: Vec<_> = (0..3).map(|_| admission.body(true)).collect();
        let results: Vec<_> = hot.iter_mut().map(|body| body.enter_lane(b"u-1")).collect();
        assert_eq!(results, [Ok(()), Ok(()), Err(Full)]);
        assert_eq!(admission.body(true).enter_lane(b"u-2"), Ok(()));
        hot.remove(0);
        assert_eq!(admission.body(true).enter_lane(b"u-1"), Ok(()));

        let mut heavy = admission.body(true);
        heavy.grow(260_000, true).unwrap();
        assert_eq!(heavy.enter_lane(b"u-9"), Err(Full));
    }
}

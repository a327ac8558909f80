//! One partition on its way into one table: what the protocol decided so far, the batch under way and the one that fills.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aftersend_pipeline::record::Record;
use aftersend_pipeline::retry::Backoff;
use aftersend_schemas::DecodeError;
use tokio_util::sync::CancellationToken;

use super::batch::{BYTES, Batch, Filling};
use super::failure::Refusal;
use super::protocol::{Input, Machine, Operation, Span};
use super::tables::Table;
use super::writer::Work;

/// An offset without company is committed after so long.
const REST: Duration = Duration::from_secs(1);

/// A partition of this assignment.
pub(super) struct Lane {
    /// No two assignments share it: what an earlier one still had under way is not this one's.
    pub(super) number: u64,
    pub(super) machine: Machine,
    /// Cancelled when the partition goes: nothing more is sent or committed.
    pub(super) fence: CancellationToken,
    pub(super) paused: bool,
    /// Something is being carried out.
    pub(super) busy: bool,
    filling: Option<Filling>,
    current: Option<Arc<Batch>>,
    missing: Arc<HashSet<i64>>,
    /// Rows of the current part were read back.
    checked: bool,
    refusal: Option<Refusal>,
    /// Records that came before it was known how the partition begins.
    early: VecDeque<Record>,
    early_bytes: usize,
    /// Below it everything is done, or in memory.
    position: i64,
    /// Up to here what makes no row is in the dead letters.
    lettered: i64,
    backoff: Option<Backoff>,
    settled: Option<Instant>,
}

impl Lane {
    pub(super) fn new(number: u64, fences: &CancellationToken) -> (Self, Operation) {
        let (machine, operation) = Machine::new();
        let lane = Self {
            number,
            machine,
            fence: fences.child_token(),
            paused: false,
            busy: false,
            filling: None,
            current: None,
            missing: Arc::default(),
            checked: false,
            refusal: None,
            early: VecDeque::new(),
            early_bytes: 0,
            position: 0,
            lettered: -1,
            backoff: None,
            settled: None,
        };
        (lane, operation)
    }

    /// Takes the next record, in order.
    pub(super) fn push<T: Table>(&mut self, table: &T, record: Record, now: Instant) -> Result<(), DecodeError> {
        if self.machine.stopped().is_some() || self.machine.has_left() {
            return Ok(());
        }
        if !self.machine.takes_batches() {
            self.early_bytes += record.size();
            self.early.push_back(record);
            return Ok(());
        }
        self.drain_early(table, now)?;
        self.fill(table, record, now)
    }

    /// What came early, once there is a place for it.
    pub(super) fn drain_early<T: Table>(&mut self, table: &T, now: Instant) -> Result<(), DecodeError> {
        if !self.machine.takes_batches() {
            return Ok(());
        }
        self.early_bytes = 0;
        for record in std::mem::take(&mut self.early) {
            self.fill(table, record, now)?;
        }
        Ok(())
    }

    fn fill<T: Table>(&mut self, table: &T, record: Record, now: Instant) -> Result<(), DecodeError> {
        let offset = record.offset;
        // Read again after a rebuild, or before the offset that the group had when we looked.
        if offset < self.position {
            return Ok(());
        }
        let epoch = self.machine.epoch().unwrap_or_default();
        self.filling.get_or_insert_with(|| Filling::new(epoch, now)).push(table, record)?;
        self.position = offset + 1;
        Ok(())
    }

    /// Since when the filling batch waits to be sent; nothing while it should grow, or while another is under way.
    pub(super) fn due_since(&self, now: Instant, age: Duration, make_room: bool) -> Option<Instant> {
        let filling = self.filling.as_ref().filter(|_| self.machine.is_ready())?;
        (make_room || filling.is_due(now, age)).then_some(filling.since)
    }

    /// Closes the filling batch.
    pub(super) fn close(&mut self, now: Instant) -> Option<Operation> {
        let batch = self.filling.take_if(|filling| !filling.is_empty())?.close();
        let span = batch.span();
        self.current = Some(Arc::new(batch));
        self.settled = None;
        self.tell(Input::Closed(span), now)
    }

    /// Commits what has waited for company long enough.
    pub(super) fn rest_due(&mut self, now: Instant) -> Option<Operation> {
        let due = self.filling.is_none() && self.settled.is_some_and(|since| now.duration_since(since) >= REST);
        if due { self.tell(Input::Rest, now) } else { None }
    }

    /// What happened; what to do next.
    pub(super) fn tell(&mut self, input: Input, now: Instant) -> Option<Operation> {
        match input {
            Input::InDoubt => {
                self.backoff.get_or_insert_with(|| Backoff::new(Duration::from_millis(200), Duration::from_secs(5)));
            }
            Input::Inserted => self.backoff = None,
            Input::Standing(standing) => self.position = standing.position(),
            _ => {}
        }
        let operation = self.machine.on(input);
        if self.machine.is_settled() {
            self.settled.get_or_insert(now);
        } else {
            self.settled = None;
        }
        if self.machine.is_between_batches() {
            self.current = None;
        }
        operation
    }

    /// The batch that was announced by a predecessor, as far as the log has it; how many of its records are gone.
    pub(super) fn rebuilt(&mut self, batch: Option<Batch>, now: Instant) -> (Option<Operation>, u32) {
        let announced = self.machine.announced();
        self.position = self.position.max(announced.map_or(0, |span| span.next()));
        let records = batch.as_ref().map_or(0, |batch| batch.span().records);
        self.current = batch.map(Arc::new);
        let gone = announced.map_or(0, |span| span.records.saturating_sub(records));
        (self.tell(Input::Rebuilt(records), now), gone)
    }

    pub(super) fn refused(&mut self, refusal: Refusal, now: Instant) -> Option<Operation> {
        self.refusal = Some(refusal);
        let halves = self.machine.announced().and_then(|span| self.current.as_ref()?.halves(span));
        self.tell(Input::Refused(halves), now)
    }

    pub(super) fn found_missing(&mut self, missing: HashSet<i64>, rows: u32, now: Instant) -> Option<Operation> {
        let count = u32::try_from(missing.len()).unwrap_or(u32::MAX);
        self.missing = Arc::new(missing);
        self.checked = true;
        self.tell(Input::Missing { missing: count, rows }, now)
    }

    /// An operation with what it works on.
    pub(super) fn work(&mut self, operation: Operation) -> Option<Work> {
        Some(match operation {
            Operation::Look => Work::Look,
            Operation::Commit { next, intent } => {
                self.checked = false;
                Work::Commit { next, intent }
            }
            Operation::Rebuild(span) => Work::Rebuild { span, epoch: self.machine.epoch().unwrap_or_default() },
            Operation::Insert { span, epoch, opened, attempt, rows } => {
                let letters = self.letters(span);
                let delay = self.backoff.as_mut().map_or(Duration::ZERO, Backoff::next_delay);
                Work::Insert {
                    batch: self.current.clone()?,
                    span,
                    epoch,
                    opened,
                    attempt,
                    rows,
                    missing: self.missing.clone(),
                    delay,
                    letters,
                }
            }
            Operation::ReadBack { span, epoch } => {
                let letters = self.letters(span);
                Work::ReadBack { batch: self.current.clone()?, span, epoch, letters }
            }
            Operation::Bury(span) => {
                Work::Bury { span, missing: self.checked.then(|| self.missing.clone()), refusal: self.refusal.clone() }
            }
        })
    }

    /// True the first time for a part.
    fn letters(&mut self, span: Span) -> bool {
        let first_time = span.last > self.lettered;
        self.lettered = self.lettered.max(span.last);
        first_time
    }

    /// Timestamp of the oldest record of the batch under way.
    pub(super) fn oldest(&self) -> Option<i64> {
        self.current.as_ref()?.oldest
    }

    /// Where the next record to take stands.
    pub(super) fn next_offset(&self) -> i64 {
        self.position
    }

    /// What could be closed to make room.
    pub(super) fn filling_size(&self) -> usize {
        self.filling.as_ref().filter(|_| self.machine.is_ready()).map_or(0, Filling::size)
    }

    /// A batch is announced and not all of it is there.
    pub(super) fn is_writing(&self) -> bool {
        self.machine.announced().is_some()
    }

    /// Everything that is kept in memory for it.
    pub(super) fn size(&self) -> usize {
        let current = self.current.as_ref().map_or(0, |batch| batch.size());
        self.early_bytes + current + self.filling.as_ref().map_or(0, Filling::size)
    }

    /// No more records are wanted for now.
    pub(super) fn is_full(&self) -> bool {
        self.machine.stopped().is_some() || self.early_bytes >= BYTES || self.filling.as_ref().is_some_and(Filling::is_full)
    }

    /// Nothing of it is kept any more; what it was doing comes to nothing.
    pub(super) fn drop_records(&mut self) {
        (self.filling, self.current) = (None, None);
        self.early.clear();
        self.early_bytes = 0;
    }
}

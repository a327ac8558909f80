//! The state of one partition, and what follows from what.

use super::intent::{Intent, Span};
use super::start::{Standing, Start, Stop};

/// So often only the missing rows are sent before somebody has to look.
pub(crate) const ATTEMPTS: u32 = 5;

/// Which rows of a batch are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Rows {
    Whole,
    /// Those that reading back did not find.
    Missing,
}

/// What to do. One at a time; its end is the next input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    /// Read what is committed, the bounds of the log, and what is stored: [`Input::Standing`].
    Look,
    /// [`Input::Committed`] or [`Input::Fenced`].
    Commit { next: i64, intent: Intent },
    /// Read these records again: [`Input::Rebuilt`].
    Rebuild(Span),
    /// One insert, one block: [`Input::Inserted`], [`Input::InDoubt`] or [`Input::Refused`].
    Insert { span: Span, epoch: u32, opened: Option<i64>, attempt: u32, rows: Rows },
    /// Which rows of the batch are there: [`Input::Missing`].
    ReadBack { span: Span, epoch: u32 },
    /// To the dead letters with the rows that are not there: [`Input::Buried`].
    Bury(Span),
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Input {
    Standing(Standing),
    /// The next batch is closed, while none is under way.
    Closed(Span),
    /// The announced batch is in memory again, with so many records.
    Rebuilt(u32),
    Committed,
    /// The group knows us no more.
    Fenced,
    Inserted,
    /// It may be there, or not, or in part.
    InDoubt,
    /// Nothing of this insert is there and nothing of it ever will be: its halves, unless it is a single row.
    Refused(Option<(Span, Span)>),
    /// So many of the batch's rows are not there.
    Missing {
        missing: u32,
        rows: u32,
    },
    Buried,
    /// Nothing was closed for a while.
    Rest,
    /// The partition goes: finish what is under way.
    Leave,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum State {
    Looking,
    Opening,
    /// Commits the intent that it found once more: a member that was dropped meanwhile must not send what its successor has just announced.
    Claiming(Span),
    Rebuilding(Span),
    Idle,
    Announcing(Span),
    Sending {
        batch: Span,
        attempt: u32,
        doubt: bool,
    },
    Checking {
        batch: Span,
        attempt: u32,
        refused: Option<Option<(Span, Span)>>,
    },
    Burying(Span),
    /// Its rows are in. The offset waits for the next batch, so that one commit does for both.
    Settled(Span),
    Finishing,
    Stopped(Stop),
    Left,
}

/// One partition of one assignment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Machine {
    state: State,
    epoch: u32,
    opened: Option<i64>,
    /// Parts of a refused batch that have not been announced, the earliest last.
    parts: Vec<Span>,
    /// Up to this offset rows may be there under other tokens.
    suspect: Option<i64>,
    leaving: bool,
}

impl Machine {
    pub(crate) fn new() -> (Self, Operation) {
        (Self { state: State::Looking, epoch: 0, opened: None, parts: Vec::new(), suspect: None, leaving: false }, Operation::Look)
    }

    /// What follows; nothing while there is something under way or nothing to do.
    pub(crate) fn on(&mut self, input: Input) -> Option<Operation> {
        match (self.state, input) {
            (State::Stopped(_) | State::Left, _) => None,
            (_, Input::Fenced) => self.go(State::Left, None),
            (_, Input::Leave) => self.leave(),
            (State::Looking, Input::Standing(standing)) => self.begin(&standing),
            (State::Opening | State::Finishing, Input::Committed) => self.rest(),
            (State::Claiming(batch), Input::Committed) => self.go(State::Rebuilding(batch), Some(Operation::Rebuild(batch))),
            (State::Rebuilding(batch), Input::Rebuilt(0)) => self.settled(batch),
            (State::Rebuilding(batch), Input::Rebuilt(_)) if self.is_suspect(batch) => self.check(batch, 0, None),
            (State::Rebuilding(batch), Input::Rebuilt(_)) => self.send(batch, 0, true),
            (State::Announcing(batch), Input::Committed) if self.is_suspect(batch) => self.check(batch, 0, None),
            (State::Announcing(batch), Input::Committed) => self.send(batch, 0, false),
            (State::Sending { batch, attempt, doubt }, Input::Inserted) if doubt || attempt > 0 => self.check(batch, attempt, None),
            (State::Sending { batch, .. }, Input::Inserted) => self.settled(batch),
            // With the same token until it is accepted: only then can an absence be real.
            (State::Sending { batch, attempt, .. }, Input::InDoubt) => self.send(batch, attempt, true),
            (State::Sending { batch, attempt, doubt }, Input::Refused(halves)) if doubt || attempt > 0 => {
                self.check(batch, attempt, Some(halves))
            }
            (State::Sending { batch, .. }, Input::Refused(halves)) => self.split(batch, halves),
            (State::Checking { batch, .. }, Input::Missing { missing: 0, .. }) => self.settled(batch),
            (State::Checking { batch, refused: Some(halves), .. }, Input::Missing { missing, rows }) => {
                if missing < rows {
                    self.suspect = self.suspect.max(Some(batch.last));
                }
                self.split(batch, halves)
            }
            (State::Checking { attempt: ATTEMPTS, .. }, Input::Missing { .. }) => self.go(State::Stopped(Stop::NotFilling), None),
            (State::Checking { batch, attempt, .. }, Input::Missing { .. }) => self.send(batch, attempt + 1, false),
            (State::Burying(batch), Input::Buried) => self.settled(batch),
            (State::Idle | State::Settled(_), Input::Closed(span)) => self.announce(span),
            (State::Settled(batch), Input::Rest) => self.finish(batch),
            _ => None,
        }
    }

    /// The epoch in which rows are written, once it is known.
    pub(crate) fn epoch(&self) -> Option<u32> {
        (!matches!(self.state, State::Looking)).then_some(self.epoch)
    }

    /// The next batch may be filled: what was announced before is in memory.
    pub(crate) fn takes_batches(&self) -> bool {
        !self.leaving && !matches!(self.state, State::Looking | State::Claiming(_) | State::Rebuilding(_) | State::Stopped(_) | State::Left)
    }

    /// A batch may be closed.
    pub(crate) fn is_ready(&self) -> bool {
        !self.leaving && matches!(self.state, State::Idle | State::Settled(_))
    }

    /// The batch that was being sent needs to be kept no longer.
    pub(crate) fn is_between_batches(&self) -> bool {
        matches!(self.state, State::Idle | State::Settled(_) | State::Finishing | State::Opening)
    }

    pub(crate) fn is_settled(&self) -> bool {
        matches!(self.state, State::Settled(_))
    }

    /// The part of the batch that is under way.
    pub(crate) fn announced(&self) -> Option<Span> {
        match self.state {
            State::Claiming(batch)
            | State::Rebuilding(batch)
            | State::Announcing(batch)
            | State::Sending { batch, .. }
            | State::Checking { batch, .. }
            | State::Burying(batch) => Some(batch),
            _ => None,
        }
    }

    pub(crate) fn stopped(&self) -> Option<Stop> {
        match self.state {
            State::Stopped(stop) => Some(stop),
            _ => None,
        }
    }

    pub(crate) fn has_left(&self) -> bool {
        self.state == State::Left
    }

    fn go(&mut self, state: State, operation: Option<Operation>) -> Option<Operation> {
        self.state = state;
        operation
    }

    fn begin(&mut self, standing: &Standing) -> Option<Operation> {
        match standing.start() {
            Start::Stop(stop) => self.go(State::Stopped(stop), None),
            Start::Continue(intent) => {
                (self.epoch, self.opened, self.suspect) = (intent.epoch, intent.opened, intent.suspect);
                self.rest()
            }
            Start::Recover(intent, batch) => {
                (self.epoch, self.opened, self.suspect) = (intent.epoch, intent.opened, intent.suspect);
                self.commit(State::Claiming(batch), batch.first, Some(batch))
            }
            Start::Open { epoch, opened, next } => {
                (self.epoch, self.opened) = (epoch, Some(opened));
                self.commit(State::Opening, next, None)
            }
        }
    }

    /// Nothing is under way and everything is committed.
    fn rest(&mut self) -> Option<Operation> {
        let state = if self.leaving { State::Left } else { State::Idle };
        self.go(state, None)
    }

    fn announce(&mut self, batch: Span) -> Option<Operation> {
        self.commit(State::Announcing(batch), batch.first, Some(batch))
    }

    fn commit(&mut self, state: State, next: i64, batch: Option<Span>) -> Option<Operation> {
        self.suspect = self.suspect.filter(|suspect| *suspect >= next);
        let intent = Intent { epoch: self.epoch, opened: self.opened, batch, suspect: self.suspect };
        self.go(state, Some(Operation::Commit { next, intent }))
    }

    fn is_suspect(&self, batch: Span) -> bool {
        self.suspect.is_some_and(|suspect| batch.first <= suspect)
    }

    fn send(&mut self, batch: Span, attempt: u32, doubt: bool) -> Option<Operation> {
        let rows = if attempt == 0 { Rows::Whole } else { Rows::Missing };
        let insert = Operation::Insert { span: batch, epoch: self.epoch, opened: self.opened, attempt, rows };
        self.go(State::Sending { batch, attempt, doubt }, Some(insert))
    }

    fn check(&mut self, batch: Span, attempt: u32, refused: Option<Option<(Span, Span)>>) -> Option<Operation> {
        self.go(State::Checking { batch, attempt, refused }, Some(Operation::ReadBack { span: batch, epoch: self.epoch }))
    }

    /// A refused batch goes on as two, each announced by itself; a refused row is buried.
    fn split(&mut self, batch: Span, halves: Option<(Span, Span)>) -> Option<Operation> {
        let Some((first, second)) = halves else {
            return self.go(State::Burying(batch), Some(Operation::Bury(batch)));
        };
        self.parts.push(second);
        self.announce(first)
    }

    /// Every row of the batch is there, or buried.
    fn settled(&mut self, batch: Span) -> Option<Operation> {
        if self.leaving {
            return self.finish(batch);
        }
        match self.parts.pop() {
            Some(part) => self.announce(part),
            None => self.go(State::Settled(batch), None),
        }
    }

    fn finish(&mut self, batch: Span) -> Option<Operation> {
        self.commit(State::Finishing, batch.next(), None)
    }

    fn leave(&mut self) -> Option<Operation> {
        self.leaving = true;
        match self.state {
            State::Settled(batch) => self.finish(batch),
            State::Looking | State::Opening | State::Claiming(_) | State::Rebuilding(_) | State::Idle => self.go(State::Left, None),
            _ => None,
        }
    }
}

//! Every order of crashes, lost answers, late requests, zombies and replays after a deletion, up to a bound: no reachable state loses or doubles a row.
//!
//! The world is one partition of the log, what the group has committed, one table of two days with tokens as ClickHouse keeps them (written before the
//! rows, one for each day), requests that nobody waits for any more, and members of which one is the owner.

use std::collections::{BTreeSet, HashSet};

use super::*;

/// Offsets with a gap, as a transaction's marker leaves one, and the day of each.
const LOG: [(i64, u8); 4] = [(0, 0), (1, 1), (3, 1), (4, 1)];
const END: i64 = 5;
const LONGEST: usize = 3;

type Token = (i64, i64, u32, Option<i64>, u32, u8);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Request {
    span: Span,
    epoch: u32,
    opened: Option<i64>,
    attempt: u32,
    records: BTreeSet<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Member {
    machine: Machine,
    operation: Option<Operation>,
    /// Where it reads on.
    position: i64,
    missing: BTreeSet<usize>,
}

/// How much may still go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Faults {
    kills: u8,
    server_kills: u8,
    lost: u8,
    zombies: u8,
    /// Somebody deletes the rows and has the log read again from its beginning, once nothing is under way. ClickHouse keeps the tokens.
    replays: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    committed: Option<(i64, Intent)>,
    rows: [u8; LOG.len()],
    buried: [bool; LOG.len()],
    tokens: BTreeSet<Token>,
    /// Sent by somebody who does not wait: may be carried out at any time, or never.
    late: Vec<Request>,
    owner: Member,
    zombies: Vec<Member>,
    /// Moves with every replay: what was opened before one was opened earlier.
    clock: i64,
    faults: Faults,
    poison: Option<usize>,
}

impl Member {
    fn new() -> Self {
        let (machine, look) = Machine::new();
        Self { machine, operation: Some(look), position: 0, missing: BTreeSet::new() }
    }

    fn tell(&mut self, input: Input) {
        self.operation = self.machine.on(input);
    }
}

fn records(span: Span) -> BTreeSet<usize> {
    (0..LOG.len()).filter(|record| (span.first..=span.last).contains(&LOG[*record].0)).collect()
}

fn span(of: &[usize]) -> Span {
    Span { first: LOG[of[0]].0, last: LOG[of[of.len() - 1]].0, records: of.len() as u32 }
}

fn halves(of: Span) -> Option<(Span, Span)> {
    let all: Vec<usize> = records(of).into_iter().collect();
    (all.len() > 1).then(|| (span(&all[..all.len() / 2]), span(&all[all.len() / 2..])))
}

impl World {
    fn new(faults: Faults, poison: Option<usize>) -> Self {
        Self {
            committed: None,
            rows: [0; LOG.len()],
            buried: [false; LOG.len()],
            tokens: BTreeSet::new(),
            late: Vec::new(),
            owner: Member::new(),
            zombies: Vec::new(),
            clock: 0,
            faults,
            poison,
        }
    }

    fn standing(&self) -> Standing {
        let last = (0..LOG.len()).filter(|record| self.rows[*record] > 0).map(|record| LOG[record].0).max();
        let note = match &self.committed {
            // Through the text that Kafka keeps.
            Some((next, intent)) => Note::read(&intent.to_string(), *next),
            None => Note::Foreign,
        };
        Standing {
            committed: self.committed.map(|(next, _)| next),
            note,
            log: LogBounds { start: 0, end: END },
            stored: Stored { epoch: last.map(|_| 0), last, last_in_epoch: last },
            at: self.clock,
        }
    }

    /// Days `0..whole` are stored; of the next one the token only, if the server dies between the two.
    fn store(&mut self, request: &Request, whole: u8, token_only: bool) {
        for day in 0..2 {
            let rows: Vec<usize> = request.records.iter().copied().filter(|record| LOG[*record].1 == day).collect();
            let token = (request.span.first, request.span.last, request.epoch, request.opened, request.attempt, day);
            if rows.is_empty() || day > whole || (day == whole && !token_only) || !self.tokens.insert(token) {
                continue;
            }
            if day < whole {
                rows.iter().for_each(|record| self.rows[*record] += 1);
            }
        }
    }

    fn is_refused(&self, request: &Request) -> bool {
        self.poison.is_some_and(|poison| request.records.contains(&poison))
    }

    fn wrong(&self) -> Option<&'static str> {
        let behind = self.committed.map_or(0, |(next, _)| next);
        let is_there = |record: usize| self.rows[record] == 1 || self.buried[record];
        match () {
            () if self.rows.iter().any(|count| *count > 1) => Some("a row is doubled"),
            () if (0..LOG.len()).any(|record| LOG[record].0 < behind && !is_there(record)) => Some("a row is lost"),
            () if (0..LOG.len()).any(|record| self.buried[record] && self.poison != Some(record)) => Some("a good row is buried"),
            () if self.owner.machine.stopped().is_some() => Some("the partition stopped"),
            () if !self.is_done() && self.successors().is_empty() => Some("nothing goes on"),
            () => None,
        }
    }

    fn shown(&self) -> String {
        let doing = |member: &Member| member.operation.map_or_else(|| "idle".to_owned(), |operation| format!("{operation:?}"));
        let committed = self.committed.map(|(next, intent)| format!("{next} [{intent}]")).unwrap_or_default();
        let zombies: Vec<_> = self.zombies.iter().map(doing).collect();
        let late: Vec<_> = self.late.iter().map(|late| (late.span.first, late.span.last, late.attempt)).collect();
        format!("rows {:?}, committed {committed}, late {late:?}, owner {}, zombies {zombies:?}", self.rows, doing(&self.owner))
    }

    fn is_done(&self) -> bool {
        self.committed.is_some_and(|(next, intent)| next == END && intent.batch.is_none())
    }

    /// Every world that may come next.
    fn successors(&self) -> Vec<World> {
        let mut next = Vec::new();
        self.step(None, &mut next);
        for zombie in 0..self.zombies.len() {
            self.step(Some(zombie), &mut next);
        }
        for (index, request) in self.late.iter().enumerate() {
            let mut world = self.clone();
            world.late.remove(index);
            if !self.is_refused(request) {
                world.store(request, 2, false);
            }
            next.push(world);
        }
        if self.faults.kills > 0 {
            let mut world = self.clone();
            world.faults.kills -= 1;
            let dead = std::mem::replace(&mut world.owner, Member::new());
            // What it was sending may have left it.
            if let Some(request) = dead.request() {
                let mut sent = world.clone();
                sent.late.push(request);
                next.push(sent);
            }
            next.push(world);
        }
        if self.faults.replays > 0 && self.late.is_empty() && self.zombies.is_empty() && self.owner.operation.is_none() {
            let faults = Faults { replays: self.faults.replays - 1, ..self.faults };
            next.push(World { tokens: self.tokens.clone(), clock: self.clock + 1, ..World::new(faults, self.poison) });
        }
        if self.faults.zombies > 0 {
            let mut world = self.clone();
            world.faults.zombies -= 1;
            let old = std::mem::replace(&mut world.owner, Member::new());
            world.zombies.push(old);
            next.push(world);
        }
        next
    }

    fn step(&self, zombie: Option<usize>, next: &mut Vec<World>) {
        let member = zombie.map_or(&self.owner, |zombie| &self.zombies[zombie]);
        let mut with = |change: &dyn Fn(&mut World, &mut Member)| {
            let mut world = self.clone();
            let mut member = member.clone();
            change(&mut world, &mut member);
            match zombie {
                None if member.machine.has_left() => world.owner = Member::new(),
                None => world.owner = member,
                Some(index) if member.machine.has_left() => drop(world.zombies.remove(index)),
                Some(index) => world.zombies[index] = member,
            }
            next.push(world);
        };
        match member.operation {
            Some(Operation::Look) => with(&|world, member| {
                let standing = world.standing();
                member.position = standing.position();
                member.tell(Input::Standing(standing));
                if let Some(announced) = member.machine.announced() {
                    member.position = announced.next();
                }
            }),
            Some(Operation::Commit { next: offset, intent }) => with(&|world, member| {
                if zombie.is_some() {
                    return member.tell(Input::Fenced);
                }
                world.committed = Some((offset, intent));
                member.tell(Input::Committed);
            }),
            Some(Operation::Rebuild(span)) => with(&|_, member| {
                member.missing = records(span);
                member.tell(Input::Rebuilt(span.records));
            }),
            Some(Operation::Insert { span, .. }) => {
                let Some(request) = member.request() else { return };
                if self.is_refused(&request) {
                    with(&|_, member| member.tell(Input::Refused(halves(span))));
                } else {
                    with(&|world, member| {
                        world.store(&request, 2, false);
                        member.tell(Input::Inserted);
                    });
                }
                if self.faults.lost > 0 {
                    with(&|world, member| {
                        world.faults.lost -= 1;
                        world.late.push(request.clone());
                        member.tell(Input::InDoubt);
                    });
                }
                if self.faults.server_kills > 0 && !self.is_refused(&request) {
                    for (whole, token_only) in [(0, true), (1, false), (1, true), (2, false)] {
                        with(&|world, member| {
                            world.faults.server_kills -= 1;
                            world.late.clear();
                            world.store(&request, whole, token_only);
                            member.tell(Input::InDoubt);
                        });
                    }
                }
            }
            Some(Operation::ReadBack { span, .. }) => with(&|world, member| {
                let all = records(span);
                member.missing = all.iter().copied().filter(|record| world.rows[*record] == 0).collect();
                let (missing, rows) = (member.missing.len() as u32, all.len() as u32);
                member.tell(Input::Missing { missing, rows });
            }),
            Some(Operation::Bury(span)) => with(&|world, member| {
                records(span).into_iter().filter(|record| world.rows[*record] == 0).for_each(|record| world.buried[record] = true);
                member.tell(Input::Buried);
            }),
            None => {}
        }
        if member.machine.is_ready() {
            let unread: Vec<usize> = (0..LOG.len()).filter(|record| LOG[*record].0 >= member.position).collect();
            for length in 1..=unread.len().min(LONGEST) {
                with(&|_, member| {
                    let closed = span(&unread[..length]);
                    member.position = closed.next();
                    member.tell(Input::Closed(closed));
                });
            }
        }
        if member.machine.is_settled() {
            with(&|_, member| member.tell(Input::Rest));
        }
        if zombie.is_none() && member.operation.is_none() && self.faults.kills > 0 {
            with(&|world, member| {
                world.faults.kills -= 1;
                member.tell(Input::Leave);
            });
        }
    }
}

impl Member {
    fn request(&self) -> Option<Request> {
        let Some(Operation::Insert { span, epoch, opened, attempt, rows }) = self.operation else { return None };
        let records = if rows == Rows::Whole { records(span) } else { self.missing.clone() };
        Some(Request { span, epoch, opened, attempt, records })
    }
}

fn explore(start: World) -> usize {
    let mut seen = HashSet::from([start.clone()]);
    let mut worlds = vec![(start, 0)];
    let mut finished = false;
    let mut at = 0;
    while at < worlds.len() {
        let world = worlds[at].0.clone();
        if let Some(wrong) = world.wrong() {
            let mut trail = vec![world.shown()];
            let mut before = at;
            while before > 0 {
                before = worlds[before].1;
                trail.push(worlds[before].0.shown());
            }
            trail.reverse();
            panic!("{wrong}:\n{}", trail.join("\n"));
        }
        finished |= world.is_done();
        for successor in world.successors() {
            if seen.insert(successor.clone()) {
                worlds.push((successor, at));
            }
        }
        at += 1;
    }
    assert!(finished, "the end is never reached");
    worlds.len()
}

#[test]
fn no_order_of_crashes_late_requests_and_zombies_loses_or_doubles_a_row() {
    for (faults, poison) in [
        (Faults { kills: 2, server_kills: 1, lost: 0, zombies: 0, replays: 0 }, None),
        (Faults { kills: 1, server_kills: 2, lost: 0, zombies: 0, replays: 0 }, None),
        (Faults { kills: 1, server_kills: 0, lost: 2, zombies: 0, replays: 0 }, None),
        (Faults { kills: 0, server_kills: 1, lost: 1, zombies: 1, replays: 0 }, None),
        (Faults { kills: 0, server_kills: 0, lost: 0, zombies: 2, replays: 0 }, None),
        (Faults { kills: 1, server_kills: 1, lost: 1, zombies: 0, replays: 0 }, Some(2)),
        (Faults { kills: 0, server_kills: 1, lost: 0, zombies: 1, replays: 0 }, Some(2)),
        (Faults { kills: 0, server_kills: 1, lost: 0, zombies: 0, replays: 2 }, None),
        (Faults { kills: 1, server_kills: 0, lost: 0, zombies: 0, replays: 1 }, None),
    ] {
        let worlds = explore(World::new(faults, poison));
        eprintln!("{worlds} worlds with {faults:?}, poison {poison:?}");
        assert!(worlds > 500, "{worlds} worlds with {faults:?}: the explorer explores nothing");
    }
}

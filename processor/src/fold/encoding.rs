//! The state in bytes: only what there is, times as distances, addresses once.
//!
//! ```text
//! bits of the sections that follow
//! delivered   count, newest time, then distances to the next older; four bytes of hash each
//! addresses   count, eight bytes each; everything else names them by their place, 0 for none
//! the rest    times as distances to the newest delivery
//! ```

use aftersend_schemas::address::ProviderId;

use super::bytes::{Reader, Writer};
use super::hard::{HardBounce, HardBounces};
use super::last_times::LastTimes;
use super::recent::{Click, Mail, Recent, Response};
use super::soft::{SoftClass, SoftDay, SoftDays};
use super::state::{Complaint, State};

const DELIVERED: u64 = 1;
const ADDRESSES: u64 = 1 << 1;
const LIVES: u64 = 1 << 2;
const ADDRESS: u64 = 1 << 3;
/// The first delivery that ever was is not the oldest that is kept.
const FIRST: u64 = 1 << 4;
const OPENED: u64 = 1 << 5;
const CLICKED: u64 = 1 << 6;
const CONVERTED: u64 = 1 << 7;
const SOFT: u64 = 1 << 8;
const HARD: u64 = 1 << 9;
const COMPLAINTS: u64 = 1 << 10;
const WISHES: u64 = 1 << 11;
const LAST_BOUNCE: u64 = 1 << 12;
const CHANNELS: u64 = 1 << 13;
const DECISIONS: u64 = 1 << 14;
const DEVICES: u64 = 1 << 15;

pub(super) fn write(state: &State, version: u8) -> Vec<u8> {
    let delivered = state.delivered.as_slice();
    let addresses = addresses(state);
    let lifted = state.complaints_lifted_at.max(state.hard_lifted_at).max(state.never_suppress.0);
    let devices = [&state.devices_reached, &state.devices_failed];
    let sections = [
        (DELIVERED, !delivered.is_empty()),
        (ADDRESSES, !addresses.is_empty()),
        (LIVES, !state.lives.as_slice().is_empty()),
        (ADDRESS, state.address != (0, 0)),
        (FIRST, state.first_delivered_at != delivered.first().map_or(0, |mail| mail.at)),
        (OPENED, !state.opened.as_slice().is_empty()),
        (CLICKED, !state.clicked.as_slice().is_empty()),
        (CONVERTED, !state.converted.as_slice().is_empty()),
        (SOFT, !state.soft.as_slice().is_empty()),
        (HARD, !state.hard.as_slice().is_empty()),
        (COMPLAINTS, !state.complaints.is_empty()),
        (WISHES, state.unsubscribed_at.max(state.subscribed_at) > 0),
        (LAST_BOUNCE, state.last_bounce != (0, String::new())),
        (CHANNELS, state.channels.iter().any(|channel| *channel != Default::default())),
        (DECISIONS, lifted > 0),
        (DEVICES, devices.into_iter().any(|times| !times.as_slice().is_empty())),
    ];
    let present = sections.iter().filter(|(_, is_there)| *is_there).fold(0, |bits, (bit, _)| bits | bit);
    let has = |section: u64| present & section != 0;

    let mut out = Out { writer: Writer(Vec::with_capacity(64 + 8 * delivered.len())), base: i64::from(base(delivered)), addresses };
    out.writer.0.push(version);
    out.writer.number(present);
    if has(DELIVERED) {
        out.writer.number(delivered.len() as u64);
        out.writer.number(u64::from(base(delivered)));
        out.descending(delivered.iter().map(|mail| mail.at));
        delivered.iter().rev().for_each(|mail| out.writer.hash(mail.message));
    }
    if has(ADDRESSES) {
        out.writer.number(out.addresses.len() as u64);
        out.addresses.iter().for_each(|address| out.writer.0.extend_from_slice(&address.to_le_bytes()));
    }
    if has(LIVES) {
        out.writer.number(state.lives.as_slice().len() as u64);
        for (address, at) in state.lives.as_slice() {
            out.address(*address);
            out.time(*at);
        }
    }
    if has(ADDRESS) {
        out.time(state.address.0);
        out.address(state.address.1);
    }
    if has(FIRST) {
        out.time(state.first_delivered_at);
    }
    for (section, responses) in [(OPENED, &state.opened), (CONVERTED, &state.converted)] {
        if has(section) {
            let responses = responses.as_slice();
            out.times(responses.iter().map(|response| response.at));
            responses.iter().rev().for_each(|response| out.writer.hash(response.message));
        }
    }
    if has(CLICKED) {
        let clicks = state.clicked.as_slice();
        out.times(clicks.iter().map(|click| click.at));
        for click in clicks.iter().rev() {
            out.writer.hash(click.message);
            out.writer.hash(click.link);
        }
    }
    if has(SOFT) {
        out.writer.number(state.soft.as_slice().len() as u64);
        let mut last = 0;
        for soft in state.soft.as_slice() {
            out.writer.number(u64::from(soft.day - last));
            last = soft.day;
            out.address(soft.address);
            out.writer.0.push(soft.class as u8);
        }
    }
    if has(HARD) {
        out.writer.number(state.hard.as_slice().len() as u64);
        for (bounce, received_at) in state.hard.as_slice() {
            out.time(bounce.at);
            out.writer.hash(bounce.message);
            out.address(bounce.address);
            out.writer.hash(bounce.provider.0);
            out.writer.0.push(u8::from(bounce.domain));
            out.writer.0.push(bounce.confidence);
            out.writer.signed(*received_at);
        }
    }
    if has(COMPLAINTS) {
        out.writer.number(state.complaints.len() as u64);
        for (complaint, received_at) in state.complaints.entries() {
            out.time(complaint.at);
            out.writer.hash(complaint.message);
            out.writer.signed(*received_at);
        }
    }
    if has(WISHES) {
        out.time(state.unsubscribed_at);
        out.time(state.subscribed_at);
    }
    if has(LAST_BOUNCE) {
        out.time(state.last_bounce.0);
        out.writer.text(&state.last_bounce.1);
    }
    if has(CHANNELS) {
        for channel in &state.channels {
            [channel.reached_at, channel.answered_at, channel.bounced_at].into_iter().for_each(|at| out.time(at));
        }
    }
    if has(DECISIONS) {
        [state.complaints_lifted_at, state.hard_lifted_at, state.never_suppress.0].into_iter().for_each(|at| out.time(at));
        out.writer.0.push(u8::from(state.never_suppress.1));
    }
    if has(DEVICES) {
        for times in devices {
            out.writer.number(times.as_slice().len() as u64);
            for (device, at) in times.as_slice() {
                // Hashes of 32 bits.
                out.writer.hash(*device as u32);
                out.time(*at);
            }
        }
    }
    out.writer.0
}

pub(super) fn read(bytes: &[u8]) -> Option<State> {
    let mut reader = Reader(bytes);
    let present = reader.number()?;
    let has = |section: u64| present & section != 0;
    if present >= DEVICES << 1 {
        return None;
    }
    let mut state = State::default();
    let mut base = 0;
    if has(DELIVERED) {
        let count = reader.count()?;
        base = i64::from(reader.small::<u32>()?);
        let mut times = Times { left: count, at: base, is_first: true };
        let mut mails = Vec::with_capacity(count);
        while let Some(at) = times.next(&mut reader) {
            mails.push(Mail { at: at?, message: 0 });
        }
        for mail in &mut mails {
            mail.message = reader.hash()?;
        }
        mails.reverse();
        state.delivered = Recent::restored(mails)?;
    }
    let mut source = In { reader, base, addresses: Vec::new() };
    if has(ADDRESSES) {
        for _ in 0..source.reader.count()? {
            source.addresses.push(u64::from_le_bytes(source.reader.array()?));
        }
    }
    if has(LIVES) {
        let lives = source.many(|source| Some((source.address()?, source.time()?)))?;
        state.lives = LastTimes::restored(lives)?;
    }
    if has(ADDRESS) {
        state.address = (source.time()?, source.address()?);
    }
    state.first_delivered_at = if has(FIRST) { source.time()? } else { state.delivered.as_slice().first().map_or(0, |mail| mail.at) };
    if has(OPENED) {
        state.opened = source.responses()?;
    }
    if has(CONVERTED) {
        state.converted = source.responses()?;
    }
    if has(CLICKED) {
        let mut clicks: Vec<Click> = source.times()?.into_iter().map(|at| Click { at, message: 0, link: 0 }).collect();
        for click in &mut clicks {
            (click.message, click.link) = (source.reader.hash()?, source.reader.hash()?);
        }
        clicks.reverse();
        state.clicked = Recent::restored(clicks)?;
    }
    if has(SOFT) {
        let mut day = 0_u32;
        let days = source.many(|source| {
            day = day.checked_add(source.reader.small()?)?;
            let address = source.address()?;
            let class = *SoftClass::ALL.get(usize::from(source.reader.byte()?))?;
            Some(SoftDay { day, address, class })
        })?;
        state.soft = SoftDays::restored(days)?;
    }
    if has(HARD) {
        let bounces = source.many(|source| {
            let (at, message) = (source.time()?, source.reader.hash()?);
            let (address, provider) = (source.address()?, ProviderId(source.reader.hash()?));
            let (domain, confidence) = (source.flag()?, source.reader.byte()?);
            Some((HardBounce { at, message, address, provider, domain, confidence }, source.reader.signed()?))
        })?;
        state.hard = HardBounces::restored(bounces)?;
    }
    if has(COMPLAINTS) {
        let complaints =
            source.many(|source| Some((Complaint { at: source.time()?, message: source.reader.hash()? }, source.reader.signed()?)))?;
        for (complaint, received_at) in complaints {
            state.complaints.insert(complaint, received_at);
        }
    }
    if has(WISHES) {
        (state.unsubscribed_at, state.subscribed_at) = (source.time()?, source.time()?);
    }
    if has(LAST_BOUNCE) {
        state.last_bounce = (source.time()?, source.reader.text()?.to_owned());
    }
    if has(CHANNELS) {
        for channel in &mut state.channels {
            (channel.reached_at, channel.answered_at, channel.bounced_at) = (source.time()?, source.time()?, source.time()?);
        }
    }
    if has(DECISIONS) {
        (state.complaints_lifted_at, state.hard_lifted_at) = (source.time()?, source.time()?);
        state.never_suppress = (source.time()?, source.flag()?);
    }
    if has(DEVICES) {
        for times in [&mut state.devices_reached, &mut state.devices_failed] {
            let devices = source.many(|source| Some((u64::from(source.reader.hash()?), source.time()?)))?;
            *times = LastTimes::restored(devices)?;
        }
    }
    source.reader.0.is_empty().then_some(state)
}

/// The time from which the others are counted.
fn base(delivered: &[Mail]) -> u32 {
    delivered.last().map_or(0, |mail| mail.at)
}

/// Every address that the state names, once.
fn addresses(state: &State) -> Vec<u64> {
    let lives = state.lives.as_slice().iter().map(|(address, _)| *address);
    let soft = state.soft.as_slice().iter().map(|soft| soft.address);
    let hard = state.hard.as_slice().iter().map(|(bounce, _)| bounce.address);
    let mut addresses: Vec<u64> = lives.chain(soft).chain(hard).chain([state.address.1]).filter(|address| *address != 0).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

struct Out {
    writer: Writer,
    base: i64,
    addresses: Vec<u64>,
}

impl Out {
    fn time(&mut self, at: u32) {
        self.writer.signed(i64::from(at) - self.base);
    }

    fn address(&mut self, address: u64) {
        let place = self.addresses.binary_search(&address).map_or(0, |place| place as u64 + 1);
        self.writer.number(place);
    }

    fn times(&mut self, times: impl DoubleEndedIterator<Item = u32> + ExactSizeIterator + Clone) {
        self.writer.number(times.len() as u64);
        if let Some(last) = times.clone().next_back() {
            self.time(last);
        }
        self.descending(times);
    }

    /// Distances from each time to the one before it, from the last to the first.
    fn descending(&mut self, times: impl DoubleEndedIterator<Item = u32>) {
        let mut later = None;
        for at in times.rev() {
            if let Some(later) = later.replace(at) {
                self.writer.number(u64::from(later - at));
            }
        }
    }
}

struct In<'b> {
    reader: Reader<'b>,
    base: i64,
    addresses: Vec<u64>,
}

impl In<'_> {
    fn time(&mut self) -> Option<u32> {
        u32::try_from(self.base.checked_add(self.reader.signed()?)?).ok()
    }

    fn flag(&mut self) -> Option<bool> {
        match self.reader.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn address(&mut self) -> Option<u64> {
        match self.reader.small::<usize>()? {
            0 => Some(0),
            place => self.addresses.get(place - 1).copied(),
        }
    }

    fn many<T>(&mut self, mut one: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        (0..self.reader.count()?).map(|_| one(self)).collect()
    }

    /// Newest first.
    fn times(&mut self) -> Option<Vec<u32>> {
        let count = self.reader.count()?;
        let at = if count > 0 { i64::from(self.time()?) } else { 0 };
        let mut times = Times { left: count, at, is_first: true };
        let mut all = Vec::with_capacity(count);
        while let Some(at) = times.next(&mut self.reader) {
            all.push(at?);
        }
        Some(all)
    }

    fn responses(&mut self) -> Option<Recent<Response>> {
        let mut responses: Vec<Response> = self.times()?.into_iter().map(|at| Response { at, message: 0 }).collect();
        for response in &mut responses {
            response.message = self.reader.hash()?;
        }
        responses.reverse();
        Recent::restored(responses)
    }
}

/// Times from the newest down.
struct Times {
    left: usize,
    at: i64,
    is_first: bool,
}

impl Times {
    /// The next time; inside it nothing where bytes are none that were written.
    fn next(&mut self, reader: &mut Reader<'_>) -> Option<Option<u32>> {
        self.left = self.left.checked_sub(1)?;
        if !std::mem::take(&mut self.is_first) {
            let Some(distance) = reader.small::<u32>() else { return Some(None) };
            self.at -= i64::from(distance);
        }
        Some(u32::try_from(self.at).ok())
    }
}

//! What is shown of a text or a document: neither an address nor the local part of one, unless clear text is asked for.

use std::borrow::Cow;

use super::Read;
use crate::address::{self, Address};
use crate::json::{self, Value};
use crate::link;
use crate::normaliser::Normaliser;

impl Normaliser {
    pub(super) fn shown<'a>(&self, text: Cow<'a, str>) -> Cow<'a, str> {
        if self.privacy.keeps_clear_text() {
            return text;
        }
        match text {
            Cow::Borrowed(text) => address::mask(text),
            Cow::Owned(text) => Cow::Owned(address::mask(&text).into_owned()),
        }
    }

    /// As [`Self::shown`], without what stands where the address should, and without the local part alone: the domain has a column.
    pub(super) fn shown_of<'a>(&self, read: &Read<'_>, text: Cow<'a, str>) -> Cow<'a, str> {
        self.shown_behind(read, text, |_| 0)
    }

    /// As [`Self::shown_of`], the local part alone being looked for from a place on.
    pub(super) fn shown_behind<'a>(&self, read: &Read<'_>, text: Cow<'a, str>, from: impl Fn(&str) -> usize) -> Cow<'a, str> {
        if self.privacy.keeps_clear_text() {
            return text;
        }
        let text = match &read.unreadable {
            Some(unreadable) if text.contains(unreadable.as_ref()) => Cow::Owned(text.replace(unreadable.as_ref(), address::MASK)),
            _ => text,
        };
        let shown = self.shown(text);
        let names = [&read.address, &read.of_person].into_iter().flatten().flat_map(names_in);
        names.filter(|name| is_telling(name)).fold(shown, |shown, name| {
            let (before, behind) = shown.split_at(from(&shown));
            match address::mask_word(behind, name) {
                Some(behind) => Cow::Owned([before, &behind].concat()),
                None => shown,
            }
        })
    }

    /// A value as it is shown, without what stands where the address should.
    pub(super) fn shown_json_of<'a>(&self, read: &Read<'_>, value: Value<'a>) -> Cow<'a, str> {
        let Some(unreadable) = read.unreadable.as_deref().filter(|_| !self.privacy.keeps_clear_text()) else {
            return self.shown_json(value.get());
        };
        let quoted = |text: &str| {
            let mut quoted = String::new();
            json::quote(&mut quoted, text);
            quoted
        };
        // A text may be written with any escapes; within lists and objects with those that we would write.
        if let Some(text) = value.string().filter(|text| text.contains(unreadable)) {
            return Cow::Owned(self.shown_json(&quoted(&text.replace(unreadable, address::MASK))).into_owned());
        }
        let shown = self.shown_json(value.get());
        Cow::Owned(shown.replace(quoted(unreadable).trim_matches('"'), address::MASK))
    }

    fn shown_json<'a>(&self, source: &'a str) -> Cow<'a, str> {
        let may_hold_text = matches!(source.as_bytes().first(), Some(b'"' | b'{' | b'['));
        if !may_hold_text {
            return Cow::Borrowed(source);
        }
        let source = json::without_lone_surrogates(source);
        if self.privacy.keeps_clear_text() {
            return source;
        }
        match source {
            Cow::Borrowed(source) => address::mask_json(source),
            Cow::Owned(source) => Cow::Owned(address::mask_json(&source).into_owned()),
        }
    }
}

/// The local part of an address, and what it is a tagged form of: `jane` of `jane+news`.
fn names_in(address: &Address) -> impl Iterator<Item = &str> {
    let local = address.local().trim_matches('"');
    [Some(local), local.split_once('+').map(|(base, _)| base)].into_iter().flatten()
}

/// Local parts that name nobody: roles, and what failure texts say of everybody.
const OF_NOBODY: &str = "abuse account accounts address admin administrator billing contact hello help hostmaster info mail mailbox \
    marketing news newsletter no-reply noreply office postmaster recipient root sales service support team test user webmaster";

/// True for a local part that may tell whose it is where it stands alone.
fn is_telling(local: &str) -> bool {
    local.chars().count() >= 4 && OF_NOBODY.split(' ').all(|word| word != local)
}

/// Where the host of a link ends: somebody's name may be a word of it.
pub(super) fn end_of_host(link: &str) -> usize {
    let Some(scheme) = link::scheme_end(link) else { return 0 };
    let host = scheme + 3;
    link[host..].find(['/', '?', '#']).map_or(link.len(), |end| host + end)
}

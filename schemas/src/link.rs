//! Links inside texts.

/// Where the first `://` of a text stands. Most texts have none and few colons, so that looking for those costs less than preparing a search.
pub(crate) fn scheme_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    memchr::memchr_iter(b':', bytes).find(|at| bytes[*at..].starts_with(b"://"))
}

#[cfg(test)]
mod tests {
    use super::scheme_end;

    #[test]
    fn the_end_of_a_scheme_is_told_from_other_colons() {
        assert_eq!(scheme_end("550: see https://a.example or http://b.example"), Some(14));
        assert_eq!(scheme_end("://"), Some(0));
        for none in ["", ":", "550:", "a:/b", "mailto:a@b.example", "c:\\x"] {
            assert_eq!(scheme_end(none), None, "{none}");
        }
    }
}

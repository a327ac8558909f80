//! Who is never suppressed: ids, domains and patterns. Pure.

use std::collections::HashSet;

use aftersend_schemas::address::Address;
use wildmatch::WildMatch;

/// A list as the policy has it.
#[derive(Debug, Clone, Default)]
pub(super) struct NeverSuppress {
    ids: HashSet<String>,
    /// In lower case, and as the DNS knows them.
    domains: HashSet<String>,
    patterns: Vec<WildMatch>,
}

impl NeverSuppress {
    /// `@example.com` is a domain, with `*` or `?` it is a pattern, everything else is an id, or the address of somebody known only by it.
    ///
    /// What names a mailbox or a domain counts in its one spelling, too: addresses are kept in that.
    pub(super) fn new(list: &[String]) -> Self {
        let mut this = Self::default();
        for entry in list {
            // A domain may be written as the DNS does, with a dot at its end.
            let entry = if entry.contains('@') { entry.trim_end_matches('.') } else { entry };
            let one_spelling = one_spelling_of(entry);
            if entry.contains(['*', '?']) {
                let spellings = [Some(entry), one_spelling.as_deref()].into_iter().flatten();
                this.patterns.extend(spellings.map(WildMatch::new_case_insensitive));
            } else if let Some(domain) = entry.strip_prefix('@') {
                this.domains.insert(domain.to_lowercase());
                this.domains.extend(one_spelling.and_then(|spelt| Some(spelt.strip_prefix('@')?.to_owned())));
            } else {
                this.ids.insert(entry.to_owned());
                this.ids.extend(one_spelling);
                // As commands name them.
                this.ids.extend(entry.strip_prefix("email:").and_then(one_spelling_of));
            }
        }
        this
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        let domain = || id.rsplit_once('@').is_some_and(|(_, domain)| self.domains.contains(&domain.to_lowercase()));
        self.ids.contains(id) || (!self.domains.is_empty() && domain()) || self.patterns.iter().any(|pattern| pattern.matches(id))
    }
}

/// An entry with the domain at its end in lower case and ASCII, and what stands before it in lower case; nothing without a domain.
fn one_spelling_of(entry: &str) -> Option<String> {
    let (local, domain) = entry.rsplit_once('@').filter(|(_, domain)| !domain.contains(['*', '?']))?;
    let domain = Address::read(&format!("a@{domain}"))?.into_domain();
    Some(format!("{}@{domain}", local.to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_domains_and_patterns_are_told_apart() {
        let list = ["u-1", "@Shop.example", "vip-*", "staff-??", "*@board.example"].map(str::to_owned);
        let never = NeverSuppress::new(&list);
        for id in ["u-1", "x@shop.example", "x@SHOP.EXAMPLE", "vip-", "VIP-77", "staff-07", "chair@board.example"] {
            assert!(never.contains(id), "{id}");
        }
        for id in ["u-12", "U-1", "x@sub.shop.example", "a-vip-1", "staff-7", "x@notboard.example", ""] {
            assert!(!never.contains(id), "{id}");
        }
        assert!(!NeverSuppress::default().contains("u-1"));
    }

    #[test]
    fn addresses_are_found_in_their_one_spelling_however_the_list_spells_them() {
        for (entry, address) in [
            ("Ana.Lima@Shop.Example", "ana.lima@shop.example"),
            ("ana@B\u{fc}cher.example", "ana@xn--bcher-kva.example"),
            ("email:Lead@shop.example", "lead@shop.example"),
            ("@shop.example.", "ana@shop.example"),
            ("ana@shop.example.", "ana@shop.example"),
            ("@B\u{fc}cher.example", "ana@xn--bcher-kva.example"),
            ("*@b\u{fc}cher.example", "ana@xn--bcher-kva.example"),
            ("vip-*@*.example", "vip-7@shop.example"),
        ] {
            assert!(NeverSuppress::new(&[entry.to_owned()]).contains(address), "{entry}");
        }
        assert!(!NeverSuppress::new(&["ana@shop.example".to_owned()]).contains("ana@shop.example.org"));
    }
}

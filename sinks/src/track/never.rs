//! Who is never suppressed: ids, domains and patterns. Pure.

use std::collections::HashSet;

use wildmatch::WildMatch;

/// A list as the policy has it.
#[derive(Debug, Clone, Default)]
pub(super) struct NeverSuppress {
    ids: HashSet<String>,
    /// In lower case.
    domains: HashSet<String>,
    patterns: Vec<WildMatch>,
}

impl NeverSuppress {
    /// `@example.com` is a domain, with `*` or `?` it is a pattern, everything else is an id.
    pub(super) fn new(list: &[String]) -> Self {
        let mut this = Self::default();
        for entry in list {
            if entry.contains(['*', '?']) {
                this.patterns.push(WildMatch::new_case_insensitive(entry));
            } else if let Some(domain) = entry.strip_prefix('@') {
                this.domains.insert(domain.to_lowercase());
            } else {
                this.ids.insert(entry.clone());
            }
        }
        this
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        let domain = || id.rsplit_once('@').is_some_and(|(_, domain)| self.domains.contains(&domain.to_lowercase()));
        self.ids.contains(id) || (!self.domains.is_empty() && domain()) || self.patterns.iter().any(|pattern| pattern.matches(id))
    }
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
}

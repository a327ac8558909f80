//! By what Customer.io is asked about a person. Pure.

use std::fmt;

use aftersend_schemas::identity::{Namespace, Person};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but letters, digits and `-._~`: a raw `/` or `+` would address somebody else and still be answered 200.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// One of the names under which Customer.io knows a person, of a shape that it takes for that kind of name.
#[derive(Clone, PartialEq, Eq)]
pub enum Identifier {
    /// The workspace's own id.
    Id(String),
    /// Customer.io's id, without a prefix.
    Cio(String),
    /// The address of somebody of whom nothing else is known. Personal data.
    Email(String),
}

/// Why Customer.io cannot be asked about a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unaddressable {
    /// The address is not known.
    #[error("known only by an address, and the address is not known")]
    NoIdentifier,
    /// It would be taken for another kind of name, or is longer than a name may be.
    #[error("Customer.io would take it for another kind of name, or for a part of the path, or it has more than 150 bytes")]
    Unusable,
}

impl Identifier {
    /// `address` is asked for only where it is the one name there is.
    ///
    /// What stands in a path is taken for an address, an id of Customer.io's or one of the workspace by its shape, and URL libraries collapse dots: a call
    /// that may go to somebody else is none.
    pub fn of(person: &Person, address: Option<&str>) -> Result<Self, Unaddressable> {
        let dots = |text: &str| text.chars().all(|c| c == '.');
        if person.id.len() > MAX_ID {
            return Err(Unaddressable::Unusable);
        }
        match person.namespace {
            Namespace::Id if !person.id.starts_with(CIO) && !dots(&person.id) => Ok(Self::Id(person.id.clone())),
            Namespace::Cio if !dots(&person.id) => Ok(Self::Cio(person.id.clone())),
            Namespace::Id | Namespace::Cio => Err(Unaddressable::Unusable),
            Namespace::Email => {
                let address = address.ok_or(Unaddressable::NoIdentifier)?;
                if is_address(address) { Ok(Self::Email(address.to_owned())) } else { Err(Unaddressable::Unusable) }
            }
        }
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Id(text) | Self::Cio(text) | Self::Email(text) => text,
        }
    }

    /// Every way in which a list may name this person.
    pub(super) fn spellings(&self) -> impl Iterator<Item = String> {
        let with_prefix = matches!(self, Self::Cio(_)).then(|| format!("{CIO}{}", self.as_str()));
        [self.as_str().to_owned()].into_iter().chain(with_prefix)
    }

    /// As it stands in a path.
    pub(super) fn in_path(&self) -> String {
        let encoded = utf8_percent_encode(self.as_str(), PATH);
        match self {
            Self::Cio(_) => format!("{CIO}{encoded}"),
            Self::Id(_) | Self::Email(_) => encoded.to_string(),
        }
    }
}

/// Names are nobody's business in a log.
impl fmt::Debug for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Id(_) => "Id(…)",
            Self::Cio(_) => "Cio(…)",
            Self::Email(_) => "Email(…)",
        })
    }
}

/// Bytes of an id, as Customer.io allows them.
const MAX_ID: usize = 150;
/// Before Customer.io's id in a path.
const CIO: &str = "cio_";

/// True for what everybody takes for an address: one `@`, nothing before it that has to stand in quotes, a domain of at least two labels behind it.
fn is_address(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let quoted =
        |c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '(' | ')' | '<' | '>' | '[' | ']' | ',' | ';' | ':' | '\\');
    let of_labels = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let labels = || domain.split('.');
    let is_domain = labels().count() > 1 && labels().all(|label| !label.is_empty() && label.bytes().all(of_labels));
    !local.is_empty() && !local.contains(quoted) && !local.starts_with(CIO) && is_domain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(namespace: Namespace, id: &str, address: Option<&str>) -> Result<String, Unaddressable> {
        Identifier::of(&Person { workspace: "default".into(), namespace, id: id.into() }, address).map(|identifier| identifier.in_path())
    }

    #[test]
    fn names_are_encoded_so_that_they_address_nobody_else() {
        let path = |namespace, id: &str, address| of(namespace, id, address).unwrap();
        assert_eq!(path(Namespace::Id, "a/b+c@d %é~-._", None), "a%2Fb%2Bc%40d%20%25%C3%A9~-._");
        assert_eq!(path(Namespace::Cio, "b1f4", None), "cio_b1f4");
        assert_eq!(path(Namespace::Email, "e013", Some("zoë+a/b@xn--bcher-kva.example")), "zo%C3%AB%2Ba%2Fb%40xn--bcher-kva.example");
        assert_eq!(path(Namespace::Id, "u-1", Some("somebody@else.example")), "u-1", "only who has nothing else goes by an address");
    }

    #[test]
    fn names_that_would_be_taken_for_others_are_none() {
        for (namespace, id) in
            [(Namespace::Id, "."), (Namespace::Id, ".."), (Namespace::Cio, "..."), (Namespace::Id, "cio_b1f4"), (Namespace::Id, "")]
        {
            assert_eq!(of(namespace, id, None), Err(Unaddressable::Unusable), "{id}");
        }
        assert!(of(Namespace::Id, &"é".repeat(75), None).is_ok());
        assert_eq!(of(Namespace::Id, &"é".repeat(76), None), Err(Unaddressable::Unusable), "more than 150 bytes");
        assert_eq!(of(Namespace::Email, "e013", None), Err(Unaddressable::NoIdentifier));
        for address in [
            "",
            ".",
            "..",
            "nobody",
            "@b.example",
            "a@",
            "a@b",
            "a@.example",
            "a@b.",
            "a@b..example",
            "a@b@c.example",
            "a@[192.0.2.1]",
            "\"a b\"@c.example",
            "a b@c.example",
            "a@b.example/suppress",
            "cio_b1f4@c.example",
        ] {
            assert_eq!(of(Namespace::Email, "e013", Some(address)), Err(Unaddressable::Unusable), "{address}");
        }
    }
}

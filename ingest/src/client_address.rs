//! Whose address counts: the peer's, or what trusted proxies say of it.

use std::net::IpAddr;

use actix_web::http::header::HeaderMap;
use aftersend_pipeline::config::Network;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// The address nearest to us that is no trusted proxy. `X-Forwarded-For` is read from its end, and only behind a trusted peer: what stands further to
/// the front may be the sender's invention. Something that is no address ends the walk, and then nothing is known.
/// Empty elements of a list are none (RFC 9110 section 5.6.1.2).
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> Option<IpAddr> {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut client = peer;
    // Several headers are one list; the last is the nearest.
    let lists: Vec<_> = headers.get_all(FORWARDED_FOR).collect();
    let hops = lists.iter().rev().flat_map(|list| list.as_bytes().rsplit(|byte| *byte == b','));
    let mut hops = hops.filter(|hop| !hop.trim_ascii().is_empty());
    while is_trusted(client) {
        match hops.next() {
            Some(hop) => client = address(str::from_utf8(hop).ok()?)?,
            None => break,
        }
    }
    Some(client.to_canonical())
}

/// `203.0.113.7`, `203.0.113.7:1234`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:1234`.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let whole = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    whole.parse().ok().or_else(|| Some(text.parse::<std::net::SocketAddr>().ok()?.ip()))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn only_trusted_proxies_are_believed_and_only_as_far_as_they_reach() {
        let trusted = [Network::parse("10.0.0.0/8").unwrap(), Network::parse("::1").unwrap()];
        for (peer, forwarded, expected) in [
            ("203.0.113.9", &[][..], Some("203.0.113.9")),
            ("203.0.113.9", &["198.51.100.1"], Some("203.0.113.9")),
            ("10.0.0.1", &[], Some("10.0.0.1")),
            ("10.0.0.1", &["198.51.100.1"], Some("198.51.100.1")),
            ("10.0.0.1", &["1.2.3.4, 198.51.100.1"], Some("198.51.100.1")),
            ("10.0.0.1", &["1.2.3.4, 198.51.100.1,10.2.2.2"], Some("198.51.100.1")),
            ("10.0.0.1", &["1.2.3.4", "198.51.100.1:443 "], Some("198.51.100.1")),
            ("::1", &["[2001:db8::7]:80"], Some("2001:db8::7")),
            ("::ffff:10.0.0.1", &["::ffff:198.51.100.1"], Some("198.51.100.1")),
            ("10.0.0.1", &["198.51.100.1, unknown"], None),
            ("10.0.0.1", &["198.51.100.1,"], Some("198.51.100.1")),
            ("10.0.0.1", &["1.2.3.4,\t, 198.51.100.1 , ,", ""], Some("198.51.100.1")),
            ("10.0.0.1", &["198.51.100.1, unknown,"], None),
            ("10.0.0.1", &[""], Some("10.0.0.1")),
            ("10.0.0.1", &[" , "], Some("10.0.0.1")),
        ] {
            let mut headers = HeaderMap::new();
            for value in forwarded {
                headers.append(HeaderName::from_static(FORWARDED_FOR), HeaderValue::from_static(value));
            }
            let expected = expected.map(|address| address.parse().unwrap());
            assert_eq!(client_address(peer.parse().unwrap(), &headers, &trusted), expected, "{peer} {forwarded:?}");
        }
    }
}

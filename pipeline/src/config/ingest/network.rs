use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Deserializer, de};

/// An address, or a network in CIDR form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(IpNet);

impl Network {
    /// Reads `203.0.113.7`, `203.0.113.0/24` or the same of IPv6.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().map(Self::canonical).or_else(|_| text.parse::<IpAddr>().map(Self::from)).ok()
    }

    /// A network of IPv4 addresses inside IPv6 as one of IPv4.
    fn canonical(network: IpNet) -> Self {
        let mapped = match (network.addr().to_canonical(), network.prefix_len()) {
            (IpAddr::V4(address), length @ 96..) if network.addr().is_ipv6() => Ipv4Net::new(address, length - 96).ok(),
            _ => None,
        };
        Self(mapped.map_or(network, IpNet::V4))
    }

    /// True if the address lies in it. An IPv4 address inside IPv6 counts as the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        Self(address.to_canonical().into())
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom(format!("{text:?} is no address and no network: write 10.0.0.7 or 10.0.0.0/8")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_networks_of_one_and_mapped_ones_count_as_ipv4() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.1.2", "11.0.0.1"),
            ("203.0.113.7", "::ffff:203.0.113.7", "203.0.113.8"),
            ("::ffff:127.0.0.0/104", "127.0.0.1", "128.0.0.1"),
            ("::ffff:127.0.0.0/104", "::ffff:127.0.0.1", "::1"),
            ("::/0", "2001:db8::1", "127.0.0.1"),
            ("2001:db8::/32", "2001:db8::1", "::1"),
        ] {
            let network = Network::parse(network).unwrap();
            assert!(network.contains(inside.parse().unwrap()) && !network.contains(outside.parse().unwrap()));
        }
        assert_eq!(Network::parse("10.0.0.0/33"), None);
        assert_eq!(Network::parse("example.com"), None);
    }
}

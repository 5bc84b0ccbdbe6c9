use std::net::IpAddr;

/// What is dialled without a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Exempt {
    All,
    /// A name in lower case, and all names below it.
    Name(String),
    /// Addresses whose first bits are those of one.
    Network(IpAddr, u32),
}

impl Exempt {
    /// None for nothing, and for what can be no host.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text == "*" {
            return Some(Self::All);
        }
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse().ok()?)),
            None => (text, None),
        };
        let bare = address
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let address: Option<IpAddr> = bare.unwrap_or(address).parse().ok();
        match (address, bits) {
            (Some(address), bits) => Some(Self::Network(address, bits.unwrap_or(u32::MAX))),
            (None, Some(_)) => None,
            (None, None) => {
                let name = text.trim_start_matches("*.").trim_matches('.');
                (!name.is_empty()).then(|| Self::Name(name.to_ascii_lowercase()))
            }
        }
    }

    /// `host` is in lower case, and its address if it is one.
    pub(super) fn covers(&self, host: &str, address: Option<IpAddr>) -> bool {
        match self {
            Self::All => true,
            Self::Name(name) => {
                let host = host.strip_suffix('.').unwrap_or(host);
                let above = host.strip_suffix(name.as_str());
                above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
            }
            Self::Network(network, bits) => {
                address.is_some_and(|address| agree(*network, address, *bits))
            }
        }
    }
}

/// Whether the first `bits` of both are the same, all of them if there are fewer.
fn agree(one: IpAddr, other: IpAddr, bits: u32) -> bool {
    match (one.to_canonical(), other.to_canonical()) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            let differ = one.to_bits() ^ other.to_bits();
            differ.leading_zeros() >= bits.min(u32::BITS)
        }
        (IpAddr::V6(one), IpAddr::V6(other)) => {
            let differ = one.to_bits() ^ other.to_bits();
            differ.leading_zeros() >= bits.min(u128::BITS)
        }
        _ => false,
    }
}

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::transport::{Endpoint, Scheme};

/// What one party may be thought to have many addresses of.
///
/// An IPv4 address is of its /16, an IPv6 address of its /32, or of the IPv4 address that it stands
/// for; a host name is of its last two labels; an endpoint without a network is alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Group {
    V4([u8; 2]),
    V6([u8; 4]),
    Name(String),
    Local(String),
}

/// From where an address can be dialled, as far as its text tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// From this process: `memory://`.
    Process,
    /// From this machine: `unix://`, `localhost`, `127.0.0.1`.
    Machine,
    /// From this site: private and link-local addresses, names without a dot.
    Site,
    /// From everywhere.
    World,
}

/// Group and reach of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) group: Group,
    pub(super) reach: Reach,
}

impl Location {
    /// Where an endpoint is.
    pub(super) fn of(endpoint: &Endpoint) -> Self {
        match (endpoint.scheme(), endpoint.host()) {
            (Scheme::Memory, _) => Self {
                group: Group::Local(endpoint.to_string()),
                reach: Reach::Process,
            },
            (_, Some(host)) => match host.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
                Ok(IpAddr::V4(ip)) => Self {
                    group: group_of_v4(ip),
                    reach: reach_of_v4(ip),
                },
                Ok(IpAddr::V6(ip)) => Self {
                    group: group_of_v6(ip),
                    reach: reach_of_v6(ip),
                },
                Err(_) => of_name(host),
            },
            (_, None) => Self {
                group: Group::Local(endpoint.to_string()),
                reach: Reach::Machine,
            },
        }
    }

    /// Where a peer is of whose stream nothing is known but that it is there.
    pub(super) fn unknown() -> Self {
        Self {
            group: Group::Local(String::new()),
            reach: Reach::World,
        }
    }
}

/// Whether an endpoint names one place that can be dialled.
pub(super) fn is_dialable(endpoint: &Endpoint) -> bool {
    if endpoint.port() == Some(0) {
        return false;
    }
    let host = endpoint.host().and_then(|host| host.parse::<IpAddr>().ok());
    match host.map(|ip| ip.to_canonical()) {
        Some(IpAddr::V4(ip)) => !matches!(ip.octets(), [0 | 224.., ..]),
        Some(IpAddr::V6(ip)) => !ip.is_unspecified() && !ip.is_multicast(),
        None => true,
    }
}

/// The endpoint as others reach it: one that stands for every address of a machine, where that
/// machine is seen.
pub(super) fn seen_at(endpoint: Endpoint, machine: Option<&Endpoint>) -> Endpoint {
    let (host, port) = (endpoint.host().unwrap_or_default(), endpoint.port());
    let is_every = host.parse().is_ok_and(|ip: IpAddr| ip.is_unspecified());
    let seen = machine.and_then(Endpoint::host).filter(|_| is_every);
    let (Some(seen), Some(port)) = (seen, port) else {
        return endpoint;
    };
    let host = if seen.contains(':') {
        format!("[{seen}]")
    } else {
        seen.to_owned()
    };
    let query = endpoint.query().map(|query| format!("?{query}"));
    let (scheme, path) = (endpoint.scheme(), endpoint.path());
    let text = format!(
        "{scheme}://{host}:{port}{path}{}",
        query.unwrap_or_default()
    );
    text.parse().unwrap_or(endpoint)
}

/// Whoever has an address, as far as places go: a single machine may have all IPv6 addresses of a /64.
pub(in crate::node) fn owner(address: &str) -> String {
    match address.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
        Ok(IpAddr::V6(ip)) => {
            let [one, two, three, four, ..] = ip.segments();
            Ipv6Addr::new(one, two, three, four, 0, 0, 0, 0).to_string()
        }
        Ok(IpAddr::V4(ip)) => ip.to_string(),
        Err(_) => address.to_owned(),
    }
}

fn group_of_v4(ip: Ipv4Addr) -> Group {
    let [first, second, ..] = ip.octets();
    Group::V4([first, second])
}

fn group_of_v6(ip: Ipv6Addr) -> Group {
    match ip.octets() {
        // 6to4, and what NAT64 translates.
        [0x20, 0x02, first, second, ..]
        | [
            0,
            0x64,
            0xff,
            0x9b,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            first,
            second,
            ..,
        ] => Group::V4([first, second]),
        [first, second, third, fourth, ..] => Group::V6([first, second, third, fourth]),
    }
}

fn reach_of_v4(ip: Ipv4Addr) -> Reach {
    let is_shared = matches!(ip.octets(), [100, 64..128, ..]);
    if ip.is_loopback() {
        Reach::Machine
    } else if ip.is_private() || ip.is_link_local() || is_shared {
        Reach::Site
    } else {
        Reach::World
    }
}

fn reach_of_v6(ip: Ipv6Addr) -> Reach {
    if ip.is_loopback() {
        Reach::Machine
    } else if ip.is_unique_local() || ip.is_unicast_link_local() {
        Reach::Site
    } else {
        Reach::World
    }
}

fn of_name(host: &str) -> Location {
    let host = host.trim_end_matches('.');
    let mut labels = host.rsplit('.');
    let (last, before) = (labels.next().unwrap_or(host), labels.next());
    let reach = match (last, before) {
        ("localhost", _) => Reach::Machine,
        (_, None) | ("local" | "internal" | "lan" | "home" | "arpa", _) => Reach::Site,
        _ => Reach::World,
    };
    let group = match before {
        Some(before) => format!("{before}.{last}"),
        None => last.to_owned(),
    };
    Location {
        group: Group::Name(group),
        reach,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_ipv6_addresses_of_a_64_are_of_one_owner() {
        let [one, same, next] = ["2001:db8:1:2::3", "2001:db8:1:2:ffff::", "2001:db8:1:3::3"];
        assert_eq!(owner(one), owner(same));
        assert_ne!(owner(one), owner(next));
        let [v4, mapped, other] = ["192.0.2.1", "::ffff:192.0.2.1", "::ffff:192.0.2.2"];
        assert_eq!(owner(v4), owner(mapped));
        assert_ne!(owner(mapped), owner(other));
        assert_eq!(owner("a.name"), "a.name");
    }

    fn location(text: &str) -> Location {
        Location::of(&text.parse().unwrap())
    }

    #[test]
    fn neighbours_are_of_one_group_and_strangers_are_not() {
        let same = [
            ("tcp://9.8.7.6:1", "ws://9.8.1.2:3/x"),
            ("tcp://[2a00:1::5]:1", "tls://[2a00:1:9::]:7"),
            ("tcp://[::ffff:9.8.7.6]:1", "tcp://9.8.0.1:1"),
            ("tcp://[2002:908::1]:1", "tcp://9.8.0.1:1"),
            ("tcp://[64:ff9b::908:1]:1", "tcp://9.8.0.1:1"),
            ("ws://a.example.org/", "wss://b.c.example.org./"),
        ];
        for (one, other) in same {
            assert_eq!(location(one).group, location(other).group, "{one} {other}");
        }
        let different = [
            ("tcp://9.8.7.6:1", "tcp://9.9.7.6:1"),
            ("tcp://[2a00:1::]:1", "tcp://[2a00:2::]:1"),
            ("tcp://example.org:1", "tcp://example.com:1"),
            ("memory://one", "memory://other"),
            ("unix:///one", "unix:///other"),
        ];
        for (one, other) in different {
            assert_ne!(location(one).group, location(other).group, "{one} {other}");
        }
    }

    #[test]
    fn the_reach_is_told_by_the_text() {
        let of = |reach, texts: &[&str]| {
            for text in texts {
                assert_eq!(location(text).reach, reach, "{text}");
            }
        };
        of(Reach::Process, &["memory://name"]);
        of(Reach::Machine, &["unix:///run/wire", "tcp://127.9.9.9:1"]);
        of(Reach::Machine, &["tcp://[::1]:1", "ws://a.localhost/"]);
        of(Reach::Site, &["tcp://10.1.2.3:1", "tcp://169.254.1.1:1"]);
        of(Reach::Site, &["tcp://[fd00::1]:1", "tcp://[fe80::1]:1"]);
        of(Reach::Site, &["ws://printer/", "ws://printer.local/"]);
        of(Reach::Site, &["tcp://100.64.0.1:1", "tcp://192.168.0.1:1"]);
        of(Reach::World, &["tcp://9.9.9.9:1", "tcp://[2a00::1]:1"]);
        of(Reach::World, &["wss://example.org/", "tcp://100.128.0.1:1"]);
    }

    #[test]
    fn who_listens_everywhere_is_where_it_is_seen() {
        let seen = |text: &str, machine: Option<&str>| {
            let machine = machine.map(|text| text.parse().unwrap());
            seen_at(text.parse().unwrap(), machine.as_ref()).to_string()
        };
        let here = Some("tcp://9.8.7.6:5555");
        assert_eq!(seen("tcp://0.0.0.0:9000", here), "tcp://9.8.7.6:9000");
        assert_eq!(seen("ws://0.0.0.0/x?y", here), "ws://9.8.7.6/x?y");
        let six = Some("tcp://[2a00::1]:5555");
        assert_eq!(seen("wss://[::]:7/x", six), "wss://[2a00::1]:7/x");
        assert_eq!(seen("tcp://1.2.3.4:9000", here), "tcp://1.2.3.4:9000");
        assert_eq!(seen("tcp://0.0.0.0:9000", None), "tcp://0.0.0.0:9000");
        assert_eq!(seen("memory://name", here), "memory://name");
    }

    #[test]
    fn what_names_no_single_place_is_not_dialled() {
        for text in [
            "tcp://0.0.0.0:1",
            "tcp://[::]:1",
            "tcp://224.0.0.1:1",
            "tcp://255.255.255.255:1",
            "tcp://[ff02::1]:1",
            "tcp://9.9.9.9:0",
        ] {
            assert!(!is_dialable(&text.parse().unwrap()), "{text}");
        }
        for text in ["tcp://9.9.9.9:1", "unix:///x", "memory://x", "ws://x/"] {
            assert!(is_dialable(&text.parse().unwrap()), "{text}");
        }
    }
}

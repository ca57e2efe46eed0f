//! Who asks: an IPv4 address or an IPv6 /64, as the peer's address or a trusted proxy's header says.

use crate::config::ApiConfig;
use axum::extract::ConnectInfo;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The client's address, as budgets and bounds see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ClientIp(IpAddr);

impl ClientIp {
    /// The client at this address.
    pub(crate) fn at(ip: IpAddr) -> Self {
        Self(network(ip))
    }

    /// Whoever sent this request.
    pub(crate) fn of(parts: &Parts, config: &ApiConfig) -> Self {
        let peer = || parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
        let told = config.client_ip_header.as_ref().and_then(|name| last_address(&parts.headers, name));
        Self::at(told.or_else(peer).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
    }
}

/// A proxy appends to what the client sent, a list or a line: only the very last address is the proxy's own word.
fn last_address(headers: &HeaderMap, name: &str) -> Option<IpAddr> {
    headers.get_all(name).iter().next_back()?.to_str().ok()?.rsplit(',').next()?.trim().parse().ok()
}

/// One customer usually has a whole /64.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn addresses_of_one_network_share_a_budget() {
        let [a, b, c] = ["2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:1::1"].map(|ip| network(ip.parse().unwrap()));
        assert_eq!(a, b);
        assert_ne!(a, c);
        assert_eq!(network("::ffff:10.0.0.1".parse().unwrap()), network("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn a_forged_line_before_the_proxys_own_is_not_believed() {
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", "10.9.9.9".parse().unwrap());
        headers.append("x-forwarded-for", "10.8.8.8, 10.0.0.1".parse().unwrap());
        assert_eq!(last_address(&headers, "x-forwarded-for"), Some("10.0.0.1".parse().unwrap()));
        headers.append("x-forwarded-for", "nonsense".parse().unwrap());
        assert_eq!(last_address(&headers, "x-forwarded-for"), None);
    }
}

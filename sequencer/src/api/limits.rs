//! Budgets of clients: a client is an IPv4 address or an IPv6 /64, as the peer's address or a trusted proxy's header says.

use super::App;
use crate::config::{ApiConfig, RateConfig};
use crate::problem::{Code, Problem};
use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;

/// Keys after which idle clients are forgotten.
const FORGET_ABOVE: usize = 100_000;

/// The client's address, as budgets see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ClientIp(IpAddr);

/// The budgets of all clients.
pub(crate) struct Limits(Option<DefaultKeyedRateLimiter<ClientIp>>);

impl Limits {
    pub(crate) fn new(rate: Option<RateConfig>) -> Self {
        let quota = |rate: RateConfig| {
            let [per_second, burst] = [rate.per_second, rate.burst].map(|n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN));
            Quota::per_second(per_second).allow_burst(burst)
        };
        Self(rate.map(|rate| RateLimiter::keyed(quota(rate))))
    }

    /// Takes `amount` from the client's budget.
    ///
    /// # Errors
    /// [`Code::RateLimited`].
    pub(crate) fn charge(&self, client: ClientIp, amount: usize) -> Result<(), Problem> {
        let (Some(limiter), Some(amount)) = (&self.0, NonZeroU32::new(u32::try_from(amount).unwrap_or(u32::MAX))) else { return Ok(()) };
        if limiter.len() > FORGET_ABOVE {
            limiter.retain_recent();
        }
        match limiter.check_key_n(&client, amount) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Problem::new(Code::RateLimited, "too many requests or transactions").hint("slow down")),
        }
    }
}

/// Charges one for the request itself.
pub(super) async fn charge_request(State(app): State<App>, client: ClientIp, request: Request, next: Next) -> Result<Response, Problem> {
    app.limits.charge(client, 1)?;
    Ok(next.run(request).await)
}

impl FromRequestParts<App> for ClientIp {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Self::Rejection> {
        Ok(Self::of(parts, &app.config.api))
    }
}

impl ClientIp {
    fn of(parts: &Parts, config: &ApiConfig) -> Self {
        let peer = || parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
        let told = config.client_ip_header.as_ref().and_then(|name| parts.headers.get(name)?.to_str().ok()?.rsplit(',').next()?.trim().parse().ok());
        Self(network(told.or_else(peer).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))))
    }
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
    fn a_client_that_spent_its_budget_is_refused_and_others_are_not() {
        let limits = Limits::new(Some(RateConfig { per_second: 1, burst: 3 }));
        let [a, b] = ["10.0.0.1", "10.0.0.2"].map(|ip| ClientIp(ip.parse().unwrap()));
        assert!(limits.charge(a, 3).is_ok());
        assert_eq!(limits.charge(a, 1).unwrap_err().code, Code::RateLimited);
        assert_eq!(limits.charge(b, 4).unwrap_err().code, Code::RateLimited);
        assert!(limits.charge(b, 1).is_ok());
    }

    #[test]
    fn addresses_of_one_network_share_a_budget() {
        let [a, b, c] = ["2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:1::1"].map(|ip| network(ip.parse().unwrap()));
        assert_eq!(a, b);
        assert_ne!(a, c);
        assert_eq!(network("::ffff:10.0.0.1".parse().unwrap()), network("10.0.0.1".parse().unwrap()));
    }
}

//! Budgets of clients.

use super::App;
use crate::client::ClientIp;
use crate::config::RateConfig;
use crate::problem::{Code, Problem};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Clients above which idle ones are forgotten.
const FORGET_ABOVE: usize = 100_000;
/// Forgetting looks at every client: not more often than this.
const FORGET_PAUSE: Duration = Duration::from_secs(1);
/// What a signature that does not hold costs beyond its transaction: finding it takes the work of several good ones.
const BAD_SIGNATURE_COST: usize = 8;

/// The budgets of all clients.
pub(crate) struct Limits(Option<Budgets>);

struct Budgets {
    limiter: DefaultKeyedRateLimiter<ClientIp>,
    clock: DefaultClock,
    burst: u32,
    forgot: Mutex<Instant>,
}

impl Limits {
    pub(crate) fn new(rate: Option<RateConfig>) -> Self {
        Self(rate.map(Budgets::new))
    }

    /// Takes `amount` from the client's budget.
    ///
    /// # Errors
    /// [`Code::RateLimited`], [`Code::TooManyRecords`] if the budget can never hold so many.
    pub(crate) fn charge(&self, client: ClientIp, amount: usize) -> Result<(), Problem> {
        self.0.as_ref().map_or(Ok(()), |budgets| budgets.charge(client, amount))
    }

    /// Takes what a request with `records` transactions costs beyond the request itself, which is paid for.
    ///
    /// # Errors
    /// As [`Self::charge`].
    pub(crate) fn charge_records(&self, client: ClientIp, records: usize) -> Result<(), Problem> {
        match &self.0 {
            Some(budgets) if records > budgets.burst as usize => Err(budgets.too_many()),
            Some(budgets) => budgets.charge(client, records.saturating_sub(1)),
            None => Ok(()),
        }
    }

    /// Takes what `count` signatures that do not hold cost, as far as the budget has it.
    pub(crate) fn fine(&self, client: ClientIp, count: usize) {
        for _ in 0..count {
            if self.charge(client, BAD_SIGNATURE_COST).is_err() {
                return;
            }
        }
    }
}

impl Budgets {
    fn new(rate: RateConfig) -> Self {
        let [per_second, burst] = [rate.per_second, rate.burst].map(|n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN));
        let limiter = RateLimiter::keyed(Quota::per_second(per_second).allow_burst(burst));
        Self { limiter, clock: DefaultClock::default(), burst: burst.get(), forgot: Mutex::new(Instant::now()) }
    }

    fn charge(&self, client: ClientIp, amount: usize) -> Result<(), Problem> {
        let Some(amount) = NonZeroU32::new(u32::try_from(amount).unwrap_or(u32::MAX)) else { return Ok(()) };
        if self.limiter.len() > FORGET_ABOVE && self.may_forget(Instant::now()) {
            self.limiter.retain_recent();
        }
        match self.limiter.check_key_n(&client, amount) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(until)) => {
                let problem = Problem::new(Code::RateLimited, "too many requests or transactions").hint("slow down");
                Err(problem.retry_after(until.wait_time_from(self.clock.now())))
            }
            Err(_) => Err(self.too_many()),
        }
    }

    fn too_many(&self) -> Problem {
        let detail = format!("more than {} transactions in one body, which is all that a client may send at once", self.burst);
        Problem::new(Code::TooManyRecords, detail).hint("send fewer at once")
    }

    /// True once a pause, for one caller.
    fn may_forget(&self, now: Instant) -> bool {
        let mut forgot = self.forgot.lock().unwrap_or_else(PoisonError::into_inner);
        let due = now.duration_since(*forgot) >= FORGET_PAUSE;
        if due {
            *forgot = now;
        }
        due
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn clients<const N: usize>() -> [ClientIp; N] {
        std::array::from_fn(|i| ClientIp::at([10, 0, 0, i as u8 + 1].into()))
    }

    #[test]
    fn a_client_that_spent_its_budget_is_told_how_long_to_wait_and_others_are_not() {
        let limits = Limits::new(Some(RateConfig { per_second: 1, burst: 3 }));
        let [a, b] = clients();
        assert!(limits.charge(a, 3).is_ok());
        let problem = limits.charge(a, 3).unwrap_err();
        assert_eq!((problem.code, problem.retry_after_s), (Code::RateLimited, NonZeroU32::new(3)));
        assert!(limits.charge(b, 1).is_ok());
    }

    #[test]
    fn a_body_larger_than_the_burst_is_not_told_to_wait() {
        let limits = Limits::new(Some(RateConfig { per_second: 1, burst: 3 }));
        let [a] = clients();
        limits.charge(a, 1).unwrap();
        let problem = limits.charge_records(a, 4).unwrap_err();
        assert_eq!(problem.code, Code::TooManyRecords);
        assert!(problem.detail.contains("more than 3"), "{}", problem.detail);
        assert!(limits.charge_records(a, 3).is_ok(), "the request itself is paid for");
    }

    #[test]
    fn signatures_that_do_not_hold_cost_more_than_good_ones() {
        let limits = Limits::new(Some(RateConfig { per_second: 1, burst: 20 }));
        let [a] = clients();
        limits.charge(a, 1).unwrap();
        limits.fine(a, 100);
        assert!(limits.charge(a, 3).is_ok(), "two were paid, for more there was nothing left");
        assert_eq!(limits.charge(a, 1).unwrap_err().code, Code::RateLimited);
    }

    #[test]
    fn idle_clients_are_looked_for_at_most_once_a_second() {
        let budgets = Budgets::new(RateConfig { per_second: 1, burst: 1 });
        let begin = Instant::now() + FORGET_PAUSE;
        assert!(budgets.may_forget(begin));
        assert!(!budgets.may_forget(begin + FORGET_PAUSE / 2));
        assert!(budgets.may_forget(begin + FORGET_PAUSE));
    }
}

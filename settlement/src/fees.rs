//! What to pay for L1 gas: pure functions over the recent past.
//!
//! A replacement must outbid what it replaces by at least 12.5 % in both fields (nodes demand 10 %), compounds from attempt to attempt,
//! is never below the original, and never above the operator's cap; where the cap leaves no room the transaction simply waits.

use crate::rpc::{FeeHistory, to_u128};

/// EIP-1559 fees in wei per gas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fees {
    /// The most paid per gas, base fee included.
    pub(crate) max_fee_per_gas: u128,
    /// The tip per gas.
    pub(crate) max_priority_fee_per_gas: u128,
}

/// The tip below which we do not go: 0.01 gwei.
const MIN_TIP_WEI: u128 = 10_000_000;
/// Base fee headroom: it can rise by 12.5 % a block, so a factor of two lasts six full blocks.
const BASE_FEE_HEADROOM: u128 = 2;

/// The highest tip that is offered of our own accord, whatever nodes say others pay: unlike the base fee, it is paid in full. 20 gwei.
const MAX_TIP_WEI: u128 = 20_000_000_000;

/// What L1 gas costs now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Market {
    /// The next block's base fee in wei per gas.
    pub(crate) base_fee_wei: u128,
    /// The median tip of late, in wei per gas.
    pub(crate) tip_wei: u128,
}

impl Market {
    /// As one node tells it. The base fee moves by at most an eighth from one block to the next, so that of the newest block, where it is known,
    /// bounds what is believed of the next.
    pub(crate) fn of(history: &FeeHistory, newest_base_fee: Option<u128>) -> Self {
        let told = history.base_fee_per_gas.last().copied().map(|wei| to_u128(wei).unwrap_or(u128::MAX)).or(newest_base_fee);
        let (told, newest) = (told.unwrap_or(0), newest_base_fee.unwrap_or(0));
        let base_fee_wei = match newest_base_fee {
            Some(_) => told.clamp(newest - newest / 8, newest.saturating_add(newest / 8).saturating_add(1)),
            None => told,
        };
        let mut tips: Vec<u128> = history.reward.iter().flatten().filter_map(|tips| tips.first().copied().and_then(to_u128)).collect();
        tips.sort_unstable();
        Self { base_fee_wei, tip_wei: tips.get(tips.len() / 2).copied().unwrap_or(0) }
    }

    /// The cheaper of two: an offer that is too low is raised later, one that is too high is paid.
    pub(crate) fn cheaper(self, other: Self) -> Self {
        Self { base_fee_wei: self.base_fee_wei.min(other.base_fee_wei), tip_wei: self.tip_wei.min(other.tip_wei) }
    }
}

/// Fees that should get a transaction into one of the next blocks, at most `cap_wei` per gas.
pub(crate) fn suggest(market: &Market, cap_wei: u128) -> Fees {
    let tip = market.tip_wei.clamp(MIN_TIP_WEI, MAX_TIP_WEI).min(cap_wei);
    let max_fee_per_gas = market.base_fee_wei.saturating_mul(BASE_FEE_HEADROOM).saturating_add(tip).min(cap_wei);
    Fees { max_fee_per_gas, max_priority_fee_per_gas: tip.min(max_fee_per_gas) }
}

/// Fees of a replacement for `previous`, or `None` if the cap forbids a sufficient rise.
pub(crate) fn bump(previous: Fees, suggested: Fees, cap_wei: u128) -> Option<Fees> {
    let raise = |wei: u128| wei.saturating_add(wei.div_ceil(8)).saturating_add(1);
    let max_fee_per_gas = raise(previous.max_fee_per_gas).max(suggested.max_fee_per_gas);
    let tip = raise(previous.max_priority_fee_per_gas).max(suggested.max_priority_fee_per_gas);
    if raise(previous.max_fee_per_gas) > cap_wei || raise(previous.max_priority_fee_per_gas) > cap_wei {
        return None;
    }
    let max_fee_per_gas = max_fee_per_gas.min(cap_wei);
    Some(Fees { max_fee_per_gas, max_priority_fee_per_gas: tip.min(max_fee_per_gas) })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use ethers_core::types::U256;

    const GWEI: u128 = 1_000_000_000;

    fn fees(max: u128, tip: u128) -> Fees {
        Fees { max_fee_per_gas: max, max_priority_fee_per_gas: tip }
    }

    fn market(base: &[u128], tips: &[u128], newest: Option<u128>) -> Market {
        let history = FeeHistory {
            base_fee_per_gas: base.iter().map(|&wei| U256::from(wei)).collect(),
            reward: Some(tips.iter().map(|&wei| vec![U256::from(wei)]).collect()),
        };
        Market::of(&history, newest)
    }

    #[test]
    fn a_suggestion_doubles_the_next_base_fee_and_adds_the_median_tip() {
        let got = suggest(&market(&[GWEI, 3 * GWEI], &[GWEI, 5 * GWEI, 2 * GWEI], None), 1000 * GWEI);
        assert_eq!(got, fees(8 * GWEI, 2 * GWEI));
    }

    #[test]
    fn a_suggestion_stays_below_the_cap() {
        let got = suggest(&market(&[100 * GWEI], &[], None), 50 * GWEI);
        assert_eq!(got, fees(50 * GWEI, MIN_TIP_WEI));
    }

    #[test]
    fn an_absurd_price_is_not_paid() {
        let lie = market(&[u128::MAX], &[u128::MAX], Some(8 * GWEI));
        assert_eq!(lie.base_fee_wei, 9 * GWEI + 1);
        assert_eq!(suggest(&lie, 500 * GWEI), fees(18 * GWEI + 2 + MAX_TIP_WEI, MAX_TIP_WEI));
        assert_eq!(market(&[0], &[], Some(8 * GWEI)).base_fee_wei, 7 * GWEI);
        assert_eq!(lie.cheaper(market(&[8 * GWEI], &[1], Some(8 * GWEI))), Market { base_fee_wei: 8 * GWEI, tip_wei: 1 });
    }

    #[test]
    fn a_replacement_is_never_cheaper_than_the_original() {
        let original = fees(68_719_476_736, 2 * GWEI);
        let got = bump(original, fees(GWEI, 1), 1000 * GWEI).unwrap();
        assert!(got.max_fee_per_gas * 8 >= original.max_fee_per_gas * 9);
        assert!(got.max_priority_fee_per_gas * 8 >= original.max_priority_fee_per_gas * 9);
    }

    #[test]
    fn bumps_compound_and_end_at_the_cap() {
        let (mut now, cap) = (fees(10 * GWEI, GWEI), 20 * GWEI);
        let mut count = 0;
        while let Some(next) = bump(now, fees(1, 1), cap) {
            assert!(next.max_fee_per_gas <= cap && next.max_fee_per_gas * 8 >= now.max_fee_per_gas * 9);
            now = next;
            count += 1;
        }
        assert_eq!(count, 5);
    }

    #[test]
    fn a_replacement_follows_a_fee_spike() {
        assert_eq!(bump(fees(GWEI, 1000), fees(200 * GWEI, GWEI), 500 * GWEI), Some(fees(200 * GWEI, GWEI)));
    }
}

//! The contract's log entries as rows of the store.

use crate::abi::RollupContractEvents;
use crate::rpc::to_u128;
use ethers_contract::EthLogDecode;
use ethers_core::abi::RawLog;
use ethers_core::types::{H160, Log, U256};
use sheaf_protocol::amount::{Address, Amount, SlotId, TokenId};
use sheaf_protocol::field::{Word, from_word};
use sheaf_protocol::header::{QueueEntry, QueueKind};
use sheaf_store::l1::{Claimed, Committed, Credited, Event, EventRow, Frozen, Proven, Refunded, Reverted, TokenListed};

/// A log entry that the contract cannot have written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("block {block}, log {log_index}: not an event of the rollup contract ({detail})")]
pub struct EventError {
    /// Block number.
    pub block: u64,
    /// Position in the block.
    pub log_index: u64,
    /// What does not fit.
    pub detail: &'static str,
}

/// Reads one log entry of `contract`; a pending or removed one is refused, and so is that of another contract. `None`: nothing in the database depends on it, such as the operator's fees
/// or how people leave a frozen contract.
pub(crate) fn read(log: Log, contract: H160) -> Result<Option<EventRow>, EventError> {
    let block = log.block_number.unwrap_or_default().as_u64();
    let log_index = log.log_index.unwrap_or_default().low_u64();
    let error = |detail| EventError { block, log_index, detail };
    let tx_hash = log.transaction_hash.filter(|_| log.removed != Some(true)).ok_or_else(|| error("not mined"))?;
    if log.address != contract {
        return Err(error("of another contract"));
    }
    let raw = RawLog { topics: log.topics, data: log.data.to_vec() };
    let decoded = RollupContractEvents::decode_log(&raw).map_err(|_| error("unknown"))?;
    let event = event(decoded).map_err(error)?;
    Ok(event.map(|event| EventRow { block, log_index, tx_hash: tx_hash.0, event }))
}

fn event(decoded: RollupContractEvents) -> Result<Option<Event>, &'static str> {
    use RollupContractEvents as E;
    Ok(Some(match decoded {
        E::FeesClaimedFilter(_) | E::ExitedFilter(_) => return Ok(None),
        E::QueuedFilter(e) => Event::Queued(
            number(e.index)?,
            QueueEntry {
                kind: kind(e.kind)?,
                sender: address(e.sender),
                token: TokenId(e.token),
                amount: Amount(e.amount),
                slot: SlotId(e.idx),
                owner: address(e.owner),
                key: from_word(&word(e.key)).ok_or("key is not a field element")?,
            },
        ),
        E::TokenListedFilter(e) => Event::TokenListed(TokenListed { token: TokenId(e.id), erc20: address(e.token) }),
        E::CommittedFilter(e) => Event::Committed(number(e.number)?, Committed { batch_hash: e.batch_hash, root: e.root }),
        E::RevertedFilter(e) => Event::Reverted(number(e.to)?, Reverted { root: e.root }),
        E::ProvenFilter(e) => Event::Proven(number(e.number)?, Proven { root: e.root }),
        E::CreditedFilter(e) => {
            Event::Credited(number(e.number)?, Credited { to: address(e.to), token: TokenId(e.token), amount: amount(e.amount)? })
        }
        E::RefundedFilter(e) => Event::Refunded(number(e.index)?, Refunded { to: address(e.to), token: TokenId(e.token), amount: amount(e.amount)? }),
        E::FrozenFilter(e) => Event::Frozen(Frozen { proven: number(e.proven)?, root: e.root }),
        E::ClaimedFilter(e) => {
            Event::Claimed(Claimed { account: address(e.account), token: TokenId(e.token), amount: amount(e.amount)?, to: address(e.to) })
        }
    }))
}

fn kind(kind: u8) -> Result<QueueKind, &'static str> {
    match kind {
        1 => Ok(QueueKind::Deposit),
        2 => Ok(QueueKind::Exit),
        3 => Ok(QueueKind::Rotation),
        _ => Err("unknown kind of queue entry"),
    }
}

fn number(value: U256) -> Result<u64, &'static str> {
    u64::try_from(value).map_err(|_| "number beyond 64 bits")
}

fn amount(value: U256) -> Result<Amount, &'static str> {
    to_u128(value).map(Amount).ok_or("amount beyond 128 bits")
}

fn address(value: H160) -> Address {
    Address(value.0)
}

fn word(value: U256) -> Word {
    value.into()
}

//! Why a transaction is not accepted, whoever found out. The API turns it into a problem with a stable code.

use sheaf_protocol::amount::{Amount, SlotId, TokenId};
use sheaf_protocol::ops::TxHash;
use sheaf_protocol::schnorr::SignatureError;
use sheaf_protocol::transition::Rejection;

/// Why a transaction is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// A rule of the state.
    #[error("{0}")]
    Rejected(Rejection),
    /// No token of this number is listed.
    #[error("token {0} is not listed")]
    UnknownToken(TokenId),
    /// Another transaction with this nonce waits for its batch.
    #[error("nonce of slot {slot} is in use by {by}, which is not in a batch yet")]
    NonceInUse {
        /// The slot.
        slot: SlotId,
        /// The other transaction.
        by: TxHash,
    },
    /// Below the operator's minimum.
    #[error("fee {got} is below the minimum {minimum} of token {token}")]
    FeeTooLow {
        /// The token.
        token: TokenId,
        /// The minimum.
        minimum: Amount,
        /// What was offered.
        got: Amount,
    },
    /// The operator has no slot that could collect it.
    #[error("the operator collects no fees in token {0}")]
    NoFeeSlot(TokenId),
    /// No token of this number can be held, or not yet: L1's listing is not deep enough.
    #[error("token {0} of the account is not listed, or its listing is not confirmed yet")]
    UnknownAccountToken(TokenId),
    /// An account that nobody could use.
    #[error("the account's key is not the x-coordinate of a Grumpkin point: nobody could sign for it")]
    AccountKey,
    /// A withdrawal that nobody could claim, or an account whose owner nobody is.
    #[error("{0} is zero: nobody has this address")]
    ZeroAddress(&'static str),
    /// The signature.
    #[error("{0}")]
    Signature(SignatureError),
    /// Nothing is proven any more.
    #[error("the contract on L1 is frozen: nothing accepted now could ever be proven")]
    Frozen,
    /// Too much waits.
    #[error("too many transactions are waiting")]
    QueueFull,
    /// Postgres did not confirm the write in time.
    #[error("the transaction could not be stored in time")]
    Storage,
    /// This process is going down.
    #[error("the sequencer is stopping")]
    Stopping,
}

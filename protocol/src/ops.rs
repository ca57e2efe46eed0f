//! Signed operations: their words, messages, hashes and binary records.
//!
//! ```text
//! Transfer word = from | to<<24 | amount40<<48 | fee16<<88                      (104 bits, posted two to a word)
//! Transfer m    = word | token<<104 | nonce<<120
//! Withdraw w0   = from | token<<24 | fee16<<40                                  (56 bits)
//! Withdraw m    = Poseidon_4(domain + TAG_WM; w0 + nonce<<56, amount, address)
//! Register w0   = from | new<<24 | tokn<<48 | fee16<<64                         (80 bits; the operator chooses new)
//! Register m    = Poseidon_4(domain + TAG_RM; from | token<<24 | tokn<<40 | fee16<<56 | nonce<<72, key, owner)
//! hash          = H("tx", domain, op_tag, m)                                    (the signature is not part of it)
//! ```

use crate::amount::{Address, Amount, AmountError, AmountFloat, FeeFloat, Nonce, SLOT_BITS, SlotId, TokenId, WHOLE_AMOUNT_BITS};
use crate::field::{Fr, Word, from_word, hash_to_field, pow2, to_word, word_u128};
use crate::ledger::{Slot, Triple};
use crate::poseidon;
use crate::schnorr::{Signature, SignatureError};
use serde::{Deserialize, Serialize};

/// Tag of a signed operation; part of what is signed and of every record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum OpTag {
    /// Moves an amount between two slots of one token.
    Transfer = 1,
    /// Moves an amount to an L1 address.
    Withdraw = 2,
    /// Opens an account for somebody else.
    Register = 3,
}

/// Capacity offset of the hash that makes a withdrawal's message.
pub const TAG_WITHDRAW_MESSAGE: u64 = 4;
/// Capacity offset of the hash that makes a register's message.
pub const TAG_REGISTER_MESSAGE: u64 = 5;
/// Bytes of a transfer's binary record.
pub const TRANSFER_RECORD_BYTES: usize = 84;
/// Bytes of a withdrawal's binary record.
pub const WITHDRAW_RECORD_BYTES: usize = 110;
/// Bytes of a register's binary record.
pub const REGISTER_RECORD_BYTES: usize = 130;
/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;

/// `amount` from one slot to another of the same token, `fee` to the token's fee slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    /// The paying slot.
    pub from: SlotId,
    /// The paid slot.
    pub to: SlotId,
    /// Token of both.
    pub token: TokenId,
    /// The payer's nonce.
    pub nonce: Nonce,
    /// What arrives.
    pub amount: AmountFloat,
    /// What the operator gets.
    pub fee: FeeFloat,
}

/// `amount` from a slot to an L1 address, `fee` to the token's fee slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Withdraw {
    /// The paying slot.
    pub from: SlotId,
    /// Its token.
    pub token: TokenId,
    /// The payer's nonce.
    pub nonce: Nonce,
    /// What the operator gets.
    pub fee: FeeFloat,
    /// What leaves, below 2^112.
    pub amount: Amount,
    /// Who may claim it on L1.
    pub address: Address,
}

/// A sponsor opens an account: an empty slot of the operator's choice becomes the triple, or nothing happens if a slot is already exactly that.
/// Either way the sponsor pays the fee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Register {
    /// The sponsor's slot.
    pub from: SlotId,
    /// The sponsor's token, in which the fee is paid.
    pub token: TokenId,
    /// The sponsor's nonce.
    pub nonce: Nonce,
    /// What the operator gets.
    pub fee: FeeFloat,
    /// Key, owner and token of the account.
    pub account: Triple,
}

/// What a key holder can sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Op {
    /// A transfer.
    Transfer(Transfer),
    /// A withdrawal.
    Withdraw(Withdraw),
    /// An account for somebody else.
    Register(Register),
}

/// Hash of a signed operation's content; a re-signed copy has the same hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TxHash(#[serde(with = "crate::field::bytes_hex")] pub Word);

impl std::fmt::Display for TxHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&crate::field::to_hex(&self.0))
    }
}

impl std::fmt::Debug for TxHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// An operation with its signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedOp {
    /// The operation.
    pub op: Op,
    /// The signature over its message.
    pub signature: Signature,
}

/// Why a binary record is not an operation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The first byte names no operation.
    #[error("record starts with unknown op tag {0}; 1 is a transfer, 2 a withdrawal, 3 a register")]
    UnknownTag(u8),
    /// The body ends inside a record.
    #[error("record of op tag {tag} needs {expected} bytes, {got} are left")]
    Truncated {
        /// Its tag.
        tag: u8,
        /// Bytes of a whole record.
        expected: usize,
        /// Bytes left in the body.
        got: usize,
    },
    /// A number is out of its range.
    #[error("field {field}: {source}")]
    Field {
        /// The field's name.
        field: &'static str,
        /// What is wrong with it.
        source: AmountError,
    },
    /// A key that is no field element.
    #[error("field key: not below the field's modulus")]
    Key,
    /// The signature's bytes name no signature.
    #[error("field signature: {0}")]
    Signature(#[from] SignatureError),
}

impl Transfer {
    /// The posted word, 104 bits.
    pub fn word(&self) -> u128 {
        u128::from(self.from.0) | u128::from(self.to.0) << 24 | u128::from(self.amount.packed()) << 48 | u128::from(self.fee.packed()) << 88
    }

    /// The signed message.
    pub fn message(&self) -> Fr {
        Fr::from(self.word()) + pow2(104) * Fr::from(self.token.0) + pow2(120) * Fr::from(self.nonce.0)
    }
}

impl Withdraw {
    /// The first of the three words, 56 bits.
    pub fn w0(&self) -> u64 {
        u64::from(self.from.0) | u64::from(self.token.0) << 24 | self.fee.packed() << 40
    }

    /// The three words of `P_ops`.
    pub fn words(&self) -> [Fr; 3] {
        [Fr::from(self.w0()), Fr::from(self.amount.0), self.address.to_fr()]
    }

    /// The signed message.
    pub fn message(&self, domain: Fr) -> Fr {
        let [w0, amount, address] = self.words();
        poseidon::hash3(domain + Fr::from(TAG_WITHDRAW_MESSAGE), w0 + pow2(56) * Fr::from(self.nonce.0), amount, address)
    }
}

impl Default for Register {
    fn default() -> Self {
        let (from, token, nonce, fee) = Default::default();
        Self { from, token, nonce, fee, account: Slot::EMPTY.triple }
    }
}

impl Register {
    /// The three posted words when the account gets slot `new`: `w0` (80 bits), key, owner.
    pub fn words(&self, new: SlotId) -> [Fr; 3] {
        [Fr::from(self.w0(new)), self.account.key, self.account.owner.to_fr()]
    }

    /// The first of the three words, 80 bits.
    pub fn w0(&self, new: SlotId) -> u128 {
        u128::from(self.from.0) | u128::from(new.0) << 24 | u128::from(self.account.token.0) << 48 | u128::from(self.fee.packed()) << 64
    }

    /// The signed message: the slot is not part of it.
    pub fn message(&self, domain: Fr) -> Fr {
        let head = u128::from(self.from.0)
            | u128::from(self.token.0) << 24
            | u128::from(self.account.token.0) << 40
            | u128::from(self.fee.packed()) << 56
            | u128::from(self.nonce.0) << 72;
        let capacity = domain + Fr::from(TAG_REGISTER_MESSAGE);
        poseidon::hash3(capacity, Fr::from(head), self.account.key, self.account.owner.to_fr())
    }
}

impl Op {
    /// Which operation it is.
    pub fn tag(&self) -> OpTag {
        match self {
            Op::Transfer(_) => OpTag::Transfer,
            Op::Withdraw(_) => OpTag::Withdraw,
            Op::Register(_) => OpTag::Register,
        }
    }

    /// The signed message in this domain.
    pub fn message(&self, domain: Fr) -> Fr {
        match self {
            Op::Transfer(transfer) => transfer.message(),
            Op::Withdraw(withdraw) => withdraw.message(domain),
            Op::Register(register) => register.message(domain),
        }
    }

    /// The transaction hash in this domain.
    pub fn hash(&self, domain: Fr) -> TxHash {
        let words = [to_word(domain), word_u128(self.tag() as u128), to_word(self.message(domain))];
        TxHash(to_word(hash_to_field("tx", &words)))
    }

    /// The signing slot.
    pub fn from(&self) -> SlotId {
        match self {
            Op::Transfer(t) => t.from,
            Op::Withdraw(w) => w.from,
            Op::Register(r) => r.from,
        }
    }

    /// The token it moves, or pays its fee in.
    pub fn token(&self) -> TokenId {
        match self {
            Op::Transfer(t) => t.token,
            Op::Withdraw(w) => w.token,
            Op::Register(r) => r.token,
        }
    }

    /// The signer's nonce.
    pub fn nonce(&self) -> Nonce {
        match self {
            Op::Transfer(t) => t.nonce,
            Op::Withdraw(w) => w.nonce,
            Op::Register(r) => r.nonce,
        }
    }

    /// The fee in the token's smallest unit.
    pub fn fee(&self) -> Amount {
        match self {
            Op::Transfer(t) => t.fee.amount(),
            Op::Withdraw(w) => w.fee.amount(),
            Op::Register(r) => r.fee.amount(),
        }
    }

    /// The amount without the fee.
    pub fn amount(&self) -> Amount {
        match self {
            Op::Transfer(t) => t.amount.amount(),
            Op::Withdraw(w) => w.amount,
            Op::Register(_) => Amount(0),
        }
    }
}

impl SignedOp {
    /// The binary record: tag, big-endian fields, signature.
    pub fn to_record(&self) -> Vec<u8> {
        let mut out = vec![self.op.tag() as u8];
        match &self.op {
            Op::Transfer(t) => {
                put(&mut out, u64::from(t.from.0), 3);
                put(&mut out, u64::from(t.to.0), 3);
                put(&mut out, u64::from(t.token.0), 2);
                put(&mut out, u64::from(t.nonce.0), 4);
                put(&mut out, t.amount.packed(), 5);
                put(&mut out, t.fee.packed(), 2);
            }
            Op::Withdraw(w) => {
                put(&mut out, u64::from(w.from.0), 3);
                put(&mut out, u64::from(w.token.0), 2);
                put(&mut out, u64::from(w.nonce.0), 4);
                put(&mut out, w.fee.packed(), 2);
                out.extend_from_slice(&w.amount.0.to_be_bytes()[2..]);
                out.extend_from_slice(&w.address.0);
            }
            Op::Register(r) => {
                put(&mut out, u64::from(r.from.0), 3);
                put(&mut out, u64::from(r.token.0), 2);
                put(&mut out, u64::from(r.nonce.0), 4);
                put(&mut out, r.fee.packed(), 2);
                put(&mut out, u64::from(r.account.token.0), 2);
                out.extend_from_slice(&to_word(r.account.key));
                out.extend_from_slice(&r.account.owner.0);
            }
        }
        out.extend_from_slice(&self.signature.to_bytes());
        out
    }

    /// Reads the record at the start of `body` and returns it with the rest of the body.
    ///
    /// # Errors
    /// [`RecordError`], naming the field.
    pub fn read_record(body: &[u8]) -> Result<(SignedOp, &[u8]), RecordError> {
        let tag = body.first().copied().unwrap_or(0);
        let expected = match tag {
            1 => TRANSFER_RECORD_BYTES,
            2 => WITHDRAW_RECORD_BYTES,
            3 => REGISTER_RECORD_BYTES,
            _ => return Err(RecordError::UnknownTag(tag)),
        };
        let Some((record, rest)) = body.split_at_checked(expected) else {
            return Err(RecordError::Truncated { tag, expected, got: body.len() });
        };
        let (fields, signature) = record[1..].split_at(expected - 1 - SIGNATURE_BYTES);
        let op = match tag {
            1 => Op::Transfer(read_transfer(fields)?),
            2 => Op::Withdraw(read_withdraw(fields)?),
            _ => Op::Register(read_register(fields)?),
        };
        let mut bytes = [0u8; SIGNATURE_BYTES];
        bytes.copy_from_slice(signature);
        Ok((SignedOp { op, signature: Signature::from_bytes(&bytes)? }, rest))
    }

    /// Reads exactly one record.
    ///
    /// # Errors
    /// [`RecordError`]; bytes after the record are a [`RecordError::Truncated`] second record or an unknown tag.
    pub fn from_record(bytes: &[u8]) -> Result<SignedOp, RecordError> {
        let (op, rest) = Self::read_record(bytes)?;
        if rest.is_empty() {
            return Ok(op);
        }
        Err(Self::read_record(rest).err().unwrap_or(RecordError::UnknownTag(rest[0])))
    }
}

fn put(out: &mut Vec<u8>, value: u64, bytes: usize) {
    out.extend_from_slice(&value.to_be_bytes()[8 - bytes..]);
}

fn take(fields: &mut &[u8], bytes: usize) -> u128 {
    let (head, tail) = fields.split_at(bytes);
    *fields = tail;
    head.iter().fold(0u128, |value, byte| value << 8 | u128::from(*byte))
}

fn read_transfer(mut f: &[u8]) -> Result<Transfer, RecordError> {
    Ok(Transfer {
        from: SlotId(take(&mut f, 3) as u32),
        to: SlotId(take(&mut f, 3) as u32),
        token: TokenId(take(&mut f, 2) as u16),
        nonce: Nonce(take(&mut f, 4) as u32),
        amount: AmountFloat::from_packed(take(&mut f, 5) as u64).map_err(|source| RecordError::Field { field: "amount", source })?,
        fee: FeeFloat::from_packed(take(&mut f, 2) as u64).map_err(|source| RecordError::Field { field: "fee", source })?,
    })
}

fn read_register(mut f: &[u8]) -> Result<Register, RecordError> {
    Ok(Register {
        from: SlotId(take(&mut f, 3) as u32),
        token: TokenId(take(&mut f, 2) as u16),
        nonce: Nonce(take(&mut f, 4) as u32),
        fee: FeeFloat::from_packed(take(&mut f, 2) as u64).map_err(|source| RecordError::Field { field: "fee", source })?,
        account: {
            let token = TokenId(take(&mut f, 2) as u16);
            let (key, owner) = f.split_at(32);
            Triple { key: from_word(&array(key)).ok_or(RecordError::Key)?, owner: Address(array(owner)), token }
        },
    })
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0u8; N];
    out.copy_from_slice(bytes);
    out
}

fn read_withdraw(mut f: &[u8]) -> Result<Withdraw, RecordError> {
    Ok(Withdraw {
        from: SlotId(take(&mut f, 3) as u32),
        token: TokenId(take(&mut f, 2) as u16),
        nonce: Nonce(take(&mut f, 4) as u32),
        fee: FeeFloat::from_packed(take(&mut f, 2) as u64).map_err(|source| RecordError::Field { field: "fee", source })?,
        amount: Amount(take(&mut f, 14)),
        address: Address(array(f)),
    })
}

const _: () = assert!(SLOT_BITS == 24 && WHOLE_AMOUNT_BITS == 112, "record widths follow the protocol's");

//! The operator's own transactions. One keeps its nonce for ever and has one row per fee offer (attempt); any attempt may be the one that
//! is mined.
//!
//! ```text
//! signed ──> sent ──> mined | failed        of one nonce, one row is in a state of this line, all others are replaced
//!    └──> replaced ─────^   │
//!            ^──── reorg ───┘               dropped: the nonce was used by a foreign transaction; signed again if the same bytes are due again
//! ```

use crate::rows::{count, int, unreadable, word};
use sheaf_protocol::amount::Address;
use sheaf_protocol::field::Word;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgTransaction, Row};

/// What an operator's transaction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TxKind {
    /// Posts one batch.
    Commit,
    /// Proves a range of batches.
    Prove,
    /// Posts one batch and proves a range of earlier ones.
    CommitAndProve,
    /// Credits one batch's withdrawals.
    Settle,
    /// Gives queue entries of one batch back.
    Refund,
    /// Takes commits back: those of these batches, which are the last ones.
    Revert,
    /// Uses up a nonce; about no batch.
    Cancel,
}

impl TxKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [Self::Commit, Self::Prove, Self::CommitAndProve, Self::Settle, Self::Refund, Self::Revert, Self::Cancel];

    /// Its name in the database, logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Prove => "prove",
            Self::CommitAndProve => "commit_and_prove",
            Self::Settle => "settle",
            Self::Refund => "refund",
            Self::Revert => "revert",
            Self::Cancel => "cancel",
        }
    }

    fn parse(name: &str) -> Result<Self, sqlx::Error> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| unreadable("kind"))
    }
}

/// One fee offer of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Row id.
    pub id: i64,
    /// Transaction hash.
    pub hash: Word,
    /// Signed bytes, as sent.
    pub raw: Vec<u8>,
    /// Most wei per gas.
    pub max_fee_wei: u128,
    /// Tip in wei per gas.
    pub tip_wei: u128,
    /// False until a node has taken it.
    pub sent: bool,
    /// How it was mined, while it is.
    pub mined: Option<Mined>,
}

/// How an attempt was mined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mined {
    /// Block number.
    pub block: u64,
    /// Block hash.
    pub block_hash: Word,
    /// False if it reverted.
    pub succeeded: bool,
    /// Gas, as the receipt says.
    pub gas_used: u64,
    /// Wei paid per gas.
    pub gas_price_wei: u128,
}

/// An operator's transaction: everything at one nonce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Nonce.
    pub nonce: u64,
    /// What it does.
    pub kind: TxKind,
    /// First batch it concerns; 0 for [`TxKind::Cancel`].
    pub first_batch: u64,
    /// Last batch it concerns; 0 for [`TxKind::Cancel`].
    pub last_batch: u64,
    /// The batch that a [`TxKind::CommitAndProve`] commits beside the proofs of those; 0 for any other.
    pub commits: u64,
    /// Fee offers, oldest and cheapest first; at least one.
    pub attempts: Vec<Attempt>,
}

impl Transaction {
    /// How it was mined, while it is.
    pub fn mined(&self) -> Option<&Mined> {
        self.attempts.iter().find_map(|attempt| attempt.mined.as_ref())
    }

    /// True if it is mined and did not revert.
    pub fn succeeded(&self) -> bool {
        self.mined().is_some_and(|mined| mined.succeeded)
    }
}

/// A signed transaction to save before it is sent.
#[derive(Clone, Debug)]
pub struct NewTransaction {
    /// Who signed it.
    pub sender: Address,
    /// Nonce.
    pub nonce: u64,
    /// What it does.
    pub kind: TxKind,
    /// First batch it concerns; 0 for [`TxKind::Cancel`].
    pub first_batch: u64,
    /// Last batch it concerns; 0 for [`TxKind::Cancel`].
    pub last_batch: u64,
    /// The batch that a [`TxKind::CommitAndProve`] commits beside the proofs of those; 0 for any other.
    pub commits: u64,
    /// What that commit alone was to cost; 0 for any other, and for a further fee offer, which takes it over.
    pub commit_gas: u64,
    /// Transaction hash.
    pub hash: Word,
    /// Signed bytes.
    pub raw: Vec<u8>,
    /// Gas limit.
    pub gas_limit: u64,
    /// Most wei per gas.
    pub max_fee_wei: u128,
    /// Tip in wei per gas.
    pub tip_wei: u128,
    /// Length of the calldata.
    pub calldata_bytes: u64,
    /// Calldata's share of the gas at the standard price.
    pub calldata_gas: u64,
}

/// The operator's transactions that are not mined, mined in a block above `settled`, or mined at a nonce that L1, at `mined_nonce`, does not
/// count as used; by nonce.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn live_transactions(
    connection: &mut PgConnection,
    sender: &Address,
    settled: u64,
    mined_nonce: u64,
) -> Result<Vec<Transaction>, sqlx::Error> {
    let query = "SELECT id, nonce, kind, coalesce(batch_from, 0) AS batch_from, coalesce(batch_to, 0) AS batch_to,
                        coalesce(commits, 0) AS commits, hash, raw,
                        max_fee_per_gas::text AS max_fee, max_priority_fee_per_gas::text AS tip,
                        state, sent_at IS NOT NULL AS sent, block_number, block_hash, gas_used, effective_gas_price::text AS gas_price
                 FROM l1_transactions
                 WHERE sender = $1 AND state <> 'dropped' AND kind IN ('commit', 'prove', 'commit_and_prove', 'settle', 'refund', 'revert', 'cancel') AND nonce IN (
                     SELECT nonce FROM l1_transactions WHERE sender = $1 AND state IN ('signed', 'sent') UNION ALL
                     SELECT nonce FROM l1_transactions WHERE sender = $1 AND state IN ('mined', 'failed') AND block_number > $2 UNION ALL
                     SELECT nonce FROM l1_transactions WHERE sender = $1 AND state IN ('mined', 'failed') AND nonce >= $3)
                 ORDER BY nonce, id";
    let rows = sqlx::query(query).bind(sender.0.as_slice()).bind(int(settled)).bind(int(mined_nonce)).fetch_all(connection).await?;
    let mut out: Vec<Transaction> = Vec::new();
    for row in &rows {
        let nonce = count(row, "nonce")?;
        match out.last_mut() {
            Some(last) if last.nonce == nonce => last.attempts.push(attempt(row)?),
            _ => out.push(transaction(row)?),
        }
    }
    Ok(out)
}

fn transaction(row: &PgRow) -> Result<Transaction, sqlx::Error> {
    Ok(Transaction {
        nonce: count(row, "nonce")?,
        kind: TxKind::parse(row.try_get("kind")?)?,
        first_batch: count(row, "batch_from")?,
        last_batch: count(row, "batch_to")?,
        commits: count(row, "commits")?,
        attempts: vec![attempt(row)?],
    })
}

fn attempt(row: &PgRow) -> Result<Attempt, sqlx::Error> {
    let state: &str = row.try_get("state")?;
    Ok(Attempt {
        id: row.try_get("id")?,
        hash: word(row, "hash")?,
        raw: row.try_get("raw")?,
        max_fee_wei: wei(row, "max_fee")?,
        tip_wei: wei(row, "tip")?,
        sent: row.try_get("sent")?,
        mined: matches!(state, "mined" | "failed").then(|| mined(row, state == "mined")).transpose()?,
    })
}

fn mined(row: &PgRow, succeeded: bool) -> Result<Mined, sqlx::Error> {
    Ok(Mined {
        block: count(row, "block_number")?,
        block_hash: word(row, "block_hash")?,
        succeeded,
        gas_used: count(row, "gas_used")?,
        gas_price_wei: wei(row, "gas_price")?,
    })
}

/// Where the next transaction goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreeNonce {
    /// The smallest nonce without a live transaction.
    pub nonce: u64,
    /// True if a live transaction has a higher one and waits for it to be used.
    pub is_hole: bool,
}

/// The smallest nonce from `mined_nonce` on that no live transaction has.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn free_nonce(connection: &mut PgConnection, sender: &Address, mined_nonce: u64) -> Result<FreeNonce, sqlx::Error> {
    let query = "WITH live AS (
                     SELECT nonce FROM l1_transactions WHERE sender = $1 AND nonce >= $2 AND state IN ('signed', 'sent', 'mined', 'failed'))
                 SELECT min(place) AS nonce, coalesce(min(place) < (SELECT max(nonce) FROM live), false) AS is_hole
                 FROM (SELECT $2::bigint AS place UNION ALL SELECT nonce + 1 FROM live) places
                 WHERE NOT EXISTS (SELECT 1 FROM live WHERE nonce = place)";
    let row = sqlx::query(query).bind(sender.0.as_slice()).bind(int(mined_nonce)).fetch_one(connection).await?;
    Ok(FreeNonce { nonce: count(&row, "nonce")?, is_hole: row.try_get("is_hole")? })
}

/// Saves a signed transaction, or a further fee offer for the nonce of `replaces`; only then may it be sent. The same bytes, given up before,
/// are live again.
///
/// # Errors
/// [`sqlx::Error`]; also if the nonce is in use by another transaction.
pub async fn save_transaction(tx: &mut PgTransaction<'_>, new: &NewTransaction, replaces: Option<i64>) -> Result<i64, sqlx::Error> {
    let retire = "UPDATE l1_transactions SET state = 'replaced' WHERE sender = $1 AND nonce = $2 AND state IN ('signed', 'sent')";
    if replaces.is_some() {
        sqlx::query(retire).bind(new.sender.0.as_slice()).bind(int(new.nonce)).execute(&mut **tx).await?;
    }
    let query = "INSERT INTO l1_transactions (kind, batch_from, batch_to, sender, nonce, hash, raw, gas_limit, max_fee_per_gas,
                     max_priority_fee_per_gas, calldata_bytes, calldata_gas, replaces, commits, commit_gas)
                 VALUES ($1, nullif($2, 0), nullif($3, 0), $4, $5, $6, $7, $8, $9::numeric, $10::numeric, $11, $12, $13, nullif($14, 0),
                     coalesce((SELECT commit_gas FROM l1_transactions WHERE id = $13), nullif($15, 0)))
                 ON CONFLICT (hash) DO UPDATE SET state = 'signed', created_at = now(), sent_at = NULL, reason = NULL, replaces = excluded.replaces
                 WHERE l1_transactions.state = 'dropped' RETURNING id";
    sqlx::query_scalar(query)
        .bind(new.kind.name())
        .bind(int(new.first_batch))
        .bind(int(new.last_batch))
        .bind(new.sender.0.as_slice())
        .bind(int(new.nonce))
        .bind(new.hash.as_slice())
        .bind(new.raw.as_slice())
        .bind(int(new.gas_limit))
        .bind(new.max_fee_wei.to_string())
        .bind(new.tip_wei.to_string())
        .bind(i32::try_from(new.calldata_bytes).unwrap_or(i32::MAX))
        .bind(int(new.calldata_gas))
        .bind(replaces)
        .bind(int(new.commits))
        .bind(int(new.commit_gas))
        .fetch_one(&mut **tx)
        .await
}

/// Records that a node took an attempt.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn set_sent(connection: &mut PgConnection, id: i64) -> Result<(), sqlx::Error> {
    let query = "UPDATE l1_transactions SET sent_at = coalesce(sent_at, now()), state = CASE state WHEN 'signed' THEN 'sent' ELSE state END
                 WHERE id = $1";
    sqlx::query(query).bind(id).execute(connection).await.map(drop)
}

/// Records in which block and at what cost an attempt was mined, and why it failed if it did; the others of its nonce are replaced.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn set_mined(
    tx: &mut PgTransaction<'_>,
    sender: &Address,
    nonce: u64,
    id: i64,
    mined: &Mined,
    reason: Option<&str>,
) -> Result<(), sqlx::Error> {
    retire(tx, sender, nonce).await?;
    let query = "UPDATE l1_transactions SET state = $2, block_number = $3, block_hash = $4, gas_used = $5, effective_gas_price = $6::numeric,
                     reason = $7 WHERE id = $1";
    sqlx::query(query)
        .bind(id)
        .bind(if mined.succeeded { "mined" } else { "failed" })
        .bind(int(mined.block))
        .bind(mined.block_hash.as_slice())
        .bind(int(mined.gas_used))
        .bind(mined.gas_price_wei.to_string())
        .bind(reason)
        .execute(&mut **tx)
        .await
        .map(drop)
}

/// Records that a mined transaction is in no block any more: its newest attempt waits again.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn set_unmined(tx: &mut PgTransaction<'_>, sender: &Address, nonce: u64) -> Result<(), sqlx::Error> {
    retire(tx, sender, nonce).await?;
    let query = "UPDATE l1_transactions SET state = CASE WHEN sent_at IS NULL THEN 'signed' ELSE 'sent' END WHERE id = (
                     SELECT max(id) FROM l1_transactions WHERE sender = $1 AND nonce = $2 AND state <> 'dropped')";
    sqlx::query(query).bind(sender.0.as_slice()).bind(int(nonce)).execute(&mut **tx).await.map(drop)
}

async fn retire(tx: &mut PgTransaction<'_>, sender: &Address, nonce: u64) -> Result<(), sqlx::Error> {
    let query = "UPDATE l1_transactions SET state = 'replaced', block_number = NULL, block_hash = NULL, gas_used = NULL,
                     effective_gas_price = NULL WHERE sender = $1 AND nonce = $2 AND state <> 'dropped'";
    sqlx::query(query).bind(sender.0.as_slice()).bind(int(nonce)).execute(&mut **tx).await.map(drop)
}

/// Records that a foreign transaction used the nonce.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn set_dropped(connection: &mut PgConnection, sender: &Address, nonce: u64, reason: &str) -> Result<(), sqlx::Error> {
    let query = "UPDATE l1_transactions SET state = 'dropped', reason = $3, block_number = NULL, block_hash = NULL, gas_used = NULL,
                     effective_gas_price = NULL WHERE sender = $1 AND nonce = $2";
    sqlx::query(query).bind(sender.0.as_slice()).bind(int(nonce)).bind(reason).execute(connection).await.map(drop)
}

/// What the operator's mined transactions of one kind cost together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GasTotal {
    /// What they did.
    pub kind: TxKind,
    /// How many there are.
    pub transactions: u64,
    /// Gas, as the receipts say.
    pub used: u64,
    /// Share that calldata paid: 4 gas a token, or all but the fixed 21,000 where the floor of EIP-7623 (10 a token) set the price.
    pub calldata: u64,
    /// The rest, without the fixed 21,000 of each.
    pub execution: u64,
    /// What was paid, in wei.
    pub wei: u128,
}

/// Gas of all mined transactions by kind, those that reverted included: they are paid for too.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn gas_totals(connection: &mut PgConnection) -> Result<Vec<GasTotal>, sqlx::Error> {
    let query = "SELECT kind, count(*) AS transactions, sum(gas_used)::bigint AS used, sum(calldata)::bigint AS calldata,
                        sum(gas_used - 21000 - calldata)::bigint AS execution, sum(gas_used * effective_gas_price)::text AS wei
                 FROM (SELECT kind, gas_used, effective_gas_price, CASE WHEN gas_used = 21000 + calldata_gas * 5 / 2 THEN gas_used - 21000 ELSE calldata_gas END AS calldata
                       FROM l1_transactions WHERE state IN ('mined', 'failed') AND kind IN ('commit', 'prove', 'commit_and_prove', 'settle', 'refund', 'revert')) mined
                 GROUP BY kind ORDER BY kind";
    let rows = sqlx::query(query).fetch_all(connection).await?;
    rows.iter().map(gas_total).collect()
}

fn gas_total(row: &PgRow) -> Result<GasTotal, sqlx::Error> {
    Ok(GasTotal {
        kind: TxKind::parse(row.try_get("kind")?)?,
        transactions: count(row, "transactions")?,
        used: count(row, "used")?,
        calldata: count(row, "calldata")?,
        execution: count(row, "execution")?,
        wei: wei(row, "wei")?,
    })
}

pub(crate) fn wei(row: &PgRow, column: &str) -> Result<u128, sqlx::Error> {
    row.try_get::<&str, _>(column)?.parse().map_err(|_| unreadable(column))
}

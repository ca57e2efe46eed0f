//! What batches cost: L1 gas and wei of each, and, of all so far, proving time. Nothing is stored for it: it is read off the receipts.

use crate::l1::wei;
use crate::rows::{count, int};
use sqlx::{PgConnection, Row};

/// Sums over everything settled.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Costs {
    /// Batches whose proof is on L1.
    pub batches: i64,
    /// Gas of calldata of our mined commit, prove and settle transactions.
    pub calldata_gas: i64,
    /// The rest of their gas.
    pub execution_gas: i64,
    /// Mean milliseconds from witness to proof.
    pub mean_prove_ms: f64,
}

/// The costs so far.
///
/// # Errors
/// Those of the database.
pub async fn costs(connection: &mut PgConnection) -> Result<Costs, sqlx::Error> {
    let row = sqlx::query(
        "SELECT (SELECT count(*) FROM l1_events WHERE kind = 'proven') AS batches,
                coalesce(sum(calldata_gas), 0)::bigint AS calldata_gas,
                coalesce(sum(gas_used - calldata_gas), 0)::bigint AS execution_gas,
                (SELECT coalesce(avg(prove_ms), 0)::float8 FROM proofs) AS mean_prove_ms
         FROM l1_transactions WHERE state = 'mined' AND kind IN ('commit', 'prove', 'commit_and_prove', 'settle', 'refund', 'revert')",
    )
    .fetch_one(connection)
    .await?;
    Ok(Costs {
        batches: row.try_get("batches")?,
        calldata_gas: row.try_get("calldata_gas")?,
        execution_gas: row.try_get("execution_gas")?,
        mean_prove_ms: row.try_get("mean_prove_ms")?,
    })
}

/// What one kind of transaction cost a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    /// `commit`, `prove`, `settle`, `refund` or `revert`; a commit beside proofs is one of each.
    pub kind: String,
    /// Mined transactions about it, those that reverted included.
    pub transactions: u64,
    /// The batch's share of their gas.
    pub gas: u64,
    /// The batch's share of what was paid, in wei.
    pub wei: u128,
}

/// What a batch has cost on L1 so far. Of a commit beside proofs the commit pays what it alone was to cost, the proofs the rest. A transaction about
/// several batches is split evenly; what does not divide goes to the first of them, one unit each, so that the shares make the whole.
///
/// # Errors
/// Those of the database.
pub async fn of_batch(connection: &mut PgConnection, number: u64) -> Result<Vec<Cost>, sqlx::Error> {
    let query = "SELECT kind, count(*) AS transactions, sum(div(gas, n) + CASE WHEN place < mod(gas, n) THEN 1 ELSE 0 END)::bigint AS gas,
                        sum(div(wei, n) + CASE WHEN place < mod(wei, n) THEN 1 ELSE 0 END)::text AS wei
                 FROM (SELECT CASE WHEN commits IS NULL THEN kind ELSE 'prove' END AS kind, gas_used::numeric - least(gas_used, coalesce(commit_gas, 0)) AS gas,
                              (gas_used - least(gas_used, coalesce(commit_gas, 0))) * effective_gas_price AS wei, batch_to - batch_from + 1 AS n,
                              $1 - batch_from AS place
                       FROM l1_transactions WHERE state IN ('mined', 'failed') AND int8range(batch_from, batch_to, '[]') @> $1::bigint
                       UNION ALL
                       SELECT 'commit', least(gas_used, commit_gas)::numeric, least(gas_used, commit_gas) * effective_gas_price, 1, 0
                       FROM l1_transactions WHERE state IN ('mined', 'failed') AND commits = $1) shares
                 GROUP BY kind ORDER BY kind";
    let rows = sqlx::query(query).bind(int(number)).fetch_all(connection).await?;
    let cost = |row| {
        Ok(Cost { kind: Row::try_get(row, "kind")?, transactions: count(row, "transactions")?, gas: count(row, "gas")?, wei: wei(row, "wei")? })
    };
    rows.iter().map(cost).collect()
}

/// Dollars for an amount of wei at a price of one ether, to a hundredth of a cent.
pub fn usd(wei: u128, eth_usd: f64) -> String {
    format!("{:.4}", wei as f64 / 1e18 * eth_usd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_follow_the_price() {
        assert_eq!(usd(1_500_000_000_000_000, 3_000.0), "4.5000");
        assert_eq!(usd(0, 3_000.0), "0.0000");
    }
}

//! What the batches have cost so far: L1 gas and proving time, for reports.

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
         FROM l1_transactions WHERE state = 'mined' AND kind IN ('commit', 'prove', 'commit_and_prove', 'settle')",
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

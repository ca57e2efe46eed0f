//! The state after the last computed batch: where recovery starts.

use crate::rows::int;
use crate::rows::{unreadable, word};
use sheaf_protocol::amount::{Address, Amount, Nonce, SlotId, TokenId};
use sheaf_protocol::field::{from_word, to_word};
use sheaf_protocol::ledger::{Slot, Triple};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

/// Every slot in use, by index.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn all(connection: &mut PgConnection) -> Result<Vec<(SlotId, Slot)>, sqlx::Error> {
    let query = "SELECT idx, key, owner, token, nonce, balance::text AS balance FROM slots ORDER BY idx";
    sqlx::query(query).fetch_all(connection).await?.iter().map(read_slot).collect()
}

fn read_slot(row: &PgRow) -> Result<(SlotId, Slot), sqlx::Error> {
    let owner = row.try_get::<&[u8], _>("owner")?.try_into().map_err(|_| unreadable("owner"))?;
    let small = |column: &str| row.try_get::<i32, _>(column)?.try_into().map_err(|_| unreadable(column));
    let triple = Triple {
        key: from_word(&word(row, "key")?).ok_or_else(|| unreadable("key"))?,
        owner: Address(owner),
        token: TokenId(u16::try_from(small("token")?).map_err(|_| unreadable("token"))?),
    };
    let nonce = u32::try_from(row.try_get::<i64, _>("nonce")?).map_err(|_| unreadable("nonce"))?;
    let balance = row.try_get::<&str, _>("balance")?.parse().map_err(|_| unreadable("balance"))?;
    let id: u32 = small("idx")?;
    Ok((SlotId(id), Slot { triple, nonce: Nonce(nonce), balance: Amount(balance) }))
}

/// Writes what a batch made of the slots it changed.
///
/// # Errors
/// [`sqlx::Error`].
pub async fn upsert(connection: &mut PgConnection, batch: u64, slots: &[(SlotId, Slot)]) -> Result<(), sqlx::Error> {
    let query = "INSERT INTO slots (idx, key, owner, token, nonce, balance, batch_number)
                 SELECT idx, key, owner, token, nonce, balance::numeric, $7
                 FROM unnest($1::integer[], $2::bytea[], $3::bytea[], $4::integer[], $5::bigint[], $6::text[]) AS s (idx, key, owner, token, nonce, balance)
                 ON CONFLICT (idx) DO UPDATE SET key = excluded.key, owner = excluded.owner, token = excluded.token, nonce = excluded.nonce,
                     balance = excluded.balance, batch_number = excluded.batch_number";
    sqlx::query(query)
        .bind(slots.iter().map(|(id, _)| id.0 as i32).collect::<Vec<_>>())
        .bind(slots.iter().map(|(_, slot)| to_word(slot.triple.key).to_vec()).collect::<Vec<_>>())
        .bind(slots.iter().map(|(_, slot)| slot.triple.owner.0.to_vec()).collect::<Vec<_>>())
        .bind(slots.iter().map(|(_, slot)| i32::from(slot.triple.token.0)).collect::<Vec<_>>())
        .bind(slots.iter().map(|(_, slot)| i64::from(slot.nonce.0)).collect::<Vec<_>>())
        .bind(slots.iter().map(|(_, slot)| slot.balance.to_string()).collect::<Vec<_>>())
        .bind(int(batch))
        .execute(connection)
        .await
        .map(drop)
}

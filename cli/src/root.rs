//! The state root rebuilt from the slots that Postgres holds, by committing to them afresh.

use sheaf_protocol::field::Word;
use sheaf_protocol::kzg::{Srs, StateVector};
use sqlx::PgPool;
use std::sync::Arc;

/// The root of every slot in the database.
pub(crate) async fn rebuilt(pool: &PgPool, srs: Arc<Srs>) -> anyhow::Result<Word> {
    let slots = sheaf_store::slots::all(&mut *pool.acquire().await?).await?;
    let columns = slots.into_iter().map(|(id, slot)| (id, slot.columns()));
    Ok(StateVector::new(srs, columns)?.root())
}

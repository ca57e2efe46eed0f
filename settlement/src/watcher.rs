//! Follows the chain by block hash and keeps the store's copy of its blocks and of the contract's events.
//!
//! ```text
//!            no new block                    parent = our tip: append block and events
//!   ┌──> look at the head ──────> idle   ┌──────────────────────────────────────────────┐
//!   └────────────────────────────────────┴── our tip is not on the chain: rewind to the fork
//! ```
//!
//! Committed, proven and final are read off these rows; nobody sets them by hand. A rewind deletes the rows of dropped blocks, so whatever
//! was derived from them is gone at once. Blocks far behind the head are read in ranges, the rest one by one with logs asked by block hash, so
//! that logs of a dropped block are never mixed with others. When L1 does not answer nothing changes: the next step tries again.
//!
//! With several L1 nodes a block is appended, or dropped, only if enough of them (`RpcOptions::agree`) say the same of it, events included; if
//! they contradict each other nothing changes. A head below the tip is a node that lags, not a reorg (`rpc/agree.rs`).
//!
//! Events are held against the contract's own state after the same block: its queue's digest, how long the queue is, how many batches are
//! committed and proven. A node whose logs do not fit its state is not believed; where rows that are stored do not fit, the newest are read again, twice as
//! many each time.

use crate::events::{EventError, read};
use crate::lead::Lead;
use crate::rollup::{Rollup, ViewError};
use crate::rpc::{BlockHead, Quorum, Rpc, RpcError};
use crate::status::Board;
use ethers_core::types::{H160, H256, Log};
use sheaf_store::StoreError;
use sheaf_store::l1::{self, BlockRow, Event, EventRow, Levels};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How the chain is followed.
#[derive(Clone, Copy, Debug)]
pub struct WatcherOptions {
    /// The block that created the contract.
    pub first_block: u64,
    /// Pause between two looks at an unchanged head.
    pub poll_ms: u64,
    /// Most blocks asked for in one range while catching up.
    pub range_blocks: u64,
    /// Depth from which blocks are taken for unchangeable.
    pub finality_depth: u64,
}

impl WatcherOptions {
    /// Defaults for a chain: polled every 4 s with finality at 64 blocks, or every 200 ms at 1 block on the development chain.
    pub fn new(chain_id: u64, first_block: u64) -> Self {
        let development = chain_id == crate::anvil::DEV_CHAIN_ID;
        let (poll_ms, finality_depth) = if development { (200, 1) } else { (4_000, 64) };
        Self { first_block, poll_ms, range_blocks: 1_000, finality_depth }
    }
}

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The store's tip is the head.
    Idle,
    /// Blocks were added, up to this number.
    Advanced(u64),
    /// Blocks above this number were dropped.
    Rewound(u64),
}

/// Why a step failed; the next one starts afresh.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The node failed.
    #[error(transparent)]
    Rpc(RpcError),
    /// The store failed.
    #[error("storing L1 blocks")]
    Store(#[source] StoreError),
    /// The contract's logs are not its own.
    #[error(transparent)]
    Event(EventError),
    /// The contract could not be read.
    #[error(transparent)]
    View(ViewError),
    /// What is stored up to this block lacks events that the contract's state shows, or holds others.
    #[error("up to block {0} the events do not make the contract's state; reading them again")]
    EventsMissing(u64),
    /// The chain changed while it was read.
    #[error("block {0} changed while it was read")]
    Moved(u64),
}

/// Follows one contract.
#[derive(Clone, Debug)]
pub struct Watcher {
    rollup: Rollup,
    lead: Lead,
    options: WatcherOptions,
    board: Board,
    /// Blocks to ask for in the next range.
    range_blocks: Arc<AtomicU64>,
    /// True once the nodes are held to the tip of the store.
    reminded: Arc<AtomicBool>,
    /// How often in a row what is stored did not fit the contract's state.
    doubts: Arc<AtomicU32>,
}

impl Watcher {
    /// A watcher; it does nothing until stepped or run. What it sees goes onto `board`.
    pub fn new(rollup: Rollup, lead: Lead, options: WatcherOptions, board: Board) -> Self {
        let range_blocks = Arc::new(AtomicU64::new(options.range_blocks.max(1)));
        Self { rollup, lead, options, board, range_blocks, reminded: Arc::default(), doubts: Arc::default() }
    }

    /// Follows until cancelled. Failures are logged, shown on the board and tried again.
    pub async fn run(self, cancel: CancellationToken) {
        let mut pause = Duration::ZERO;
        while cancel.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
            let Some(result) = cancel.run_until_cancelled(self.step()).await else { return };
            pause = match result {
                Ok(Step::Idle | Step::Rewound(_)) => Duration::from_millis(self.options.poll_ms),
                Ok(Step::Advanced(_)) => Duration::ZERO,
                Err(error) => self.failed(&error),
            };
        }
    }

    fn failed(&self, error: &WatchError) -> Duration {
        metrics::counter!("sheaf_l1_watch_errors_total").increment(1);
        tracing::warn!(error = error as &dyn std::error::Error, "following L1");
        self.board.edit(|status| {
            status.watcher_error = Some(error.to_string());
            status.endpoints = self.rollup.rpc().endpoints();
        });
        Duration::from_millis(self.options.poll_ms.max(500))
    }

    /// One look at the chain: appends some blocks, or drops those no longer on it. Does nothing while another process leads.
    ///
    /// # Errors
    /// [`WatchError`]; the store is as before.
    pub async fn step(&self) -> Result<Step, WatchError> {
        if !self.lead.is_held() {
            return Ok(Step::Idle);
        }
        let mut connection = self.lead.pool().acquire().await.map_err(store)?;
        let tip = l1::tip(&mut connection).await.map_err(store)?;
        drop(connection);
        if !self.reminded.swap(true, Ordering::Relaxed) {
            self.rollup.rpc().remember(tip.as_ref().map_or(0, |tip| tip.number));
        }
        let head = self.rollup.rpc().head(Quorum::Strict).await.map_err(WatchError::Rpc)?;
        let step = self.step_from(tip.as_ref(), &head).await?;
        self.board.edit(|status| {
            status.watcher_error = None;
            status.head = Some(head.number.as_u64());
        });
        Ok(step)
    }

    async fn step_from(&self, tip: Option<&BlockRow>, head: &BlockHead) -> Result<Step, WatchError> {
        if let Some(tip) = tip
            && !self.is_canonical(tip, head).await?
        {
            return self.rewind(tip, head).await;
        }
        let next = tip.map_or(self.options.first_block, |tip| tip.number + 1);
        let settled = head.number.as_u64().saturating_sub(self.options.finality_depth.max(1));
        match next {
            next if next > head.number.as_u64() => Ok(Step::Idle),
            next if next + 1 < settled => self.append_range(tip, next, settled, head).await,
            next => self.append_block(tip, next).await,
        }
    }

    async fn is_canonical(&self, block: &BlockRow, head: &BlockHead) -> Result<bool, WatchError> {
        if block.number >= head.number.as_u64() {
            return Ok(block.hash == head.hash.0);
        }
        let (number, hash) = (block.number, block.hash);
        let holds = |node: Rpc| async move { Ok(get_block(&node, number).await?.hash.0 == hash) };
        self.agreed("block under the newest", holds).await
    }

    /// What enough nodes say of the chain.
    async fn agreed<T, F>(&self, what: &'static str, ask: impl Fn(Rpc) -> F) -> Result<T, WatchError>
    where
        T: PartialEq,
        F: Future<Output = Result<T, WatchError>>,
    {
        self.rollup.rpc().agreed(Quorum::Strict, what, ask, WatchError::Rpc).await
    }

    /// Finds the highest stored block that is still on the chain and drops all above it.
    async fn rewind(&self, tip: &BlockRow, head: &BlockHead) -> Result<Step, WatchError> {
        let mut below = tip.number;
        let fork = loop {
            let mut connection = self.lead.pool().acquire().await.map_err(store)?;
            let candidate = l1::block_below(&mut connection, below).await.map_err(store)?;
            drop(connection);
            match candidate {
                None => break self.options.first_block.saturating_sub(1),
                Some(block) if self.is_canonical(&block, head).await? => break block.number,
                Some(block) => below = block.number,
            }
        };
        let mut transaction = self.lead.begin().await.map_err(store)?;
        l1::rewind(&mut transaction, fork).await.map_err(store)?;
        transaction.commit().await.map_err(store)?;
        let depth = tip.number - fork;
        metrics::counter!("sheaf_l1_reorgs_total").increment(1);
        tracing::warn!(fork, depth, "L1 dropped blocks that were followed");
        if depth > self.options.finality_depth {
            self.board.edit(|status| status.raise(format!("L1 dropped {depth} blocks, more than the finality depth")));
        }
        Ok(Step::Rewound(fork))
    }

    async fn append_block(&self, tip: Option<&BlockRow>, number: u64) -> Result<Step, WatchError> {
        let rollup = self.rollup.clone();
        let (block, events, levels) = self.agreed("next block and its events", |node| read_block(rollup.clone(), node, number)).await?;
        if tip.is_some_and(|tip| tip.number + 1 == number && tip.hash != block.parent_hash) {
            return Err(WatchError::Moved(number));
        }
        let mut connection = self.lead.pool().acquire().await.map_err(store)?;
        let before = l1::levels(&mut connection).await.map_err(store)?;
        drop(connection);
        if after(before, &events) != Some(levels) {
            tracing::warn!(number, ?before, ?levels, "the events that are stored do not make the contract's state; reading the newest again");
            return self.doubt(number).await;
        }
        self.save(&[block], &events).await?;
        self.doubts.store(0, Ordering::Relaxed);
        Ok(Step::Advanced(number))
    }

    /// Forgets the newest blocks, so that they are read again.
    async fn doubt(&self, number: u64) -> Result<Step, WatchError> {
        let blocks = 1 << self.doubts.fetch_add(1, Ordering::Relaxed).min(32);
        let above = number.saturating_sub(blocks + 1).max(self.options.first_block.saturating_sub(1));
        let mut transaction = self.lead.begin().await.map_err(store)?;
        l1::rewind(&mut transaction, above).await.map_err(store)?;
        transaction.commit().await.map_err(store)?;
        metrics::counter!("sheaf_l1_doubts_total").increment(1);
        Err(WatchError::EventsMissing(number))
    }

    /// Reads many blocks at once; half as many each time that the node does not give them, twice as many after a success.
    async fn append_range(&self, tip: Option<&BlockRow>, from: u64, last: u64, head: &BlockHead) -> Result<Step, WatchError> {
        loop {
            let blocks_at_once = self.range_blocks.load(Ordering::Relaxed);
            let to = last.min(from + blocks_at_once - 1);
            let contract = self.rollup.h160();
            match self.agreed("blocks and events of a range", |node| read_range(node, contract, from, to)).await {
                Ok((blocks, events)) => {
                    if let Some(tip) = tip
                        && !self.is_canonical(tip, head).await?
                    {
                        return Err(WatchError::Moved(tip.number));
                    }
                    self.save(&blocks, &events).await?;
                    self.range_blocks.store((2 * blocks_at_once).min(self.options.range_blocks.max(1)), Ordering::Relaxed);
                    return Ok(Step::Advanced(to));
                }
                Err(WatchError::Rpc(error)) if to > from => {
                    self.range_blocks.store((to - from).div_ceil(2), Ordering::Relaxed);
                    if error.is_transient() {
                        return Err(WatchError::Rpc(error));
                    }
                    tracing::debug!(from, to, %error, "asking for fewer blocks at once");
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn save(&self, blocks: &[BlockRow], events: &[EventRow]) -> Result<(), WatchError> {
        let mut transaction = self.lead.begin().await.map_err(store)?;
        for block in blocks {
            l1::append_block(&mut transaction, block).await.map_err(store)?;
        }
        for event in events {
            l1::append_event(&mut transaction, event).await.map_err(store)?;
        }
        transaction.commit().await.map_err(store)
    }
}

fn store(error: impl Into<StoreError>) -> WatchError {
    WatchError::Store(error.into())
}

async fn get_block(node: &Rpc, number: u64) -> Result<BlockHead, WatchError> {
    node.block(number).await.map_err(WatchError::Rpc)?.ok_or(WatchError::Moved(number))
}

/// One block, the contract's events in it, and what its state counts after it.
async fn read_block(rollup: Rollup, node: Rpc, number: u64) -> Result<(BlockRow, Vec<EventRow>, Levels), WatchError> {
    let block = get_block(&node, number).await?;
    let logs = node.logs_of_block(rollup.h160(), block.hash).await.map_err(WatchError::Rpc)?;
    let elsewhere = logs.iter().find(|log| (log.block_hash, log.block_number) != (Some(block.hash), Some(block.number)));
    if let Some(log) = elsewhere {
        return refuse(&node, log);
    }
    let events = read_all(logs, rollup.h160())?;
    let contract = rollup.pinned(node, block.hash);
    check_queue(&contract, &events).await?;
    let levels = contract.levels().await.map_err(WatchError::View)?;
    Ok((row(&block), events, levels))
}

/// The queue entries of a block must lead from one digest of the contract to the next.
async fn check_queue(contract: &Rollup, events: &[EventRow]) -> Result<(), WatchError> {
    let entries = events.iter().filter_map(|row| match &row.event {
        Event::Queued(index, entry) => Some((*index, entry)),
        _ => None,
    });
    let entries: Vec<_> = entries.collect();
    let (Some((first, _)), Some((last, _))) = (entries.first(), entries.last()) else { return Ok(()) };
    let before = contract.queue_digest(first.saturating_sub(1)).await.map_err(WatchError::View)?;
    let digest = entries.iter().fold(before, |digest, (_, entry)| entry.digest_after(&digest));
    if digest == contract.queue_digest(*last).await.map_err(WatchError::View)? {
        return Ok(());
    }
    let detail = format!("queue entries {first} to {last} that the contract does not hold");
    contract.rpc().refuse(RpcError::malformed("eth_getLogs", detail)).map_err(WatchError::Rpc)
}

/// The counts after a block's events; `None` if one of them cannot come where it does.
fn after(before: Levels, events: &[EventRow]) -> Option<Levels> {
    events.iter().try_fold(before, |levels, row| match row.event {
        Event::Queued(index, _) => (index == levels.queued + 1).then_some(Levels { queued: index, ..levels }),
        Event::Committed(number, _) => (number == levels.committed + 1).then_some(Levels { committed: number, ..levels }),
        Event::Reverted(to, _) => (levels.proven..levels.committed).contains(&to).then_some(Levels { committed: to, ..levels }),
        Event::Proven(number, _) => (number == levels.proven + 1).then_some(Levels { proven: number, ..levels }),
        Event::TokenListed(_) | Event::Credited(..) | Event::Refunded(..) | Event::Claimed(_) | Event::Frozen(_) => Some(levels),
    })
}

/// Far behind the head only blocks with events, and the last one, are kept. The last one is the same before and after, and the caller finds the
/// tip still on the chain: so are all blocks between them, whose logs were read.
async fn read_range(node: Rpc, contract: H160, from: u64, to: u64) -> Result<(Vec<BlockRow>, Vec<EventRow>), WatchError> {
    let last = get_block(&node, to).await?;
    let logs = node.logs_of_range(contract, from, to).await.map_err(WatchError::Rpc)?;
    let mut hashes: BTreeMap<u64, H256> = BTreeMap::from([(to, last.hash)]);
    for log in &logs {
        match (log.block_number.map(|number| number.as_u64()), log.block_hash) {
            (Some(number), Some(hash)) if (from..=to).contains(&number) && *hashes.entry(number).or_insert(hash) == hash => {}
            _ => return refuse(&node, log),
        }
    }
    let mut blocks = Vec::with_capacity(hashes.len());
    for (number, hash) in hashes {
        let block = get_block(&node, number).await?;
        if hash != block.hash {
            return Err(WatchError::Moved(number));
        }
        blocks.push(row(&block));
    }
    Ok((blocks, read_all(logs, contract)?))
}

/// A log that is not of the block, or the blocks, that it was asked for.
fn refuse<T>(node: &Rpc, log: &Log) -> Result<T, WatchError> {
    let detail =
        format!("a log of block {} ({:?}), which was not asked for", log.block_number.unwrap_or_default(), log.block_hash.unwrap_or_default());
    node.refuse(RpcError::malformed("eth_getLogs", detail)).map_err(WatchError::Rpc)
}

fn read_all(logs: Vec<Log>, contract: H160) -> Result<Vec<EventRow>, WatchError> {
    logs.into_iter().filter_map(|log| read(log, contract).transpose()).collect::<Result<_, _>>().map_err(WatchError::Event)
}

fn row(block: &BlockHead) -> BlockRow {
    BlockRow { number: block.number.as_u64(), hash: block.hash.0, parent_hash: block.parent_hash.0, timestamp_s: block.timestamp.as_u64() }
}

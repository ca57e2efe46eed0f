//! L1 nodes that stall, break off, lag or lie, by name. Each fault is tried twice on a real chain: as one of three nodes, asked first and lying
//! all the time, and as the only node, until it stops. Each time a deposit and a batch must come through: the deposit as the contract holds it,
//! the batch committed once, every row telling the truth, no alarm, and nothing for a person to do.

use crate::common::{PATIENCE, RPC, World, digest, operator};
use crate::relay::{Fate, relay};
use serde_json::{Value, json};
use sheaf_settlement::rollup::Rollup;
use sheaf_settlement::rpc::{Rpc, RpcOptions};
use sheaf_settlement::status::Board;
use sheaf_settlement::submitter::{SubmitError, Submitter, SubmitterOptions};
use sheaf_settlement::watcher::{Step, Watcher, WatcherOptions};
use sheaf_store::l1;
use sqlx::{PgPool, Row};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Of the chain's own methods, what a fault does.
type Fault = fn(method: &str, call: &Value) -> Fate;

const NOWHERE: &str = "0x1111111111111111111111111111111111111111111111111111111111111111";
const STRANGER: &str = "0x1111111111111111111111111111111111111111";
const ETHER: &str = "0xde0b6b3a7640000";
/// Topic of `Reverted(uint256,bytes32)`.
const REVERTED: &str = "0x9731a8078229a92abc3dd4a6ea9dee0b0482e2246a487f481eb3d7c918b051cc";
/// Selector of `committed()`.
const COMMITTED: &str = "0x9b6b9664";
const SEND: &str = "eth_sendRawTransaction";

/// Every fault. A node that lies in everything that it says, and all the time, cannot be told from the truth by itself: these lie in one thing.
const FAULTS: [(&str, Fault); 43] = [
    ("accepts and never answers", |_, _| Fate::Stalls),
    ("breaks off every connection", |_, _| Fate::Lost),
    ("answers what is not JSON", |_, _| Fate::Bytes("HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n<html> no json")),
    ("answers half of what it promises", |_, _| Fate::Bytes("HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{\"jsonrpc\":\"2.0\",\"resu")),
    ("answers null to everything", |_, _| Fate::Invented(Value::Null)),
    ("is out of order", |_, _| Fate::Bytes("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")),
    ("limits requests by HTTP", |_, _| Fate::Bytes("HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n")),
    ("limits requests by JSON-RPC", |_, _| Fate::Refused(-32_005, "limit exceeded")),
    ("knows no method", |_, _| Fate::Refused(-32_601, "method not found")),
    ("changes to another chain", |method, _| on(method, "eth_chainId", Fate::Invented(json!("0x1")))),
    ("lags by three blocks", |_, call| if asks_newest(call) { Fate::Behind(3) } else { Fate::Passes }),
    ("is ahead of everybody", |_, call| newest(call, |block| block["number"] = json!("0xffffff"))),
    ("shows a head of no chain", |_, call| newest(call, |block| block["hash"] = json!(NOWHERE))),
    ("counts too few batches", |_, call| committed(call, 0)),
    ("counts too many batches", |_, call| committed(call, 1_000_000)),
    ("shows no blocks but the newest", |_, call| numbered(call, Fate::Invented(Value::Null))),
    ("shows blocks of another chain", |_, call| numbered(call, Fate::Bent(|block| block["hash"] = json!(NOWHERE)))),
    ("shows another block than asked", |_, call| numbered(call, Fate::Bent(|block| block["number"] = json!("0x1")))),
    ("shows blocks without parents", |_, call| numbered(call, Fate::Bent(|block| block["parentHash"] = json!(NOWHERE)))),
    ("withholds receipts", |method, _| on(method, "eth_getTransactionReceipt", Fate::Invented(Value::Null))),
    ("gives receipts of no block on the chain", |method, _| receipts(method, |receipt| receipt["blockHash"] = json!(NOWHERE))),
    ("gives receipts of another transaction", |method, _| receipts(method, |receipt| receipt["transactionHash"] = json!(NOWHERE))),
    ("gives receipts from the future", |method, _| receipts(method, |receipt| receipt["blockNumber"] = json!("0xffffff"))),
    ("gives receipts that fail", |method, _| receipts(method, |receipt| receipt["status"] = json!("0x0"))),
    ("counts nonces too low", |method, _| on(method, "eth_getTransactionCount", Fate::Invented(json!("0x0")))),
    ("counts nonces too high", |method, _| on(method, "eth_getTransactionCount", Fate::Bent(higher))),
    ("withholds events", |method, _| on(method, "eth_getLogs", Fate::Invented(json!([])))),
    ("invents a deposit", |method, _| on(method, "eth_getLogs", Fate::Bent(another_log))),
    ("enlarges deposits", |method, _| on(method, "eth_getLogs", Fate::Bent(larger_amounts))),
    ("takes every batch back", |method, _| on(method, "eth_getLogs", Fate::Bent(everything_taken_back))),
    ("gives events of no block on the chain", |method, _| logs(method, |logs| each_log(logs, |log| log["blockHash"] = json!(NOWHERE)))),
    ("gives events of another contract", |method, _| logs(method, |logs| each_log(logs, |log| log["address"] = json!(STRANGER)))),
    ("takes sendings and says they are known already", |method, _| on(method, SEND, Fate::TakenAndRefused(-32_000, "already known"))),
    ("refuses every sending", |method, _| on(method, SEND, Fate::Refused(-32_000, "nonce too low"))),
    ("takes sendings without an answer", |method, _| on(method, SEND, Fate::AnswerLost)),
    ("swallows sendings", |method, _| on(method, SEND, Fate::Invented(json!(NOWHERE)))),
    ("says that it holds every transaction", |method, _| on(method, "eth_getTransactionByHash", Fate::Invented(json!({ "input": "0x" })))),
    ("asks an absurd price of gas", |method, _| on(method, "eth_feeHistory", Fate::Bent(|fees| price(fees, ETHER)))),
    ("gives gas away", |method, _| on(method, "eth_feeHistory", Fate::Bent(|fees| price(fees, "0x0")))),
    ("estimates too little gas", |method, _| on(method, "eth_estimateGas", Fate::Invented(json!("0x7530")))),
    ("estimates absurdly much gas", |method, _| on(method, "eth_estimateGas", Fate::Invented(json!("0xffffffffffffffff")))),
    ("says that the contract refuses", |method, _| on(method, "eth_estimateGas", Fate::Refused(3, "execution reverted"))),
    ("does not know the contract", |method, _| on(method, "eth_call", Fate::Invented(json!("0x")))),
];

fn on(method: &str, which: &str, fate: Fate) -> Fate {
    if method == which { fate } else { Fate::Passes }
}

fn asks_newest(call: &Value) -> bool {
    call["method"] == "eth_getBlockByNumber" && call["params"][0] == "latest"
}

fn newest(call: &Value, bend: fn(&mut Value)) -> Fate {
    if asks_newest(call) { Fate::Bent(bend) } else { Fate::Passes }
}

fn numbered(call: &Value, fate: Fate) -> Fate {
    if call["method"] == "eth_getBlockByNumber" && !asks_newest(call) { fate } else { Fate::Passes }
}

fn committed(call: &Value, number: u64) -> Fate {
    let asked = call["method"] == "eth_call" && call["params"][0]["data"].as_str().is_some_and(|data| data.starts_with(COMMITTED));
    if asked { Fate::Invented(json!(format!("{number:#066x}"))) } else { Fate::Passes }
}

fn receipts(method: &str, bend: fn(&mut Value)) -> Fate {
    on(method, "eth_getTransactionReceipt", Fate::Bent(bend))
}

fn logs(method: &str, bend: fn(&mut Value)) -> Fate {
    on(method, "eth_getLogs", Fate::Bent(bend))
}

fn each_log(logs: &mut Value, bend: impl Fn(&mut Value)) {
    logs.as_array_mut().into_iter().flatten().for_each(bend);
}

fn another_log(logs: &mut Value) {
    let Some(last) = logs.as_array().and_then(|logs| logs.last()).cloned() else { return };
    let next = |word: &Value, width: usize| json!(format!("{:#0width$x}", number(word) + 1));
    let mut invented = last.clone();
    (invented["logIndex"], invented["topics"][1]) = (next(&last["logIndex"], 0), next(&last["topics"][1], 66));
    logs.as_array_mut().unwrap().push(invented);
}

/// The contract reverted to batch 0, as far as the last event says.
fn everything_taken_back(logs: &mut Value) {
    let Some(last) = logs.as_array().and_then(|logs| logs.last()).cloned() else { return };
    let mut invented = last.clone();
    invented["logIndex"] = json!(format!("{:#x}", number(&last["logIndex"]) + 1));
    (invented["topics"], invented["data"]) = (json!([REVERTED]), json!(format!("0x{:0128x}", 0)));
    logs.as_array_mut().unwrap().push(invented);
}

/// The amount is the third word of the data.
fn larger_amounts(logs: &mut Value) {
    each_log(logs, |log| {
        let mut data = log["data"].as_str().unwrap_or_default().to_owned();
        if data.len() > 2 + 3 * 64 {
            data.replace_range(2 + 3 * 64 - 8..2 + 3 * 64, "00ffffff");
            log["data"] = json!(data);
        }
    });
}

fn number(word: &Value) -> u64 {
    word.as_str().and_then(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok()).unwrap_or_default()
}

fn higher(count: &mut Value) {
    *count = json!(format!("{:#x}", number(count) + 3));
}

fn price(fees: &mut Value, wei: &str) {
    for name in ["baseFeePerGas", "reward"] {
        let text = fees[name].to_string();
        let parts: Vec<&str> = text.split('"').collect();
        let bent: Vec<&str> = parts.iter().map(|part| if part.starts_with("0x") { wei } else { part }).collect();
        fees[name] = serde_json::from_str(&bent.join("\"")).unwrap();
    }
}

/// One node that lies while the switch is on, with `honest` others behind it.
async fn nodes(world: &World, fault: Fault, lying: &Arc<AtomicBool>, honest: usize) -> Rpc {
    let switch = lying.clone();
    let fate = move |call: &Value| if switch.load(Ordering::Relaxed) { fault(call["method"].as_str().unwrap(), call) } else { Fate::Passes };
    let mut urls = vec![relay(world.anvil.port(), fate).await];
    urls.extend((0..honest).map(|_| world.anvil.url().to_owned()));
    Rpc::connect(&urls.join(","), RpcOptions { request_timeout_ms: 700, ..RPC }).await.unwrap()
}

/// This test's part of settlement behind such nodes.
struct Behind<'w> {
    world: &'w World,
    watcher: Watcher,
    submitter: Submitter,
    board: Board,
    last: Option<SubmitError>,
}

impl<'w> Behind<'w> {
    fn new(world: &'w World, rpc: Rpc) -> Self {
        let (rollup, board) = (Rollup::at(rpc, world.deployment.contract), Board::default());
        let (mut watching, mut sending) = (WatcherOptions::new(31_337, world.deployment.block), SubmitterOptions::new(31_337));
        (watching.finality_depth, sending.finality_depth, sending.resubmit_after_ms) = (64, 64, 0);
        let watcher = Watcher::new(rollup.clone(), world.lead.clone(), watching, board.clone());
        let submitter = Submitter::new(rollup, operator(), world.lead.clone(), sending, board.clone());
        Self { world, watcher, submitter, board, last: None }
    }

    /// Follows as far as it can, then sends. What fails is tried afresh in the next round: that is what these tests are about.
    async fn round(&mut self) {
        for _ in 0..100 {
            if !matches!(self.watcher.step().await, Ok(Step::Advanced(_) | Step::Rewound(_))) {
                break;
            }
        }
        self.last = self.submitter.step().await.err();
    }

    /// Rounds until the batch is committed, everything is followed, and every transaction has its true end; how many it took.
    async fn converge(&mut self, name: &str, batch: u64) -> usize {
        let started = Instant::now();
        for rounds in 1.. {
            self.round().await;
            if self.is_settled(batch).await && matches!(self.watcher.step().await, Ok(Step::Idle)) {
                return rounds;
            }
            let waiting = self.world.live().await.iter().filter(|tx| tx.mined().is_none()).map(|tx| (tx.nonce, tx.kind)).collect::<Vec<_>>();
            assert!(started.elapsed() < PATIENCE, "{name}: {:?} {:?} {waiting:?}", self.board.status(), self.last);
            // receipts are looked for again at a new head
            self.world.mine(1).await;
        }
        unreachable!("it ends by success or by patience")
    }

    async fn is_settled(&self, batch: u64) -> bool {
        let progress = self.world.rollup.progress().await.unwrap();
        let queued = l1::queued(&mut self.world.pool.acquire().await.unwrap(), 1, 1, 1_000).await.unwrap();
        progress.committed == batch
            && queued.len() as u64 == progress.queue_length
            && digest(&queued) == self.world.rollup.queue_digest(progress.queue_length).await.unwrap()
            && self.world.live().await.iter().all(|tx| tx.mined().is_some())
    }
}

/// How often L1 says that the batch was committed, as followed.
async fn commits(world: &World, batch: u64) -> i64 {
    let query = "SELECT count(*) FROM l1_events WHERE kind = 'committed' AND batch_number = $1";
    sqlx::query(query).bind(batch as i64).fetch_one(&world.pool).await.unwrap().get(0)
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn every_liar_among_three_nodes_is_outvoted(pool: PgPool) {
    let world = World::new(pool).await;
    for (batch, (name, fault)) in (1..).zip(FAULTS) {
        let lying = Arc::new(AtomicBool::new(false));
        let mut settlement = Behind::new(&world, nodes(&world, fault, &lying, 2).await);
        lying.store(true, Ordering::Relaxed);
        let nonce = world.operator_nonce().await;
        world.deposit(u128::from(batch)).await;
        world.empty_batches(batch..=batch).await;
        let rounds = settlement.converge(name, batch).await;
        println!("{name:<50} one of three, lying on: through after {rounds} rounds");
        assert_eq!((commits(&world, batch).await, world.operator_nonce().await), (1, nonce + 1), "{name}");
        let tips = world.live().await.into_iter().flat_map(|tx| tx.attempts).map(|attempt| attempt.tip_wei);
        assert!(tips.max() <= Some(20_000_000_000), "{name}");
        assert_eq!(settlement.board.status().alarm, None, "{name}");
    }
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn every_liar_that_is_alone_does_no_lasting_harm(pool: PgPool) {
    let world = World::new(pool).await;
    for (batch, (name, fault)) in (1..).zip(FAULTS) {
        let lying = Arc::new(AtomicBool::new(false));
        let mut settlement = Behind::new(&world, nodes(&world, fault, &lying, 0).await);
        lying.store(true, Ordering::Relaxed);
        world.deposit(u128::from(batch)).await;
        world.empty_batches(batch..=batch).await;
        for _ in 0..4 {
            settlement.round().await;
        }
        lying.store(false, Ordering::Relaxed);
        let rounds = settlement.converge(name, batch).await;
        println!("{name:<50} alone, for four rounds: through {rounds} after");
        assert_eq!(commits(&world, batch).await, 1, "{name}");
        assert_eq!(settlement.board.status().alarm, None, "{name}");
    }
}

//! `sheaf demo`: the main job once, end to end and for real, with a node killed half-way; exit 0 only if every check held.
//!
//! ```text
//! Postgres, Anvil, contract ─> node, two workers ─> deposits ─> 150 transfers ─> kill -9 ─> 150 more ─> withdrawals
//!                                                                     final on L1 ─> claim ─> roots compared ─> table
//! ```

use crate::client::Client;
use crate::dev::{DevStack, dev_key};
use crate::keys::{KeyOptions, KeySet, prepare};
use crate::process::{Node, Workers};
use anyhow::{Context, ensure};
use clap::Args;
use rand::{SeedableRng, rngs::StdRng};
use serde_json::Value;
use sheaf_circuits::counts::Counts;
use sheaf_protocol::amount::{Address, Amount, AmountFloat, FeeFloat, NATIVE, Nonce, SlotId, TokenId};
use sheaf_protocol::field::{Fr, to_hex, to_word};
use sheaf_protocol::ledger::Triple;
use sheaf_protocol::ops::{Op, SignedOp, Transfer, Withdraw};
use sheaf_protocol::schnorr::{self, SecretKey};
use sheaf_settlement::rollup::{Rollup, token_balance};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Accounts opened; half in each token.
const ACCOUNTS: u32 = 20;
/// Transfers sent.
const TRANSFERS: u32 = 300;
/// Withdrawals made.
const WITHDRAWALS: u32 = 3;
/// What each account starts with, in the token's smallest unit.
const DEPOSIT: Amount = Amount(1_000_000_000_000);
/// What each transfer moves and pays.
const AMOUNT: Amount = Amount(1_000_000);
/// Fee of an operation.
const FEE: Amount = Amount(1_000);
/// What each withdrawal takes.
const WITHDRAWN: Amount = Amount(5_000_000);
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(600);

/// `sheaf demo`
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  sheaf demo                  300 transfers with the default circuits\n  sheaf demo --shapes test    the smallest circuit, more batches")]
pub(crate) struct DemoArgs {
    #[command(flatten)]
    keys: KeyOptions,
    /// Folder of the run; removed afterwards unless given.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Leave out `kill -9` of the node.
    #[arg(long)]
    no_crash: bool,
}

struct User {
    key: SecretKey,
    token: TokenId,
    slot: SlotId,
    nonce: u32,
}

struct Demo {
    stack: DevStack,
    rollup: Rollup,
    client: Client,
    domain: Fr,
    users: Vec<User>,
    sent: Vec<String>,
}

/// Runs the demonstration.
pub(crate) async fn run(args: DemoArgs) -> anyhow::Result<()> {
    let keys = prepare(&args.keys)?;
    let scratch = tempfile::Builder::new().prefix("sheaf-demo-").tempdir()?;
    let dir = args.dir.clone().unwrap_or_else(|| scratch.path().to_owned());
    tokio::select! {
        outcome = play(&args, &keys, dir) => outcome,
        _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
    }
}

async fn play(args: &DemoArgs, keys: &KeySet, dir: PathBuf) -> anyhow::Result<()> {
    say("starting Postgres and Anvil, deploying the contract");
    let stack = DevStack::start(&dir, std::env::var("DATABASE_URL").ok(), keys).await?;
    let start = Instant::now();
    let mut node = Node::start(&dir, &stack, &args.keys).await?;
    let _workers = Workers::start(&dir, node.prover_url(), &args.keys, 2, 1)?;
    let rollup = stack.rollup().await?;
    let domain = rollup.domain().await?;
    let client = Client::new(node.api_url(), PATIENCE)?;
    let mut demo = Demo { stack, rollup, client, domain, users: Vec::new(), sent: Vec::new() };

    say(&format!("opening {ACCOUNTS} accounts by deposits on L1, in two tokens"));
    demo.open_accounts().await?;
    say(&format!("sending {} transfers over HTTP", TRANSFERS / 2));
    demo.send_transfers(TRANSFERS / 2).await?;
    if !args.no_crash {
        say("kill -9 of the node, restart");
        node.kill_and_restart(&dir, &demo.stack, &args.keys).await?;
    }
    say(&format!("sending {} more", TRANSFERS - TRANSFERS / 2));
    demo.send_transfers(TRANSFERS - TRANSFERS / 2).await?;
    say(&format!("making {WITHDRAWALS} withdrawals"));
    demo.withdraw().await?;
    say("waiting until everything is final on L1");
    demo.wait_until_final().await?;
    let seconds = start.elapsed().as_secs_f64();
    say("claiming a withdrawal on L1");
    demo.claim().await?;
    demo.report(keys, seconds).await?;
    node.stop().await
}

fn say(text: &str) {
    println!("-- {text}");
}

impl Demo {
    async fn open_accounts(&mut self) -> anyhow::Result<()> {
        let payer = dev_key(1)?;
        for i in 0..ACCOUNTS {
            let key = SecretKey::generate(&mut StdRng::from_entropy());
            let token = if i % 2 == 0 { NATIVE } else { self.test_token()? };
            let (word, owner) = (to_word(key.public().0), payer.address());
            if token == NATIVE {
                self.rollup.deposit(&payer, DEPOSIT, word, owner).await?;
            } else {
                self.rollup.deposit_token(&payer, token, DEPOSIT, word, owner).await?;
            }
            self.users.push(User { key, token, slot: SlotId(0), nonce: 0 });
        }
        for i in 0..self.users.len() {
            let user = &self.users[i];
            let triple = Triple { key: user.key.public().0, owner: payer.address(), token: user.token };
            self.users[i].slot = wait_for_slot(&self.client, &triple).await?;
        }
        Ok(())
    }

    fn test_token(&self) -> anyhow::Result<TokenId> {
        Ok(self.stack.deployment.test_token.context("the development stack lists a test token")?.token)
    }

    async fn send_transfers(&mut self, count: u32) -> anyhow::Result<()> {
        let users = self.users.len();
        for i in 0..count as usize {
            let (from, to) = (i % users, (i + 2) % users);
            let to = self.users[to].slot;
            let signed = self.users[from].transfer(self.domain, to)?;
            self.submit(&signed).await?;
        }
        Ok(())
    }

    async fn submit(&mut self, signed: &SignedOp) -> anyhow::Result<()> {
        let receipt = self.client.submit(signed).await?;
        let hash = signed.op.hash(self.domain).to_string();
        ensure!(receipt["hash"] == Value::from(hash.clone()), "the receipt names {}, not {hash}", receipt["hash"]);
        self.sent.push(hash);
        Ok(())
    }

    async fn withdraw(&mut self) -> anyhow::Result<()> {
        for i in 0..WITHDRAWALS as usize {
            let address = dev_key(2 + i)?.address();
            let signed = self.users[i].withdrawal(self.domain, address)?;
            self.submit(&signed).await?;
        }
        Ok(())
    }

    async fn wait_until_final(&self) -> anyhow::Result<()> {
        for hash in self.sent.iter().rev() {
            self.client.wait_for(hash, "final", PATIENCE).await?;
        }
        Ok(())
    }

    /// Claims the second withdrawal, which is in the test token: its balance changes by exactly the amount.
    async fn claim(&self) -> anyhow::Result<()> {
        let (token, key) = (self.test_token()?, dev_key(3)?);
        let erc20 = self.stack.deployment.test_token.context("the development stack lists a test token")?.erc20;
        let end = Instant::now() + PATIENCE;
        while self.rollup.claimable(token, key.address()).await? == Amount(0) {
            ensure!(Instant::now() < end, "the withdrawal was not credited on L1");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let before = token_balance(self.rollup.rpc(), erc20, key.address()).await?;
        self.rollup.claim(&key, token, key.address()).await?;
        let after = token_balance(self.rollup.rpc(), erc20, key.address()).await?;
        ensure!(after.0 - before.0 == WITHDRAWN.0, "claimed {}, expected {WITHDRAWN}", after.0 - before.0);
        Ok(())
    }

    async fn report(&self, keys: &KeySet, seconds: f64) -> anyhow::Result<()> {
        let pool = sheaf_store::pool::connect(&self.stack.database_url).await?;
        let rebuilt = crate::root::rebuilt(&pool, keys.srs.clone()).await?;
        let on_l1 = self.rollup.progress().await?.state_root;
        let costs = sheaf_store::costs::costs(&mut *pool.acquire().await?).await?;
        let first = keys.provers.first().context("no circuit")?;
        let counts = Counts::of(&keys.manifest.circuits[0].name, first.circuit());
        let transfers = TRANSFERS as f64;
        println!();
        row("transfers", &format!("{TRANSFERS} final, {WITHDRAWALS} withdrawals, {ACCOUNTS} accounts"));
        row("batches", &costs.batches.to_string());
        row("constraints per transfer", &format!("{:.0} worst, {:.0} hot", counts.marginal_worst, counts.marginal_hot));
        row("seconds per proof", &format!("{:.1} (mean, one thread each)", costs.mean_prove_ms / 1e3));
        row("L1 gas per transfer", &format!("{:.0} calldata, {:.0} execution", costs.calldata_gas as f64 / transfers, costs.execution_gas as f64 / transfers));
        row("seconds from start to final", &format!("{seconds:.1}"));
        row("root on L1", &to_hex(&on_l1));
        row("root from Postgres", &to_hex(&rebuilt));
        ensure!(on_l1 == rebuilt, "the roots differ");
        println!("\nevery check held");
        Ok(())
    }
}

fn row(name: &str, value: &str) {
    println!("{name:<28} {value}");
}

async fn wait_for_slot(client: &Client, triple: &Triple) -> anyhow::Result<SlotId> {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(slot) = client.find_slot(triple).await? {
            let id = slot["id"].as_str().and_then(|text| text.parse().ok()).context("a slot without an id")?;
            return Ok(SlotId(id));
        }
        ensure!(Instant::now() < end, "the deposit for key {} did not arrive", to_hex(&to_word(triple.key)));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

impl User {
    fn transfer(&mut self, domain: Fr, to: SlotId) -> anyhow::Result<SignedOp> {
        let (amount, fee) = (AmountFloat::from_amount(AMOUNT)?, FeeFloat::from_amount(FEE)?);
        let op = Op::Transfer(Transfer { from: self.slot, to, token: self.token, nonce: Nonce(self.nonce), amount, fee });
        Ok(self.sign(domain, op))
    }

    fn withdrawal(&mut self, domain: Fr, address: Address) -> anyhow::Result<SignedOp> {
        let fee = FeeFloat::from_amount(FEE)?;
        let op = Op::Withdraw(Withdraw { from: self.slot, token: self.token, nonce: Nonce(self.nonce), fee, amount: WITHDRAWN, address });
        Ok(self.sign(domain, op))
    }

    fn sign(&mut self, domain: Fr, op: Op) -> SignedOp {
        self.nonce += 1;
        let signature = schnorr::sign(&self.key, domain, op.tag() as u8, op.message(domain), &rand::random());
        SignedOp { op, signature }
    }
}

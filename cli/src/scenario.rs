//! People using a development stack: accounts opened on L1, transfers and withdrawals signed and sent over HTTP, waits until
//! final, claims. The demonstration and the whole-stack tests are written with it.

use crate::client::Client;
use crate::dev::{DevStack, dev_key};
use crate::progress::Progress;
use anyhow::{Context, ensure};
use serde_json::Value;
use sheaf_protocol::amount::{Address, Amount, AmountFloat, FeeFloat, NATIVE, Nonce, SlotId, TokenId};
use sheaf_protocol::field::{Fr, Word, keccak, to_hex, to_word};
use sheaf_protocol::kzg::Srs;
use sheaf_protocol::ledger::Triple;
use sheaf_protocol::ops::{Op, SignedOp, Transfer, Withdraw};
use sheaf_protocol::schnorr::{self, SecretKey};
use sheaf_settlement::rollup::{Rollup, token_balance};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What each account starts with, in the token's smallest unit.
pub const DEPOSIT: Amount = Amount(1_000_000_000_000);
/// What each transfer moves.
pub const AMOUNT: Amount = Amount(1_000_000);
/// Fee of an operation.
pub const FEE: Amount = Amount(1_000);
/// What each withdrawal takes.
pub const WITHDRAWN: Amount = Amount(5_000_000);
/// Longest wait for anything, unless a scenario says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(600);
/// Pause between two looks at something that is not there yet.
const POLL: Duration = Duration::from_millis(100);

/// An account holder.
#[derive(Debug)]
pub struct User {
    /// The account's key.
    pub key: SecretKey,
    /// Its token.
    pub token: TokenId,
    /// Its slot, once the deposit was credited.
    pub slot: SlotId,
    /// Its next nonce.
    pub nonce: u32,
}

/// People and what they have sent.
#[derive(Debug)]
pub struct Scenario {
    /// The contract.
    pub rollup: Rollup,
    /// The node's API.
    pub client: Client,
    /// The deployment's domain.
    pub domain: Fr,
    /// Everybody with an account.
    pub users: Vec<User>,
    /// Longest wait for anything.
    pub patience: Duration,
    acknowledged: watch::Sender<Vec<String>>,
    test_token: (TokenId, Address),
}

/// People who are sending. Dropping it stops them.
#[derive(Debug)]
pub struct Sending(JoinSet<anyhow::Result<()>>);

impl Sending {
    /// Waits until everything is acknowledged.
    ///
    /// # Errors
    /// If something is refused, or no node answers for too long.
    pub async fn finish(mut self) -> anyhow::Result<()> {
        while let Some(sent) = self.0.join_next().await {
            sent??;
        }
        Ok(())
    }
}

/// How many of each are final.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Final {
    /// Transfers.
    pub transfers: usize,
    /// Withdrawals.
    pub withdrawals: usize,
}

impl Scenario {
    /// Nobody yet, on this stack and the node at `url`.
    ///
    /// # Errors
    /// If the chain does not answer, or the stack has no test token.
    pub async fn new(stack: &DevStack, url: &str) -> anyhow::Result<Self> {
        let rollup = stack.rollup().await?;
        let domain = rollup.domain().await?;
        let token = stack.deployment.test_token.context("the development stack lists a test token")?;
        let client = Client::new(url, PATIENCE)?;
        Ok(Self {
            rollup,
            client,
            domain,
            users: Vec::new(),
            patience: PATIENCE,
            acknowledged: watch::Sender::default(),
            test_token: (token.token, token.erc20),
        })
    }

    /// Hashes of everything acknowledged, as they come.
    pub fn acknowledged(&self) -> watch::Receiver<Vec<String>> {
        self.acknowledged.subscribe()
    }

    /// Opens `count` accounts by deposits on L1, every second one in the test token, and waits for their slots. The keys are the same in every
    /// development stack; one that has its account already goes on with it.
    ///
    /// # Errors
    /// If a deposit reverts or is not credited in time.
    pub async fn open_accounts(&mut self, count: usize) -> anyhow::Result<()> {
        let first = self.users.len();
        let mut progress = Progress::new(format!("opening {count} accounts"));
        progress.step(0, count);
        for i in first..first + count {
            let token = if i % 2 == 0 { NATIVE } else { self.test_token.0 };
            let user =
                User { key: SecretKey::from_seed(&keccak(format!("sheaf development account {i}").as_bytes()))?, token, slot: SlotId(0), nonce: 0 };
            if self.client.find_slot(&user.triple()?).await?.is_none() {
                self.deposit(&user).await?;
            }
            self.users.push(user);
        }
        for i in first..self.users.len() {
            let slot = self.wait_for_slot(&self.users[i].triple()?).await?;
            self.users[i].slot = SlotId(number(&slot, "id")?);
            self.users[i].nonce = number(&slot, "nonce")?;
            progress.step(i + 1 - first, count);
        }
        Ok(())
    }

    async fn deposit(&self, user: &User) -> anyhow::Result<()> {
        let payer = dev_key(1)?;
        let (word, owner) = (to_word(user.key.public().0), payer.address());
        if user.token == NATIVE {
            self.rollup.deposit(&payer, DEPOSIT, word, owner).await?;
        } else {
            self.rollup.deposit_token(&payer, user.token, DEPOSIT, word, owner).await?;
        }
        Ok(())
    }

    async fn wait_for_slot(&self, triple: &Triple) -> anyhow::Result<Value> {
        let end = Instant::now() + self.patience;
        loop {
            if let Some(slot) = self.client.find_slot(triple).await? {
                return Ok(slot);
            }
            ensure!(Instant::now() < end, "the deposit for key {} was not credited", to_hex(&to_word(triple.key)));
            tokio::time::sleep(POLL).await;
        }
    }

    /// Sends `count` transfers between holders of the same token and waits until all are acknowledged.
    ///
    /// # Errors
    /// If one is refused.
    pub async fn send_transfers(&mut self, count: usize) -> anyhow::Result<()> {
        self.start_transfers(count)?.finish().await
    }

    /// Starts sending `count` transfers: all users at once, each one after the other, each until it is acknowledged.
    ///
    /// # Errors
    /// None: the amounts are representable.
    pub fn start_transfers(&mut self, count: usize) -> anyhow::Result<Sending> {
        let users = self.users.len();
        let mut queues = vec![Vec::new(); users];
        for i in 0..count {
            let to = self.users[(i + 2) % users].slot;
            queues[i % users].push(self.users[i % users].transfer(self.domain, to)?);
        }
        let mut senders = JoinSet::new();
        for queue in queues {
            let (client, domain, acknowledged) = (self.client.clone(), self.domain, self.acknowledged.clone());
            senders.spawn(async move {
                for signed in &queue {
                    submit(&client, domain, &acknowledged, signed).await?;
                }
                Ok(())
            });
        }
        Ok(Sending(senders))
    }

    /// Sends one operation and checks its receipt.
    ///
    /// # Errors
    /// If it is refused or acknowledged under another hash.
    pub async fn submit(&self, signed: &SignedOp) -> anyhow::Result<()> {
        submit(&self.client, self.domain, &self.acknowledged, signed).await
    }

    /// The first `count` users withdraw [`WITHDRAWN`] each; user i to Anvil's key `2 + i`.
    ///
    /// # Errors
    /// If one is refused.
    pub async fn withdraw(&mut self, count: usize) -> anyhow::Result<()> {
        for i in 0..count {
            let signed = self.users[i].withdrawal(self.domain, dev_key(2 + i)?.address())?;
            self.submit(&signed).await?;
        }
        Ok(())
    }

    /// Waits until everything acknowledged is final, and counts it.
    ///
    /// # Errors
    /// If something is not final in time, or no longer known.
    pub async fn wait_until_final(&self) -> anyhow::Result<Final> {
        let (end, hashes) = (Instant::now() + self.patience, self.acknowledged.borrow().clone());
        let (mut found, mut done, mut seen) = (Final::default(), 0, None);
        let mut progress = Progress::new("waiting until final");
        while done < hashes.len() {
            let status: Value = self.client.get("/v1/status").await?;
            let note = format!("batch {} of {} proven", status["proven"]["batch"], status["sealed"]["batch"]).replace('"', "");
            progress.step_with(done, hashes.len(), &note);
            let last = status["final"]["batch"].as_str().context("a status without its last final batch")?.to_owned();
            if seen.as_ref() == Some(&last) {
                ensure!(Instant::now() < end, "{done} of {} are final after {} s ({note})", hashes.len(), self.patience.as_secs());
                tokio::time::sleep(POLL).await;
                continue;
            }
            seen = Some(last);
            // in the order of acknowledgement, which is nearly that of the batches
            while let Some(hash) = hashes.get(done) {
                let transaction: Value = self.client.get(&format!("/v1/transactions/{hash}")).await?;
                match (transaction["state"].as_str(), transaction["op"].as_str()) {
                    (Some("final"), Some("transfer")) => found.transfers += 1,
                    (Some("final"), _) => found.withdrawals += 1,
                    _ => break,
                }
                done += 1;
            }
        }
        Ok(found)
    }

    /// Claims the withdrawal of user 1, in the test token, and checks that its balance changes by exactly the amount.
    ///
    /// # Errors
    /// If it is not credited in time or pays another amount.
    pub async fn claim(&self) -> anyhow::Result<()> {
        let ((token, erc20), key) = (self.test_token, dev_key(3)?);
        let end = Instant::now() + self.patience;
        while self.rollup.claimable(token, key.address()).await? == Amount(0) {
            ensure!(Instant::now() < end, "the withdrawal was not credited on L1");
            tokio::time::sleep(POLL).await;
        }
        let before = token_balance(self.rollup.rpc(), erc20, key.address()).await?;
        self.rollup.claim(&key, token, key.address()).await?;
        let paid = token_balance(self.rollup.rpc(), erc20, key.address()).await?.0 - before.0;
        ensure!(paid == WITHDRAWN.0, "claimed {paid}, expected {WITHDRAWN}");
        Ok(())
    }

    /// The state root on L1, after checking that the slots in Postgres give the same one.
    ///
    /// # Errors
    /// If they differ.
    pub async fn checked_root(&self, stack: &DevStack, srs: Arc<Srs>) -> anyhow::Result<Word> {
        let pool = sheaf_store::pool::connect(&stack.database_url).await?;
        let rebuilt = crate::root::rebuilt(&pool, srs).await?;
        let on_l1 = self.rollup.progress().await?.state_root;
        ensure!(on_l1 == rebuilt, "root on L1 is {}, Postgres gives {}", to_hex(&on_l1), to_hex(&rebuilt));
        Ok(on_l1)
    }
}

async fn submit(client: &Client, domain: Fr, acknowledged: &watch::Sender<Vec<String>>, signed: &SignedOp) -> anyhow::Result<()> {
    let receipt = client.submit(signed).await?;
    let hash = signed.op.hash(domain).to_string();
    ensure!(receipt["hash"] == hash.as_str(), "the receipt names {}, not {hash}", receipt["hash"]);
    acknowledged.send_modify(|hashes| hashes.push(hash));
    Ok(())
}

/// A number that the API gives as text.
fn number(value: &Value, field: &str) -> anyhow::Result<u32> {
    value[field].as_str().and_then(|text| text.parse().ok()).with_context(|| format!("a slot without {field}"))
}

impl User {
    /// What its slot is found by: the payer of its deposit owns it on L1.
    fn triple(&self) -> anyhow::Result<Triple> {
        Ok(Triple { key: self.key.public().0, owner: dev_key(1)?.address(), token: self.token })
    }

    /// A signed transfer of [`AMOUNT`] to `to`; uses up a nonce.
    ///
    /// # Errors
    /// None: the amounts are representable.
    pub fn transfer(&mut self, domain: Fr, to: SlotId) -> anyhow::Result<SignedOp> {
        let (amount, fee) = (AmountFloat::from_amount(AMOUNT)?, FeeFloat::from_amount(FEE)?);
        let op = Op::Transfer(Transfer { from: self.slot, to, token: self.token, nonce: Nonce(self.nonce), amount, fee });
        Ok(self.sign(domain, op))
    }

    /// A signed withdrawal of [`WITHDRAWN`] to `address`; uses up a nonce.
    ///
    /// # Errors
    /// None: the fee is representable.
    pub fn withdrawal(&mut self, domain: Fr, address: Address) -> anyhow::Result<SignedOp> {
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

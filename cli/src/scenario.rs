//! People using a development stack: accounts opened on L1, transfers and withdrawals signed and sent over HTTP, waits until
//! final, claims. The demonstration and the whole-stack tests are written with it.

use crate::client::Client;
use crate::dev::{DevStack, dev_key};
use anyhow::{Context, ensure};
use rand::{SeedableRng, rngs::StdRng};
use sheaf_protocol::amount::{Address, Amount, AmountFloat, FeeFloat, NATIVE, Nonce, SlotId, TokenId};
use sheaf_protocol::field::{Fr, Word, to_hex, to_word};
use sheaf_protocol::kzg::Srs;
use sheaf_protocol::ledger::Triple;
use sheaf_protocol::ops::{Op, SignedOp, Transfer, Withdraw};
use sheaf_protocol::schnorr::{self, SecretKey};
use sheaf_settlement::rollup::{Rollup, token_balance};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What each account starts with, in the token's smallest unit.
pub const DEPOSIT: Amount = Amount(1_000_000_000_000);
/// What each transfer moves.
pub const AMOUNT: Amount = Amount(1_000_000);
/// Fee of an operation.
pub const FEE: Amount = Amount(1_000);
/// What each withdrawal takes.
pub const WITHDRAWN: Amount = Amount(5_000_000);
/// Longest wait for anything.
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
    /// Hashes of everything acknowledged.
    pub acknowledged: Vec<String>,
    test_token: (TokenId, Address),
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
        Ok(Self { rollup, client, domain, users: Vec::new(), acknowledged: Vec::new(), test_token: (token.token, token.erc20) })
    }

    /// Opens `count` accounts by deposits on L1, every second one in the test token, and waits for their slots.
    ///
    /// # Errors
    /// If a deposit reverts or is not credited in time.
    pub async fn open_accounts(&mut self, count: usize) -> anyhow::Result<()> {
        let first = self.users.len();
        for i in first..first + count {
            let token = if i % 2 == 0 { NATIVE } else { self.test_token.0 };
            self.deposit(SecretKey::generate(&mut StdRng::from_entropy()), token).await?;
        }
        for i in first..self.users.len() {
            self.users[i].slot = self.wait_for_slot(i).await?;
        }
        Ok(())
    }

    async fn deposit(&mut self, key: SecretKey, token: TokenId) -> anyhow::Result<()> {
        let payer = dev_key(1)?;
        let (word, owner) = (to_word(key.public().0), payer.address());
        if token == NATIVE {
            self.rollup.deposit(&payer, DEPOSIT, word, owner).await?;
        } else {
            self.rollup.deposit_token(&payer, token, DEPOSIT, word, owner).await?;
        }
        self.users.push(User { key, token, slot: SlotId(0), nonce: 0 });
        Ok(())
    }

    async fn wait_for_slot(&self, user: usize) -> anyhow::Result<SlotId> {
        let user = &self.users[user];
        let triple = Triple { key: user.key.public().0, owner: dev_key(1)?.address(), token: user.token };
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(slot) = self.client.find_slot(&triple).await? {
                let id = slot["id"].as_str().and_then(|text| text.parse().ok()).context("a slot without an id")?;
                return Ok(SlotId(id));
            }
            ensure!(Instant::now() < end, "the deposit for key {} was not credited", to_hex(&to_word(triple.key)));
            tokio::time::sleep(POLL).await;
        }
    }

    /// Sends `count` transfers, one after the other, between holders of the same token.
    ///
    /// # Errors
    /// If one is refused.
    pub async fn send_transfers(&mut self, count: usize) -> anyhow::Result<()> {
        let users = self.users.len();
        for i in 0..count {
            let to = self.users[(i + 2) % users].slot;
            let signed = self.users[i % users].transfer(self.domain, to)?;
            self.submit(&signed).await?;
        }
        Ok(())
    }

    /// Sends one operation and checks its receipt.
    ///
    /// # Errors
    /// If it is refused or acknowledged under another hash.
    pub async fn submit(&mut self, signed: &SignedOp) -> anyhow::Result<()> {
        let receipt = self.client.submit(signed).await?;
        let hash = signed.op.hash(self.domain).to_string();
        ensure!(receipt["hash"] == hash.as_str(), "the receipt names {}, not {hash}", receipt["hash"]);
        self.acknowledged.push(hash);
        Ok(())
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

    /// Waits until everything acknowledged is final.
    ///
    /// # Errors
    /// If something is not final in time, or no longer known.
    pub async fn wait_until_final(&self) -> anyhow::Result<()> {
        for hash in self.acknowledged.iter().rev() {
            self.client.wait_for(hash, "final", PATIENCE).await?;
        }
        Ok(())
    }

    /// Claims the withdrawal of user 1, in the test token, and checks that its balance changes by exactly the amount.
    ///
    /// # Errors
    /// If it is not credited in time or pays another amount.
    pub async fn claim(&self) -> anyhow::Result<()> {
        let ((token, erc20), key) = (self.test_token, dev_key(3)?);
        let end = Instant::now() + PATIENCE;
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

impl User {
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

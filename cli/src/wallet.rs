//! `sheaf wallet`: keys in an encrypted file, deposits and claims on L1, transfers and withdrawals through a node.
//!
//! ```text
//! keygen ──> deposit (L1) ──> node opens a slot ──> transfer, withdraw (signed here) ──final──> claim (L1)
//! ```
//!
//! Secrets never leave this process. An account is found by its exact (key, owner, token); amounts are in the token's smallest unit.
//! A transfer that was sent and not answered is sent again with the same bytes: its hash makes it the same transfer.

pub(crate) mod parse;
mod requests;

use crate::client::Client;
use crate::keystore::{self, Given, Identity, Wallet};
use anyhow::{Context, ensure};
use clap::{Args, Subcommand, ValueEnum};
use parse::{address, amount, key, slot, token};
use serde::Deserialize;
use serde_json::{Value, json};
use sheaf_protocol::amount::{Address, Amount, AmountFloat, FeeFloat, NATIVE, Nonce, SlotId, TokenId};
use sheaf_protocol::field::{Fr, from_hex, to_hex, to_word};
use sheaf_protocol::header;
use sheaf_protocol::ledger::Triple;
use sheaf_protocol::ops::{Op, SignedOp, Transfer, Withdraw};
use sheaf_protocol::schnorr;
use sheaf_settlement::rollup::Rollup;
use sheaf_settlement::rpc::{Rpc, RpcOptions, sites};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// How long a node may be away.
const NODE_PATIENCE: Duration = Duration::from_secs(10);
/// How long a state may take to be reached.
const STATE_PATIENCE: Duration = Duration::from_secs(1_800);
/// How long a deposit may take to arrive.
const DEPOSIT_PATIENCE: Duration = Duration::from_secs(600);
/// Entries of the L1 queue looked at, from the newest on: a deposit is among them until the node takes it.
const QUEUE_PAGE: u32 = 200;
/// Pause between two looks at a slot.
const LOOK_PAUSE: Duration = Duration::from_millis(500);

/// `sheaf wallet`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  sheaf wallet keygen\n  sheaf wallet deposit --amount 0.5ether\n  sheaf wallet transfer --to 1 --amount 1000000 --wait final\n  sheaf wallet balance --json\n\nSHEAF_NODE, SHEAF_L1_URL, SHEAF_KEYSTORE and SHEAF_PASSWORD save typing; `. .sheaf/dev/env` sets them for a running `make dev`."
)]
pub struct WalletArgs {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Args, Debug)]
struct Common {
    /// The wallet's file. `make clean` leaves it alone.
    #[arg(long, global = true, env = "SHEAF_KEYSTORE", default_value = "sheaf-wallet.json")]
    keystore: PathBuf,
    /// File with the password; else SHEAF_PASSWORD, else a prompt.
    #[arg(long, global = true, env = "SHEAF_PASSWORD_FILE")]
    password_file: Option<PathBuf>,
    /// The node.
    #[arg(long, global = true, env = "SHEAF_NODE", default_value = "http://127.0.0.1:3000")]
    node: String,
    /// The L1 node, for deposits and claims.
    #[arg(long, global = true, env = "SHEAF_L1_URL", hide_env_values = true)]
    l1_url: Option<String>,
    /// The rollup's contract; default: what the node says. With it, what goes to L1 alone (deposit, claim, force-exit and rotate-key of a --slot) needs no node.
    #[arg(long, global = true, env = "SHEAF_CONTRACT", value_parser = address)]
    contract: Option<Address>,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Make a wallet: a fresh account key and an L1 key, encrypted with a password.
    #[command(
        after_help = "Examples:\n  sheaf wallet keygen\n  sheaf wallet keygen --keystore alice.json --l1-key-file funded-key.txt\n\nThe funded account of a running `make dev`:\n  sheaf wallet keygen --account-key-file .sheaf/dev/account.key --l1-key-file .sheaf/dev/l1.key"
    )]
    Keygen {
        /// File with an account's secret key (hex) to use instead of a fresh one.
        #[arg(long)]
        account_key_file: Option<PathBuf>,
        /// File with an L1 private key (hex) to use instead of a fresh one.
        #[arg(long)]
        l1_key_file: Option<PathBuf>,
    },
    /// Pay into the rollup from the wallet's L1 account.
    #[command(
        after_help = "Examples:\n  sheaf wallet deposit --amount 0.5ether\n  sheaf wallet deposit --token 2 --amount 1000000 --no-wait\nWith --contract it is sent before the node is asked anything, and stays sent if the node does not answer."
    )]
    Deposit {
        /// Token number; 1 is the native coin.
        #[arg(long, default_value = "1", value_parser = token)]
        token: TokenId,
        /// How much: a whole number of the smallest unit, or like 0.5ether, 3gwei.
        #[arg(long, value_parser = amount)]
        amount: Amount,
        /// Do not wait until the account has it.
        #[arg(long)]
        no_wait: bool,
    },
    /// Pay another account.
    #[command(
        after_help = "Examples:\n  sheaf wallet transfer --to 1 --amount 1000000\n  sheaf wallet transfer --to-key 0x.. --to-owner 0x.. --amount 0.1ether --wait final"
    )]
    Transfer {
        #[command(flatten)]
        payee: Payee,
        /// Token number; 1 is the native coin.
        #[arg(long, default_value = "1", value_parser = token)]
        token: TokenId,
        /// How much; rounded down to 36 bits times a power of ten.
        #[arg(long, value_parser = amount)]
        amount: Amount,
        /// Fee; default: what the node asks.
        #[arg(long, value_parser = amount)]
        fee: Option<Amount>,
        /// Return when this state is reached.
        #[arg(long, value_enum, default_value_t = State::Accepted)]
        wait: State,
    },
    /// Pay out to an L1 address, which can claim it when the batch is final.
    #[command(
        after_help = "Examples:\n  sheaf wallet withdraw --amount 0.1ether --wait final\n  sheaf wallet withdraw --amount 5000000 --address 0x.."
    )]
    Withdraw {
        /// Token number; 1 is the native coin.
        #[arg(long, default_value = "1", value_parser = token)]
        token: TokenId,
        /// How much, exactly.
        #[arg(long, value_parser = amount)]
        amount: Amount,
        /// Who may claim it; default: the wallet's own L1 address.
        #[arg(long, value_parser = address)]
        address: Option<Address>,
        /// Fee; default: what the node asks.
        #[arg(long, value_parser = amount)]
        fee: Option<Amount>,
        /// Return when this state is reached.
        #[arg(long, value_enum, default_value_t = State::Accepted)]
        wait: State,
    },
    /// Have L1 pay out everything withdrawn to the wallet's L1 address.
    #[command(
        after_help = "Examples:\n  sheaf wallet claim --wait\n  sheaf wallet claim --token 2 --to 0x..\n  sheaf wallet claim --contract 0x.. --l1-url ..    without the node; `sheaf settle` credits what nobody has credited"
    )]
    Claim {
        /// Token number; 1 is the native coin.
        #[arg(long, default_value = "1", value_parser = token)]
        token: TokenId,
        /// Who gets it; default: the wallet's own L1 address.
        #[arg(long, value_parser = address)]
        to: Option<Address>,
        /// Wait until there is something to claim.
        #[arg(long)]
        wait: bool,
    },
    /// Open an account for somebody else, who needs nothing on L1. The fee is paid by the wallet's account.
    #[command(
        after_help = "Examples:\n  sheaf wallet register --key 0x.. --owner 0x..\n  sheaf wallet register --key 0x.. --owner 0x.. --account-token 2 --wait proven"
    )]
    Register {
        /// The account's public key, as its wallet's `keygen` printed it.
        #[arg(long, value_parser = key)]
        key: Fr,
        /// Its owner on L1, who may force its exit and replace its key.
        #[arg(long, value_parser = address)]
        owner: Address,
        /// Its token.
        #[arg(long, default_value = "1", value_parser = token)]
        account_token: TokenId,
        /// Token of the wallet's account that pays.
        #[arg(long, default_value = "1", value_parser = token)]
        token: TokenId,
        /// Fee; default: what the node asks.
        #[arg(long, value_parser = amount)]
        fee: Option<Amount>,
        /// Return when this state is reached.
        #[arg(long, value_enum, default_value_t = State::Accepted)]
        wait: State,
    },
    /// Ask L1 to pay out everything in an account, whatever its key or the operator do. If nobody serves it in time, anybody may freeze the rollup.
    #[command(
        after_help = "Examples:\n  sheaf wallet force-exit\n  sheaf wallet force-exit --slot 7    the key is lost, the owner's L1 key is not\n  sheaf wallet force-exit --slot 7 --contract 0x.. --l1-url ..    without the node\nThen:  sheaf wallet claim --wait\nWithout the node nobody looks whose the slot is: a request by anybody but its owner on L1 is proved to do nothing, and costs the queue's fee all the same."
    )]
    ForceExit {
        #[command(flatten)]
        asked: requests::Asked,
    },
    /// Ask L1 to replace an account's key, for instance one that somebody else has seen.
    #[command(
        after_help = "Example:\n  sheaf wallet keygen --keystore new.json --l1-key-file l1.txt    the same owner, a fresh key\n  sheaf wallet rotate-key --new-key 0x..\n  sheaf wallet rotate-key --slot 7 --new-key 0x.. --contract 0x.. --l1-url ..    without the node\nWithout the node nobody looks whose the slot is: a request by anybody but its owner on L1 is proved to do nothing, and costs the queue's fee all the same."
    )]
    RotateKey {
        #[command(flatten)]
        asked: requests::Asked,
        /// The new public key.
        #[arg(long, value_parser = key)]
        new_key: Fr,
    },
    /// What the accounts hold. Needs no password.
    #[command(after_help = "Examples:\n  sheaf wallet balance\n  sheaf wallet balance --json")]
    Balance,
    /// What the accounts signed and received, each account newest first. Needs no password.
    #[command(after_help = "Examples:\n  sheaf wallet history\n  sheaf wallet history --limit 100 --json")]
    History {
        /// At most so many of each account.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
        limit: u32,
    },
}

/// Who is paid: a slot, or the account with exactly this key and owner.
#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
struct Payee {
    /// Slot number.
    #[arg(long, value_parser = slot, conflicts_with_all = ["to_key", "to_owner"])]
    to: Option<SlotId>,
    /// The account's key.
    #[arg(long, value_parser = key, requires = "to_owner")]
    to_key: Option<Fr>,
    /// The account's owner on L1.
    #[arg(long, value_parser = address, requires = "to_key")]
    to_owner: Option<Address>,
}

/// How far a transaction is, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum State {
    /// Durable at the node.
    Accepted,
    /// In a batch.
    Sealed,
    /// Its data are on L1.
    Committed,
    /// Its proof is on L1.
    Proven,
    /// And deep enough to stay.
    Final,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            State::Accepted => "accepted",
            State::Sealed => "sealed",
            State::Committed => "committed",
            State::Proven => "proven",
            State::Final => "final",
        }
    }
}

/// One of the wallet's accounts, as the node shows it.
#[derive(Clone, Copy, Debug)]
struct Account {
    slot: SlotId,
    token: TokenId,
    nonce: Nonce,
    balance: Amount,
}

/// Runs the command.
///
/// # Errors
/// What failed, with the remedy where there is one.
pub async fn run(args: WalletArgs) -> anyhow::Result<()> {
    let session = Session { client: Client::new(&args.common.node, NODE_PATIENCE)?, common: args.common };
    match args.verb {
        Verb::Keygen { account_key_file, l1_key_file } => session.keygen(account_key_file, l1_key_file),
        Verb::Deposit { token, amount, no_wait } => session.deposit(token, amount, !no_wait).await,
        Verb::Transfer { payee, token, amount, fee, wait } => session.transfer(&payee, token, amount, fee, wait).await,
        Verb::Withdraw { token, amount, address, fee, wait } => session.withdraw(token, amount, address, fee, wait).await,
        Verb::Claim { token, to, wait } => session.claim(token, to, wait).await,
        Verb::Register { key, owner, account_token, token, fee, wait } => {
            session.register(Triple { key, owner, token: account_token }, token, fee, wait).await
        }
        Verb::ForceExit { asked } => session.force_exit(&asked).await,
        Verb::RotateKey { asked, new_key } => session.rotate_key(&asked, new_key).await,
        Verb::Balance => session.balance().await,
        Verb::History { limit } => session.history(limit).await,
    }
}

struct Session {
    common: Common,
    client: Client,
}

impl Session {
    fn keygen(&self, account_key_file: Option<PathBuf>, l1_key_file: Option<PathBuf>) -> anyhow::Result<()> {
        let read =
            |file: PathBuf| std::fs::read_to_string(&file).map(Zeroizing::new).with_context(|| format!("cannot read the key in {}", file.display()));
        let given = Given { account: account_key_file.map(read).transpose()?, l1: l1_key_file.map(read).transpose()? };
        let password = keystore::password(self.common.password_file.as_ref(), true)?;
        let identity = keystore::create(&self.common.keystore, &password, given)?;
        self.print(
            json!({ "keystore": self.common.keystore, "key": identity.key, "owner": identity.owner }),
            format!("wallet  {}\nkey     {}\nowner   {}", self.common.keystore.display(), to_hex(&to_word(identity.key.0)), identity.owner),
        )
    }

    async fn deposit(&self, token: TokenId, amount: Amount, wait: bool) -> anyhow::Result<()> {
        let (wallet, rollup) = (self.open()?, self.rollup().await?);
        let Identity { key, owner } = wallet.identity();
        let alone = self.common.contract.is_some();
        let before = match wait && !alone {
            true => self.account(&wallet.identity(), token).await?.map_or(Amount(0), |account| account.balance),
            false => Amount(0),
        };
        let receipt = match token {
            NATIVE => rollup.deposit(&wallet.l1, amount, to_word(key.0), owner).await?,
            _ => rollup.deposit_token(&wallet.l1, token, amount, to_word(key.0), owner).await?,
        };
        let hash = to_hex(&receipt.hash.0);
        if wait {
            tell(&format!("deposited in block {} of L1; waiting until the node credits it", receipt.block));
        }
        let account = match (wait, alone) {
            (false, _) => None,
            (true, false) => Some(self.wait_for_balance(&wallet.identity(), token, before.0.saturating_add(amount.0)).await?),
            // on L1 it is, whatever the node says or does not say: a failure here would have people and scripts send it again
            (true, true) => match self.wait_for_credit(&wallet.identity(), token, &hash).await {
                Ok(account) => Some(account),
                Err(error) => {
                    tell(&format!(
                        "the deposit is on L1, transaction {hash}: do not send it again. Whether a node credits it is not known: {error:#}. `sheaf wallet balance` shows it once \
                         one does; if none does in time, `sheaf freeze` and `sheaf settle` give it back"
                    ));
                    None
                }
            },
        };
        self.print(
            json!({ "l1_hash": hash, "block": receipt.block.to_string(), "slot": account.map(|a| a.slot.to_string()), "balance": account.map(|a| a.balance.to_string()) }),
            match account {
                Some(account) => format!("deposited {amount} of token {token}: slot {} holds {}\nL1 transaction {hash}", account.slot, account.balance),
                None => format!("deposited {amount} of token {token}; it waits on L1 until a node credits it\nL1 transaction {hash}"),
            },
        )
    }

    async fn wait_for_balance(&self, identity: &Identity, token: TokenId, wanted: u128) -> anyhow::Result<Account> {
        let end = Instant::now() + DEPOSIT_PATIENCE;
        loop {
            match self.account(identity, token).await? {
                Some(account) if account.balance.0 >= wanted => return Ok(account),
                _ => ensure!(Instant::now() < end, "the deposit is on L1, but the node has not credited it after {} s", DEPOSIT_PATIENCE.as_secs()),
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }

    /// As the node shows the entry of the queue that this L1 transaction made; what the account held before is not known.
    async fn wait_for_credit(&self, identity: &Identity, token: TokenId, l1_hash: &str) -> anyhow::Result<Account> {
        self.deployment().await?;
        let end = Instant::now() + DEPOSIT_PATIENCE;
        loop {
            let page: Value = self.client.get(&format!("/v1/queue?limit={QUEUE_PAGE}")).await?;
            let entry = page["items"].as_array().into_iter().flatten().find(|entry| entry["l1_tx"] == l1_hash);
            match entry.map(|entry| (entry["state"].as_str().unwrap_or("queued"), entry["slot"].is_string())) {
                None | Some(("queued", _)) => {}
                Some((_, false)) => anyhow::bail!("the node gives it back; `sheaf wallet claim` collects it once settlement has credited it"),
                Some((_, true)) => return self.own_account(identity, token).await,
            }
            ensure!(Instant::now() < end, "the node has not credited it after {} s", DEPOSIT_PATIENCE.as_secs());
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }

    async fn transfer(&self, payee: &Payee, token: TokenId, amount: Amount, fee: Option<Amount>, wait: State) -> anyhow::Result<()> {
        let wallet = self.open()?;
        let rounded = AmountFloat::round_down(amount);
        if rounded.amount() != amount {
            eprintln!("{amount} is not representable; sending {}", rounded.amount());
        }
        let to = self.resolve(payee, token).await?;
        let account = self.own_account(&wallet.identity(), token).await?;
        let fee = self.fee(token, fee).await?;
        let op = Op::Transfer(Transfer { from: account.slot, to, token, nonce: account.nonce, amount: rounded, fee });
        self.send(&wallet, op, wait).await
    }

    async fn withdraw(&self, token: TokenId, amount: Amount, address: Option<Address>, fee: Option<Amount>, wait: State) -> anyhow::Result<()> {
        let wallet = self.open()?;
        let account = self.own_account(&wallet.identity(), token).await?;
        let fee = self.fee(token, fee).await?;
        let address = address.unwrap_or(wallet.l1.address());
        self.send(&wallet, Op::Withdraw(Withdraw { from: account.slot, token, nonce: account.nonce, fee, amount, address }), wait).await
    }

    async fn send(&self, wallet: &Wallet, op: Op, wait: State) -> anyhow::Result<()> {
        let domain = self.deployment().await?.domain();
        let signature = schnorr::sign(&wallet.key, domain, op.tag() as u8, op.message(domain), &rand::random());
        let hash = to_hex(&op.hash(domain).0);
        let mut status = self.client.submit(&SignedOp { op, signature }).await?;
        let started = Instant::now();
        for state in State::value_variants().iter().filter(|state| (State::Sealed..=wait).contains(state)) {
            status = self.client.wait_for(&hash, state.name(), STATE_PATIENCE).await?;
            tell(&format!("{} after {} s", state.name(), started.elapsed().as_secs()));
        }
        let state = status["state"].as_str().unwrap_or("accepted").to_owned();
        self.print(status, format!("{state}  {hash}"))
    }

    async fn claim(&self, token: TokenId, to: Option<Address>, wait: bool) -> anyhow::Result<()> {
        let (wallet, rollup) = (self.open()?, self.rollup().await?);
        let claimable = self.claimable(&rollup, token, wallet.l1.address(), wait).await?;
        let to = to.unwrap_or(wallet.l1.address());
        let receipt = rollup.claim(&wallet.l1, token, to).await?;
        let hash = to_hex(&receipt.hash.0);
        self.print(
            json!({ "amount": claimable, "token": token.to_string(), "to": to, "l1_hash": hash }),
            format!("claimed {claimable} of token {token} for {to}\nL1 transaction {hash}"),
        )
    }

    /// What can be claimed, more than nothing.
    async fn claimable(&self, rollup: &Rollup, token: TokenId, account: Address, wait: bool) -> anyhow::Result<Amount> {
        let end = Instant::now() + STATE_PATIENCE;
        let mut told = false;
        loop {
            let claimable = rollup.claimable(token, account).await?;
            if claimable.0 > 0 {
                return Ok(claimable);
            }
            ensure!(
                wait && Instant::now() < end,
                "nothing of token {token} to claim yet; a withdrawal is claimable once its batch is proven and credited on L1 (--wait waits for it); if the operator is gone, \
                 `sheaf settle` credits it"
            );
            if !std::mem::replace(&mut told, true) {
                tell("waiting until a withdrawal is credited on L1");
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }

    async fn balance(&self) -> anyhow::Result<()> {
        let identity = keystore::identity(&self.common.keystore)?;
        let accounts = self.accounts(&identity, None).await?;
        let mut rows = Vec::new();
        for account in &accounts {
            let claimable = match &self.common.l1_url {
                Some(_) => Some(self.rollup().await?.claimable(account.token, identity.owner).await?),
                None => None,
            };
            rows.push((account, claimable));
        }
        let as_json = |(account, claimable): &(&Account, Option<Amount>)| json!({ "slot": account.slot.to_string(), "token": account.token.to_string(), "balance": account.balance, "nonce": account.nonce.to_string(), "claimable": claimable });
        let value = json!({ "key": identity.key, "owner": identity.owner, "accounts": rows.iter().map(as_json).collect::<Vec<_>>() });
        self.print(value, balance_table(&identity, &rows))
    }

    async fn history(&self, limit: u32) -> anyhow::Result<()> {
        let identity = keystore::identity(&self.common.keystore)?;
        let mut found = Vec::new();
        for account in self.accounts(&identity, None).await? {
            let page: Value = self.client.get(&format!("/v1/slots/{}/transactions?limit={limit}", account.slot)).await?;
            let lines = page["items"].as_array().cloned().unwrap_or_default();
            found.extend(lines.into_iter().map(|mut line| {
                line["slot"] = account.slot.to_string().into();
                line
            }));
        }
        let lines: Vec<String> = found.iter().map(history_line).collect();
        let text = if lines.is_empty() { "no transactions yet".to_owned() } else { lines.join("\n") };
        self.print(Value::Array(found), text)
    }

    fn open(&self) -> anyhow::Result<Wallet> {
        // a missing file is told before a password is asked for
        keystore::identity(&self.common.keystore)?;
        keystore::open(&self.common.keystore, &keystore::password(self.common.password_file.as_ref(), false)?)
    }

    async fn rollup(&self) -> anyhow::Result<Rollup> {
        let url = self
            .common
            .l1_url
            .as_deref()
            .context("this needs L1: name its node with --l1-url or SHEAF_L1_URL; for a running `make dev`: . .sheaf/dev/env")?;
        let Some(contract) = self.common.contract else {
            let found = self.deployment().await?;
            let rpc = Rpc::connect(url, RpcOptions::default()).await?;
            ensure!(rpc.chain_id() == found.chain_id, "the node is on chain {}, --l1-url on chain {}", found.chain_id, rpc.chain_id());
            return Ok(Rollup::at(rpc, found.contract));
        };
        // no node is asked: the contract computed its domain from its chain and its own address, and so shows what it is
        let rollup = Rollup::at(Rpc::connect(url, RpcOptions::default()).await?, contract);
        let domain = rollup.domain().await.with_context(|| format!("--contract {contract} with --l1-url {}", sites(url)))?;
        let chain_id = rollup.rpc().chain_id();
        ensure!(domain == header::domain(chain_id, &contract), "--contract {contract} is no rollup's on chain {chain_id}; check it and --l1-url");
        Ok(rollup)
    }

    /// The deployment that the node names; a contract given by the user must be the same one.
    async fn deployment(&self) -> anyhow::Result<DeploymentInfo> {
        let status: Value = self.client.get("/v1/status").await?;
        let found = DeploymentInfo::read(&status).context("the node's status does not name its deployment")?;
        if let Some(contract) = self.common.contract {
            ensure!(contract == found.contract, "the node works for contract {}, not {contract}", found.contract);
        }
        Ok(found)
    }

    async fn resolve(&self, payee: &Payee, token: TokenId) -> anyhow::Result<SlotId> {
        let (Some(key), Some(owner)) = (payee.to_key, payee.to_owner) else {
            return payee.to.context("name the payee with --to, or --to-key and --to-owner");
        };
        let found = self.client.find_slot(&Triple { key, owner, token }).await?;
        let found = found.context("there is no account with exactly this key, owner and token; it must receive a deposit first")?;
        Ok(Account::read(&found)?.slot)
    }

    async fn fee(&self, token: TokenId, given: Option<Amount>) -> anyhow::Result<FeeFloat> {
        let fee = match given {
            Some(fee) => fee,
            None => {
                let quote: Value = self.client.get(&format!("/v1/fees?token={token}")).await?;
                decimal(&quote["fee"]).map(Amount).context("the node names no fee; give one with --fee")?
            }
        };
        FeeFloat::from_amount(fee).with_context(|| format!("fee {fee}: the nearest below is {}", FeeFloat::round_down(fee).amount()))
    }

    async fn own_account(&self, identity: &Identity, token: TokenId) -> anyhow::Result<Account> {
        self.account(identity, token).await?.with_context(|| format!("this wallet has no account in token {token}; deposit first"))
    }

    async fn account(&self, identity: &Identity, token: TokenId) -> anyhow::Result<Option<Account>> {
        Ok(self.accounts(identity, Some(token)).await?.into_iter().next())
    }

    async fn accounts(&self, identity: &Identity, token: Option<TokenId>) -> anyhow::Result<Vec<Account>> {
        let token = token.map_or_else(String::new, |token| format!("&token={token}"));
        let page: Value = self.client.get(&format!("/v1/slots?key={}&owner={}{token}", to_hex(&to_word(identity.key.0)), identity.owner)).await?;
        page["items"].as_array().map(Vec::as_slice).unwrap_or_default().iter().map(Account::read).collect()
    }

    fn print(&self, value: Value, text: String) -> anyhow::Result<()> {
        if self.common.json {
            println!("{}", serde_json::to_string_pretty(&value)?);
        } else {
            println!("{text}");
        }
        Ok(())
    }
}

/// For a person who waits; standard output holds the result alone.
fn tell(progress: &str) {
    eprintln!("-- {progress}");
}

fn balance_table(identity: &Identity, rows: &[(&Account, Option<Amount>)]) -> String {
    let mut lines = vec![format!("key    {}", to_hex(&to_word(identity.key.0))), format!("owner  {}", identity.owner)];
    if rows.is_empty() {
        lines.push("no accounts yet; deposit first".to_owned());
    }
    for (account, claimable) in rows {
        let claimable = claimable.map_or_else(String::new, |amount| format!("  claimable on L1 {amount}"));
        lines.push(format!(
            "slot {:<9} token {:<6} {:>32}{claimable}",
            account.slot.to_string(),
            account.token.to_string(),
            account.balance.to_string()
        ));
    }
    lines.join("\n")
}

fn history_line(line: &Value) -> String {
    let text = |name: &str| line[name].as_str().unwrap_or_default();
    let moved = |how: String| format!("{} of token {} {how}", text("amount"), text("token"));
    let what = match text("op") {
        "deposit" => moved(format!("from L1 {}", text("sender"))),
        "withdraw" => moved(format!("to L1 {}, fee {}", text("address"), text("fee"))),
        "register" => format!("slot {} for owner {}, fee {} of token {}", text("account"), text("owner"), text("fee"), text("token")),
        "exit" => format!("asked for on L1 by {}", text("sender")),
        "rotation" => format!("to key {}, asked for on L1 by {}", text("key"), text("sender")),
        _ if text("from") == text("slot") => moved(format!("to slot {}, fee {}", text("to"), text("fee"))),
        _ => moved(format!("from slot {}", text("from"))),
    };
    format!("slot {:<9} {:<9} {:<8} {what}  {}", text("slot"), text("state"), text("op"), text("hash")).trim_end().to_owned()
}

/// Chain and contract of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
struct DeploymentInfo {
    chain_id: u64,
    contract: Address,
}

impl DeploymentInfo {
    fn read(status: &Value) -> Option<Self> {
        let chain_id = status["chain_id"].as_u64().or_else(|| status["chain_id"].as_str()?.parse().ok())?;
        Some(Self { chain_id, contract: Address(from_hex(status["contract"].as_str()?)?) })
    }

    /// Computed here: a node cannot make this wallet sign for another contract than it shows.
    fn domain(&self) -> Fr {
        header::domain(self.chain_id, &self.contract)
    }
}

impl Account {
    fn read(slot: &Value) -> anyhow::Result<Self> {
        let number = |name: &str| decimal(&slot[name]).with_context(|| format!("a slot without {name}"));
        Ok(Self {
            slot: SlotId(number("id")? as u32),
            token: TokenId(number("token")? as u16),
            nonce: Nonce(number("nonce")? as u32),
            balance: Amount(number("balance")?),
        })
    }
}

fn decimal(value: &Value) -> Option<u128> {
    value.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_nodes_status_names_its_deployment() {
        let status = json!({ "chain_id": "31337", "contract": format!("0x{}", "22".repeat(20)) });
        let read = DeploymentInfo::read(&status).unwrap();
        assert_eq!(read, DeploymentInfo { chain_id: 31_337, contract: Address([0x22; 20]) });
        assert_eq!(DeploymentInfo::read(&json!({})), None);
    }
}

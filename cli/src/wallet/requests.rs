//! Accounts for others, and what the owner of an account may ask of L1 whatever the operator thinks of it.

use super::{Session, State, tell};
use anyhow::{Context, ensure};
use serde_json::json;
use sheaf_protocol::amount::{Amount, SlotId, TokenId};
use sheaf_protocol::field::{Fr, to_hex, to_word};
use sheaf_protocol::ledger::Triple;
use sheaf_protocol::ops::{Op, Register};
use sheaf_protocol::schnorr;
use sheaf_settlement::rollup::TxReceipt;

/// The account that a request is about: a slot by number, or the wallet's own in a token.
#[derive(clap::Args, Debug)]
pub(super) struct Asked {
    /// Token of the wallet's account; 1 is the native coin.
    #[arg(long, default_value = "1", value_parser = super::token, conflicts_with = "slot")]
    token: TokenId,
    /// Slot number, for an account whose key is lost: being its owner on L1 is enough. With --contract no node is asked, and nobody looks whose the slot is.
    #[arg(long, value_parser = super::slot)]
    slot: Option<SlotId>,
}

impl Session {
    pub(super) async fn register(&self, account: Triple, token: TokenId, fee: Option<Amount>, wait: State) -> anyhow::Result<()> {
        ensure!(schnorr::is_key(account.key), "--key is no public key: nobody could sign for the account");
        let wallet = self.open()?;
        if let Some(found) = self.client.find_slot(&account).await? {
            anyhow::bail!("the account exists already: slot {}", found["id"].as_str().unwrap_or("?"));
        }
        let sponsor = self.own_account(&wallet.identity(), token).await?;
        let fee = self.fee(token, fee).await?;
        self.send(&wallet, Op::Register(Register { from: sponsor.slot, token, nonce: sponsor.nonce, fee, account }), wait).await
    }

    pub(super) async fn force_exit(&self, asked: &Asked) -> anyhow::Result<()> {
        let (wallet, slot) = (self.open()?, self.asked(asked).await?);
        let receipt = self.rollup().await?.request_exit(&wallet.l1, slot).await?;
        self.asked_on_l1(
            "exit",
            slot,
            &receipt,
            "everything in it is paid out once the batch that takes the request is proven; `sheaf wallet claim --wait` collects it",
        )
    }

    pub(super) async fn rotate_key(&self, asked: &Asked, new_key: Fr) -> anyhow::Result<()> {
        ensure!(
            schnorr::is_key(new_key),
            "--new-key is no public key: nobody could sign for the account; make one with `sheaf wallet keygen --keystore new.json`"
        );
        let (wallet, slot) = (self.open()?, self.asked(asked).await?);
        let receipt = self.rollup().await?.request_rotation(&wallet.l1, slot, to_word(new_key)).await?;
        self.asked_on_l1("rotation", slot, &receipt, "the new key signs from the batch on that takes the request; the old one does until then")
    }

    async fn asked(&self, asked: &Asked) -> anyhow::Result<SlotId> {
        let identity = crate::keystore::identity(&self.common.keystore)?;
        let Some(slot) = asked.slot else {
            let found = self.own_account(&identity, asked.token).await;
            return Ok(found.context("the node tells the account's slot; without it name the slot by --slot, and the contract by --contract")?.slot);
        };
        if self.common.contract.is_some() {
            tell(&format!(
                "no node is asked: if {} is not the owner of slot {slot} on L1, the request does nothing and costs the queue's fee",
                identity.owner
            ));
            return Ok(slot);
        }
        let found: serde_json::Value = self.client.get(&format!("/v1/slots/{slot}")).await?;
        let owner = found["owner"].as_str().context("the node shows no owner of the slot")?;
        ensure!(owner.eq_ignore_ascii_case(&identity.owner.to_string()), "slot {slot} belongs to {owner}: a request of this wallet would do nothing");
        Ok(slot)
    }

    fn asked_on_l1(&self, what: &str, slot: SlotId, receipt: &TxReceipt, next: &str) -> anyhow::Result<()> {
        let hash = to_hex(&receipt.hash.0);
        tell(next);
        let value = json!({ "request": what, "slot": slot.to_string(), "l1_hash": hash, "block": receipt.block.to_string() });
        self.print(value, format!("{what} of slot {slot} requested in block {} of L1\nL1 transaction {hash}", receipt.block))
    }
}

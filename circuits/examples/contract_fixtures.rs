//! Writes `contracts/test/fixtures/*.json`: chains of real batches with real proofs, made with the INSECURE development keys, and the L1
//! queue they take from. `batches.json` and `requests.json` have 2^16 slots, `k17.json` twice as many. There are two circuits of the shape `test`, which differ
//! in their id only. The format is described beside the files.
//!
//! Everything follows from constants: a second run writes the same bytes. `cargo run -p sheaf-circuits --example contract_fixtures`.
//! The files name the digests of the circuits that they were made with, and a test of this crate compares those.

use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use serde_json::{Value, json};
use sheaf_circuits::batch::Circuit;
use sheaf_circuits::keys::Keys;
use sheaf_circuits::prove::{Prover, proof_words, verify};
use sheaf_protocol::amount::{Address, Amount, AmountFloat, FeeFloat, NATIVE, Nonce, SlotId, TokenId};
use sheaf_protocol::batch::{Batch, Challenges, Deposit, Operations, Registered, Request, Signed};
use sheaf_protocol::field::{Fr, G1Affine, Word, g1_words, g2_words, to_hex, to_word, word_address, word_u128};
use sheaf_protocol::header::{self, Choice, Header, QueueEntry, QueueKind, Record};
use sheaf_protocol::kzg::{Srs, StateVector, Step};
use sheaf_protocol::ledger::{Ledger, Triple};
use sheaf_protocol::ops::{OpTag, Register, Transfer, Withdraw};
use sheaf_protocol::schnorr::{SecretKey, sign};
use sheaf_protocol::shape::{Shape, by_name};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;

const SEED: &str = "contract fixtures";
const CHAIN_ID: u64 = 31337;
/// Where the tests put the contract: the domain depends on it.
const CONTRACT: Address = Address([0x5e; 20]);
/// Ids of the circuits, both of the shape `test`.
const CIRCUITS: [u32; 2] = [1, 2];
const TOKEN: TokenId = TokenId(2);
const FEE_SLOT: SlotId = SlotId(2);
/// No padding account of the circuit reaches it: batches that leave it alone have a quotient that is not 0.
const FAR_SLOT: SlotId = SlotId(40_000);
/// Beyond 2^16.
const WIDE_SLOT: SlotId = SlotId(100_000);
/// Every slot that a batch opens.
const SLOTS: [SlotId; 5] = [SlotId(1), FEE_SLOT, SlotId(3), FAR_SLOT, WIDE_SLOT];
const ETHER: u128 = 1_000_000_000_000_000_000;

/// A key holder: their L2 key, and the L1 address that owns their slots.
struct Holder {
    key: SecretKey,
    address: Address,
}

impl Holder {
    fn new(number: u8) -> Result<Self, Box<dyn Error>> {
        Ok(Self { key: SecretKey::from_bytes(&[number; 32])?, address: Address([0xa0 + number; 20]) })
    }

    fn triple(&self, token: TokenId) -> Triple {
        Triple { key: self.key.public().0, owner: self.address, token }
    }

    fn deposit(&self, token: TokenId, amount: u128) -> QueueEntry {
        let Triple { key, owner, token } = self.triple(token);
        QueueEntry { kind: QueueKind::Deposit, sender: self.address, token, amount: Amount(amount), slot: SlotId(0), owner, key }
    }

    fn request(&self, kind: QueueKind, slot: u32, key: Fr) -> QueueEntry {
        let (token, owner) = (TokenId(0), Address([0; 20]));
        QueueEntry { kind, sender: self.address, token, amount: Amount(0), slot: SlotId(slot), owner, key }
    }

    fn exit(&self, slot: u32) -> QueueEntry {
        self.request(QueueKind::Exit, slot, Fr::from(0u64))
    }

    /// Asks for the key of another holder.
    fn rotation(&self, slot: u32, to: &Holder) -> QueueEntry {
        self.request(QueueKind::Rotation, slot, to.key.public().0)
    }
}

/// What goes into one batch: queue entries, deposits with the slot they open or credit (`None`: refunded), and operations.
#[derive(Default)]
struct Plan {
    name: &'static str,
    entries: Vec<(QueueEntry, Option<SlotId>)>,
    transfers: Vec<Signed<Transfer>>,
    withdrawals: Vec<Signed<Withdraw>>,
    registers: Vec<Registered>,
}

impl Plan {
    fn operations(&self) -> Operations {
        let mut operations = Operations {
            transfers: self.transfers.clone(),
            withdrawals: self.withdrawals.clone(),
            registers: self.registers.clone(),
            ..Operations::default()
        };
        for (entry, slot) in &self.entries {
            let request = Request { slot: entry.slot, requester: entry.sender };
            match (entry.kind, slot) {
                (QueueKind::Deposit, None) => {}
                (QueueKind::Deposit, Some(slot)) => operations.deposits.push(Deposit {
                    slot: *slot,
                    triple: Triple { key: entry.key, owner: entry.owner, token: entry.token },
                    amount: entry.amount,
                }),
                (QueueKind::Exit, _) => operations.exits.push(request),
                (QueueKind::Rotation, _) => operations.rotations.push((request, entry.key)),
            }
        }
        operations
    }

    /// In the order of the queue; what requests find is in the batch.
    fn choices(&self, batch: &Batch) -> Result<Vec<Choice>, Box<dyn Error>> {
        let (mut exits, mut rotations) = (batch.exits.iter(), batch.rotations.iter());
        let choice = |(entry, slot): &(QueueEntry, Option<SlotId>)| match entry.kind {
            QueueKind::Deposit => Some(slot.map_or(Choice::Refund, Choice::Deposit)),
            QueueKind::Exit => exits.next().map(Choice::from),
            QueueKind::Rotation => rotations.next().map(Choice::from),
        };
        Ok(self.entries.iter().map(choice).collect::<Option<_>>().ok_or("the batch holds a slot for every request")?)
    }
}

/// The rollup as it goes from batch to batch.
struct Chain<'a> {
    domain: Fr,
    provers: &'a [Prover],
    ledger: Ledger,
    state: StateVector,
    queue: Vec<QueueEntry>,
    queue_digest: Word,
    batches: Vec<Value>,
    rng: ChaCha20Rng,
}

/// A batch with its proof, not yet applied.
struct Made {
    json: Value,
    step: Step,
    batch: Batch,
}

impl<'a> Chain<'a> {
    fn new(srs: Srs, provers: &'a [Prover]) -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            domain: header::domain(CHAIN_ID, &CONTRACT),
            provers,
            ledger: Ledger::new(srs.k),
            state: StateVector::new(Arc::new(srs), [])?,
            queue: Vec::new(),
            queue_digest: [0; 32],
            batches: Vec::new(),
            rng: ChaCha20Rng::seed_from_u64(1),
        })
    }

    /// A transfer from a slot of the holder, `ahead` operations after those already in the state.
    fn transfer(&self, holder: &Holder, from: u32, ahead: u32, to: u32, amount: u128) -> Result<Signed<Transfer>, Box<dyn Error>> {
        let slot = self.ledger.get(SlotId(from));
        let token = if slot.is_empty() { NATIVE } else { slot.triple.token };
        let (amount, fee) = (AmountFloat::from_amount(Amount(amount))?, FeeFloat::from_amount(Amount(ETHER / 1000))?);
        let op = Transfer { from: SlotId(from), to: SlotId(to), token, nonce: Nonce(slot.nonce.0 + ahead), amount, fee };
        let signature = sign(&holder.key, self.domain, OpTag::Transfer as u8, op.message(), &[1; 32]);
        Ok(Signed { op, key: holder.key.public().0, signature })
    }

    /// A withdrawal to the holder's own address. Only the native coin pays a fee: the other token has no fee slot.
    fn withdrawal(&self, holder: &Holder, from: u32, ahead: u32, amount: u128) -> Result<Signed<Withdraw>, Box<dyn Error>> {
        let slot = self.ledger.get(SlotId(from));
        let fee = if slot.triple.token == NATIVE { ETHER / 1000 } else { 0 };
        let op = Withdraw {
            from: SlotId(from),
            token: slot.triple.token,
            nonce: Nonce(slot.nonce.0 + ahead),
            fee: FeeFloat::from_amount(Amount(fee))?,
            amount: Amount(amount),
            address: holder.address,
        };
        let signature = sign(&holder.key, self.domain, OpTag::Withdraw as u8, op.message(self.domain), &[2; 32]);
        Ok(Signed { op, key: holder.key.public().0, signature })
    }

    /// The holder's slot pays for an account of somebody else.
    fn register(&self, holder: &Holder, from: u32, ahead: u32, account: Triple, slot: u32) -> Result<Registered, Box<dyn Error>> {
        let sponsor = self.ledger.get(SlotId(from));
        let (token, nonce) = (sponsor.triple.token, Nonce(sponsor.nonce.0 + ahead));
        let op = Register { from: SlotId(from), token, nonce, fee: FeeFloat::from_amount(Amount(ETHER / 1000))?, account };
        let signature = sign(&holder.key, self.domain, OpTag::Register as u8, op.message(self.domain), &[3; 32]);
        Ok(Registered { signed: Signed { op, key: holder.key.public().0, signature }, new: SlotId(slot) })
    }

    /// Seals, commits, proves and applies a batch of a circuit, and keeps what L1 gets to see of it.
    fn seal(&mut self, circuit: u32, plan: Plan) -> Result<(), Box<dyn Error>> {
        for (entry, _) in &plan.entries {
            self.queue_digest = entry.digest_after(&self.queue_digest);
            self.queue.push(*entry);
        }
        let Made { mut json, step, batch } = self.make(circuit, circuit, plan)?;
        self.state.advance(&step)?;
        batch.accounts.iter().for_each(|account| self.ledger.set(account.id, account.new));
        json["exits"] = self.exits()?;
        self.batches.push(json);
        Ok(())
    }

    /// What each holder needs to leave with the state as it is.
    fn exits(&self) -> Result<Value, Box<dyn Error>> {
        let slots = SLOTS.into_iter().filter(|slot| self.ledger.contains(*slot) && !self.ledger.get(*slot).is_empty());
        let exit = |slot: SlotId| -> Result<Value, Box<dyn Error>> {
            let (statement, opening) = self.state.open_exit(slot)?;
            let [_, dyn_, owner] = statement.values;
            let [_, _, challenge] = statement.weights;
            Ok(json!({
                "idx": slot.0, "dyn": number(dyn_), "owner": number(owner), "challenge": number(challenge), "opening": points(&[opening]),
            }))
        };
        slots.map(exit).collect::<Result<Vec<_>, _>>().map(Value::from)
    }

    /// A batch whose commit names one circuit and whose proof is of another, or of the same.
    fn make(&mut self, named: u32, proved: u32, plan: Plan) -> Result<Made, Box<dyn Error>> {
        let prover = &self.provers[proved as usize - 1];
        let (shape, fee_slot) = (*prover.circuit().shape(), |token| (token == NATIVE).then_some(FEE_SLOT));
        let batch = Batch::assemble(&self.ledger, (proved, shape), self.domain, plan.operations(), fee_slot)?;
        let choices = plan.choices(&batch)?;
        let step = self.state.prepare(&batch.touched_slots())?;
        let data = batch.posted_data();
        let header = Header {
            number: self.batches.len() as u64 + 1,
            circuit: named,
            old_root: self.state.root(),
            commitments: *step.after(),
            h: batch.transcript(),
            queue_digest: self.queue_digest,
            taken: plan.entries.len() as u32,
            ops_hash: header::ops_hash(&choices, &batch.used_ops_words()),
            data_hash: header::data_hash(&data),
        };
        let rho = header.rho(self.domain);
        let quotient = self.state.quotient(&step, rho)?;
        let challenges = Challenges { rho, zeta: header::zeta(rho, quotient.commitment()) };
        let inputs = batch.public_inputs(&challenges);
        let [_, _, _, _, _, _, _, y_da, y_ops] = inputs;
        let claims = batch.claims(&challenges);
        let gamma = header::gamma(challenges.zeta, claims.to_array(), y_da, y_ops);
        let opening = self.state.open(&step, &quotient, challenges.zeta, claims, gamma)?;
        let proof = prover.prove(&batch, &challenges, &mut self.rng)?;
        verify(prover.keys().verifying(), &inputs, &proof)?;
        let record = Record { header, quotient: *quotient.commitment(), y_da, y_ops };
        let groth16 = proof_words(&proof);
        let json = json!({
            "name": plan.name,
            "abi": {
                "commit": commit_abi(&record, &plan.entries, &choices, &batch, &data),
                "proof": batch_proof_abi(&record, &groth16, claims.to_array(), &opening),
            },
            "commit": commit_json(&record, &plan.entries, &choices, &batch, &data),
            "words": batch.used_ops_words().into_iter().map(number).collect::<Vec<_>>(),
            "record": record.words().iter().map(|word| to_hex(word)).collect::<Vec<_>>(),
            "batchHash": to_hex(&record.hash()),
            "oldCommitments": points(step.before()),
            "oldRoot": to_hex(&record.header.old_root),
            "newRoot": to_hex(&header::state_root(self.state.k(), step.after())),
            "challenges": { "rho": number(rho), "zeta": number(challenges.zeta), "gamma": number(gamma) },
            "inputs": inputs.map(number),
            "groth16": groth16.map(|word| to_hex(&word)),
            "e": number(claims.e), "z": number(claims.z), "delta": number(claims.delta),
            "opening": points(&[opening]),
        });
        Ok(Made { json, step, batch })
    }
}

/// `abi.encode` of a record, proof, claims and opening: `IRollup.BatchProof` has static parts only.
fn batch_proof_abi(record: &Record, groth16: &[Word; 8], claims: [Fr; 3], opening: &G1Affine) -> String {
    let words = [&record.words()[..], groth16, &claims.map(to_word), &g1_words(opening)].concat();
    to_hex(words.as_flattened())
}

/// `abi.encode` of `IRollup.Commit`: fixed words, four offsets, four tails.
fn commit_abi(record: &Record, entries: &[(QueueEntry, Option<SlotId>)], choices: &[Choice], batch: &Batch, data: &[u8]) -> String {
    let header = &record.header;
    let mut words = vec![word_u128(32), word_u128(header.number.into()), word_u128(header.circuit.into()), header.old_root];
    words.extend(header.commitments.iter().flat_map(g1_words));
    words.push(to_word(header.h));
    words.extend(g1_words(&record.quotient));
    words.push(header.queue_digest);
    let mut data_words: Vec<Word> = data.chunks(32).map(|chunk| std::array::from_fn(|i| chunk.get(i).copied().unwrap_or(0))).collect();
    data_words.insert(0, word_u128(data.len() as u128));
    let list = |length: usize, items: Vec<Word>| [vec![word_u128(length as u128)], items].concat();
    let tails = [
        list(entries.len(), entries.iter().flat_map(|(entry, _)| entry_words(entry)).collect()),
        list(choices.len(), choices.iter().map(Choice::word).collect()),
        list(batch.withdrawals.len(), batch.withdrawals.iter().flat_map(|w| w.op.words()).map(to_word).collect()),
        data_words,
    ];
    let mut offset = 32 * (words.len() + tails.len() - 1);
    for tail in &tails {
        words.push(word_u128(offset as u128));
        offset += 32 * tail.len();
    }
    words.extend(tails.into_iter().flatten());
    to_hex(words.as_flattened())
}

fn entry_words(entry: &QueueEntry) -> [Word; 7] {
    [
        word_u128(entry.kind as u128),
        word_address(&entry.sender.0),
        word_u128(entry.token.0.into()),
        word_u128(entry.amount.0),
        word_u128(entry.slot.0.into()),
        word_address(&entry.owner.0),
        to_word(entry.key),
    ]
}

/// `abi.encode` of `IRollup.VerifyingKey`.
fn verifying_key_abi(prover: &Prover) -> String {
    let (shape, key) = (prover.circuit().shape(), prover.keys().verifying());
    let Shape { transfers, accounts, fees, deposits, withdrawals, registers, exits, rotations } = *shape;
    let counts = [transfers, accounts, fees, deposits, withdrawals, registers, exits, rotations].map(|count| word_u128(count.into()));
    let points: Vec<Word> = key.gamma_abc_g1.iter().flat_map(g1_words).collect();
    to_hex([&counts[..], &g2_words(&key.delta_g2), &points].concat().as_flattened())
}

fn number(value: Fr) -> String {
    to_hex(&to_word(value))
}

fn points(points: &[G1Affine]) -> Vec<String> {
    points.iter().flat_map(g1_words).map(|word| to_hex(&word)).collect()
}

fn entry_json(entry: &QueueEntry) -> Value {
    json!({
        "kind": entry.kind as u8, "sender": entry.sender.to_string(), "token": entry.token.0, "amount": entry.amount.0.to_string(),
        "idx": entry.slot.0, "owner": entry.owner.to_string(), "key": number(entry.key), "hash": to_hex(&entry.hash()),
    })
}

fn commit_json(record: &Record, entries: &[(QueueEntry, Option<SlotId>)], choices: &[Choice], batch: &Batch, data: &[u8]) -> Value {
    let header = &record.header;
    let withdrawal =
        |w: &Signed<Withdraw>| json!({ "w0": w.op.w0().to_string(), "amount": w.op.amount.0.to_string(), "recipient": w.op.address.to_string() });
    json!({
        "number": header.number, "circuit": header.circuit, "oldRoot": to_hex(&header.old_root), "commitments": points(&header.commitments), "h": number(header.h),
        "cq": points(&[record.quotient]), "queueDigest": to_hex(&header.queue_digest),
        "taken": entries.iter().map(|(entry, _)| entry_json(entry)).collect::<Vec<_>>(),
        "choices": choices.iter().map(|choice| to_hex(&choice.word())).collect::<Vec<_>>(),
        "withdrawals": batch.withdrawals.iter().map(withdrawal).collect::<Vec<_>>(),
        "data": to_hex(data),
    })
}

/// Two holders, their first transfers and withdrawals, a refund, a second token, an idle batch, a batch of the other circuit. Returns a batch
/// that names circuit 2 but is proven with circuit 1.
fn run(chain: &mut Chain<'_>) -> Result<Value, Box<dyn Error>> {
    let (alice, operator, bob) = (Holder::new(1)?, Holder::new(2)?, Holder::new(3)?);
    let [first, second] = CIRCUITS;
    let opens = Plan {
        name: "two deposits open slots 1 and 2",
        entries: vec![(alice.deposit(NATIVE, 10 * ETHER), Some(SlotId(1))), (operator.deposit(NATIVE, 5 * ETHER), Some(FEE_SLOT))],
        ..Plan::default()
    };
    chain.seal(first, opens)?;
    let mixed = Plan {
        name: "a deposit, a refund, transfers with a slot just opened, a withdrawal",
        entries: vec![(bob.deposit(NATIVE, 3 * ETHER), Some(SlotId(3))), (bob.deposit(NATIVE, ETHER), None)],
        transfers: vec![chain.transfer(&alice, 1, 0, 3, ETHER)?, chain.transfer(&bob, 3, 0, 1, ETHER / 2)?],
        withdrawals: vec![chain.withdrawal(&alice, 1, 1, ETHER / 4)?],
        ..Plan::default()
    };
    chain.seal(first, mixed)?;
    let second_token = Plan {
        name: "a second token, a second deposit into slot 1, three transfers",
        entries: vec![(alice.deposit(TOKEN, 1_000 * ETHER), Some(FAR_SLOT)), (alice.deposit(NATIVE, ETHER), Some(SlotId(1)))],
        transfers: vec![chain.transfer(&alice, 1, 0, 3, ETHER)?, chain.transfer(&alice, 1, 1, 2, ETHER)?, chain.transfer(&bob, 3, 0, 2, ETHER)?],
        ..Plan::default()
    };
    chain.seal(first, second_token)?;
    let withdrawals = Plan {
        name: "withdrawals of both tokens",
        withdrawals: vec![chain.withdrawal(&bob, 3, 0, ETHER)?, chain.withdrawal(&alice, FAR_SLOT.0, 0, 250 * ETHER)?],
        ..Plan::default()
    };
    chain.seal(first, withdrawals)?;
    chain.seal(first, Plan { name: "nothing happens", ..Plan::default() })?;
    let full = Plan {
        name: "every transfer slot is used",
        transfers: vec![
            chain.transfer(&bob, 3, 0, 1, ETHER / 10)?,
            chain.transfer(&bob, 3, 1, 2, ETHER / 20)?,
            chain.transfer(&operator, 2, 0, 3, ETHER)?,
            chain.transfer(&alice, 1, 0, 3, ETHER)?,
        ],
        ..Plan::default()
    };
    chain.seal(first, full)?;
    let other_circuit = Plan { name: "the other circuit", transfers: vec![chain.transfer(&alice, 1, 0, 2, ETHER)?], ..Plan::default() };
    chain.seal(second, other_circuit)?;
    let back = Plan { name: "the first circuit again", transfers: vec![chain.transfer(&bob, 3, 0, 2, ETHER / 8)?], ..Plan::default() };
    chain.seal(first, back)?;
    let foreign =
        Plan { name: "names circuit 2, proven with circuit 1", transfers: vec![chain.transfer(&alice, 1, 0, 2, ETHER / 2)?], ..Plan::default() };
    Ok(chain.make(second, first, foreign)?.json)
}

/// A slot that only a state of more than 2^16 slots has: opened, paid from, withdrawn from.
fn run_wide(chain: &mut Chain<'_>) -> Result<(), Box<dyn Error>> {
    let (alice, operator) = (Holder::new(1)?, Holder::new(2)?);
    let [first, _] = CIRCUITS;
    let opens = Plan {
        name: "deposits open slots 100,000 and 2",
        entries: vec![(alice.deposit(NATIVE, 10 * ETHER), Some(WIDE_SLOT)), (operator.deposit(NATIVE, 5 * ETHER), Some(FEE_SLOT))],
        ..Plan::default()
    };
    chain.seal(first, opens)?;
    let moves = Plan {
        name: "a transfer and a withdrawal from slot 100,000",
        transfers: vec![chain.transfer(&alice, WIDE_SLOT.0, 0, 2, ETHER)?],
        withdrawals: vec![chain.withdrawal(&alice, WIDE_SLOT.0, 1, ETHER)?],
        ..Plan::default()
    };
    chain.seal(first, moves)
}

/// Accounts opened by a sponsor, exits and rotations that owners and strangers ask for, also of empty slots and beside transfers.
fn run_requests(chain: &mut Chain<'_>) -> Result<(), Box<dyn Error>> {
    let (alice, operator, bob, carol) = (Holder::new(1)?, Holder::new(2)?, Holder::new(3)?, Holder::new(4)?);
    let [first, second] = CIRCUITS;
    let opens = Plan {
        name: "two deposits open slots 1 and 2",
        entries: vec![(alice.deposit(NATIVE, 10 * ETHER), Some(SlotId(1))), (operator.deposit(NATIVE, 5 * ETHER), Some(FEE_SLOT))],
        ..Plan::default()
    };
    chain.seal(first, opens)?;
    let strangers = Plan {
        name: "alice opens slot 3 for bob and pays it; bob asks for her slot in vain, she for carol's key",
        entries: vec![(bob.exit(1), None), (alice.rotation(1, &carol), None)],
        registers: vec![chain.register(&alice, 1, 0, bob.triple(NATIVE), 3)?],
        transfers: vec![chain.transfer(&alice, 1, 1, 3, 2 * ETHER)?],
        ..Plan::default()
    };
    chain.seal(first, strangers)?;
    let leaves = Plan {
        name: "slot 1 signs with carol's key; bob leaves slot 3 while it is paid; alice asks for its key in vain",
        entries: vec![(alice.rotation(3, &carol), None), (bob.exit(3), None)],
        transfers: vec![chain.transfer(&carol, 1, 0, 3, ETHER)?, chain.transfer(&bob, 3, 0, 2, ETHER / 2)?],
        withdrawals: vec![chain.withdrawal(&carol, 1, 1, ETHER / 4)?],
        ..Plan::default()
    };
    chain.seal(first, leaves)?;
    let empty = Plan {
        name: "requests for empty slots beside a deposit and a refunded one, under circuit 2",
        entries: vec![
            (alice.rotation(40_001, &carol), None),
            (alice.deposit(NATIVE, ETHER), None),
            (bob.exit(500), None),
            (alice.deposit(TOKEN, 7 * ETHER), Some(FAR_SLOT)),
        ],
        ..Plan::default()
    };
    chain.seal(second, empty)?;
    let both = Plan {
        name: "alice leaves slot 40,000 and replaces its key in one batch; a sponsor opens what is there already",
        entries: vec![(alice.exit(FAR_SLOT.0), None), (alice.rotation(FAR_SLOT.0, &carol), None)],
        registers: vec![chain.register(&carol, 1, 0, bob.triple(NATIVE), 3)?],
        ..Plan::default()
    };
    chain.seal(first, both)
}

fn params_json(chain: &Chain<'_>) -> Value {
    let (srs, vk) = (chain.state.srs(), chain.provers[0].keys().verifying());
    let g2 = |point| g2_words(point).map(|word| to_hex(&word));
    json!({
        "k": srs.k, "alpha": points(&[vk.alpha_g1]), "beta": g2(&vk.beta_g2), "tau": g2(&srs.tau_g2), "l0": points(&srs.l0),
        "circuits": chain.provers.iter().map(verifying_key_abi).collect::<Vec<_>>(),
    })
}

fn chain_json(chain: &Chain<'_>) -> Value {
    json!({
        "chainId": CHAIN_ID, "contract": CONTRACT.to_string(), "domain": number(chain.domain), "params": params_json(chain),
        "circuitDigests": chain.provers.iter().map(|prover| to_hex(&prover.circuit().digest())).collect::<Vec<_>>(),
        "queue": chain.queue.iter().map(entry_json).collect::<Vec<_>>(), "batches": chain.batches,
    })
}

fn write(path: &Path, fixtures: &Value) -> Result<(), Box<dyn Error>> {
    std::fs::write(path, serde_json::to_string_pretty(fixtures)? + "\n")?;
    println!("written: {}", path.display());
    Ok(())
}

fn srs_of(cache: &Path, k: u32) -> Result<Srs, Box<dyn Error>> {
    Ok(Srs::insecure_dev_in(cache, k, SEED, |_, _| {})?.0)
}

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("the crate lies in the workspace")?;
    let (cache, fixtures) = (root.join("target/insecure-dev-keys"), root.join("contracts/test/fixtures"));
    let shape = by_name("test").ok_or("there is a shape called test")?.shape;
    let prover = |id: u32| -> Result<Prover, Box<dyn Error>> {
        let circuit = Circuit::new(shape, id)?;
        let keys = Keys::insecure_dev(&cache, "test", &circuit, SEED, &mut |_, _| {})?;
        Ok(Prover::new(circuit, keys)?)
    };
    let provers = CIRCUITS.map(prover).into_iter().collect::<Result<Vec<_>, _>>()?;
    let mut chain = Chain::new(srs_of(&cache, 16)?, &provers)?;
    let foreign = run(&mut chain)?;
    let mut json = chain_json(&chain);
    json["foreign"] = foreign;
    write(&fixtures.join("batches.json"), &json)?;
    let mut chain = Chain::new(srs_of(&cache, 16)?, &provers)?;
    run_requests(&mut chain)?;
    write(&fixtures.join("requests.json"), &chain_json(&chain))?;
    let mut chain = Chain::new(srs_of(&cache, 17)?, &provers)?;
    run_wide(&mut chain)?;
    write(&fixtures.join("k17.json"), &chain_json(&chain))
}

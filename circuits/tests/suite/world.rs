//! A small world to make batches in: key holders, a ledger, and signed operations on it.

use ark_bn254::Fr;
use ark_ff::UniformRand;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use sheaf_circuits::batch::{Circuit, CircuitError};
use sheaf_circuits::witness::BatchWitness;
use sheaf_protocol::amount::{Address, Amount, AmountFloat, FeeFloat, NATIVE, Nonce, SlotId, TokenId};
use sheaf_protocol::batch::{Batch, BatchError, Challenges, Deposit, Operations, Registered, Request, Signed};
use sheaf_protocol::ledger::{Ledger, Slot, Triple};
use sheaf_protocol::ops::{OpTag, Register, Transfer, Withdraw};
use sheaf_protocol::schnorr::{SecretKey, sign};
use sheaf_protocol::shape::{Shape, by_name};
use std::sync::OnceLock;

/// Circuit id of the tests: not 1, so that a constant forgotten somewhere shows.
pub(crate) const ID: u32 = 3;
/// Another token than the native coin.
pub(crate) const TOKEN: TokenId = TokenId(2);

pub(crate) fn shape(name: &str) -> Shape {
    by_name(name).unwrap().shape
}

/// Makes something that others wait for, with threads of its own: a thread of the common pool that waits for a part of it would meanwhile take
/// up other work, which may wait for the whole.
pub(crate) fn apart<T: Send>(make: impl FnOnce() -> T + Send) -> T {
    let pool = rayon::ThreadPoolBuilder::new().build().unwrap();
    std::thread::scope(|scope| scope.spawn(|| pool.install(make)).join().unwrap())
}

/// The `test` circuit, made once per test binary.
pub(crate) fn test_circuit() -> &'static Circuit {
    static CIRCUIT: OnceLock<Circuit> = OnceLock::new();
    CIRCUIT.get_or_init(|| apart(|| Circuit::new(shape("test"), ID).unwrap()))
}

/// Key holders with funded slots 1..=n: odd slots hold the native coin, even ones token 2.
pub(crate) struct World {
    pub(crate) rng: ChaCha20Rng,
    pub(crate) domain: Fr,
    pub(crate) keys: Vec<SecretKey>,
    pub(crate) ledger: Ledger,
}

pub(crate) fn owner(slot: u32) -> Address {
    Address([slot as u8 + 1; 20])
}

impl World {
    pub(crate) fn new(seed: u64, slots: u32) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let keys: Vec<SecretKey> = (0..=slots + 2).map(|_| SecretKey::generate(&mut rng)).collect();
        let mut ledger = Ledger::new(16);
        for slot in 1..=slots {
            let triple = Triple { key: keys[slot as usize].public().0, owner: owner(slot), token: token_of(slot) };
            let nonce = Nonce(rng.gen_range(0..1000));
            ledger.set(SlotId(slot), Slot { nonce, balance: Amount(1_000_000), ..Slot::opened(triple) });
        }
        let domain = Fr::rand(&mut rng);
        Self { rng, domain, keys, ledger }
    }

    /// Changes what a slot holds before the batch.
    pub(crate) fn change(&mut self, slot: u32, change: impl FnOnce(&mut Slot)) {
        let mut content = self.ledger.get(SlotId(slot));
        change(&mut content);
        self.ledger.set(SlotId(slot), content);
    }

    pub(crate) fn challenges(&mut self) -> Challenges {
        Challenges { rho: Fr::rand(&mut self.rng), zeta: Fr::rand(&mut self.rng) }
    }

    /// A transfer signed by the key of slot `from` with the slot's nonce plus `ahead`.
    pub(crate) fn transfer(&self, from: u32, to: u32, ahead: u32, amount: u128, fee: u128) -> Signed<Transfer> {
        let slot = self.ledger.get(SlotId(from));
        let op = Transfer {
            from: SlotId(from),
            to: SlotId(to),
            token: token_of(from),
            nonce: Nonce(slot.nonce.0 + ahead),
            amount: AmountFloat::from_amount(Amount(amount)).unwrap(),
            fee: FeeFloat::from_amount(Amount(fee)).unwrap(),
        };
        self.sign_transfer(op, from)
    }

    pub(crate) fn sign_transfer(&self, op: Transfer, signer: u32) -> Signed<Transfer> {
        let key = &self.keys[signer as usize];
        let signature = sign(key, self.domain, OpTag::Transfer as u8, op.message(), &[7; 32]);
        Signed { op, key: key.public().0, signature }
    }

    pub(crate) fn withdrawal(&self, from: u32, ahead: u32, amount: u128, fee: u128) -> Signed<Withdraw> {
        let slot = self.ledger.get(SlotId(from));
        let op = Withdraw {
            from: SlotId(from),
            token: token_of(from),
            nonce: Nonce(slot.nonce.0 + ahead),
            fee: FeeFloat::from_amount(Amount(fee)).unwrap(),
            amount: Amount(amount),
            address: Address([0xab; 20]),
        };
        self.sign_withdrawal(op, from)
    }

    pub(crate) fn sign_withdrawal(&self, op: Withdraw, signer: u32) -> Signed<Withdraw> {
        let key = &self.keys[signer as usize];
        let signature = sign(key, self.domain, OpTag::Withdraw as u8, op.message(self.domain), &[9; 32]);
        Signed { op, key: key.public().0, signature }
    }

    /// What the holder of `key` has or gets in `slot`.
    pub(crate) fn triple(&self, slot: u32) -> Triple {
        Triple { key: self.keys[slot as usize].public().0, owner: owner(slot), token: token_of(slot) }
    }

    /// A deposit for the holder of `key` into `slot`.
    pub(crate) fn deposit(&self, slot: u32, amount: u128) -> Deposit {
        Deposit { slot: SlotId(slot), triple: self.triple(slot), amount: Amount(amount) }
    }

    /// The holder of slot `from` registers the holder of `new` in that slot.
    pub(crate) fn register(&self, from: u32, ahead: u32, new: u32, fee: u128) -> Registered {
        let slot = self.ledger.get(SlotId(from));
        let op = Register {
            from: SlotId(from),
            token: token_of(from),
            nonce: Nonce(slot.nonce.0 + ahead),
            fee: FeeFloat::from_amount(Amount(fee)).unwrap(),
            account: self.triple(new),
        };
        self.sign_register(op, SlotId(new), from)
    }

    pub(crate) fn sign_register(&self, op: Register, new: SlotId, signer: u32) -> Registered {
        let key = &self.keys[signer as usize];
        let signature = sign(key, self.domain, OpTag::Register as u8, op.message(self.domain), &[8; 32]);
        Registered { signed: Signed { op, key: key.public().0, signature }, new }
    }

    /// The owner of slot `asker` asks for something on L1 about `slot`.
    pub(crate) fn request(asker: u32, slot: u32) -> Request {
        Request { slot: SlotId(slot), requester: owner(asker) }
    }

    /// Fees go to slot 1 in the native coin, to slot 2 in any other token.
    pub(crate) fn fee_slot(token: TokenId) -> SlotId {
        SlotId(if token == NATIVE { 1 } else { 2 })
    }

    pub(crate) fn assemble(
        &self,
        transfers: Vec<Signed<Transfer>>,
        withdrawals: Vec<Signed<Withdraw>>,
        deposits: Vec<Deposit>,
    ) -> Result<Batch, BatchError> {
        self.assemble_all(Operations { transfers, withdrawals, deposits, ..Operations::default() })
    }

    pub(crate) fn assemble_all(&self, operations: Operations) -> Result<Batch, BatchError> {
        self.assemble_in(shape("test"), operations)
    }

    pub(crate) fn assemble_in(&self, shape: Shape, operations: Operations) -> Result<Batch, BatchError> {
        Batch::assemble(&self.ledger, (ID, shape), self.domain, operations, |token| Some(Self::fee_slot(token)))
    }
}

/// Odd slots hold the native coin, even ones token 2.
pub(crate) fn token_of(slot: u32) -> TokenId {
    if slot % 2 == 1 { NATIVE } else { TOKEN }
}

/// A batch with every kind of slot used and unused: slots 1..=6 hold something, 7 is opened, 8 pads.
pub(crate) fn rich_batch() -> (World, Batch, Challenges) {
    let mut world = World::new(1, 6);
    let transfers = vec![world.transfer(1, 3, 0, 5_000, 30), world.transfer(1, 5, 1, 70_000, 20), world.transfer(2, 4, 0, 12_345, 10)];
    let withdrawals = vec![world.withdrawal(4, 0, 777, 5)];
    let deposits = vec![world.deposit(7, 4_000)];
    let batch = world.assemble(transfers, withdrawals, deposits).unwrap();
    let challenges = world.challenges();
    (world, batch, challenges)
}

/// A batch of what [`rich_batch`] lacks: slots 1..=6 hold something, a register opens 7, the owner of 6 leaves, the owner of 5 takes another
/// key, 2 is paid, 4 and 8 pad.
pub(crate) fn requests_batch() -> (World, Batch, Challenges) {
    let mut world = World::new(4, 6);
    let operations = Operations {
        transfers: vec![world.transfer(1, 3, 0, 600, 30)],
        registers: vec![world.register(2, 0, 7, 9)],
        exits: vec![World::request(6, 6)],
        rotations: vec![(World::request(5, 5), world.keys[0].public().0)],
        ..Operations::default()
    };
    let batch = world.assemble_all(operations).unwrap();
    let challenges = world.challenges();
    (world, batch, challenges)
}

fn twofold_shape() -> Shape {
    Shape { transfers: 1, withdrawals: 1, registers: 2, exits: 2, rotations: 2, ..shape("test") }
}

/// A circuit with two slots of what the `test` circuit has one of.
pub(crate) fn twofold_circuit() -> &'static Circuit {
    static CIRCUIT: OnceLock<Circuit> = OnceLock::new();
    CIRCUIT.get_or_init(|| apart(|| Circuit::new(twofold_shape(), ID).unwrap()))
}

/// Two registers, the second of what slot 3 holds; the owner of 6 leaves, and a stranger asks for that as well; so for the rotation of 5.
pub(crate) fn twofold_batch() -> (World, Batch, Challenges) {
    let mut world = World::new(5, 6);
    let key = |key: u32| world.keys[key as usize].public().0;
    let operations = Operations {
        registers: vec![world.register(2, 0, 7, 9), world.register(2, 1, 3, 4)],
        exits: vec![World::request(6, 6), World::request(3, 6)],
        rotations: vec![(World::request(5, 5), key(0)), (World::request(3, 5), key(8))],
        ..Operations::default()
    };
    let batch = world.assemble_in(twofold_shape(), operations).unwrap();
    let challenges = world.challenges();
    (world, batch, challenges)
}

/// Every slot of every kind is unused, and the state is empty.
pub(crate) fn idle_batch() -> (World, Batch, Challenges) {
    let mut world = World::new(7, 0);
    let batch = world.assemble_all(Operations::default()).unwrap();
    let challenges = world.challenges();
    (world, batch, challenges)
}

/// The witness of [`rich_batch`].
pub(crate) fn rich_witness() -> (World, BatchWitness) {
    let (world, batch, challenges) = rich_batch();
    let witness = test_circuit().witness(&batch, &challenges).unwrap();
    (world, witness)
}

/// A batch without one unused slot: every capacity of `test` is full and every account slot is touched.
pub(crate) fn full_batch() -> (Batch, Challenges) {
    let mut world = World::new(2, 7);
    let transfers = vec![
        world.transfer(1, 3, 0, 5_000, 30),
        world.transfer(2, 4, 0, 12_345, 10),
        world.transfer(5, 7, 0, 777, 20),
        world.transfer(8, 6, 0, 100, 40),
    ];
    let withdrawals = vec![world.withdrawal(4, 0, 10, 5), world.withdrawal(6, 0, 20, 6)];
    let operations = Operations {
        transfers,
        withdrawals,
        registers: vec![world.register(7, 0, 3, 2)],
        deposits: vec![world.deposit(8, 4_000), world.deposit(3, 9)],
        exits: vec![World::request(5, 6)],
        rotations: vec![(World::request(4, 4), world.keys[0].public().0)],
    };
    let batch = world.assemble_all(operations).unwrap();
    let idle = batch.accounts.iter().filter(|account| account.old == account.new).count();
    let signed = [batch.transfers.len(), batch.withdrawals.len(), batch.registers.len()];
    let taken = [batch.deposits.len(), batch.exits.len(), batch.rotations.len()];
    assert_eq!((signed, taken), ([4, 2, 1], [2, 1, 1]));
    assert_eq!([batch.fees.len(), batch.accounts.len(), idle], [2, 8, 0]);
    (batch, world.challenges())
}

/// What the circuit says of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Every row holds.
    Satisfied,
    /// Some row does not.
    Violated,
    /// A signature does not verify, so there is nothing to assign.
    NoWitness,
}

pub(crate) fn verdict(batch: &Batch, challenges: &Challenges) -> Verdict {
    let circuit = test_circuit();
    match circuit.witness(batch, challenges) {
        Ok(witness) if circuit.violations(&circuit.assign(&witness).unwrap()).is_empty() => Verdict::Satisfied,
        Ok(_) => Verdict::Violated,
        Err(CircuitError::Signature(_)) => Verdict::NoWitness,
        Err(error) => panic!("{error}"),
    }
}

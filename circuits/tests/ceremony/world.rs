//! The smallest circuit with a batch in it, its initial key from powers of snarkjs, and a ceremony of two on it.

use crate::snarkjs;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_chacha::ChaCha20Rng;
use sheaf_circuits::batch::Circuit;
use sheaf_circuits::ceremony::{Ceremony, InitialKey, Share, VerifyError, initial_key, power};
use sheaf_protocol::amount::{Address, Amount, NATIVE, SlotId};
use sheaf_protocol::batch::{Batch, Challenges, Deposit, Operations};
use sheaf_protocol::field::Fr;
use sheaf_protocol::kzg::{Powers, Ptau};
use sheaf_protocol::ledger::{Ledger, Triple};
use sheaf_protocol::shape::Shape;
use std::sync::OnceLock;

/// Its domain has 2^11 points.
const SHAPE: Shape = Shape { transfers: 0, accounts: 2, fees: 1, deposits: 1, withdrawals: 0, registers: 0, exits: 0, rotations: 0 };
const ID: u32 = 5;

pub(crate) fn circuit() -> &'static Circuit {
    static CIRCUIT: OnceLock<Circuit> = OnceLock::new();
    CIRCUIT.get_or_init(|| Circuit::new(SHAPE, ID).unwrap())
}

/// The same constraints under another id: another circuit.
pub(crate) fn other_circuit() -> Circuit {
    Circuit::new(SHAPE, ID + 1).unwrap()
}

pub(crate) fn powers() -> Powers {
    let k = power(circuit());
    Ptau::open(&snarkjs::ptau(k)).unwrap().read(k, &mut StdRng::seed_from_u64(2), &mut |_, _| {}).unwrap()
}

pub(crate) fn initial() -> &'static InitialKey {
    static INITIAL: OnceLock<InitialKey> = OnceLock::new();
    INITIAL.get_or_init(|| {
        let mut told = (0, 0);
        let initial = initial_key(circuit(), &powers(), &mut |done, all| told = (done, all)).unwrap();
        assert_eq!(told.0, told.1);
        initial
    })
}

/// A contribution whose share follows from its maker's name.
pub(crate) fn contribution(before: Ceremony, name: &str) -> Result<Ceremony, VerifyError> {
    let mut rng = ChaCha20Rng::seed_from_u64(name.bytes().map(u64::from).sum());
    before.contribute(name, Share::draw(&mut rng, name.as_bytes()), &mut rng, &mut |_, _| {})
}

pub(crate) fn begun() -> Ceremony {
    Ceremony::begin("tiny", circuit(), initial())
}

/// After zero, one, two and three contributions.
pub(crate) fn steps() -> &'static [Ceremony; 4] {
    static STEPS: OnceLock<[Ceremony; 4]> = OnceLock::new();
    STEPS.get_or_init(|| {
        let next = |before: &Ceremony, name| contribution(before.clone(), name).unwrap();
        let first = next(&begun(), "Ada");
        let second = next(&first, "Grace");
        let third = next(&second, "Emmy");
        [begun(), first, second, third]
    })
}

pub(crate) fn verify(ceremony: &Ceremony) -> Result<(), VerifyError> {
    ceremony.verify(circuit(), initial(), &mut StdRng::seed_from_u64(3))
}

/// A deposit that opens slot 1.
pub(crate) fn batch() -> (Batch, Challenges) {
    let triple = Triple { key: Fr::from(7u64), owner: Address([9; 20]), token: NATIVE };
    let deposit = Deposit { slot: SlotId(1), triple, amount: Amount(1_000) };
    let batch =
        Batch::assemble(&Ledger::new(16), (ID, SHAPE), Fr::from(11u64), Operations { deposits: vec![deposit], ..Operations::default() }, |_| None)
            .unwrap();
    (batch, Challenges { rho: Fr::from(1_234_567u64), zeta: Fr::from(7_654_321u64) })
}

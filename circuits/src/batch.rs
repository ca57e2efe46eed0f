//! The whole batch circuit: slots side by side, then a sequential tail.
//!
//! ```text
//! public   domain rho zeta h E Z Delta y_da y_ops
//! head     rho^2
//! slots    transfers | withdrawals | registers | deposits | exits | rotations | fees | accounts    (independent; rayon in values mode)
//! tail     sorted      idx of the account slots strictly increasing
//!          h           sponge over everything absorbed
//!          y_da y_ops  Horner at zeta, word 0 lowest
//!          E Z Delta   sums and product of the account slots' terms
//!          buses       seven sums, each 0
//! ```
//!
//! A [`Circuit`] is the constraints of one shape under one id, made once; [`Circuit::assign`] turns a batch into the full
//! assignment `[1, public.., witness..]`. A false batch is not refused here: its assignment violates rows, which [`crate::evaluate`] names.

use crate::builder::{Builder, Laid, Layout, Num, Tampering};
use crate::groth16::sparse::Sparse;
use crate::poseidon::sponge17;
use crate::slots::account::AccountOut;
use crate::slots::register::RegisterOut;
use crate::slots::rotate::RotateOut;
use crate::slots::{Bus, Context, SlotCircuit, SlotOut};
use crate::witness::BatchWitness;
use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, Field};
use ark_relations::gr1cs::Matrix;
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use sheaf_protocol::amount::SLOT_BITS;
use sheaf_protocol::batch::{Batch, Challenges, NEW_SLOTS_PER_ELEMENT, PUBLIC_INPUTS, PublicInput, PublicInputs};
use sheaf_protocol::field::{Word, pow2, to_word};
use sheaf_protocol::shape::Shape;

/// Why there is no circuit or no witness.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CircuitError {
    /// So many amounts that a sum of them could be mistaken for another: see [`Shape::amounts_stay_apart`].
    #[error("shape has too many slots: (D + W + X + F) 2^112 + (T + W + R) 2^87 must stay below 2^127")]
    Bound,
    /// A batch touches at least one account slot.
    #[error("shape has no account slots; give it at least one")]
    NoAccounts,
    /// The batch is of another shape or circuit id.
    #[error("batch is for circuit {batch}, this is circuit {circuit}, or their shapes differ; prove it with its own")]
    OtherCircuit {
        /// Id in the batch.
        batch: u32,
        /// Id of the circuit.
        circuit: u32,
    },
    /// More of a kind than the shape holds, or not exactly its number of account slots.
    #[error("batch has {got} {kind}, its circuit {capacity}")]
    Capacity {
        /// Which kind.
        kind: &'static str,
        /// In the batch.
        got: usize,
        /// In the circuit.
        capacity: usize,
    },
    /// A signature has no witness: it does not verify.
    #[error("signature of slot {0} does not verify; seal the batch without its operation")]
    Signature(u32),
    /// Not a full assignment of the circuit.
    #[error("assignment has {got} numbers, the circuit {expected}; take the one of `Prover::assignment`")]
    Assignment {
        /// Given.
        got: usize,
        /// One, public inputs and witness.
        expected: usize,
    },
}

/// The values a batch's circuit computes for its public inputs from `h` on, whatever the inputs say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Computed {
    /// The transcript.
    pub h: Fr,
    /// Claims E, Z and Delta.
    pub claims: [Fr; 3],
    /// `P_da(zeta)` and `P_ops(zeta)`.
    pub words: [Fr; 2],
}

/// Runs slots one after the other on one builder, or in parallel on one each; both give the same variables.
enum Driver<'d, 'a> {
    Sequential(&'d mut Builder<'a>),
    Parallel { values: &'d mut Vec<Fr> },
}

impl Driver<'_, '_> {
    fn slots<S: SlotCircuit>(&mut self, slots: &[S], ctx: &Context) -> Vec<S::Out> {
        match self {
            Driver::Sequential(b) => slots.iter().enumerate().map(|(i, slot)| section(b, S::KIND, i, |b| slot.build(b, ctx))).collect(),
            Driver::Parallel { values } => {
                let built: Vec<(S::Out, Vec<Fr>)> = slots.par_iter().enumerate().map(|(i, slot)| alone(S::KIND, i, |b| slot.build(b, ctx))).collect();
                built
                    .into_iter()
                    .map(|(out, own)| {
                        values.extend(own);
                        out
                    })
                    .collect()
            }
        }
    }

    fn single<T>(&mut self, build: impl FnOnce(&mut Builder<'_>) -> T) -> T {
        match self {
            Driver::Sequential(b) => section(b, "batch", 0, build),
            Driver::Parallel { values } => {
                let (out, own) = alone("batch", 0, build);
                values.extend(own);
                out
            }
        }
    }
}

fn section<'a, T>(b: &mut Builder<'a>, kind: &'static str, index: usize, build: impl FnOnce(&mut Builder<'a>) -> T) -> T {
    b.section(kind, index);
    build(b)
}

fn alone<T>(kind: &'static str, index: usize, build: impl FnOnce(&mut Builder<'_>) -> T) -> (T, Vec<Fr>) {
    let honest = Tampering::new();
    let mut b = Builder::values(PUBLIC_INPUTS as u32, 0, &honest);
    let out = section(&mut b, kind, index, build);
    (out, b.into_values())
}

/// Everything the slots hand to the tail, by kind.
struct Slots {
    transfers: Vec<SlotOut>,
    withdrawals: Vec<SlotOut>,
    registers: Vec<RegisterOut>,
    deposits: Vec<SlotOut>,
    exits: Vec<SlotOut>,
    rotations: Vec<RotateOut>,
    fees: Vec<SlotOut>,
    accounts: Vec<AccountOut>,
}

impl Slots {
    fn build(driver: &mut Driver<'_, '_>, witness: &BatchWitness, ctx: &Context) -> Self {
        Self {
            transfers: driver.slots(&witness.transfers, ctx),
            withdrawals: driver.slots(&witness.withdrawals, ctx),
            registers: driver.slots(&witness.registers, ctx),
            deposits: driver.slots(&witness.deposits, ctx),
            exits: driver.slots(&witness.exits, ctx),
            rotations: driver.slots(&witness.rotations, ctx),
            fees: driver.slots(&witness.fees, ctx),
            accounts: driver.slots(&witness.accounts, ctx),
        }
    }

    fn signed(&self) -> impl Iterator<Item = &SlotOut> {
        self.transfers.iter().chain(&self.withdrawals).chain(self.registers.iter().map(|register| &register.slot))
    }

    fn unsigned(&self) -> impl Iterator<Item = &SlotOut> {
        let requests = self.exits.iter().chain(self.rotations.iter().map(|rotation| &rotation.slot));
        self.deposits.iter().chain(requests).chain(&self.fees).chain(self.accounts.iter().map(|account| &account.slot))
    }

    /// In the transcript's order: the slots that registers open come after all signatures.
    fn absorbed(&self) -> Vec<Num> {
        let packed = self.registers.chunks(NEW_SLOTS_PER_ELEMENT).map(|registers| {
            let parts: Vec<(&Num, u64)> = registers.iter().zip(0..).map(|(register, i)| (&register.new, u64::from(SLOT_BITS) * i)).collect();
            Num::packed(&parts)
        });
        let of = |slot: &SlotOut| slot.absorbed.clone();
        self.signed().flat_map(of).chain(packed).chain(self.unsigned().flat_map(of)).collect()
    }

    /// Two transfers to a word, then registers, then fees.
    fn da_words(&self) -> Vec<Num> {
        let transfers: Vec<&Num> = self.transfers.iter().flat_map(|slot| &slot.words).collect();
        let pairs = transfers.chunks(2).map(|pair| Num::weighted(Fr::ZERO, [Fr::ONE, pow2(104)].into_iter().zip(pair.iter().copied())));
        let rest = self.registers.iter().map(|register| &register.slot).chain(&self.fees);
        pairs.chain(rest.flat_map(|slot| slot.words.iter().cloned())).collect()
    }

    /// Withdrawals, deposits, exits, rotations.
    fn ops_words(&self) -> Vec<Num> {
        let slots = self.withdrawals.iter().chain(&self.deposits).chain(&self.exits).chain(self.rotations.iter().map(|rotation| &rotation.slot));
        slots.flat_map(|slot| slot.words.iter().cloned()).collect()
    }

    fn bus(&self, bus: Bus) -> Num {
        let terms = self.signed().chain(self.unsigned()).flat_map(|slot| &slot.terms).filter(|term| term.bus == bus);
        Num::weighted(Fr::ZERO, terms.map(|term| (term.sign, &term.fraction)))
    }
}

/// Strictly increasing: `idx_i - idx_(i-1) - 1` has 24 bits.
fn sorted(b: &mut Builder<'_>, accounts: &[AccountOut]) {
    b.group("sorted");
    for pair in accounts.windows(2) {
        b.range_check(&(&(&pair[1].idx - &pair[0].idx) - Fr::ONE), SLOT_BITS as usize);
    }
}

/// `sum_i words_i x^i`, word 0 lowest: one constraint per word but the last.
fn horner(b: &mut Builder<'_>, words: &[Num], x: &Num) -> Num {
    let mut words = words.iter().rev();
    let Some(highest) = words.next() else { return Num::zero() };
    words.fold(highest.clone(), |sum, word| &b.mul(&sum, x) + word)
}

fn product(b: &mut Builder<'_>, accounts: &[AccountOut]) -> Num {
    let mut factors = accounts.iter().map(|account| &account.factor);
    let first = factors.next().cloned().unwrap_or_else(Num::one);
    factors.fold(first, |product, factor| b.mul(&product, factor))
}

/// Ties a public input to what the circuit computes for it.
fn publish(b: &mut Builder<'_>, inputs: &PublicInputs, group: &str, input: PublicInput, computed: Num) -> Fr {
    b.group(group);
    let public = b.input(input as u32, inputs[input as usize]);
    b.equal(&computed, &public);
    computed.value()
}

fn tail(b: &mut Builder<'_>, circuit_id: Fr, inputs: &PublicInputs, zeta: &Num, slots: &Slots) -> Computed {
    sorted(b, &slots.accounts);
    b.group("transcript");
    let h = sponge17(b, circuit_id, &slots.absorbed());
    let h = publish(b, inputs, "transcript", PublicInput::H, h);
    let e = Num::sum(slots.accounts.iter().map(|account| &account.e));
    let e = publish(b, inputs, "claim_e", PublicInput::E, e);
    b.group("claim_z");
    let z = product(b, &slots.accounts);
    let z = publish(b, inputs, "claim_z", PublicInput::Z, z);
    let delta = Num::sum(slots.accounts.iter().map(|account| &account.delta).chain(slots.rotations.iter().map(|rotation| &rotation.delta)));
    let delta = publish(b, inputs, "claim_delta", PublicInput::Delta, delta);
    b.group("words_da");
    let y_da = horner(b, &slots.da_words(), zeta);
    let y_da = publish(b, inputs, "words_da", PublicInput::YDa, y_da);
    b.group("words_ops");
    let y_ops = horner(b, &slots.ops_words(), zeta);
    let y_ops = publish(b, inputs, "words_ops", PublicInput::YOps, y_ops);
    for (bus, group) in Bus::ALL {
        b.group(group);
        b.equal(&slots.bus(bus), &Num::zero());
    }
    Computed { h, claims: [e, z, delta], words: [y_da, y_ops] }
}

fn context(b: &mut Builder<'_>, inputs: &PublicInputs) -> Context {
    let input = |b: &Builder<'_>, input: PublicInput| b.input(input as u32, inputs[input as usize]);
    let (domain, rho, zeta) = (input(b, PublicInput::Domain), input(b, PublicInput::Rho), input(b, PublicInput::Zeta));
    b.group("rho_squared");
    let rho_squared = b.mul(&rho, &rho);
    Context { domain, rho, rho_squared, zeta }
}

fn synthesize(driver: &mut Driver<'_, '_>, circuit_id: u32, witness: &BatchWitness) -> Computed {
    let ctx = driver.single(|b| context(b, &witness.inputs));
    let slots = Slots::build(driver, witness, &ctx);
    driver.single(|b| tail(b, Fr::from(circuit_id), &witness.inputs, &ctx.zeta, &slots))
}

/// The constraints of one shape under one circuit id.
pub struct Circuit {
    shape: Shape,
    id: u32,
    matrices: [Sparse; 3],
    layout: Layout,
    witness_variables: usize,
    digest: Word,
}

/// The constraints of a shape, without values.
fn laid_out(shape: &Shape, id: u32) -> Laid {
    let mut builder = Builder::constraints(PUBLIC_INPUTS as u32);
    synthesize(&mut Driver::Sequential(&mut builder), id, &BatchWitness::blank(shape));
    builder.finish()
}

fn digest(id: u32, witness_variables: usize, matrices: &[Sparse]) -> Word {
    let row_digest = |matrix: &Sparse, row: usize| {
        let mut hasher = Sha256::new();
        for (coefficient, index) in matrix.row(row) {
            hasher.update(to_word(coefficient));
            hasher.update((index as u32).to_be_bytes());
        }
        hasher.finalize()
    };
    let mut hasher = Sha256::new();
    hasher.update(id.to_be_bytes());
    hasher.update((witness_variables as u32).to_be_bytes());
    for matrix in matrices {
        hasher.update((matrix.rows() as u32).to_be_bytes());
        let rows: Vec<_> = (0..matrix.rows()).into_par_iter().map(|row| row_digest(matrix, row)).collect();
        rows.iter().for_each(|row| hasher.update(row));
    }
    hasher.finalize().into()
}

impl std::fmt::Debug for Circuit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Circuit").field("id", &self.id).field("shape", &self.shape).finish_non_exhaustive()
    }
}

impl Circuit {
    /// The circuit of `shape` as number `id` of a deployment (from 1); the id is a constant of the transcript.
    ///
    /// # Errors
    /// [`CircuitError::Bound`] or [`CircuitError::NoAccounts`] for shapes that prove nothing.
    pub fn new(shape: Shape, id: u32) -> Result<Self, CircuitError> {
        check_shape(&shape)?;
        let Laid { layout, matrices, witness_variables } = laid_out(&shape, id);
        let digest = digest(id, witness_variables, &matrices);
        Ok(Self { shape, id, matrices, layout, witness_variables, digest })
    }

    /// Capacities.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Number of the circuit in its deployment.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Number of constraints.
    pub fn constraints(&self) -> usize {
        self.matrices[0].rows()
    }

    /// Size of the FFT domain: constraints, public inputs and the constant one, rounded up to a power of two.
    pub fn domain(&self) -> usize {
        (self.constraints() + PUBLIC_INPUTS + 1).next_power_of_two()
    }

    /// Number of witness variables.
    pub fn witness_variables(&self) -> usize {
        self.witness_variables
    }

    /// A, B and C as ark-relations has them, made anew: rows of (coefficient, position in the full assignment).
    pub fn matrices(&self) -> [Matrix<Fr>; 3] {
        self.matrices.each_ref().map(Sparse::to_matrix)
    }

    /// A row of A, B or C (0, 1, 2): coefficients and positions in the full assignment.
    ///
    /// # Panics
    /// If there is no such matrix or row.
    pub fn row(&self, matrix: usize, row: usize) -> impl Iterator<Item = (Fr, usize)> + '_ {
        self.matrices[matrix].row(row)
    }

    /// What row `row` of A, B and C makes of an assignment.
    ///
    /// # Panics
    /// If the row does not exist or the assignment is shorter than the circuit's.
    pub fn products(&self, row: usize, assignment: &[Fr]) -> [Fr; 3] {
        self.matrices.each_ref().map(|matrix| matrix.dot(row, assignment))
    }

    /// Names of rows and variables.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// sha256 of the circuit's id, its sizes and every coefficient of its matrices: what a key is for.
    pub fn digest(&self) -> Word {
        self.digest
    }

    /// The slot witnesses of a batch of this circuit.
    ///
    /// # Errors
    /// [`CircuitError::OtherCircuit`] if the batch was made for another; else as [`BatchWitness::new`].
    pub fn witness(&self, batch: &Batch, challenges: &Challenges) -> Result<BatchWitness, CircuitError> {
        if batch.shape != self.shape || batch.circuit != self.id {
            return Err(CircuitError::OtherCircuit { batch: batch.circuit, circuit: self.id });
        }
        BatchWitness::new(batch, challenges)
    }

    /// The full assignment `[1, public.., witness..]`; slots in parallel.
    ///
    /// # Errors
    /// [`CircuitError::OtherCircuit`] if the witness has another number of slots.
    pub fn assign(&self, witness: &BatchWitness) -> Result<Vec<Fr>, CircuitError> {
        self.check_fit(witness)?;
        let mut assignment = full_assignment(&witness.inputs, self.witness_variables);
        synthesize(&mut Driver::Parallel { values: &mut assignment }, self.id, witness);
        Ok(assignment)
    }

    /// As [`Circuit::assign`], one slot after the other and with lies: what a forger would submit, and what the circuit
    /// computes for the public inputs from these lies. For tests of soundness.
    ///
    /// # Errors
    /// As [`Circuit::assign`].
    pub fn assign_tampered(&self, witness: &BatchWitness, tampering: &Tampering) -> Result<(Vec<Fr>, Computed), CircuitError> {
        self.check_fit(witness)?;
        let first = PUBLIC_INPUTS as u32 + 1;
        let mut builder = Builder::values(PUBLIC_INPUTS as u32, first, tampering);
        let computed = synthesize(&mut Driver::Sequential(&mut builder), self.id, witness);
        let mut assignment = full_assignment(&witness.inputs, self.witness_variables);
        assignment.extend(builder.into_values());
        Ok((assignment, computed))
    }

    fn check_fit(&self, witness: &BatchWitness) -> Result<(), CircuitError> {
        if witness.fits(&self.shape) { Ok(()) } else { Err(CircuitError::OtherCircuit { batch: 0, circuit: self.id }) }
    }
}

fn check_shape(shape: &Shape) -> Result<(), CircuitError> {
    if !shape.amounts_stay_apart() {
        return Err(CircuitError::Bound);
    }
    if shape.accounts == 0 { Err(CircuitError::NoAccounts) } else { Ok(()) }
}

fn full_assignment(inputs: &PublicInputs, witness_variables: usize) -> Vec<Fr> {
    let mut assignment = Vec::with_capacity(1 + PUBLIC_INPUTS + witness_variables);
    assignment.push(Fr::ONE);
    assignment.extend(inputs);
    assignment
}

//! `sheaf bench commit`: what the sequencer computes for a batch over an occupied state: C', C_q and W.

use super::median;
use ark_bn254::Fr;
use ark_ff::UniformRand;
use clap::Args;
use rand::{SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use sheaf_protocol::amount::SlotId;
use sheaf_protocol::header::{gamma, zeta};
use sheaf_protocol::kzg::{Claims, Srs, StateVector};
use std::sync::Arc;
use std::time::Instant;

/// `sheaf bench commit`
#[derive(Args, Debug)]
pub(super) struct CommitArgs {
    /// The state has 2^k slots.
    #[arg(long, default_value_t = 16)]
    k: u32,
    /// Slots in use.
    #[arg(long, default_value_t = 20_000)]
    occupied: u32,
    /// Slots touched by the batch.
    #[arg(long, default_value_t = 202)]
    touched: u32,
    /// Runs.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// One JSON object a line.
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: &CommitArgs) -> anyhow::Result<Value> {
    let CommitArgs { k, occupied, touched, runs, .. } = *args;
    let srs = Arc::new(Srs::insecure_dev(k, "bench")?);
    let mut rng = StdRng::seed_from_u64(1);
    let slots: Vec<(SlotId, [Fr; 3])> = (1..=occupied).map(|id| (SlotId(id), std::array::from_fn(|_| Fr::rand(&mut rng)))).collect();
    let vector = StateVector::new(srs, slots.iter().copied())?;
    let stride = (occupied / touched.max(1)).max(1) as usize;
    let changes: Vec<_> = slots
        .iter()
        .step_by(stride)
        .take(touched as usize)
        .map(|(slot, old)| sheaf_protocol::kzg::TouchedSlot { slot: *slot, old: *old, new: [old[0], Fr::rand(&mut rng), old[2]] })
        .collect();
    let (mut update, mut quotient, mut opening) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..runs.max(1) {
        let rho = Fr::rand(&mut rng);
        let start = Instant::now();
        let step = vector.prepare(&changes)?;
        update.push(start.elapsed().as_secs_f64() * 1e3);
        let start = Instant::now();
        let q = vector.quotient(&step, rho)?;
        quotient.push(start.elapsed().as_secs_f64() * 1e3);
        let zeta = zeta(rho, q.commitment());
        let claims = Claims::of(&changes, rho, zeta);
        let g = gamma(zeta, claims.to_array(), Fr::from(0u64), Fr::from(0u64));
        let start = Instant::now();
        let _opening = vector.open(&step, &q, zeta, claims, g)?;
        opening.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(
        json!({ "k": k, "occupied": occupied, "touched": changes.len(), "update_ms": median(update), "quotient_ms": median(quotient), "opening_ms": median(opening) }),
    )
}

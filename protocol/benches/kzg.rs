//! What the committer does for one batch: 2^16 slots, 20,000 in use, 200 touched.
#![expect(clippy::unwrap_used, reason = "a benchmark")]
#![expect(missing_docs, reason = "criterion's macro makes a public function")]

use criterion::{Criterion, criterion_group, criterion_main};
use sheaf_protocol::amount::SlotId;
use sheaf_protocol::field::{Fr, hash_to_field, word_u128};
use sheaf_protocol::kzg::{Claims, Srs, StateVector, TouchedSlot};
use std::hint::black_box;
use std::sync::Arc;

const K: u32 = 16;
const OCCUPIED: u32 = 20_000;
const TOUCHED: u32 = 200;

fn values(idx: u32, salt: u128) -> [Fr; 3] {
    let value = |column| hash_to_field("bench", &[word_u128(idx.into()), word_u128(salt + column)]);
    [value(0), value(1), value(2)]
}

fn slots() -> impl Iterator<Item = (SlotId, [Fr; 3])> {
    (1..=OCCUPIED).map(|idx| (SlotId(idx), values(idx, 0)))
}

/// Balances and nonces move, every hundredth slot is new.
fn touched(state: &StateVector) -> Vec<TouchedSlot> {
    let slot = |i: u32| {
        let idx = if i.is_multiple_of(100) { OCCUPIED + 1 + i } else { 7 + i * 90 };
        let old = state.get(SlotId(idx)).unwrap();
        let new = if idx > OCCUPIED { values(idx, 0) } else { [old[0], values(idx, 9)[1], old[2]] };
        TouchedSlot { slot: SlotId(idx), old, new }
    };
    let mut slots: Vec<_> = (0..TOUCHED).map(slot).collect();
    slots.sort_by_key(|slot| slot.slot);
    slots
}

fn batch(c: &mut Criterion) {
    let srs = Arc::new(Srs::insecure_dev(K, "bench").unwrap());
    let mut group = c.benchmark_group("kzg-2^16");
    group.sample_size(10);
    group.bench_function("commit three columns of 20000", |b| b.iter(|| StateVector::new(srs.clone(), slots()).unwrap()));
    let state = StateVector::new(srs.clone(), slots()).unwrap();
    let touched = touched(&state);
    group.bench_function("update 200 slots", |b| b.iter(|| state.prepare(black_box(&touched)).unwrap()));
    let step = state.prepare(&touched).unwrap();
    let [rho, zeta, gamma] = values(0, 1);
    group.bench_function("quotient", |b| b.iter(|| state.quotient(&step, black_box(rho)).unwrap()));
    let quotient = state.quotient(&step, rho).unwrap();
    let claims = Claims::of(&touched, rho, zeta);
    group.bench_function("opening, checked", |b| b.iter(|| state.open(&step, &quotient, zeta, black_box(claims), gamma).unwrap()));
    group.finish();
}

criterion_group!(benches, batch);
criterion_main!(benches);

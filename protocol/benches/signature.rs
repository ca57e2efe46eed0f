//! What hashing and signatures cost on this machine: `cargo bench -p sheaf-protocol --bench signature`.
#![expect(missing_docs, reason = "criterion names the group")]

use ark_ff::UniformRand;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use sheaf_protocol::field::Fr;
use sheaf_protocol::poseidon::{SPONGE_RATE, Sponge17, hash3};
use sheaf_protocol::schnorr::{self, Check, SecretKey};

fn signed(count: usize) -> Vec<Check> {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let mut one = || {
        let key = SecretKey::generate(&mut rng);
        let (domain, m) = (Fr::from(1u64), Fr::rand(&mut rng));
        Check { pk: key.public().0, domain, op_tag: 1, m, signature: schnorr::sign(&key, domain, 1, m, &[0; 32]) }
    };
    (0..count).map(|_| one()).collect()
}

fn hashes(c: &mut Criterion) {
    let x = Fr::rand(&mut ChaCha20Rng::seed_from_u64(2));
    c.bench_function("hash3", |b| b.iter(|| hash3(x, x, x, x)));
    let mut group = c.benchmark_group("sponge");
    group.throughput(Throughput::Elements(SPONGE_RATE as u64));
    group.bench_function("16 elements", |b| {
        b.iter(|| {
            let mut sponge = Sponge17::new(x);
            (0..SPONGE_RATE).for_each(|_| sponge.absorb(x));
            sponge.finish()
        });
    });
    group.finish();
}

fn single(c: &mut Criterion) {
    let key = SecretKey::generate(&mut ChaCha20Rng::seed_from_u64(3));
    let Check { pk, domain, op_tag, m, signature } = signed(1)[0];
    c.bench_function("sign", |b| b.iter(|| schnorr::sign(&key, domain, op_tag, m, &[0; 32])));
    c.bench_function("verify", |b| b.iter(|| schnorr::verify(pk, domain, op_tag, m, &signature)));
    c.bench_function("witness", |b| b.iter(|| schnorr::witness(pk, domain, op_tag, m, &signature)));
}

fn many(c: &mut Criterion) {
    let mut group = c.benchmark_group("verify_many");
    for count in [16usize, 256, 1024] {
        let (checks, mut rng) = (signed(count), ChaCha20Rng::seed_from_u64(4));
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(format!("{count}"), |b| b.iter(|| schnorr::verify_many(&checks, &mut rng)));
        group.bench_function(format!("{count}, admitted"), |b| b.iter(|| schnorr::admit_many(&checks, &mut rng)));
        if count == 256 {
            let spoilt = |mut checks: Vec<Check>| {
                checks[100].m += Fr::from(1u64);
                checks
            };
            let setup = || spoilt(checks.clone());
            group.bench_function(format!("{count}, one forged"), |b| {
                b.iter_batched(setup, |bad| schnorr::verify_many(&bad, &mut rng), BatchSize::LargeInput)
            });
        }
    }
    group.finish();
}

criterion_group!(benches, hashes, single, many);
criterion_main!(benches);

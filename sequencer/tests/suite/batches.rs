//! Sealed batches hold what L1 and the prover check.

use crate::support::{FEE, K, Node, Person, alice, bob, body, config, deployment, operator, transfer, withdraw};
use reqwest::StatusCode;
use serde_json::Value;
use sheaf_protocol::amount::NATIVE;
use sheaf_protocol::batch::{ProverInput, PublicInput};
use sheaf_protocol::field::{Word, from_word, g1_from_words, to_word};
use sheaf_protocol::header::{PostedData, data_hash, gamma, read_posted_data, state_root};
use sheaf_protocol::kzg::{Claims, Srs, Statement};
use sheaf_store::l1::{self, CommitInput};
use sqlx::{PgPool, Row};

/// What the committer stored of a batch.
pub(crate) struct Stored {
    input: ProverInput,
    pub(crate) commit: CommitInput,
    record: Vec<Word>,
    claims: [Word; 3],
    opening: [Word; 2],
    new_root: Word,
}

pub(crate) async fn stored(pool: &PgPool, number: i64) -> Stored {
    let row = sqlx::query("SELECT * FROM batches WHERE number = $1").bind(number).fetch_one(pool).await.unwrap();
    let words = |column: &str| row.get::<Vec<u8>, _>(column).chunks(32).map(|word| word.try_into().unwrap()).collect::<Vec<Word>>();
    let commit = l1::commit_input(&mut pool.begin().await.unwrap(), number as u64).await.unwrap().unwrap();
    let input = row.get::<sqlx::types::Json<ProverInput>, _>("input").0;
    let claims = [words("claim_e")[0], words("claim_z")[0], words("claim_delta")[0]];
    let opening = words("opening").try_into().unwrap();
    Stored { input, commit, record: words("record"), claims, opening, new_root: words("new_root")[0] }
}

impl Stored {
    pub(crate) fn commitments(&self) -> [sheaf_protocol::field::G1Affine; 3] {
        std::array::from_fn(|i| g1_from_words(&[self.record[3 + 2 * i], self.record[4 + 2 * i]]).unwrap())
    }

    /// What L1 and the circuit check, given the commitments before.
    pub(crate) fn check(&self, srs: &Srs, before: [sheaf_protocol::field::G1Affine; 3]) {
        self.input.batch.check().unwrap();
        let inputs = self.input.batch.public_inputs(&self.input.challenges);
        let at = |input: PublicInput| inputs[input as usize];
        assert_eq!(to_word(at(PublicInput::H)), self.record[9]);
        assert_eq!([PublicInput::E, PublicInput::Z, PublicInput::Delta].map(|input| to_word(at(input))), self.claims);
        assert_eq!([to_word(at(PublicInput::YDa)), to_word(at(PublicInput::YOps))], [self.record[16], self.record[17]]);
        assert_eq!(data_hash(&self.commit.data), self.record[13]);
        assert_eq!(self.commit.data, self.input.batch.posted_data());
        assert_eq!(state_root(srs.k, &before), self.record[2]);
        assert_eq!(state_root(srs.k, &self.commitments()), self.new_root);
        let [e, z, delta] = self.claims.map(|word| from_word(&word).unwrap());
        let statement = Statement {
            before,
            after: self.commitments(),
            quotient: g1_from_words(&[self.record[14], self.record[15]]).unwrap(),
            rho: at(PublicInput::Rho),
            zeta: at(PublicInput::Zeta),
            claims: Claims { e, z, delta },
            gamma: gamma(at(PublicInput::Zeta), [e, z, delta], at(PublicInput::YDa), at(PublicInput::YOps)),
        };
        assert!(srs.opening_key().verify(&statement, &g1_from_words(&self.opening).unwrap()));
    }
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn every_batch_checks_as_on_l1(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    node.send(&alice().sign(transfer(2, 3, 0, 100))).await;
    node.send(&bob().sign(withdraw(3, 0, 300))).await;
    node.seal(1).await;
    node.send(&operator().sign(transfer(1, 2, 0, 1_000))).await;
    node.send(&alice().sign(transfer(2, 2, 1, 5))).await;
    node.seal(2).await;
    let srs = Srs::insecure_dev(K, "sequencer tests").unwrap();
    let (first, second) = (stored(&pool, 1).await, stored(&pool, 2).await);
    first.check(&srs, Default::default());
    second.check(&srs, first.commitments());

    let PostedData { transfers, fees, .. } = read_posted_data(&first.commit.data).unwrap();
    assert_eq!((transfers.len(), fees[0].total.0, fees[0].slot.0), (1, 2 * FEE, 1));
    assert_eq!((first.commit.taken.len(), first.commit.choices.len(), first.commit.withdrawals.len()), (3, 3, 1));
    let digest = first.commit.taken.iter().fold([0; 32], |digest, entry| entry.digest_after(&digest));
    assert_eq!((first.record[10], second.record[10]), (digest, digest));
    let balances: Vec<String> = sqlx::query_scalar("SELECT balance::text FROM slots ORDER BY idx").fetch_all(&pool).await.unwrap();
    assert_eq!(
        balances,
        [(1_000 + 2 * FEE - 1_000 - FEE + 2 * FEE).to_string(), (900 - FEE + 1_000 - FEE).to_string(), (1_100 - 300 - FEE).to_string()]
    );
    let jobs: i64 = sqlx::query_scalar("SELECT count(*) FROM proof_jobs WHERE state = 'queued'").fetch_one(&pool).await.unwrap();
    assert_eq!(jobs, 2);
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn full_batches_are_sealed_without_waiting_and_small_ones_by_age(pool: PgPool) {
    let mut settings = config();
    settings.sealing.max_age = std::time::Duration::from_millis(300);
    let node = Node::with_people(&pool, settings, 1_000_000).await;
    node.until("a batch by age", async || node.get("/v1/batches/1").await.1["computed_at"].is_string()).await;
    assert_eq!(node.get("/v1/batches/1").await.1["seal_reason"], "age");
    let full = deployment(K).circuits[1].shape.transfers;
    let many: Vec<Value> = (0..full + 14).map(|nonce| body(&alice().sign(transfer(2, 3, nonce, 1)))).collect();
    let (status, answer) = node.post(&Value::Array(many)).await;
    assert_eq!(status, StatusCode::OK);
    assert!(answer["results"].as_array().unwrap().iter().all(|result| result["receipt"].is_object()));
    node.until("all computed", async || {
        node.get("/v1/status").await.1["unsealed"] == "0" && node.get("/v1/batches/3").await.1["computed_at"].is_string()
    })
    .await;
    let sealed = node.get("/v1/batches/2").await.1;
    assert_eq!(
        (&sealed["seal_reason"], &sealed["transactions"], &sealed["circuit"]),
        (&Value::from("size"), &Value::from(full.to_string()), &Value::from(2))
    );
    let rest = node.get("/v1/batches/3").await.1;
    assert_eq!((&rest["seal_reason"], &rest["transactions"]), (&Value::from("age"), &Value::from("14")));
    assert_eq!(node.slot(1).await["balance"], (1_000_000 + u128::from(full + 14) * FEE).to_string(), "fees are credited");
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_batch_does_not_wait_for_the_threads_that_check_signatures(pool: PgPool) {
    let node = Node::with_people(&pool, config(), 1_000).await;
    node.send(&alice().sign(transfer(2, 3, 0, 100))).await;
    // every thread of the common pool is busy until its sender is dropped
    let busy: Vec<_> = (0..rayon::current_num_threads())
        .map(|_| {
            let (release, released) = std::sync::mpsc::channel::<()>();
            rayon::spawn(move || {
                let _ = released.recv();
            });
            release
        })
        .collect();
    node.seal(1).await;
    drop(busy);
    node.stop().await;
}

#[sqlx::test(migrator = "sheaf_store::MIGRATOR")]
async fn a_full_state_gives_deposits_back(pool: PgPool) {
    const SMALL: u32 = 4;
    let node = Node::try_start(&pool, config(), SMALL).await.unwrap();
    assert_eq!(deployment(SMALL).circuits.len(), 1);
    node.mine((0..17).map(|number| Person::new(100 + number).deposit(NATIVE, 50)).collect()).await;
    node.until("everything taken", async || node.get("/v1/status").await.1["queue_taken"] == "17").await;
    node.seal(8).await;
    let slots: Vec<Option<i32>> = sqlx::query_scalar("SELECT slot FROM queue_taken ORDER BY queue_index").fetch_all(&pool).await.unwrap();
    assert_eq!(slots, (1..=15).map(Some).chain([None, None]).collect::<Vec<_>>());
    let last = stored(&pool, 8).await;
    assert_eq!(last.commit.choices.last().unwrap()[31], 1, "a refund is kind 1, slot 0");
    assert_eq!(last.commit.choices.last().unwrap()[..31], [0; 31]);
    assert_eq!(last.commit.taken.len(), 3);
    assert_eq!(last.commit.withdrawals.len(), 0);
    let srs = Srs::insecure_dev(SMALL, "sequencer tests").unwrap();
    last.check(&srs, stored(&pool, 7).await.commitments());
    node.stop().await;
}

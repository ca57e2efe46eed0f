//! The fixtures of the contract's tests are proofs of the circuits as they are now.

use serde_json::Value;
use sheaf_circuits::batch::Circuit;
use sheaf_protocol::field::to_hex;
use sheaf_protocol::shape::by_name;
use std::path::Path;

#[test]
fn the_contracts_fixtures_are_of_these_circuits() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contracts/test/fixtures");
    let digests = [1, 2].map(|id| to_hex(&Circuit::new(by_name("test").unwrap().shape, id).unwrap().digest()));
    for file in ["batches.json", "requests.json", "k17.json"] {
        let json: Value = serde_json::from_slice(&std::fs::read(fixtures.join(file)).unwrap()).unwrap();
        assert_eq!(
            json["circuitDigests"],
            serde_json::json!(digests),
            "contracts/test/fixtures/{file} is of an older circuit: run `make contracts` and commit what it writes"
        );
    }
}

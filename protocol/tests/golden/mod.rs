//! Golden vectors in `protocol/vectors`. `UPDATE_VECTORS=1` rewrites the files; a change is a protocol change.

use serde_json::Value;
use sheaf_protocol::field::{Fr, to_hex, to_word};

pub(crate) fn hex_fr(value: Fr) -> String {
    to_hex(&to_word(value))
}

pub(crate) fn hex_all(values: &[Fr]) -> Vec<String> {
    values.iter().copied().map(hex_fr).collect()
}

pub(crate) fn compare_with_golden(name: &str, got: &Value) {
    let path = format!("{}/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let got = serde_json::to_string_pretty(got).unwrap() + "\n";
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        std::fs::write(&path, &got).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("{path} is committed"));
    assert_eq!(got, golden, "{name}: a change here is a protocol change");
}

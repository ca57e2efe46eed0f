//! The soundness suite: short in every test run, long under `make soundness`, which sets [`LONG`]. What each test covers, and how often, is
//! printed, with its seeds.

mod holder;
mod mutation;
mod score;
mod verifier;

/// Set by `make soundness`.
const LONG: &str = "SHEAF_SOUNDNESS";

/// True in the long run.
pub(crate) fn nightly() -> bool {
    std::env::var_os(LONG).is_some()
}

/// How often: in every run, or in the long one.
pub(crate) fn times(short: u64, long: u64) -> u64 {
    if nightly() { long } else { short }
}

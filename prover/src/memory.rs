//! How much memory a proof of a shape takes, so that nobody is given one that does not fit, and the limit that holds a worker to what it declared.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sheaf_protocol::shape::Shape;
use std::{fs, io};

/// Bytes for each element of the FFT domain, key included: `small` (2^18) peaks at 276 MB in a proof on two threads (docs/performance.md), 1,104 bytes
/// an element, and four tenths more for what is kept of the worker's other circuits.
const BYTES_AN_ELEMENT: u64 = 1_536;
/// Taken for granted where the system does not say.
const UNKNOWN_MB: u64 = 4_096;
/// Megabytes of a worker that does nothing.
const BASE_MB: u64 = 64;
/// Constraints of a slot of each kind, T, A, F, D, W, R, X, Y, and once (docs/performance.md), rounded down: shapes fill their domains to the last slot.
const CONSTRAINTS: [u64; 9] = [1_508, 445, 193, 163, 1_707, 1_754, 204, 268, 100];

/// Size of the FFT domain of a shape's circuit, estimated without making it.
pub fn domain(shape: &Shape) -> u64 {
    let Shape { transfers, accounts, fees, deposits, withdrawals, registers, exits, rotations } = *shape;
    let counts = [transfers, accounts, fees, deposits, withdrawals, registers, exits, rotations, 1];
    counts.into_iter().zip(CONSTRAINTS).map(|(count, each)| u64::from(count) * each).sum::<u64>().next_power_of_two()
}

/// Megabytes that a worker needs to prove a shape.
pub fn needed_mb(shape: &Shape) -> u64 {
    BASE_MB + (domain(shape) * BYTES_AN_ELEMENT).div_ceil(1 << 20)
}

/// Megabytes that this process may use: the machine's, or its container's if that has fewer.
pub fn of_this_machine_mb() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_mb(&text));
    let container = fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse::<u64>().ok()).map(|bytes| bytes >> 20);
    [machine, container].into_iter().flatten().min().unwrap_or(UNKNOWN_MB)
}

/// From here on the system refuses this process memory of its own beyond so many megabytes: a fault then ends this worker, whose lease another one takes
/// over, and no neighbour of it. Mapped keys do not count, which all workers of a machine share. Linux holds it; elsewhere it may be without effect.
///
/// # Errors
/// If the system does not take the limit.
pub fn limit_mb(megabytes: u64) -> io::Result<()> {
    let maximum = getrlimit(Resource::Data).maximum;
    let wanted = megabytes.saturating_mul(1 << 20);
    Ok(setrlimit(Resource::Data, Rlimit { current: Some(maximum.map_or(wanted, |maximum| maximum.min(wanted))), maximum })?)
}

fn total_mb(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kb| kb >> 10)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use sheaf_protocol::shape::by_name;

    fn shape(name: &str) -> Shape {
        by_name(name).unwrap().shape
    }

    #[test]
    fn domains_are_those_of_the_circuits() {
        let circuit = sheaf_circuits::batch::Circuit::new(shape("test"), 1).unwrap();
        assert_eq!(domain(&shape("test")), circuit.domain() as u64);
        for (name, log) in [("small", 18), ("small-hot", 18), ("l1heavy", 20), ("large", 21)] {
            assert_eq!(domain(&shape(name)), 1 << log, "{name}");
        }
    }

    #[test]
    fn the_machine_says_what_it_has() {
        assert_eq!(total_mb("MemFree: 1 kB\nMemTotal:       16384000 kB\n"), Some(16_000));
        assert_eq!(total_mb("nothing"), None);
        assert!(of_this_machine_mb() > BASE_MB);
    }

    /// In a process of its own: a limit is for good.
    #[cfg(target_os = "linux")]
    #[test]
    fn beyond_the_limit_there_is_no_memory() {
        const CHILD: &str = "SHEAF_TEST_MEMORY_LIMIT";
        if std::env::var_os(CHILD).is_some() {
            limit_mb(256).unwrap();
            let reserve = |megabytes: usize| Vec::<u8>::new().try_reserve_exact(megabytes << 20);
            assert!(reserve(64).is_ok() && reserve(256).is_err());
            return;
        }
        let test = "memory::tests::beyond_the_limit_there_is_no_memory";
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        let ended = child.args(["--exact", test]).env(CHILD, "1").output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stdout));
        assert!(String::from_utf8_lossy(&ended.stdout).contains("1 passed"));
    }

    #[test]
    fn small_needs_what_was_measured_and_a_little_more() {
        assert_eq!(needed_mb(&shape("small")), 448);
        assert_eq!(needed_mb(&shape("large")), 3_136);
    }
}

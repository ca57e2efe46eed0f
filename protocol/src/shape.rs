//! Batch shapes: how many slots of each kind a circuit has. A shape is data; adding one is a line in [`SHAPES`].

use serde::{Deserialize, Serialize};

/// Capacities of a batch circuit, in slots of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Shape {
    /// T: transfers.
    pub transfers: u32,
    /// A: distinct account slots, padded with untouched ones.
    pub accounts: u32,
    /// F: fee slots, one per token that paid fees.
    pub fees: u32,
    /// D: deposits from the L1 queue.
    pub deposits: u32,
    /// W: withdrawals.
    pub withdrawals: u32,
    /// R: registers.
    pub registers: u32,
    /// X: forced exits.
    pub exits: u32,
    /// Y: key rotations.
    pub rotations: u32,
}

/// A shape with the name it goes by in commands, files and the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedShape {
    /// Name in commands and files.
    pub name: &'static str,
    /// Capacities.
    pub shape: Shape,
}

const fn named(name: &'static str, signed: [u32; 3], accounts: u32, fees: u32, taken: [u32; 3]) -> NamedShape {
    let ([transfers, withdrawals, registers], [deposits, exits, rotations]) = (signed, taken);
    NamedShape { name, shape: Shape { transfers, accounts, fees, deposits, withdrawals, registers, exits, rotations } }
}

/// Every shape that keys can be made for: `[T, W, R], A, F, [D, X, Y]`.
pub const SHAPES: &[NamedShape] = &[
    // a little of everything
    named("test", [4, 2, 1], 8, 2, [2, 1, 1]),
    // one domain of 2^18, for payers and receivers that differ, and for traffic among few
    named("small", [104, 3, 2], 208, 4, [10, 2, 2]),
    named("small-hot", [144, 3, 2], 72, 4, [12, 2, 2]),
    // 2^21
    named("large", [864, 6, 4], 1728, 4, [16, 8, 8]),
    // 2^20: clears a flood of requests on L1
    named("l1heavy", [4, 4, 2], 1573, 2, [521, 521, 521]),
];

/// The shape of that name.
pub fn by_name(name: &str) -> Option<&'static NamedShape> {
    SHAPES.iter().find(|shape| shape.name == name)
}

impl Shape {
    /// Word of `P_da` where the registers start: transfers are posted two to a word.
    pub const fn registers_offset(&self) -> u32 {
        self.transfers.div_ceil(2)
    }

    /// Word of `P_da` where the fees start.
    pub const fn fees_offset(&self) -> u32 {
        self.registers_offset() + 3 * self.registers
    }

    /// Words of `P_da`.
    pub const fn da_words(&self) -> u32 {
        self.fees_offset() + self.fees
    }

    /// Word of `P_ops` where the deposits start; withdrawals are at 0.
    pub const fn deposits_offset(&self) -> u32 {
        3 * self.withdrawals
    }

    /// Word of `P_ops` where the exits start.
    pub const fn exits_offset(&self) -> u32 {
        self.deposits_offset() + 4 * self.deposits
    }

    /// Word of `P_ops` where the rotations start.
    pub const fn rotations_offset(&self) -> u32 {
        self.exits_offset() + 3 * self.exits
    }

    /// Words of `P_ops`.
    pub const fn ops_words(&self) -> u32 {
        self.rotations_offset() + 3 * self.rotations
    }

    /// Entries of the L1 queue that one batch has room for, whatever they are: the contract's `queueRate` is the largest of its circuits'.
    pub fn queue_rate(&self) -> u32 {
        self.deposits.min(self.exits).min(self.rotations).min(self.accounts)
    }

    /// The bound behind the uniqueness of `dyn`: `(D + W + X + F) 2^112 + (T + W + R) 2^87 < 2^127`.
    pub const fn amounts_stay_apart(&self) -> bool {
        let whole = self.deposits as u128 + self.withdrawals as u128 + self.exits as u128 + self.fees as u128;
        let floats = self.transfers as u128 + self.withdrawals as u128 + self.registers as u128;
        whole < 1 << 15 && floats < 1 << 30 && (whole << 112) + (floats << 87) < 1 << 127
    }
}

const _: () = {
    let mut i = 0;
    while i < SHAPES.len() {
        let shape = SHAPES[i].shape;
        assert!(shape.amounts_stay_apart());
        assert!(shape.deposits > 0 && shape.exits > 0 && shape.rotations > 0, "no kind of entry may stop the L1 queue");
        i += 1;
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: Shape = Shape { transfers: 0, accounts: 1, fees: 0, deposits: 0, withdrawals: 0, registers: 0, exits: 0, rotations: 0 };

    /// (D + W + X + F) 2^112 reaches 2^127 at 2^15; the floats' part alone would need 2^40 slots.
    #[test]
    fn the_bound_on_amounts_is_sharp_and_does_not_wrap() {
        assert!(Shape { deposits: (1 << 15) - 1, transfers: 1 << 24, ..EMPTY }.amounts_stay_apart());
        assert!(!Shape { deposits: 1 << 15, ..EMPTY }.amounts_stay_apart());
        assert!(!Shape { deposits: 1 << 14, exits: 1 << 14, ..EMPTY }.amounts_stay_apart());
        assert!(!Shape { deposits: 1 << 31, withdrawals: 1 << 31, ..EMPTY }.amounts_stay_apart(), "2^32, which is 0 in a u32");
        assert!(!Shape { transfers: 1 << 31, registers: 1 << 31, ..EMPTY }.amounts_stay_apart());
    }
}

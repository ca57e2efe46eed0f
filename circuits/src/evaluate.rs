//! Evaluates constraints on an assignment, in memory: which rows fail and which group each belongs to.
//!
//! ark-relations can say that a system is unsatisfied; tests of soundness must know exactly which rows catch a forgery.

use crate::batch::Circuit;
use crate::builder::Section;
use ark_bn254::Fr;
use rayon::prelude::*;
use std::collections::BTreeSet;

/// A constraint that an assignment violates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Row of the matrices.
    pub row: usize,
    /// Its constraint group.
    pub group: String,
    /// The slot it belongs to.
    pub section: Section,
}

impl Circuit {
    /// True if `assignment` satisfies constraint `row`.
    ///
    /// # Panics
    /// If the row does not exist or the assignment is shorter than the circuit's.
    pub fn holds(&self, row: usize, assignment: &[Fr]) -> bool {
        let [a, b, c] = self.products(row, assignment);
        a * b == c
    }

    /// Every violated constraint, in order.
    ///
    /// # Panics
    /// If the assignment is shorter than the circuit's.
    pub fn violations(&self, assignment: &[Fr]) -> Vec<Violation> {
        let rows: Vec<usize> = (0..self.constraints()).into_par_iter().filter(|row| !self.holds(*row, assignment)).collect();
        let name = |row: usize| {
            let (group, section) = self.layout().row(row);
            Violation { row, group: group.to_owned(), section }
        };
        rows.into_iter().map(name).collect()
    }

    /// The names of the violated groups.
    ///
    /// # Panics
    /// As [`Circuit::violations`].
    pub fn violated_groups(&self, assignment: &[Fr]) -> BTreeSet<String> {
        self.violations(assignment).into_iter().map(|violation| violation.group).collect()
    }
}

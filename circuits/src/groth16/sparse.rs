//! The matrices of a circuit, flat: 8 bytes a term.
//!
//! Few coefficients differ (1, -1, powers of two, constants of the hash), so a term names its coefficient by number. 1 and -1 come first and
//! cost an addition; a value of 0 or 1, as half of a witness is, costs no multiplication either.

use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, Field, One, Zero};
use ark_relations::gr1cs::Matrix;
use std::collections::HashMap;

const ONE: u32 = 0;
const MINUS_ONE: u32 = 1;

/// A matrix by rows of terms.
#[derive(Clone, Debug)]
pub(crate) struct Sparse {
    /// Where each row starts, and the end of the last.
    starts: Vec<u32>,
    terms: Vec<Term>,
    coefficients: Vec<Fr>,
}

#[derive(Clone, Copy, Debug)]
struct Term {
    column: u32,
    coefficient: u32,
}

/// A matrix that grows row by row.
#[derive(Debug)]
pub(crate) struct Rows {
    matrix: Sparse,
    numbers: HashMap<Fr, u32>,
}

impl Rows {
    /// A matrix without rows.
    pub(crate) fn new() -> Self {
        let matrix = Sparse { starts: vec![0], terms: Vec::new(), coefficients: vec![Fr::ONE, -Fr::ONE] };
        Self { matrix, numbers: HashMap::from([(Fr::ONE, ONE), (-Fr::ONE, MINUS_ONE)]) }
    }

    /// Adds a row of columns and their coefficients.
    pub(crate) fn push(&mut self, row: impl Iterator<Item = (u32, Fr)>) {
        for (column, coefficient) in row {
            let coefficient = self.number(coefficient);
            self.matrix.terms.push(Term { column, coefficient });
        }
        self.matrix.starts.push(self.matrix.terms.len() as u32);
    }

    fn number(&mut self, coefficient: Fr) -> u32 {
        // most are 1, and a hash takes longer than to see that
        if coefficient.is_one() {
            return ONE;
        }
        let coefficients = &mut self.matrix.coefficients;
        *self.numbers.entry(coefficient).or_insert_with(|| {
            coefficients.push(coefficient);
            coefficients.len() as u32 - 1
        })
    }

    /// The matrix, in no more memory than it takes.
    pub(crate) fn finish(mut self) -> Sparse {
        self.matrix.starts.shrink_to_fit();
        self.matrix.terms.shrink_to_fit();
        self.matrix
    }
}

impl Sparse {
    /// Number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.starts.len() - 1
    }

    fn terms(&self, row: usize) -> &[Term] {
        &self.terms[self.starts[row] as usize..self.starts[row + 1] as usize]
    }

    /// Coefficients of a row with their columns.
    pub(crate) fn row(&self, row: usize) -> impl Iterator<Item = (Fr, usize)> + '_ {
        self.terms(row).iter().map(|term| (self.coefficients[term.coefficient as usize], term.column as usize))
    }

    /// All rows, as ark-relations has them.
    pub(crate) fn to_matrix(&self) -> Matrix<Fr> {
        (0..self.rows()).map(|row| self.row(row).collect()).collect()
    }

    /// The product of a row and a vector.
    ///
    /// # Panics
    /// If the row does not exist or the vector is shorter than the matrix is wide.
    pub(crate) fn dot(&self, row: usize, vector: &[Fr]) -> Fr {
        self.terms(row).iter().fold(Fr::ZERO, |sum, term| {
            let value = &vector[term.column as usize];
            match term.coefficient {
                ONE => sum + value,
                MINUS_ONE => sum - value,
                _ if value.is_zero() => sum,
                number if value.is_one() => sum + self.coefficients[number as usize],
                number => sum + self.coefficients[number as usize] * value,
            }
        })
    }
}

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

impl From<&Matrix<Fr>> for Sparse {
    fn from(matrix: &Matrix<Fr>) -> Self {
        let mut coefficients = vec![Fr::ONE, -Fr::ONE];
        let mut numbers = HashMap::from([(Fr::ONE, ONE), (-Fr::ONE, MINUS_ONE)]);
        let mut number = |coefficient: &Fr| {
            *numbers.entry(*coefficient).or_insert_with(|| {
                coefficients.push(*coefficient);
                coefficients.len() as u32 - 1
            })
        };
        let mut starts = Vec::with_capacity(matrix.len() + 1);
        let mut terms = Vec::with_capacity(matrix.iter().map(Vec::len).sum());
        for row in matrix {
            starts.push(terms.len() as u32);
            terms.extend(row.iter().map(|(coefficient, column)| Term { column: *column as u32, coefficient: number(coefficient) }));
        }
        starts.push(terms.len() as u32);
        Self { starts, terms, coefficients }
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

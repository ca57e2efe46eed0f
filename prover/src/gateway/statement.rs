//! The nine public inputs of a batch, derived as L1 derives them: from the deployment's domain, the committed record and the claims.
//! What the prover's input says does not enter.

use sheaf_protocol::batch::PublicInputs;
use sheaf_protocol::field::{from_word, hash_to_field, keccak, to_word};
use sheaf_store::jobs::JobStatement;

/// Words of the header, the first part of a record.
const HEADER_WORDS: usize = 14;
/// Place of h in a record.
const H: usize = 9;

/// `domain, rho, zeta, h, E, Z, Delta, y_da, y_ops`; `None` if a stored word is not below the modulus.
pub(crate) fn public_inputs(statement: &JobStatement) -> Option<PublicInputs> {
    let (header, tail) = statement.record.split_at(HEADER_WORDS);
    let &[quotient_x, quotient_y, y_da, y_ops] = tail else { return None };
    let rho = hash_to_field("rho", &[statement.domain, keccak(header.as_flattened())]);
    let zeta = hash_to_field("zeta", &[to_word(rho), quotient_x, quotient_y]);
    let [e, z, delta] = statement.claims;
    let mut inputs = PublicInputs::default();
    let words = [statement.domain, to_word(rho), to_word(zeta), statement.record[H], e, z, delta, y_da, y_ops];
    for (input, word) in inputs.iter_mut().zip(&words) {
        *input = from_word(word)?;
    }
    Some(inputs)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use sheaf_protocol::amount::Address;
    use sheaf_protocol::batch::PublicInput;
    use sheaf_protocol::field::{Fr, G1Affine};
    use sheaf_protocol::header::{Header, Record, zeta};

    fn record() -> Record {
        let header = Header {
            number: 7,
            circuit: 1,
            old_root: [1; 32],
            commitments: [G1Affine::identity(); 3],
            h: Fr::from(5u64),
            queue_digest: [2; 32],
            taken: 3,
            ops_hash: [3; 32],
            data_hash: [4; 32],
        };
        Record { header, quotient: G1Affine::identity(), y_da: Fr::from(8u64), y_ops: Fr::from(9u64) }
    }

    #[test]
    fn challenges_are_those_of_the_protocol() {
        let (record, domain) = (record(), Fr::from(31_337u64));
        let claims = [1u64, 2, 3].map(|claim| to_word(Fr::from(claim)));
        let statement = JobStatement {
            circuit: 1,
            chain_id: 31_337,
            contract: Address([1; 20]),
            domain: to_word(domain),
            record: record.words().try_into().unwrap(),
            claims,
        };
        let inputs = public_inputs(&statement).unwrap();
        let rho = record.header.rho(domain);
        let expected = [
            domain,
            rho,
            zeta(rho, &record.quotient),
            Fr::from(5u64),
            Fr::from(1u64),
            Fr::from(2u64),
            Fr::from(3u64),
            Fr::from(8u64),
            Fr::from(9u64),
        ];
        assert_eq!(inputs, expected);
        assert_eq!(inputs[PublicInput::YOps as usize], record.y_ops);
    }
}

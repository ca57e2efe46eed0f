//! Powers of tau as snarkjs writes them: what is made of them, and what is refused.
#![expect(clippy::unwrap_used, reason = "tests")]

#[expect(dead_code, reason = "shared with tests that need more of it")]
mod snarkjs;

use ark_bn254::{Fq, Fq2};
use ark_ec::AffineRepr;
use ark_ff::{AdditiveGroup, Field, PrimeField};
use rand::SeedableRng;
use rand::rngs::StdRng;
use sheaf_protocol::field::{Fr, G1Affine, G2Affine};
use sheaf_protocol::kzg::{Origin, Ptau, PtauError, PtauFault, Section, Srs, domain_point};
use std::fs;
use std::path::Path;

const POWER: u32 = 6;
/// Points of a section of `2^POWER`.
const SIZE: usize = 1 << POWER;

fn rng() -> StdRng {
    StdRng::seed_from_u64(1)
}

fn read(path: &Path, k: u32) -> Result<Srs, PtauError> {
    Srs::from_ptau(&Ptau::open(path)?, k, &mut rng(), &mut |_, _| {}).map(|(srs, _)| srs)
}

/// Where a section's bytes begin.
fn start(bytes: &[u8], section: Section) -> usize {
    let wanted = section as u32 + 1;
    let mut at = 12;
    loop {
        let (number, length) = bytes[at..].split_at(4);
        let length = u64::from_le_bytes(length[..8].try_into().unwrap()) as usize;
        if number == wanted.to_le_bytes() {
            return at + 12;
        }
        at += 12 + length;
    }
}

/// What is wrong with the file after `edit`.
fn fault(edit: impl FnOnce(&mut Vec<u8>)) -> PtauFault {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("edited.ptau");
    let mut bytes = fs::read(snarkjs::ptau(POWER)).unwrap();
    edit(&mut bytes);
    fs::write(&path, bytes).unwrap();
    let refused = read(&path, POWER).unwrap_err();
    assert!(refused.to_string().contains("edited.ptau"), "{refused}");
    refused.fault
}

fn swap(bytes: &mut [u8], section: Section, (i, j): (usize, usize), width: usize) {
    let at = start(bytes, section);
    for byte in 0..width {
        bytes.swap(at + i * width + byte, at + j * width + byte);
    }
}

/// Commitments to 1, X and X^2 in the Lagrange basis are the first powers of tau.
#[test]
fn the_basis_belongs_to_the_powers_of_snarkjs() {
    let file = Ptau::open(&snarkjs::ptau(POWER)).unwrap();
    for k in [1, 4, POWER] {
        let mut told = (0, 0);
        let (srs, powers) = Srs::from_ptau(&file, k, &mut rng(), &mut |done, all| told = (done, all)).unwrap();
        assert!(told.0 == told.1 && told.0 > 0, "{told:?}");
        let commit = |degree: u64| srs.commit(&(0..1 << k).map(|idx| (idx, domain_point(idx).pow([degree]))).collect::<Vec<(u32, Fr)>>());
        assert_eq!(commit(0), G1Affine::generator());
        assert_eq!(commit(1), powers.tau_g1[1]);
        if k > 1 {
            assert_eq!(commit(2), powers.tau_g1[2]);
        }
        assert_eq!((srs.tau_g2, srs.origin), (powers.tau_g2[1], Origin::Ceremony));
        assert!(!srs.is_deployable(), "L1 needs 2^24 powers");
    }
}

#[test]
fn files_of_one_ceremony_have_one_digest_and_those_of_another_another() {
    let digest = |path: &Path, k| Ptau::open(path).unwrap().read(k, &mut rng(), &mut |_, _| {}).unwrap().digest();
    let path = snarkjs::ptau(POWER);
    assert_eq!(digest(&path, 2), digest(&path, POWER));
    let folder = tempfile::tempdir().unwrap();
    snarkjs::snarkjs(folder.path(), &["powersoftau", "contribute", path.to_str().unwrap(), "next.ptau", "--name=x", "-e=y"]);
    assert_ne!(digest(&folder.path().join("next.ptau"), 2), digest(&path, 2));
}

#[test]
fn powers_to_which_nobody_contributed_are_refused() {
    let refused = read(&snarkjs::fresh(POWER), POWER).unwrap_err();
    assert!(matches!(refused.fault, PtauFault::KnownTau), "{refused}");
}

#[test]
fn a_file_with_too_few_powers_names_how_many_are_needed() {
    let refused = read(&snarkjs::ptau(POWER), POWER + 1).unwrap_err();
    assert!(matches!(refused.fault, PtauFault::Power { power: POWER, needed: 7 }) && refused.to_string().contains("larger file"), "{refused}");
}

#[test]
fn a_missing_file_is_named() {
    let refused = read(Path::new("/nowhere/pot.ptau"), 3).unwrap_err();
    assert!(matches!(refused.fault, PtauFault::Io(_)) && refused.to_string().contains("/nowhere/pot.ptau"));
}

#[test]
fn another_kind_of_file_or_version_or_curve_is_refused() {
    assert!(matches!(fault(|bytes| bytes[0] = b'z'), PtauFault::Format));
    assert!(matches!(fault(|bytes| bytes[4] = 2), PtauFault::Format));
    assert!(matches!(fault(|bytes| bytes.truncate(7)), PtauFault::Format));
    assert!(matches!(fault(|bytes| bytes[9] = 1), PtauFault::Format), "more sections than there are");
    let header = |edit: fn(&mut [u8])| fault(move |bytes| edit(&mut bytes[12 + 12..]));
    assert!(matches!(header(|header| header[4] ^= 1), PtauFault::Curve), "another modulus");
    assert!(matches!(header(|header| header[0] = 48), PtauFault::Curve), "bls12-381");
    assert!(matches!(header(|header| header[36] = 0), PtauFault::PowerRange(0)));
    assert!(matches!(header(|header| header[36] = 29), PtauFault::PowerRange(29)));
    assert!(matches!(header(|header| header[36] = POWER as u8 + 1), PtauFault::Section(Section::TauG1)), "power without its points");
}

#[test]
fn a_file_that_is_cut_short_names_the_section() {
    for section in [Section::TauG1, Section::TauG2, Section::AlphaTauG1, Section::BetaTauG1, Section::BetaG2] {
        let cut = fault(|bytes| bytes.truncate(start(bytes, section) + 100));
        assert!(matches!(cut, PtauFault::Section(found) if found == section), "{section}: {cut}");
    }
    let twice = fault(|bytes| {
        let again = start(bytes, Section::BetaG2) - 12;
        let tail = bytes[again..again + 140].to_vec();
        bytes[8] += 1;
        bytes.extend(tail);
    });
    assert!(matches!(twice, PtauFault::Section(Section::BetaG2)), "{twice}");
}

#[test]
fn a_damaged_point_is_named_with_its_section_and_index() {
    let sections = [(Section::TauG1, 64), (Section::TauG2, 128), (Section::AlphaTauG1, 64), (Section::BetaTauG1, 64)];
    for (section, width) in sections {
        let named = |edit: fn(&mut [u8]), expected: &str| {
            let found = fault(|bytes| {
                let at = start(bytes, section) + 5 * width;
                edit(&mut bytes[at..at + width]);
            });
            assert!(matches!(found, PtauFault::Point { section: s, index: 5, what } if s == section && what == expected), "{section}: {found}");
        };
        named(|point| point[0] ^= 1, "is not on its curve");
        named(|point| point.fill(0), "is the point at infinity");
        named(|point| point[..32].fill(0xff), "has a coordinate at or above the modulus");
    }
}

/// A point of the twist that is in no subgroup of order r.
#[test]
fn a_g2_point_outside_the_group_is_refused() {
    let mut x = Fq2::new(Fq::from(1u64), Fq::ZERO);
    let point = loop {
        match G2Affine::get_point_from_x_unchecked(x, false) {
            Some(point) if !point.is_in_correct_subgroup_assuming_on_curve() => break point,
            _ => x += Fq2::ONE,
        }
    };
    let bytes_of = |value: Fq| value.0.0.iter().flat_map(|limb| limb.to_le_bytes()).collect::<Vec<u8>>();
    let foreign = [point.x.c0, point.x.c1, point.y.c0, point.y.c1].map(bytes_of).concat();
    for (section, index) in [(Section::TauG2, 3), (Section::BetaG2, 0)] {
        let found = fault(|bytes| {
            let at = start(bytes, section) + 128 * index;
            bytes[at..at + 128].copy_from_slice(&foreign);
        });
        assert!(matches!(found, PtauFault::Point { section: s, what: "is outside its group", .. } if s == section), "{found}");
    }
    assert!(Fq::MODULUS.0[0] & 1 == 1);
}

/// Every point is good, but not where it stands.
#[test]
fn points_that_are_no_powers_are_refused() {
    let last = SIZE - 1;
    for (section, width, pair) in [
        (Section::TauG1, 64, (2, 3)),
        (Section::TauG1, 64, (2 * SIZE - 3, 2 * SIZE - 2)),
        (Section::TauG2, 128, (2, 3)),
        (Section::TauG2, 128, (2, last)),
        (Section::AlphaTauG1, 64, (0, 1)),
        (Section::BetaTauG1, 64, (last - 1, last)),
    ] {
        let found = fault(|bytes| swap(bytes, section, pair, width));
        assert!(matches!(found, PtauFault::Powers(s) if s == section), "{section} {pair:?}: {found}");
    }
    for (section, width) in [(Section::TauG1, 64), (Section::TauG2, 128)] {
        let found = fault(|bytes| swap(bytes, section, (0, 1), width));
        assert!(matches!(found, PtauFault::Generator(s) if s == section), "{section}: {found}");
    }
    let other_beta = fault(|bytes| {
        let (tau, beta) = (start(bytes, Section::TauG2) + 128, start(bytes, Section::BetaG2));
        bytes.copy_within(tau..tau + 128, beta);
    });
    assert!(matches!(other_beta, PtauFault::Powers(Section::BetaG2)), "{other_beta}");
    let other_tau = fault(|bytes| {
        let at = start(bytes, Section::TauG2);
        bytes.copy_within(at + 256..at + 384, at + 128);
    });
    assert!(matches!(other_tau, PtauFault::Powers(Section::TauG1)), "{other_tau}");
}

/// What is read only because L1 holds larger sizes is checked as well.
#[test]
fn powers_beyond_the_state_are_checked_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("edited.ptau");
    let mut bytes = fs::read(snarkjs::ptau(POWER)).unwrap();
    swap(&mut bytes, Section::TauG1, (100, 101), 64);
    fs::write(&path, bytes).unwrap();
    assert!(Ptau::open(&path).unwrap().read(3, &mut rng(), &mut |_, _| {}).is_ok(), "not among the first");
    let refused = read(&path, 3).unwrap_err();
    assert!(matches!(refused.fault, PtauFault::Powers(Section::TauG1)), "{refused}");
}

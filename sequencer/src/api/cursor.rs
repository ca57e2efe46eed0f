//! Opaque cursors: a list's name, a position and a checksum, so that a made-up or foreign one is refused.

use crate::problem::{Code, Problem};
use sheaf_protocol::field::keccak;

const CHECK_BYTES: usize = 4;

/// The cursor of the page below `position` in a list.
pub(super) fn write(list: &str, position: u64) -> String {
    let position = position.to_be_bytes();
    hex::encode([&position[..], &check(list, &position)].concat())
}

/// The position of a cursor; `first` without one.
///
/// # Errors
/// [`Code::BadCursor`].
pub(super) fn read(list: &str, cursor: Option<&str>, first: u64) -> Result<u64, Problem> {
    let Some(cursor) = cursor else { return Ok(first) };
    let bad = || Problem::new(Code::BadCursor, "not a cursor of this list").field("cursor").hint("take it from `next`, or leave it out");
    let mut bytes = [0u8; 8 + CHECK_BYTES];
    hex::decode_to_slice(cursor, &mut bytes).map_err(|_| bad())?;
    let (position, sum) = bytes.split_first_chunk::<8>().ok_or_else(bad)?;
    if sum == check(list, position) { Ok(u64::from_be_bytes(*position)) } else { Err(bad()) }
}

fn check(list: &str, position: &[u8; 8]) -> [u8; CHECK_BYTES] {
    let digest = keccak(&[list.as_bytes(), position].concat());
    [digest[0], digest[1], digest[2], digest[3]]
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_cursor_belongs_to_its_list() {
        let cursor = write("batches", 77);
        assert_eq!(read("batches", Some(&cursor), 0).unwrap(), 77);
        assert_eq!(read("batches", None, 5).unwrap(), 5);
        for bad in [cursor.as_str(), "zz", "", "00"] {
            assert_eq!(read("slots", Some(bad), 0).unwrap_err().code, Code::BadCursor);
        }
    }
}

//! Files mapped into memory to be read.
//!
//! All processes of a host that map a file share its pages, and opening it reads nothing.
//!
//! # Why the unsafe block is sound
//!
//! A mapping is a `&[u8]` as long as nobody changes the bytes below it. The rule that makes it so is that of
//! `sheaf_protocol::artifact`: a large file is written under another name and then renamed over the old one, never changed in place, so
//! that a mapping keeps the file it was made of, whatever takes its name later. Who breaks the rule by hand (`cp` over a key that a
//! worker has open) changes the numbers of proofs, which then fail their check, or cuts the file short, which ends the process with
//! SIGBUS. Nothing here holds references into the mapping other than to bytes, for which every value is valid.

use std::fs::File;
use std::io;
use std::ops::Deref;

/// The bytes of a file.
#[derive(Debug)]
pub(crate) struct Map(memmap2::Mmap);

impl Map {
    /// Maps the whole file, read-only.
    ///
    /// # Errors
    /// Those of the system.
    #[expect(unsafe_code, reason = "see the module's text")]
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        // SAFETY: files of keys are replaced, never changed in place
        unsafe { memmap2::Mmap::map(file) }.map(Self)
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

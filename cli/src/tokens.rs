//! Files with the tokens of prover workers: one a line, the token itself or `sha256:` and its hash, `#` begins a comment.
//!
//! A node needs hashes only; a worker needs the token and nobody else's.

use anyhow::{Context, bail};
use sheaf_prover::gateway::TokenHash;
use std::path::Path;

/// Hex digits of a token.
const TOKEN_DIGITS: usize = 64;

#[derive(Debug, PartialEq, Eq)]
enum Entry {
    Token(String),
    Hash(TokenHash),
}

/// Whom a node lets in.
///
/// # Errors
/// If the file cannot be read or a line is neither token nor hash.
pub(crate) fn hashes(file: &Path) -> anyhow::Result<Vec<TokenHash>> {
    let hash = |entry| match entry {
        Entry::Token(token) => TokenHash::of(&token),
        Entry::Hash(hash) => hash,
    };
    Ok(read(file)?.into_iter().map(hash).collect())
}

/// The token with which a worker comes: the first in the file.
///
/// # Errors
/// If the file cannot be read, a line is neither token nor hash, or there is no token.
pub(crate) fn token(file: &Path) -> anyhow::Result<String> {
    let token = |entry| match entry {
        Entry::Token(token) => Some(token),
        Entry::Hash(_) => None,
    };
    let missing = || format!("{} holds no token (a hash is not one); make one with `sheaf prover token`", file.display());
    read(file)?.into_iter().find_map(token).with_context(missing)
}

fn read(file: &Path) -> anyhow::Result<Vec<Entry>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read the tokens in {}", file.display()))?;
    let lines = (1..).zip(text.lines()).map(|(number, line)| (number, line.split('#').next().unwrap_or_default().trim()));
    let entries = lines.filter(|(_, line)| !line.is_empty());
    entries.map(|(number, line)| entry(line).with_context(|| format!("{}, line {number}", file.display()))).collect()
}

fn entry(line: &str) -> anyhow::Result<Entry> {
    if let Some(hash) = line.strip_prefix("sha256:") {
        return hash.parse().map(Entry::Hash).context("after sha256: come 64 hex digits");
    }
    if line.len() != TOKEN_DIGITS || !line.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        bail!("neither a token ({TOKEN_DIGITS} hex digits) nor sha256: and a token's hash; `sheaf prover token` prints both");
    }
    Ok(Entry::Token(line.to_owned()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use sheaf_prover::gateway::new_token;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, text).unwrap();
        file
    }

    #[test]
    fn tokens_and_hashes_are_read_and_comments_are_not() {
        let (mine, other) = (new_token(), new_token());
        let file = file(&format!("# workers of the first rack\nsha256:{}\n\n  {mine}  # the second\n", TokenHash::of(&other)));
        assert_eq!(hashes(file.path()).unwrap(), [TokenHash::of(&other), TokenHash::of(&mine)]);
        assert_eq!(token(file.path()).unwrap(), mine);
    }

    #[test]
    fn a_line_that_is_no_token_is_refused_by_its_number() {
        let good = new_token();
        for bad in ["letmein", "sha256:12", &good[1..], &format!("{good} {good}")] {
            let refused = hashes(file(&format!("{good}\n{bad}\n")).path()).unwrap_err();
            assert!(format!("{refused:#}").contains("line 2"), "{bad}: {refused:#}");
        }
        let only_hash = file(&format!("sha256:{}\n", TokenHash::of(&good)));
        assert!(token(only_hash.path()).unwrap_err().to_string().contains("sheaf prover token"));
    }
}

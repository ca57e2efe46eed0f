//! Files with tokens of prover workers or of operators: one a line, the token itself or `sha256:` and its hash, before it the name of whose it is
//! (operators need one: it is what the audit log shows); `#` begins a comment.
//!
//! A node needs hashes only; a worker or an operator needs the own token and nobody else's.

use anyhow::{Context, bail, ensure};
use sheaf_prover::gateway::{OperatorToken, TokenHash};
use sheaf_prover::wire::is_worker_name;
use std::collections::BTreeSet;
use std::path::Path;

/// Hex digits of a token.
const TOKEN_DIGITS: usize = 64;

#[derive(Debug, PartialEq, Eq)]
enum Secret {
    Token(String),
    Hash(TokenHash),
}

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    line: usize,
    name: Option<String>,
    secret: Secret,
}

impl Secret {
    fn hash(self) -> TokenHash {
        match self {
            Secret::Token(token) => TokenHash::of(&token),
            Secret::Hash(hash) => hash,
        }
    }
}

/// Whom a node lets in.
///
/// # Errors
/// If the file cannot be read or a line is neither token nor hash.
pub(crate) fn hashes(file: &Path) -> anyhow::Result<Vec<TokenHash>> {
    Ok(read(file)?.into_iter().map(|entry| entry.secret.hash()).collect())
}

/// Who may give orders.
///
/// # Errors
/// If the file cannot be read, a line is neither token nor hash or has no name, or a name or a token stands there twice.
pub(crate) fn operators(file: &Path) -> anyhow::Result<Vec<OperatorToken>> {
    let (mut names, mut hashes) = (BTreeSet::new(), BTreeSet::new());
    let operator = |Entry { line, name, secret }| {
        let at = format!("{}, line {line}", file.display());
        let name: String = name.with_context(|| format!("{at}: an operator's token needs a name before it: alice sha256:.."))?;
        let hash = secret.hash();
        ensure!(names.insert(name.clone()), "{at}: {name} is there already");
        ensure!(hashes.insert(hash.to_string()), "{at}: the token of {name} is another's as well");
        Ok(OperatorToken { name, hash })
    };
    read(file)?.into_iter().map(operator).collect()
}

/// The own token: the first in the file.
///
/// # Errors
/// If the file cannot be read, a line is neither token nor hash, or there is no token.
pub(crate) fn token(file: &Path) -> anyhow::Result<String> {
    let token = |entry: Entry| match entry.secret {
        Secret::Token(token) => Some(token),
        Secret::Hash(_) => None,
    };
    let missing = || format!("{} holds no token (a hash is not one); make one with `sheaf prover tokens`", file.display());
    read(file)?.into_iter().find_map(token).with_context(missing)
}

fn read(file: &Path) -> anyhow::Result<Vec<Entry>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read the tokens in {}", file.display()))?;
    let lines = (1..).zip(text.lines()).map(|(number, line)| (number, line.split('#').next().unwrap_or_default().trim()));
    let entries = lines.filter(|(_, line)| !line.is_empty());
    entries.map(|(number, line)| entry(number, line).with_context(|| format!("{}, line {number}", file.display()))).collect()
}

fn entry(line: usize, text: &str) -> anyhow::Result<Entry> {
    let (name, secret) = match text.split_once(char::is_whitespace) {
        Some((name, secret)) if is_worker_name(name) && name.len() < TOKEN_DIGITS => (Some(name.to_owned()), secret.trim()),
        _ => (None, text),
    };
    Ok(Entry { line, name, secret: self::secret(secret)? })
}

fn secret(text: &str) -> anyhow::Result<Secret> {
    if let Some(hash) = text.strip_prefix("sha256:") {
        return hash.parse().map(Secret::Hash).context("after sha256: come 64 hex digits");
    }
    if text.len() != TOKEN_DIGITS || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        bail!("neither a token ({TOKEN_DIGITS} hex digits) nor sha256: and a token's hash; `sheaf prover tokens` prints both");
    }
    Ok(Secret::Token(text.to_owned()))
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
        assert!(token(only_hash.path()).unwrap_err().to_string().contains("sheaf prover tokens"));
    }

    #[test]
    fn operators_have_names_and_tokens_of_their_own() {
        let (mine, other) = (new_token(), new_token());
        let known = file(&format!("alice {mine}\nbob  sha256:{}  # on call\n", TokenHash::of(&other)));
        let expected = [("alice", &mine), ("bob", &other)].map(|(name, token)| OperatorToken { name: name.into(), hash: TokenHash::of(token) });
        assert_eq!(operators(known.path()).unwrap(), expected);
        assert_eq!((token(known.path()).unwrap(), hashes(known.path()).unwrap().len()), (mine.clone(), 2));
        for (bad, why) in [(mine.clone(), "needs a name"), (format!("alice {other}"), "there already"), (format!("eve {mine}"), "another's")] {
            let refused = operators(file(&format!("alice {mine}\n{bad}\n")).path()).unwrap_err().to_string();
            assert!(refused.contains(why) && refused.contains("line 2"), "{bad}: {refused}");
        }
    }
}

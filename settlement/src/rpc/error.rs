//! Why a request to L1 has no result, and whether asking again, or asking another node, may help.

use jsonrpsee::core::client::Error as ClientError;

/// "Limit exceeded" of EIP-1474: the node may answer later.
const LIMIT_EXCEEDED: i32 = -32_005;
/// "Execution reverted".
const REVERTED: i32 = 3;

/// Why a request has no result.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// The address is not one of an HTTP node.
    #[error("{site} is not the address of a JSON-RPC node; expected http:// or https:// and a host")]
    Url {
        /// What may be shown of it, see [`site`].
        site: String,
    },
    /// No answer: whether the node acted on the request is unknown.
    #[error("{method}: the L1 node did not answer")]
    Unreachable {
        /// The request.
        method: &'static str,
        /// What the transport said.
        #[source]
        source: ClientError,
    },
    /// The node answered with an error.
    #[error("{method}: the L1 node refused ({code}): {message}")]
    Refused {
        /// The request.
        method: &'static str,
        /// JSON-RPC error code; 3 is "execution reverted".
        code: i32,
        /// The node's words, for people only.
        message: String,
        /// Revert data, where there is any.
        data: Option<Vec<u8>>,
    },
    /// The answer is not what the method promises.
    #[error("{method}: malformed answer from the L1 node: {detail}")]
    Malformed {
        /// The request.
        method: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// Nodes answer one question differently, and none has enough on its side.
    #[error("the L1 nodes contradict each other about the {what}: {sites}")]
    Contradiction {
        /// The question.
        what: &'static str,
        /// Who against whom.
        sites: String,
    },
    /// Too few nodes answer to believe them.
    #[error("{found} of the {needed} L1 nodes that must agree on the {what} answer")]
    TooFew {
        /// The question.
        what: &'static str,
        /// How many answered.
        found: usize,
        /// How many must.
        needed: usize,
    },
    /// The nodes show less of the chain than was shown before.
    #[error("the L1 nodes lag: they show block {head}, block {known} was there before")]
    Lagging {
        /// Shown now.
        head: u64,
        /// Shown before.
        known: u64,
    },
    /// The node serves another chain.
    #[error("the L1 node {site} serves chain {found}, expected {expected}")]
    WrongChain {
        /// What may be shown of its address.
        site: String,
        /// From the configuration.
        expected: u64,
        /// From the node.
        found: u64,
    },
}

impl RpcError {
    pub(super) fn new(method: &'static str, error: ClientError) -> Self {
        match error {
            ClientError::Call(object) => Self::Refused {
                method,
                code: object.code(),
                message: object.message().chars().take(300).collect(),
                data: object.data().and_then(|raw| revert_data(raw.get())),
            },
            ClientError::ParseError(source) => Self::Malformed { method, detail: source.to_string() },
            ClientError::InvalidRequestId(source) => Self::Malformed { method, detail: source.to_string() },
            source => Self::Unreachable { method, source },
        }
    }

    pub(crate) fn malformed(method: &'static str, detail: impl Into<String>) -> Self {
        Self::Malformed { method, detail: detail.into() }
    }

    /// True if repeating a reading call may help: there was no answer, too many were asked for, or the nodes do not agree yet.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Refused { code: LIMIT_EXCEEDED, .. } => true,
            Self::Contradiction { .. } | Self::TooFew { .. } | Self::Lagging { .. } => true,
            Self::Url { .. } | Self::Refused { .. } | Self::Malformed { .. } | Self::WrongChain { .. } => false,
        }
    }

    /// True if it speaks against the node, not against the question.
    pub(super) fn is_fault(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Malformed { .. } | Self::WrongChain { .. } | Self::Refused { code: LIMIT_EXCEEDED, .. })
    }

    /// True if the contract said no: the same on any node.
    pub(super) fn is_revert(&self) -> bool {
        matches!(self, Self::Refused { code: REVERTED, .. } | Self::Refused { data: Some(_), .. })
    }
}

/// Revert data of an error object: a hex string, or an object with such a string under `data`.
fn revert_data(raw: &str) -> Option<Vec<u8>> {
    let value: serde_json::Value = serde_json::from_str(raw).ok()?;
    let text = value.as_str().or_else(|| value.get("data")?.as_str())?;
    hex::decode(text.strip_prefix("0x")?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revert_data_is_found_in_both_shapes() {
        assert_eq!(revert_data("\"0x0102\""), Some(vec![1, 2]));
        assert_eq!(revert_data("{\"data\":\"0x03\"}"), Some(vec![3]));
        assert_eq!(revert_data("{\"other\":1}"), None);
    }
}

//! What several L1 nodes say together, and the chain's head, which does not go backwards.
//!
//! ```text
//! known = the highest head that was believed
//!
//! enough nodes have reached it ───────────> head = the highest block that so many have reached, its header the same on all of them
//! too few have, for `lag_patience_ms` ────> they lag: no answer
//! none has, for longer than that ─────────> the chain was set back: the lower head is believed
//! ```
//!
//! A node that claims a head nobody else has reached is outvoted, and a node that lags, or was set back to an older block, is not taken for a
//! reorg. A reorg shows itself at the same height or above. With one node, what it says consistently is believed.

use super::endpoint::EndpointStatus;
use super::{BlockHead, Rpc, RpcError};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// How much must be said for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quorum {
    /// `agree` nodes say it. For what cannot be taken back: deposits that are credited, proofs that are called final.
    Strict,
    /// `agree` nodes say it, or all that answer do. For what the contract checks again: one node is enough to go on.
    Soft,
}

/// The highest head that was believed, and when that many nodes last showed it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    number: u64,
    at: Instant,
}

impl Rpc {
    /// The state of every endpoint, in the order in which they were named.
    pub fn endpoints(&self) -> Vec<EndpointStatus> {
        self.endpoints.iter().map(super::endpoint::Endpoint::status).collect()
    }

    /// No head below this is the present one: what an earlier process had seen.
    pub(crate) fn remember(&self, number: u64) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.is_none_or(|seen| seen.number < number) {
            *seen = Some(Seen { number, at: Instant::now() });
        }
    }

    /// How many nodes must say the same.
    pub(crate) fn needed(&self) -> usize {
        self.options.agree.clamp(1, self.endpoints.len())
    }

    /// The answer that enough nodes give, each asked alone and once. Otherwise an error: that they contradict each other, the first failure, or
    /// that they are too few.
    ///
    /// # Errors
    /// Those of `ask`, and through `failed` [`RpcError::Contradiction`] and [`RpcError::TooFew`].
    pub(crate) async fn agreed<T: PartialEq, E, F: Future<Output = Result<T, E>>>(
        &self,
        quorum: Quorum,
        what: &'static str,
        ask: impl Fn(Rpc) -> F,
        failed: impl Fn(RpcError) -> E,
    ) -> Result<T, E> {
        let mut answers: Vec<(T, Vec<String>)> = Vec::new();
        let mut error = None;
        for node in self.nodes() {
            // one that failed lately is waited for only where the others need it
            if quorum == Quorum::Soft && answers.len() == 1 && node.is_resting() {
                continue;
            }
            let site = node.name();
            match ask(node).await {
                Ok(answer) => match answers.iter_mut().find(|(known, _)| *known == answer) {
                    Some((_, sites)) => sites.push(site),
                    None => answers.push((answer, vec![site])),
                },
                Err(failure) => error = error.or(Some(failure)),
            }
            if let Some(place) = answers.iter().position(|(_, sites)| sites.len() >= self.needed()) {
                return Ok(answers.swap_remove(place).0);
            }
        }
        if answers.len() > 1 {
            let sites = answers.iter().map(|(_, sites)| sites.join(" and ")).collect::<Vec<_>>().join(" against ");
            metrics::counter!("sheaf_l1_contradictions_total").increment(1);
            return Err(failed(RpcError::Contradiction { what, sites }));
        }
        match (answers.pop(), error) {
            (Some((answer, _)), _) if quorum == Quorum::Soft => Ok(answer),
            (_, Some(error)) => Err(error),
            (answer, None) => Err(failed(self.too_few(what, answer.iter().len()))),
        }
    }

    /// What as many nodes say as must agree, or fewer if not so many answer, each asked alone and once; a revert is an answer.
    ///
    /// # Errors
    /// The first failure, if none answers.
    pub(crate) async fn some_answers<T, F: Future<Output = Result<T, RpcError>>>(
        &self,
        ask: impl Fn(Rpc) -> F,
    ) -> Result<Vec<Result<T, RpcError>>, RpcError> {
        let (mut answers, mut error) = (Vec::new(), None);
        for node in self.nodes() {
            if answers.len() >= self.needed() || !answers.is_empty() && node.is_resting() {
                continue;
            }
            match ask(node).await {
                Err(failure) if !failure.is_revert() => error = error.or(Some(failure)),
                answer => answers.push(answer),
            }
        }
        match error {
            Some(error) if answers.is_empty() => Err(error),
            _ => Ok(answers),
        }
    }

    fn too_few(&self, what: &'static str, found: usize) -> RpcError {
        RpcError::TooFew { what, found, needed: self.needed() }
    }

    /// The chain's head.
    ///
    /// # Errors
    /// [`RpcError`]; [`RpcError::Lagging`] while the nodes show less than was shown before.
    pub(crate) async fn head(&self, quorum: Quorum) -> Result<BlockHead, RpcError> {
        let heads = self.heads(quorum).await?;
        if quorum == Quorum::Strict && heads.len() < self.needed() {
            return Err(self.too_few("newest block", heads.len()));
        }
        let number = self.believed(quorum, heads.iter().map(|(_, head)| head.number.as_u64()).collect())?;
        let ask = |node: Rpc| {
            let known = heads.iter().find(|(name, head)| *name == node.name() && head.number.as_u64() == number).map(|(_, head)| head.clone());
            let absent = move || RpcError::malformed("eth_getBlockByNumber", format!("no block {number}"));
            async move {
                match known {
                    Some(head) => Ok(head),
                    None => node.block(number).await?.ok_or_else(absent),
                }
            }
        };
        self.agreed(quorum, "newest block", ask, |error| error).await
    }

    /// The heads of the nodes that answer; one that failed lately is waited for only if the others are too few.
    async fn heads(&self, quorum: Quorum) -> Result<Vec<(String, BlockHead)>, RpcError> {
        let enough = if quorum == Quorum::Soft { 1 } else { self.needed() };
        let (mut heads, mut error) = (Vec::new(), None);
        for node in self.nodes() {
            if heads.len() >= enough && node.is_resting() {
                continue;
            }
            match node.own_head().await {
                Ok(head) => heads.push((node.name(), head)),
                Err(failure) => error = error.or(Some(failure)),
            }
        }
        match error {
            Some(error) if heads.is_empty() => Err(error),
            _ => Ok(heads),
        }
    }

    /// The height to believe, of at least one height shown.
    fn believed(&self, quorum: Quorum, mut shown: Vec<u64>) -> Result<u64, RpcError> {
        shown.sort_unstable_by(|a, b| b.cmp(a));
        let enough = self.needed().min(shown.len());
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let known = seen.map_or(0, |seen| seen.number);
        let (together, reached) = (shown[enough - 1], shown.iter().filter(|number| **number >= known).count());
        if reached >= enough {
            // what one of several nodes says alone is no measure for the others
            if enough == self.needed() {
                *seen = Some(Seen { number: together, at: Instant::now() });
            }
            return Ok(together);
        }
        let patience = Duration::from_millis(self.options.lag_patience_ms);
        let waited_enough = seen.is_none_or(|seen| seen.at.elapsed() >= patience);
        match (waited_enough, reached) {
            (true, 0) => {
                tracing::warn!(head = together, known, "the L1 chain is shorter than it was");
                *seen = Some(Seen { number: together, at: Instant::now() });
                Ok(together)
            }
            (true, reached) if quorum == Quorum::Soft => Ok(shown[reached - 1]),
            _ => Err(RpcError::Lagging { head: together, known }),
        }
    }
}

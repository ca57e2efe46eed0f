//! Counters that begin at 0 when the process does: an alert on growth misses the first event of a counter that appears with it.

use crate::problem::Code;
use crate::sealer::Reason;
use metrics::{counter, gauge};

/// Shows every counter of the sequencer at 0, and that nothing leads or waits yet. Once, after metrics are collected.
pub fn count_from_zero() {
    for name in ["sheaf_accepted_total", "sheaf_batches_resealed_total"] {
        counter!(name).increment(0);
    }
    for reason in Reason::ALL {
        counter!("sheaf_sealed_total", "reason" => reason.name()).increment(0);
    }
    for code in Code::ALL {
        counter!("sheaf_refused_total", "code" => code.name()).increment(0);
    }
    stands_by();
}

/// This process leads from now on.
pub(crate) fn leads() {
    gauge!("sheaf_sequencer_leader").set(1.0);
}

/// It does not lead: what it showed as leader is not so any more.
pub(crate) fn stands_by() {
    gauge!("sheaf_sequencer_leader").set(0.0);
    gauge!("sheaf_unsealed").set(0.0);
}

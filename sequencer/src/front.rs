//! What a process shows before it leads: it lives, it is not ready, and a client should come again. The pages say so themselves.
//!
//! ```text
//! standby, recovery ──open──> the sequencer's own router ──close──> standby
//! ```
//! The listener and its connections stay through the change.

use crate::api::{RenderMetrics, cors, pages, render};
use crate::config::ApiConfig;
use crate::counts;
use crate::problem::{Code, Problem};
use axum::Router;
use axum::extract::Request;
use axum::routing::get;
use std::sync::{Arc, PoisonError, RwLock};
use tower::ServiceExt;

/// A router whose content changes while it is served.
#[derive(Clone, Debug)]
pub struct Front {
    standby: Router,
    present: Arc<RwLock<Router>>,
}

impl Front {
    /// Standing by.
    pub fn new(config: &ApiConfig, metrics: Option<RenderMetrics>) -> Self {
        let standby = Router::new()
            .route("/health", get(async || "ok\n"))
            .route("/metrics", get(async move || render(metrics.as_ref())))
            .merge(pages())
            .fallback(not_leading)
            .layer(cors(&config.cors_origins));
        Self { present: Arc::new(RwLock::new(standby.clone())), standby }
    }

    /// The router to [`serve`](crate::serve).
    pub fn router(&self) -> Router {
        let present = Arc::clone(&self.present);
        Router::new().fallback(move |request: Request| {
            let router = present.read().unwrap_or_else(PoisonError::into_inner).clone();
            router.oneshot(request)
        })
    }

    /// Leads: shows `router` from now on.
    pub fn open(&self, router: Router) {
        self.show(router);
        counts::leads();
    }

    /// Stands by again; /metrics tells nothing of the time before as if it were so now.
    pub fn close(&self) {
        self.show(self.standby.clone());
        counts::stands_by();
    }

    fn show(&self, router: Router) {
        *self.present.write().unwrap_or_else(PoisonError::into_inner) = router;
    }
}

async fn not_leading() -> Problem {
    Problem::new(Code::Standby, "another process leads, or this one is still starting").hint("ask the leader, or come again")
}

//! The HTTP surface: one router, mounted wherever the process listens.
//!
//! ```text
//! request ── id, trace, panic guard ── CORS ── body limits ── budget of the client ── handler ── problem document on any error
//! ```

mod batches;
mod cursor;
mod docs;
mod events;
mod explorer;
mod info;
mod limits;
mod params;
mod slots;
mod submit;
mod transactions;
mod web;

pub use docs::document;
pub(crate) use info::render;
pub(crate) use limits::Limits;
pub(crate) use web::router as pages;

use crate::admission::Door;
use crate::config::{Config, Deployment};
use crate::feed::Feed;
use crate::places::Places;
use crate::problem::{Code, Problem};
use crate::view::View;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, middleware};
use sheaf_store::StoreError;
use sheaf_store::pool::within;
use sqlx::PgPool;
use std::future::Future;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, Any, CorsLayer};
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::timeout::RequestBodyTimeoutLayer;
use tower_http::trace::TraceLayer;

/// Text of /metrics.
pub type RenderMetrics = Arc<dyn Fn() -> String + Send + Sync>;

/// What handlers work with.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) config: Arc<Config>,
    pub(crate) deployment: Arc<Deployment>,
    pub(crate) pool: PgPool,
    pub(crate) view: Arc<View>,
    pub(crate) door: Door,
    pub(crate) feed: Feed,
    pub(crate) limits: Arc<limits::Limits>,
    /// What was last told of the activity, by minutes.
    pub(crate) activity: Arc<explorer::Told>,
    pub(crate) streams: Arc<Places>,
    pub(crate) waiters: Arc<Places>,
    pub(crate) metrics: Option<RenderMetrics>,
    pub(crate) stop: CancellationToken,
}

impl App {
    /// Reads from the database, as long as a client may wait for that.
    ///
    /// # Errors
    /// [`Code::StorageUnavailable`].
    pub(crate) async fn ask<T>(&self, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, Problem> {
        within(self.config.api.read_timeout, work).await.map_err(|error| Problem::database(&error))
    }
}

/// The whole surface.
pub(crate) fn router(app: App) -> Router {
    let config = Arc::clone(&app.config);
    let api = &config.api;
    let budgeted = Router::new()
        .route("/v1/transactions", post(submit::submit).get(transactions::list))
        .route("/v1/transactions/{hash}", get(transactions::status))
        .route("/v1/slots", get(slots::find))
        .route("/v1/slots/{id}", get(slots::one))
        .route("/v1/slots/{id}/transactions", get(slots::history))
        .route("/v1/batches", get(batches::list))
        .route("/v1/batches/{number}", get(batches::one))
        .route("/v1/queue", get(explorer::queue))
        .route("/v1/activity", get(explorer::activity))
        .route("/v1/tokens", get(info::tokens))
        .route("/v1/fees", get(info::fees))
        .route("/v1/status", get(info::status))
        .route("/v1/events", get(events::stream))
        .route_layer(middleware::from_fn_with_state(app.clone(), limits::charge_request));
    Router::new()
        .merge(budgeted)
        .route("/health", get(info::health))
        .route("/ready", get(info::ready))
        .route("/metrics", get(info::metrics))
        .with_state(app)
        .merge(docs::router(&api.documents))
        .merge(web::router())
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(api.max_body_bytes))
        .layer(RequestBodyTimeoutLayer::new(api.body_read_timeout))
        .layer(cors(&api.cors_origins))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(TraceLayer::new_for_http().make_span_with(span))
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
}

pub(crate) fn cors(origins: &[String]) -> CorsLayer {
    let layer = CorsLayer::new().allow_methods(Any).allow_headers(Any).expose_headers(["retry-after", "x-request-id"].map(HeaderName::from_static));
    if origins.iter().any(|origin| origin == "*") {
        return layer.allow_origin(Any);
    }
    layer.allow_origin(AllowOrigin::list(origins.iter().filter_map(|origin| origin.parse().ok())))
}

fn span(request: &Request<axum::body::Body>) -> tracing::Span {
    let id = request.headers().get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
    tracing::debug_span!("request", method = %request.method(), path = request.uri().path(), id)
}

async fn not_found() -> Problem {
    Problem::new(Code::NotFound, "see /docs for what there is")
}

async fn method_not_allowed() -> Problem {
    Problem::new(Code::MethodNotAllowed, "see /docs for what there is")
}

fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    tracing::error!("a request handler panicked");
    Problem::new(Code::Internal, "the request could not be answered").into_response()
}

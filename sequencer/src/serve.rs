//! The listening loop. axum's own has no time-out for a request's head, so a slow client could hold a connection for ever; this one has, and
//! bounds on connections, of all and of one client.

use crate::client::ClientIp;
use crate::config::ApiConfig;
use crate::places::{Place, Places};
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// How long open requests may take after the stop: longer than a write.
const DRAIN: Duration = Duration::from_secs(8);
/// Pause after the system refused a connection (no file descriptors left, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves `router` on `listener` until `stop`, then lets open requests finish for a few seconds.
pub async fn serve(listener: TcpListener, router: Router, config: &ApiConfig, stop: CancellationToken) {
    // behind a proxy all connections have one address
    let each = if config.client_ip_header.is_none() { config.max_connections_per_client } else { config.max_connections };
    let (places, tracker) = (Places::new(config.max_connections, each), TaskTracker::new());
    while let Some((stream, peer, place)) = next(&listener, &places, &stop).await {
        tracker.spawn(connection(stream, peer, router.clone(), config.header_read_timeout, stop.clone(), place));
    }
    tracker.close();
    if tokio::time::timeout(DRAIN, tracker.wait()).await.is_err() {
        tracing::warn!(open = tracker.len(), "connections were cut off");
    }
}

/// The next connection, once there is a place for it; `None` after the stop.
async fn next(listener: &TcpListener, places: &Arc<Places>, stop: &CancellationToken) -> Option<(TcpStream, SocketAddr, Place)> {
    let accept = async {
        loop {
            let free = places.free().await?;
            match listener.accept().await {
                Ok((stream, peer)) => match places.give(ClientIp::at(peer.ip()), free) {
                    Some(place) => return Some((stream, peer, place)),
                    None => tracing::debug!(%peer, "a client has too many connections: this one is closed"),
                },
                Err(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "a connection was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => None,
        accepted = accept => accepted,
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, header_read_timeout: Duration, stop: CancellationToken, _place: Place) {
    // a receipt is one small packet: do not wait for more
    let _ = stream.set_nodelay(true);
    let service = router.map_request(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        request
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(header_read_timeout);
    let connection = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = &error as &dyn std::error::Error, "a connection ended");
    }
}

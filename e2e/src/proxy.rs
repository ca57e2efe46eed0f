//! A TCP proxy between workers and gateway that does what networks do: delays, cuts connections in the middle, loses answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The largest piece that is passed on at once, in bytes.
const PIECE_BYTES: usize = 16 * 1024;

/// What the network does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// Nothing.
    Fair,
    /// Each piece waits so long before it goes on.
    Slow(Duration),
    /// Half of a piece goes on, then the connection is closed.
    Cut,
    /// Requests arrive, the connection is closed instead of the answer.
    Deaf,
}

/// A proxy; dropping it closes its listener and its connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    struck: Arc<AtomicU64>,
}

impl Proxy {
    /// A proxy on a free port in front of `target` (host:port), in fair weather.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn start(target: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, target) = (listener.local_addr()?, target.to_owned());
        let (weather, present) = watch::channel(Weather::Fair);
        let struck = Arc::new(AtomicU64::new(0));
        let counter = struck.clone();
        tokio::spawn(async move {
            let mut over = present.clone();
            loop {
                let client = tokio::select! {
                    accepted = listener.accept() => accepted,
                    _ = closed(&mut over) => return,
                };
                if let Ok((client, _)) = client {
                    tokio::spawn(carry(client, target.clone(), present.clone(), counter.clone()));
                }
            }
        });
        Ok(Self { address, weather, struck })
    }

    /// Base URL of it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes the weather.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// Pieces that were delayed, cut or lost so far.
    pub fn struck(&self) -> u64 {
        self.struck.load(Ordering::Relaxed)
    }
}

async fn closed(weather: &mut watch::Receiver<Weather>) {
    while weather.changed().await.is_ok() {}
}

async fn carry(client: TcpStream, target: String, weather: watch::Receiver<Weather>, struck: Arc<AtomicU64>) {
    let Ok(server) = TcpStream::connect(&target).await else { return };
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let mut over = weather.clone();
    tokio::select! {
        () = pass(from_client, to_server, &weather, &struck, false) => {}
        () = pass(from_server, to_client, &weather, &struck, true) => {}
        () = closed(&mut over) => {}
    }
}

/// Passes bytes on until either end closes or the weather ends the connection.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, weather: &watch::Receiver<Weather>, struck: &AtomicU64, is_answer: bool) {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let Ok(length @ 1..) = from.read(&mut piece).await else { return };
        let now = *weather.borrow();
        if now != Weather::Fair && (is_answer || now != Weather::Deaf) {
            struck.fetch_add(1, Ordering::Relaxed);
        }
        let passed = match now {
            Weather::Fair => length,
            Weather::Slow(pause) => {
                tokio::time::sleep(pause).await;
                length
            }
            Weather::Cut => length / 2,
            Weather::Deaf if is_answer => 0,
            Weather::Deaf => length,
        };
        if to.write_all(&piece[..passed]).await.is_err() || passed < length {
            return;
        }
    }
}

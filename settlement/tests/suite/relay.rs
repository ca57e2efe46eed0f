//! A wire between client and chain that can be cut: forwards JSON-RPC over HTTP, and loses or refuses what a test names.

use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What happens to a request.
pub(crate) enum Fate {
    /// It passes, and so does its answer.
    Passes,
    /// It arrives, but the connection breaks before the answer.
    AnswerLost,
    /// The node says no.
    Refused,
}

/// A relay in front of the chain on `port`; returns its address.
pub(crate) async fn relay(port: u16, fate: impl Fn(&Value) -> Fate + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let fate = Arc::new(fate);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let fate = fate.clone();
            tokio::spawn(async move { serve(client, ([127, 0, 0, 1], port).into(), &*fate).await });
        }
    });
    format!("http://{address}")
}

async fn serve(mut client: TcpStream, chain: SocketAddr, fate: &(impl Fn(&Value) -> Fate + Sync)) -> Option<()> {
    let mut chain = TcpStream::connect(chain).await.ok()?;
    loop {
        let (request, body) = message(&mut client).await?;
        let call: Value = serde_json::from_slice(&body).ok()?;
        match fate(&call) {
            Fate::Refused => client.write_all(&refusal(&call)).await.ok()?,
            fate => {
                chain.write_all(&request).await.ok()?;
                let (answer, _) = message(&mut chain).await?;
                if matches!(fate, Fate::AnswerLost) {
                    return None;
                }
                client.write_all(&answer).await.ok()?;
            }
        }
    }
}

/// One HTTP message: all of it, and its body.
async fn message(stream: &mut TcpStream) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        let head = bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|end| end + 4);
        if let Some(head) = head
            && bytes.len() >= head + length(&bytes[..head])
        {
            return Some((bytes.clone(), bytes.split_off(head)));
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

fn length(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok()).unwrap()
}

fn refusal(call: &Value) -> Vec<u8> {
    let body = json!({ "jsonrpc": "2.0", "id": call["id"], "error": { "code": -32602, "message": "the range is too large" } }).to_string();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

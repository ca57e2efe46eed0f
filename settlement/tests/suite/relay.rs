//! A wire between client and chain that a test controls: forwards JSON-RPC over HTTP, and loses, refuses, bends or invents what it is told to.
//! The chain behind it is always a real one.

use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What happens to a request.
pub(crate) enum Fate {
    /// It passes, and so does its answer.
    Passes,
    /// It never arrives: the connection breaks.
    Lost,
    /// It arrives, but the connection breaks before the answer.
    AnswerLost,
    /// It never arrives, and nothing is ever answered.
    Stalls,
    /// It never arrives; these bytes are the answer, then the connection breaks.
    Bytes(&'static str),
    /// It never arrives: the node says no, with this code and message.
    Refused(i64, &'static str),
    /// It arrives, and still the node says no.
    TakenAndRefused(i64, &'static str),
    /// It never arrives; this is the result.
    Invented(Value),
    /// It passes, but the newest block is taken to be one so many below.
    Behind(u64),
    /// It passes, and its result is edited.
    Bent(fn(&mut Value)),
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
        let answer = match fate(&call) {
            Fate::Lost => return None,
            Fate::Stalls => std::future::pending().await,
            Fate::Bytes(bytes) => {
                client.write_all(bytes.as_bytes()).await.ok()?;
                return None;
            }
            Fate::Refused(code, message) => answer(&call, "error", json!({ "code": code, "message": message })),
            Fate::Invented(result) => answer(&call, "result", result),
            Fate::Passes => ask(&mut chain, &request).await?.0,
            Fate::AnswerLost => {
                ask(&mut chain, &request).await?;
                return None;
            }
            Fate::TakenAndRefused(code, message) => {
                ask(&mut chain, &request).await?;
                answer(&call, "error", json!({ "code": code, "message": message }))
            }
            Fate::Behind(blocks) => {
                let head = ask(&mut chain, &post(&json!({ "jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber", "params": [] }))).await?.1;
                let head: Value = serde_json::from_slice(&head).ok()?;
                let number = u64::from_str_radix(head["result"].as_str()?.trim_start_matches("0x"), 16).ok()?;
                let older = body_with(&call, &format!("{:#x}", number.saturating_sub(blocks)));
                ask(&mut chain, &post(&older)).await?.0
            }
            Fate::Bent(bend) => {
                let mut answered: Value = serde_json::from_slice(&ask(&mut chain, &request).await?.1).ok()?;
                bend(&mut answered["result"]);
                http("HTTP/1.1 200 OK", &answered)
            }
        };
        client.write_all(&answer).await.ok()?;
    }
}

async fn ask(chain: &mut TcpStream, request: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    chain.write_all(request).await.ok()?;
    message(chain).await
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

/// The same call, with a number for the newest block.
fn body_with(call: &Value, number: &str) -> Value {
    serde_json::from_str(&call.to_string().replace("\"latest\"", &format!("\"{number}\""))).unwrap()
}

fn answer(call: &Value, kind: &str, value: Value) -> Vec<u8> {
    http("HTTP/1.1 200 OK", &json!({ "jsonrpc": "2.0", "id": call["id"], kind: value }))
}

fn post(call: &Value) -> Vec<u8> {
    http("POST / HTTP/1.1\r\nhost: 127.0.0.1", call)
}

fn http(first_line: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    format!("{first_line}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

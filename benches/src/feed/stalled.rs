//! Viewers that are let in and never read again.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use benches::Site;
use events::{Clock as _, SystemClock};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// Places the built-in feed has.
const BUILT_IN_MAX: usize = 32;
/// Bytes the system takes for who does not read: few, so that it stalls soon.
const RECEIVED_MAX: u32 = 4 * 1024;

/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Their connections, gone when dropped.
pub(super) struct Stalled(#[expect(dead_code, reason = "held open")] Vec<TcpStream>);

impl Stalled {
    /// Opens `viewers` of them: half on the built-in feed, as many as it takes, the others on NATS.
    pub(super) async fn open(site: &Site, viewers: usize) -> anyhow::Result<Self> {
        let built_in = (viewers / 2).min(BUILT_IN_MAX);
        let token = site.admin_token()?;
        let mut open = Vec::new();
        for _ in 0..built_in {
            open.push(on_the_built_in_feed(site, &token).await?);
        }
        if viewers > built_in {
            let printed = site.run(&["viewers", "create", "--expires", "1h", "--json"])?;
            ensure!(
                printed.status.success(),
                "{}",
                String::from_utf8_lossy(&printed.stderr)
            );
            let credential: Value = serde_json::from_slice(&printed.stdout)?;
            for _ in built_in..viewers {
                open.push(on_nats(&credential).await?);
            }
        }
        Ok(Self(open))
    }
}

async fn connect(address: &str) -> anyhow::Result<TcpStream> {
    let address: SocketAddr = address.split("://").last().context("no address")?.parse()?;
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(RECEIVED_MAX)?;
    Ok(socket.connect(address).await?)
}

/// Asks, reads that it is let in, and reads no more.
async fn on_the_built_in_feed(site: &Site, token: &str) -> anyhow::Result<TcpStream> {
    let api = site.api();
    let mut stream = connect(&api).await?;
    let host = api.rsplit('/').next().unwrap_or_default();
    let asked = format!("GET /api/v1/feed HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n\r\n");
    stream.write_all(asked.as_bytes()).await?;
    expect(&mut stream, "HTTP/1.1 200").await?;
    Ok(stream)
}

/// Connects as a viewer, subscribes, reads that it may, and reads no more.
async fn on_nats(credential: &Value) -> anyhow::Result<TcpStream> {
    let text = |name: &str| credential[name].as_str().with_context(|| format!("no {name}"));
    let said = serde_json::json!({
        "user": text("user")?, "pass": text("password")?, "verbose": false, "pedantic": false,
    });
    let url = text("url")?;
    // A new viewer is known to nats-server within seconds.
    let mut tries = 0;
    loop {
        let mut stream = connect(url.rsplit('@').next().unwrap_or(url)).await?;
        let sent = format!("CONNECT {said}\r\nSUB dramatis.live.> 1\r\nPING\r\n");
        stream.write_all(sent.as_bytes()).await?;
        match expect(&mut stream, "PONG").await {
            Ok(()) => return Ok(stream),
            Err(error) if tries >= 100 => return Err(error),
            Err(_) => tries += 1,
        }
        SystemClock::new().sleep(Duration::from_millis(100)).await;
    }
}

/// Reads until `word` has come.
async fn expect(stream: &mut TcpStream, word: &str) -> anyhow::Result<()> {
    let mut text = Vec::new();
    while !text.windows(word.len()).any(|window| window == word.as_bytes()) {
        let mut some = [0; 512];
        let read = tokio::time::timeout(ANSWER_WITHIN, stream.read(&mut some)).await;
        let read = read.map_or(Ok(0), |read| read)?;
        ensure!(read > 0, "no {word}, but {}", String::from_utf8_lossy(&text));
        text.extend_from_slice(some.get(..read).unwrap_or_default());
    }
    Ok(())
}

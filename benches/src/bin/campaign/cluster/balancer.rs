//! What stands before the gateways, as something always does: it goes on to the one it is at until that refuses, then to
//! the other, so that sessions stay where they are for as long as they can.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A balancer at work. It ends when dropped.
#[derive(Debug)]
pub(super) struct Balancer {
    /// Where it listens.
    pub(super) url: String,
    _accepting: JoinSet<()>,
}

impl Balancer {
    /// Before the gateways at these ports of the loopback interface, the first of them first.
    ///
    /// # Errors
    /// When `port` cannot be listened at.
    pub(super) async fn start(port: u16, gateways: Vec<u16>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, gateways));
        Ok(Self {
            url: format!("http://127.0.0.1:{port}"),
            _accepting: accepting,
        })
    }
}

async fn accept(listener: TcpListener, gateways: Vec<u16>) {
    let at = Arc::new(AtomicUsize::new(0));
    let mut connections = JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let (gateways, at) = (gateways.clone(), at.clone());
        connections.spawn(async move {
            if let Some(mut gateway) = connect(&gateways, &at).await {
                // Whoever is cut off is told so by the end of the connection.
                let _ = copy_bidirectional(&mut client, &mut gateway).await;
            }
        });
    }
}

async fn connect(gateways: &[u16], at: &AtomicUsize) -> Option<TcpStream> {
    for _ in gateways {
        let now = at.load(Ordering::SeqCst);
        let port = *gateways.get(now)?;
        if let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
            let _ = stream.set_nodelay(true);
            return Some(stream);
        }
        // Whoever finds out second changes nothing.
        let next = (now + 1) % gateways.len();
        let _ = at.compare_exchange(now, next, Ordering::SeqCst, Ordering::SeqCst);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// Something that says who it is to whoever connects.
    async fn says(word: [u8; 3]) -> (u16, JoinSet<()>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let _ = client.write_all(&word).await;
            }
        });
        (port, serving)
    }

    #[tokio::test]
    async fn it_stays_with_one_until_that_refuses_and_then_with_the_other() {
        let ((one, serving_one), (two, _serving_two)) = (says(*b"one").await, says(*b"two").await);
        let port = testkit::free_port();
        let _balancer = Balancer::start(port, vec![one, two]).await.unwrap();
        let ask = async || {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
            let mut word = [0; 3];
            stream.read_exact(&mut word).await.unwrap();
            word
        };
        assert_eq!([&ask().await, &ask().await], [b"one", b"one"]);
        drop(serving_one);
        assert!(
            testkit::wait_until_async(std::time::Duration::from_secs(20), || async {
                TcpStream::connect((Ipv4Addr::LOCALHOST, one)).await.is_err()
            })
            .await
        );
        assert_eq!([&ask().await, &ask().await], [b"two", b"two"]);
    }
}

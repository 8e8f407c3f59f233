//! HTTP as bytes: a client that costs next to nothing, so that what is measured is the server.

use std::io::{Error, ErrorKind};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Bytes an answer may have; more is a fault of the server.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One connection, one request at a time.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer, as long as the next request is not sent.
#[derive(Debug)]
pub struct Answer<'a> {
    /// The HTTP status.
    pub status: u16,
    head: &'a [u8],
    /// The body as it came, in its chunks if it came in chunks.
    pub body: &'a [u8],
}

impl Answer<'_> {
    /// The value of a header whose name is given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let head = std::str::from_utf8(self.head).ok()?;
        head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// Whether the body holds `text`.
    pub fn contains(&self, text: &str) -> bool {
        self.body.windows(text.len()).any(|part| part == text.as_bytes())
    }
}

impl Wire {
    /// Connects to `host:port`.
    ///
    /// # Errors
    /// When nobody answers there.
    pub async fn connect(address: &str) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(16 * 1024),
        })
    }

    /// Sends a request and reads its answer to the end.
    ///
    /// # Errors
    /// When the connection ends before the answer does, or the answer is none.
    pub async fn ask(&mut self, request: &[u8]) -> std::io::Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let head_end = self.read_until_head().await?;
        let head = &self.buffer[..head_end];
        let status = std::str::from_utf8(head.get(9..12).unwrap_or_default())
            .ok()
            .and_then(|status| status.parse().ok())
            .ok_or_else(|| Error::from(ErrorKind::InvalidData))?;
        let probe = Answer {
            status,
            head,
            body: &[],
        };
        let length = probe
            .header("content-length")
            .and_then(|length| length.parse().ok());
        let is_chunked = probe.header("transfer-encoding").is_some();
        match length {
            Some(length) => {
                self.read_to(head_end, |body| body.len() >= length).await?;
            }
            None if is_chunked => {
                self.read_to(head_end, |body| body.ends_with(b"0\r\n\r\n"))
                    .await?;
            }
            None => {}
        }
        Ok(Answer {
            status,
            head: &self.buffer[..head_end],
            body: &self.buffer[head_end..],
        })
    }

    async fn read_until_head(&mut self) -> std::io::Result<usize> {
        loop {
            if let Some(at) = self.buffer.windows(4).position(|end| end == b"\r\n\r\n") {
                return Ok(at + 4);
            }
            self.read_some().await?;
        }
    }

    async fn read_to(&mut self, from: usize, is_whole: impl Fn(&[u8]) -> bool) -> std::io::Result<()> {
        while !is_whole(&self.buffer[from..]) {
            self.read_some().await?;
        }
        Ok(())
    }

    async fn read_some(&mut self) -> std::io::Result<()> {
        if self.buffer.len() > ANSWER_BYTES_MAX {
            return Err(ErrorKind::InvalidData.into());
        }
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// A POST of `body` to `path` as bytes.
pub fn post(address: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        request.push_str(name);
        request.push_str(": ");
        request.push_str(value);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    request.push_str(body);
    request.into_bytes()
}

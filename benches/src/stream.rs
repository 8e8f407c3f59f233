//! The log's stream as it is stored, without the program's own reader.

use async_nats::jetstream::{self, stream::Stream};

/// Connects to the stream at `url`, whose credentials are in the address.
///
/// # Errors
/// When nobody answers.
pub async fn connect(url: &str) -> anyhow::Result<Stream> {
    let address: async_nats::ServerAddr = url.parse()?;
    let mut options = async_nats::ConnectOptions::new().name("benches");
    if let (Some(user), Some(password)) = (address.username(), address.password()) {
        options = options.user_and_password(user.to_owned(), password.to_owned());
    }
    let client = options.connect(address).await?;
    Ok(jetstream::new(client).get_stream(events::STREAM_NAME).await?)
}

use aftersend_pipeline::config::ClickHouse;
use clickhouse::{Client, Compression};

/// A client for the configured server and database. Uncompressed: sink and server usually share a network, and every server takes it.
pub fn client(config: &ClickHouse) -> Client {
    let client = Client::default().with_url(&config.url).with_database(&config.database).with_compression(Compression::None);
    let client = client.with_user(&config.user);
    if config.password.is_empty() { client } else { client.with_password(config.password.reveal()) }
}

//! Where results go. Each sink is its own consumer group: `clickhouse` fills the tables, `track` tells Customer.io.

pub mod clickhouse;
pub mod track;

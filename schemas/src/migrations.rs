//! The ClickHouse schema: numbered files, embedded, applied in order by `migrate`.

/// One file of `clickhouse/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migration {
    /// Its number; applied in ascending order. Every statement may run again.
    pub number: u32,
    /// File name, for messages.
    pub name: &'static str,
    /// Statements separated by `;` at a line's end. `{database}` stands for the configured database.
    pub sql: &'static str,
}

/// Every migration, oldest first.
pub const MIGRATIONS: &[Migration] = &[
    Migration { number: 1, name: "0001_tables.sql", sql: include_str!("../clickhouse/0001_tables.sql") },
    Migration { number: 2, name: "0002_verdicts.sql", sql: include_str!("../clickhouse/0002_verdicts.sql") },
];

impl Migration {
    /// The statements for a database, whose name the caller has checked to be an identifier.
    pub fn statements(&self, database: &str) -> Vec<String> {
        let without_comments: String =
            self.sql.lines().filter(|line| !line.trim_start().starts_with("--")).flat_map(|line| [line, "\n"]).collect();
        without_comments
            .split(";\n")
            .map(|statement| statement.trim().replace("{database}", database))
            .filter(|statement| !statement.is_empty())
            .collect()
    }
}

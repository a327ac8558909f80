//! The columns that the ClickHouse sink writes, as a server names their types. Tests hold them to the rows and to what `migrate` makes.

/// A table that is filled from Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Name and type of each column that is written, in the order of the row's fields.
    pub columns: &'static [(&'static str, &'static str)],
}

impl Table {
    /// What stands before the rows in `RowBinaryWithNamesAndTypes`: number, names and types of these columns, separated by `, `. Nothing if one of them is not
    /// written to this table.
    pub fn header(&self, columns: &str) -> Option<Vec<u8>> {
        let written = |name: &str| self.columns.iter().find(|(column, _)| *column == name);
        let columns: Vec<_> = columns.split(", ").map(written).collect::<Option<_>>()?;
        let mut header = Vec::new();
        // Numbers below 128 are one byte.
        let length = |length: usize, header: &mut Vec<u8>| {
            u8::try_from(length).ok().filter(|length| *length < 128).map(|length| header.push(length))
        };
        length(columns.len(), &mut header)?;
        for text in columns.iter().map(|(name, _)| name).chain(columns.iter().map(|(_, kind)| kind)) {
            length(text.len(), &mut header)?;
            header.extend_from_slice(text.as_bytes());
        }
        Some(header)
    }
}

const TEXT: &str = "String";
const WORD: &str = "LowCardinality(String)";
const NUMBER: &str = "UInt32";
const SECONDS: &str = "DateTime('UTC')";
const MILLIS: &str = "DateTime64(3, 'UTC')";
const ID: &str = "Nullable(UInt64)";

/// Every such table.
pub const TABLES: [Table; 5] = [
    Table {
        name: "message_outcomes",
        columns: &[
            ("event_id", TEXT),
            ("event_type", WORD),
            ("channel", WORD),
            ("metric", WORD),
            ("timestamp", SECONDS),
            ("customer_id", TEXT),
            ("cio_id", TEXT),
            ("message_id", TEXT),
            ("campaign_id", ID),
            ("broadcast_id", ID),
            ("newsletter_id", ID),
            ("transactional_message_id", ID),
            ("action_id", ID),
            ("bounce_class", WORD),
            ("bounce_rule", WORD),
            ("bounce_confidence", "UInt8"),
            ("bounce_table", NUMBER),
            ("machine", "Bool"),
            ("failure_message", TEXT),
            ("href", TEXT),
            ("recipient_domain", WORD),
            ("mailbox_provider", WORD),
            ("email_hash", TEXT),
            ("metadata", TEXT),
            ("source", WORD),
            ("received_at", MILLIS),
            ("src_topic", WORD),
            ("src_partition", NUMBER),
            ("src_offset", "UInt64"),
            ("workspace", WORD),
            ("epoch", NUMBER),
        ],
    },
    Table {
        name: "raw_events",
        columns: &[
            ("payload", TEXT),
            ("key", TEXT),
            ("source", WORD),
            ("workspace", WORD),
            ("signature_timestamp", TEXT),
            ("content_type", WORD),
            ("received_at", MILLIS),
            ("src_topic", WORD),
            ("src_partition", NUMBER),
            ("src_offset", "UInt64"),
            ("epoch", NUMBER),
        ],
    },
    Table {
        name: "profiles",
        columns: &[
            ("workspace", WORD),
            ("namespace", WORD),
            ("person_id", TEXT),
            ("score", "UInt8"),
            ("state", WORD),
            ("email_deliverable", "Bool"),
            ("email_promotional_ok", "Bool"),
            ("best_channel", WORD),
            ("reason", TEXT),
            ("contributions", TEXT),
            ("as_of", SECONDS),
            ("policy_version", NUMBER),
            ("written_at", MILLIS),
            ("src_topic", WORD),
            ("src_partition", NUMBER),
            ("src_offset", "UInt64"),
            ("epoch", NUMBER),
        ],
    },
    Table {
        name: "dead_letters",
        columns: &[
            ("reason", WORD),
            ("stage", WORD),
            ("error", TEXT),
            ("payload", TEXT),
            ("key", TEXT),
            ("source", WORD),
            ("workspace", WORD),
            ("received_at", MILLIS),
            ("src_topic", WORD),
            ("src_partition", NUMBER),
            ("src_offset", "UInt64"),
            ("epoch", NUMBER),
        ],
    },
    Table {
        name: "track_calls",
        columns: &[
            ("workspace", WORD),
            ("namespace", WORD),
            ("person_id", TEXT),
            ("call", WORD),
            ("phase", WORD),
            ("rule", WORD),
            ("evidence", TEXT),
            ("policy_version", NUMBER),
            ("at", MILLIS),
            ("status", "UInt16"),
            ("latency_ms", NUMBER),
            ("error", TEXT),
            ("evidence_received_at", MILLIS),
            ("src_topic", WORD),
            ("src_partition", NUMBER),
            ("src_offset", "UInt64"),
            ("epoch", NUMBER),
        ],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_names_the_columns_and_then_their_types() {
        let table = Table { name: "t", columns: &[("a", TEXT), ("b", NUMBER), ("c", ID)] };
        assert_eq!(table.header("c, a").as_deref(), Some(&b"\x02\x01c\x01a\x10Nullable(UInt64)\x06String"[..]));
        assert_eq!(table.header("a, d"), None);
        for table in TABLES {
            let all: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
            assert!(table.header(&all.join(", ")).is_some(), "{}", table.name);
        }
    }
}

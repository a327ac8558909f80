//! What an error of ClickHouse means for the rows: the one place that decides it. Pure.

use clickhouse::error::Error;

/// What is known about the rows after an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nothing of them is there or ever will be: a row breaks a rule of the table.
    Refused(Refusal),
    /// They may be there, or not, or in part. Sending the same under the same token again is always right.
    InDoubt(Cause),
}

/// Which rule, and what broke it. Holds no value that could be somebody's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: u32,
    pub(super) name: String,
    pub(super) column: String,
    pub(super) rule: String,
    pub(super) value: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "code {} {}", self.code, self.name)?;
        for (what, text) in [("rule", &self.rule), ("column", &self.column), ("value", &self.value)] {
            if !text.is_empty() {
                write!(f, ", {what} {text}")?;
            }
        }
        Ok(())
    }
}

macro_rules! causes {
    ($($(#[doc = $doc:literal])* $cause:ident = $name:literal),* $(,)?) => {
        /// Why rows wait, by what an operator would do about it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Cause { $($(#[doc = $doc])* $cause),* }

        impl Cause {
            pub(super) const ALL: &[Self] = &[$(Self::$cause),*];

            pub(super) fn as_str(self) -> &'static str {
                match self { $(Self::$cause => $name),* }
            }
        }
    };
}

causes! {
    /// No connection, or one that broke.
    Unreachable = "unreachable",
    /// No answer in time.
    TimedOut = "timed_out",
    /// Memory, queries, parts that are still being written.
    Busy = "busy",
    TooManyParts = "too_many_parts",
    ReadOnly = "read_only",
    NoSpace = "no_space",
    /// User, password or grants.
    NoAccess = "no_access",
    /// A table, a column or a type that is not as this release expects.
    Schema = "schema",
    /// A materialized view behind the table fails; the table's own rows may be in.
    View = "view",
    Other = "other",
}

impl Cause {
    /// Why something that is no insert failed.
    pub(super) fn of(error: &Error) -> Self {
        match Failure::of(error) {
            Failure::InDoubt(cause) => cause,
            Failure::Refused(_) => Self::Other,
        }
    }

    /// Where something between us and ClickHouse answered.
    fn of_status(status: u16) -> Self {
        match status {
            401 | 403 | 407 => Self::NoAccess,
            408 => Self::TimedOut,
            429 => Self::Busy,
            502..=504 => Self::Unreachable,
            _ => Self::Other,
        }
    }
}

impl Failure {
    pub(super) fn of(error: &Error) -> Self {
        match error {
            Error::BadResponse(text) => Self::of_answer(text),
            Error::TimedOut => Self::InDoubt(Cause::TimedOut),
            Error::Network(_) => Self::InDoubt(Cause::Unreachable),
            _ => Self::InDoubt(Cause::Other),
        }
    }

    fn of_answer(text: &str) -> Self {
        let Some(code) = code(text) else { return Self::InDoubt(status(text).map_or(Cause::Other, Cause::of_status)) };
        if text.contains("while pushing to view") {
            return Self::InDoubt(Cause::View);
        }
        Self::InDoubt(match code {
            // A rule of the table, or an expression that fails for a value. Our encoder makes no malformed rows: what cannot be parsed at all is a schema matter.
            6 | 38 | 41 | 69 | 70 | 72 | 153 | 321 | 349 | 395 | 407 | 469 if text.contains("DB::") => {
                return Self::Refused(Refusal::of(code, text));
            }
            10 | 16 | 20 | 27 | 33 | 36 | 44 | 47 | 50 | 53 | 60 | 62 | 81 | 115 | 117 | 131 | 218 => Cause::Schema,
            159 | 160 | 209 | 394 => Cause::TimedOut,
            202 | 203 | 216 | 236 | 241 | 285 | 319 | 439 => Cause::Busy,
            252 => Cause::TooManyParts,
            164 | 242 | 774 => Cause::ReadOnly,
            243 => Cause::NoSpace,
            192..=194 | 497 | 516 => Cause::NoAccess,
            210 => Cause::Unreachable,
            _ => Cause::Other,
        })
    }
}

impl Refusal {
    fn of(code: u32, text: &str) -> Self {
        let rule = between(text, "Constraint `", "`").filter(|rule| is_name(rule)).unwrap_or_default();
        let values = text.split_once("Column values: ").map(|(_, rest)| rest);
        let column = values.and_then(|rest| rest.split(" = ").next()).or_else(|| between(text, "column ", " ")).unwrap_or_default();
        let column = column.trim_matches(['`', '\'', ',', ':', '.']);
        let value =
            values.and_then(|rest| rest.split_once(" = ")).map_or("", |(_, value)| value.split([',', '(']).next().unwrap_or_default());
        Self {
            code,
            name: name(text).unwrap_or_default().to_owned(),
            column: if is_name(column) { column.to_owned() } else { String::new() },
            rule: rule.to_owned(),
            value: shown_value(value.trim()),
        }
    }
}

/// Numbers as they are; of texts the length only, since they may be an address.
fn shown_value(value: &str) -> String {
    let value = value.trim_end_matches(['.', ' ']);
    match value.strip_prefix('\'').map(|text| text.trim_end_matches('\'')) {
        Some(text) => format!("of {} characters", text.chars().count()),
        None if value.len() <= 40 && value.chars().all(|letter| letter.is_ascii_digit() || "-.".contains(letter)) => value.to_owned(),
        None => String::new(),
    }
}

/// An error without what it quotes: a server's text may hold a value of a row, so only its code and name are shown.
pub(super) fn describe(error: &Error) -> String {
    let Error::BadResponse(text) = error else { return error.to_string() };
    match (code(text), status(text)) {
        (Some(code), _) => format!("code {code} {}", name(text).unwrap_or("(unnamed)")),
        (None, Some(413)) => {
            "HTTP 413, not as ClickHouse answers: something in between limits bodies, and an insert may have 8 MiB".to_owned()
        }
        (None, Some(status)) => format!("HTTP {status}, not as ClickHouse answers: something in between, or at clickhouse.url, does"),
        (None, None) => "an answer without a code: is clickhouse.url a ClickHouse server?".to_owned(),
    }
}

/// Only where the text begins with it: a page of somebody in between may have a code of its own.
fn code(text: &str) -> Option<u32> {
    let rest = text.trim_start().strip_prefix("Code: ")?;
    rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

/// The status of an answer that is not ClickHouse's.
fn status(text: &str) -> Option<u16> {
    let (status, _) = text.split_once(' ')?;
    status.parse().ok().filter(|status| (100..600).contains(status))
}

fn name(text: &str) -> Option<&str> {
    let is_error_name = |name: &&str| !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    text.split(['(', ')']).rev().find(is_error_name)
}

fn between<'t>(text: &'t str, before: &str, after: &str) -> Option<&'t str> {
    text.split_once(before)?.1.split(after).next()
}

/// A name of a column or a rule, as people give them.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Failure {
        Failure::of(&Error::BadResponse(text.to_owned()))
    }

    #[test]
    fn only_a_rule_that_a_row_breaks_is_a_refusal() {
        for (text, cause) in [
            ("Code: 252. DB::Exception: Too many parts (300). (TOO_MANY_PARTS)", Cause::TooManyParts),
            ("Code: 242. DB::Exception: Table is in readonly mode. (TABLE_IS_READ_ONLY)", Cause::ReadOnly),
            ("Code: 774. DB::Exception: Table is in readonly mode. (TABLE_IS_PERMANENTLY_READ_ONLY)", Cause::ReadOnly),
            ("Code: 243. DB::Exception: Cannot reserve 1.00 MiB, not enough space. (NOT_ENOUGH_SPACE)", Cause::NoSpace),
            ("Code: 60. DB::Exception: Table db.t does not exist. (UNKNOWN_TABLE)", Cause::Schema),
            ("Code: 16. DB::Exception: No such column x. (NO_SUCH_COLUMN_IN_TABLE)", Cause::Schema),
            ("Code: 33. DB::Exception: Cannot read all data. (CANNOT_READ_ALL_DATA)", Cause::Schema),
            ("Code: 319. DB::Exception: Unknown status. (UNKNOWN_STATUS_OF_INSERT)", Cause::Busy),
            ("Code: 216. DB::Exception: Query with id = x is already running. (QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING)", Cause::Busy),
            ("Code: 516. DB::Exception: default: Authentication failed. (AUTHENTICATION_FAILED)", Cause::NoAccess),
            ("Code: 395. DB::Exception: no: while pushing to view db.v. (FUNCTION_THROW_IF_VALUE_IS_NON_ZERO)", Cause::View),
            ("Code: 9999. DB::Exception: new. (SOMETHING_NEW)", Cause::Other),
            ("<html>502</html>", Cause::Other),
            ("200 OK", Cause::Other),
            ("307 Temporary Redirect", Cause::Other),
            ("401 Unauthorized", Cause::NoAccess),
            ("403 Forbidden", Cause::NoAccess),
            ("404 Not Found", Cause::Other),
            ("407 Proxy Authentication Required", Cause::NoAccess),
            ("408 Request Timeout", Cause::TimedOut),
            ("413 Payload Too Large", Cause::Other),
            ("429 Too Many Requests", Cause::Busy),
            ("500 Internal Server Error", Cause::Other),
            ("502 Bad Gateway", Cause::Unreachable),
            ("503 Service Unavailable", Cause::Unreachable),
            ("504 Gateway Timeout", Cause::Unreachable),
            // Codes that others have, and one that nobody worded.
            ("<html>Network Access Message: Error Code: 407 Proxy Authentication Required. DB::</html>", Cause::Other),
            ("<html>Error Code: 6</html>", Cause::Other),
            ("Code: 6", Cause::Other),
        ] {
            assert_eq!(answer(text), Failure::InDoubt(cause), "{text}");
        }
        assert_eq!(Failure::of(&Error::TimedOut), Failure::InDoubt(Cause::TimedOut));
    }

    #[test]
    fn a_refusal_names_rule_column_and_no_text_of_the_row() {
        let text = "Code: 469. DB::Exception: Constraint `short_ids` for table db.t (0a-1b) is violated at row 5. Expression: (length(customer_id) < 3). \
                    Column values: customer_id = 'ada@shop.example'. (VIOLATED_CONSTRAINT)";
        let Failure::Refused(refusal) = answer(text) else { panic!("refused") };
        assert_eq!(refusal.to_string(), "code 469 VIOLATED_CONSTRAINT, rule short_ids, column customer_id, value of 16 characters");
        let text = "Code: 469. DB::Exception: Constraint `small` for table db.t is violated at row 1. Expression: (score < 9). Column values: score = 12. (VIOLATED_CONSTRAINT)";
        let Failure::Refused(refusal) = answer(text) else { panic!("refused") };
        assert_eq!((refusal.column.as_str(), refusal.value.as_str()), ("score", "12"));
        let text = "Code: 6. DB::Exception: Cannot parse string 'ada@shop.example' as UInt8: while executing. (CANNOT_PARSE_TEXT)";
        let Failure::Refused(refusal) = answer(text) else { panic!("refused") };
        assert_eq!(refusal.to_string(), "code 6 CANNOT_PARSE_TEXT");
    }

    #[test]
    fn a_servers_error_is_shown_without_the_values_it_quotes() {
        let shown = |text: &str| describe(&Error::BadResponse(text.to_owned()));
        let quoting = "Code: 27. DB::Exception: Cannot parse input: expected '\\t' before: 'ada@shop.example': (at row 1). (CANNOT_PARSE_INPUT_ASSERTION_FAILED) (version 26.8)";
        assert_eq!(shown(quoting), "code 27 CANNOT_PARSE_INPUT_ASSERTION_FAILED");
        assert_eq!(shown("Code: 241"), "code 241 (unnamed)");
        assert!(shown("502 Bad Gateway").starts_with("HTTP 502, not as"));
        assert!(shown("404 ada@shop.example was not found").starts_with("HTTP 404, not as ClickHouse answers: some"));
        assert!(shown("413 Payload Too Large").contains("8 MiB"));
        assert_eq!(shown("<html>502</html>"), "an answer without a code: is clickhouse.url a ClickHouse server?");
    }
}

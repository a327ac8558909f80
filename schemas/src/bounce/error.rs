//! Why a rule table was refused. Every message names the rule, the field and the fix: it is read by whoever wrote the rule.

/// A rule table that cannot be used. All of these are found at start, none while classifying.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The file is not TOML, or has a key that no rule has.
    #[error("cannot read the bounce rules")]
    File(#[from] toml::de::Error),
    /// One field of one rule is absent or wrong.
    #[error("bounce rule {rule:?}, field {field}: {problem}; {fix}")]
    Field {
        /// The rule's id as written.
        rule: String,
        /// The field's name in the file.
        field: &'static str,
        /// What is wrong, with the value.
        problem: String,
        /// What to write instead.
        fix: &'static str,
    },
    /// Two rules of one list share an id.
    #[error("bounce rule {rule:?}, field id: used twice; give each rule an id of its own")]
    Duplicate {
        /// The id.
        rule: String,
    },
    /// `disabled = true` for an id that does not exist.
    #[error("bounce rule {rule:?}, field disabled: there is no built-in rule of that id; correct the id or remove the entry")]
    Unknown {
        /// The id.
        rule: String,
    },
    /// A rule does not decide one of its own test lines.
    #[error(
        "bounce rule {rule:?}, field tests: {text:?} was decided by {decided_by:?} instead; \
         make the rule's conditions match it, move it to an earlier stage or correct the line"
    )]
    TestLine {
        /// The rule that carries the line.
        rule: String,
        /// The line.
        text: String,
        /// The rule that decided it.
        decided_by: String,
    },
    /// More rules than the fixed-size match state can hold.
    #[error("{count} bounce rules: at most {limit} are supported; merge rules of the same class")]
    TooMany {
        /// Rules after overrides.
        count: usize,
        /// The limit.
        limit: usize,
    },
}

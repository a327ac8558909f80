//! File and environment to a checked [`Config`].

use std::path::Path;

use toml::{Table, Value};

use super::environment::Overrides;
use super::{Config, ConfigError};

pub(super) fn load(file: Option<&Path>, variables: impl IntoIterator<Item = (String, String)>) -> Result<Config, ConfigError> {
    match file {
        None => read("configuration", "", variables),
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.into(), source })?;
            read(&path.display().to_string(), &text, variables)
        }
    }
}

pub(super) fn parse(text: &str, variables: impl IntoIterator<Item = (String, String)>) -> Result<Config, ConfigError> {
    read("configuration", text, variables)
}

fn read(file: &str, text: &str, variables: impl IntoIterator<Item = (String, String)>) -> Result<Config, ConfigError> {
    let mut table: Table = text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax {
        file: file.to_owned(),
        line: error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1),
        message: error.message().to_owned(),
    })?;
    let mut overrides = Overrides::new(variables);
    overrides.apply(&mut table)?;
    let mut config = loop {
        match serde_path_to_error::deserialize::<_, Config>(Value::Table(table.clone())) {
            Ok(config) => break config,
            // A variable is text. Where the setting is not, the text is read as TOML, once.
            Err(error) if overrides.reread(&error.path().to_string(), &mut table) => {}
            Err(error) => {
                let key = overrides.describe(&error.path().to_string());
                return Err(ConfigError::Shape { key, message: in_words(error.inner().message()) });
            }
        }
    };
    config.validate()?;
    Ok(config)
}

/// Serde names the types of Rust, and quotes texts, which may be secrets that stand in the wrong place.
fn in_words(message: &str) -> String {
    let Some((found, wanted)) = message.rsplit_once("expected ") else { return message.to_owned() };
    let is_text = found.starts_with("invalid type: string") || found.starts_with("invalid value: string");
    let found = match found {
        _ if is_text => "this is a text, ",
        // What is chosen from a list.
        "invalid type: unit variant, " => "this is no text, ",
        _ => found,
    };
    let wanted = match wanted {
        "u16" => "a whole number from 0 to 65535, without quotes",
        "u32" => "a whole number from 0 to 4294967295, without quotes",
        "u8" => "a whole number from 0 to 255, without quotes",
        "u64" | "usize" => "a whole number, not negative, without quotes",
        "i32" | "i64" => "a whole number without quotes",
        "f32" | "f64" => "a number without quotes",
        "a boolean" => "true or false without quotes",
        "a string" | "string only" => "a text in quotes",
        "a sequence" => "a list in square brackets",
        "a map" => "a table",
        _ if wanted.starts_with("struct ") => "a table of keys",
        _ if wanted.starts_with("tuple struct ") || wanted.starts_with("newtype struct ") => "another kind of value",
        _ => wanted,
    };
    format!("{found}expected {wanted}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    const MINIMAL: &str = "[privacy]\nhash_keys = [{ key = \"k\" }]\n";

    fn error(text: &str, list: &[(&str, &str)]) -> String {
        parse(text, variables(list)).unwrap_err().to_string()
    }

    #[test]
    fn defaults_need_only_a_hash_key() {
        let config = parse(MINIMAL, []).unwrap();
        assert_eq!(config.kafka.topic_prefix, "aftersend");
        assert_eq!(config.ingest.listen, "127.0.0.1:8080");
    }

    #[test]
    fn a_comment_among_signing_keys_is_refused_since_whoever_guesses_it_could_sign_with_it() {
        let said = error(&format!("{MINIMAL}[[source]]\nname = \"a\"\nsigning_keys = [\"k\", \" # old key\"]\n"), &[]);
        assert!(said.contains("source.signing_keys") && said.contains("leave comments out") && !said.contains("old"), "{said}");
    }

    #[test]
    fn a_list_of_any_length_is_filled_in_order() {
        let names: Vec<String> = (0..12).map(|n| format!("AFTERSEND__SOURCE__{n}__NAME")).collect();
        let keys: Vec<String> = (0..12).map(|n| format!("AFTERSEND__SOURCE__{n}__SIGNING_KEYS")).collect();
        let values: Vec<String> = (0..12).map(|n| format!("s{n}")).collect();
        let list: Vec<(&str, &str)> =
            names.iter().chain(&keys).map(String::as_str).zip(values.iter().chain(&values).map(String::as_str)).collect();
        let config = parse(MINIMAL, variables(&list)).unwrap();
        assert_eq!(config.sources.iter().map(|source| source.name.clone()).collect::<Vec<_>>(), values);
        assert!(error(MINIMAL, &[("AFTERSEND__SOURCE__1__NAME", "s1")]).contains("a list is filled in order, from 0"));
    }

    #[test]
    fn addresses_of_all_services_are_checked_together() {
        for key in ["INGEST__LISTEN", "INGEST__ADMIN", "PROCESSOR__ADMIN", "CLICKHOUSE__ADMIN", "TRACK__ADMIN"] {
            let said = error(MINIMAL, &[(&format!("AFTERSEND__{key}"), "localhost:8080")]);
            assert!(said.contains(&key.to_lowercase().replace("__", ".")) && said.contains("localhost:8080"), "{said}");
        }
    }

    #[test]
    fn every_key_can_be_overridden_and_text_is_read_as_the_setting_needs_it() {
        let list = variables(&[
            ("AFTERSEND__KAFKA__ALLOW_SINGLE_REPLICA", "true"),
            ("AFTERSEND__INGEST__MAX_BODY_BYTES", "1024"),
            ("AFTERSEND__INSTANCE", "0"),
            ("AFTERSEND__SOURCE__0__NAME", "shop"),
            ("AFTERSEND__SOURCE__0__SIGNING_KEYS", "00123"),
            ("AFTERSEND__POLICY__HOLD_HARD_BOUNCE", "1m"),
            ("AFTERSEND__PRIVACY__HASH_KEYS", "[{ key = \"k\" }]"),
            ("AFTERSEND_CONFIG", "ignored"),
        ]);
        let config = parse("", list).unwrap();
        assert!(config.kafka.allow_single_replica);
        assert_eq!(config.ingest.max_body_bytes, 1024);
        assert_eq!(config.instance.as_deref(), Some("0"));
        assert_eq!(config.sources[0].keys().next().unwrap(), b"00123", "a secret keeps its leading zeros");
        assert_eq!(config.policy.rules_for("default").hold_hard_bounce.0.as_secs(), 60);
        let several = variables(&[("AFTERSEND__SOURCE__0__NAME", "shop"), ("AFTERSEND__SOURCE__0__SIGNING_KEYS", "[\"a\", \"b\"]")]);
        let config = parse(MINIMAL, several).unwrap();
        assert_eq!(config.sources[0].keys().collect::<Vec<_>>(), [b"a", b"b"]);
    }

    #[test]
    fn kafka_properties_may_be_written_with_or_without_quotes() {
        let config =
            parse(&format!("[kafka.properties]\nsecurity.protocol = \"SSL\"\n\"ssl.ca.location\" = \"x\"\n{MINIMAL}"), []).unwrap();
        let names: Vec<_> = config.kafka.properties.0.keys().map(String::as_str).collect();
        assert_eq!(names, ["security.protocol", "ssl.ca.location"]);
    }

    #[test]
    fn errors_name_key_value_and_fix() {
        for (text, list, expected) in [
            ("[kafka]\nbroker = \"x\"", &[][..], "kafka.broker: unknown field `broker`, expected one of"),
            (
                "[ingest]\nmax_body_bytes = \"many\"",
                &[],
                "ingest.max_body_bytes: this is a text, expected a whole number, not negative, without quotes",
            ),
            ("[ingest]\nmax_body_bytes = -1", &[], "expected a whole number, not negative"),
            ("kafka = 5", &[], "kafka: invalid type: integer `5`, expected a table of keys"),
            ("[ingest.timestamp_window]\npast = \"0s\"", &[], "ingest.timestamp_window.past = \"0s\": "),
            ("[[source]]\nname = \"a\"\nsigning_keys = \"  \"", &[], "source \"a\": signing_keys"),
            (
                "[[source]]\nname = \"a\"\nbasic_auth = { user = \"u\", password = \"p\" }\nsecret_header = { name = \"Authorization\", value = \"v\" }",
                &[],
                "source \"a\": secret_header.name = \"Authorization\": ",
            ),
            (
                "[[source]]\nname = \"a\"\nsecret_header = { name = \"Content-Length\", value = \"v\" }",
                &[],
                "source \"a\": secret_header.name = \"Content-Length\": ",
            ),
            ("[ingest]", &[("AFTERSEND__INGEST__MAX_BODY_BYTES", "many")], "AFTERSEND__INGEST__MAX_BODY_BYTES"),
            ("[policy]\nhold_complaint = \"soon\"", &[], "policy.hold_complaint: \"soon\" is no duration"),
            (
                "[track]\ncoalesce = 5",
                &[],
                "track.coalesce: invalid type: integer `5`, expected a duration in quotes, such as \"90s\", \"15m\" or \"48h\"",
            ),
            ("[track]\ncoalesce = \"2h\"", &[], "track.coalesce = \"2h\": use at most 1h"),
            (
                "[track]\nmax_requests_per_second = 99999999999",
                &[],
                "track.max_requests_per_second: invalid value: integer `99999999999`, expected a whole number from 0 to 4294967295",
            ),
            ("[track]\nsite_id = \"a\"\napi_key = \"k k\"", &[], "track.api_key: holds blanks"),
            ("[policy]\nnever_suppress = [\"..\"]", &[], "policy.never_suppress = \"..\": nobody has this id"),
            ("[track]\nbatch = \"yes\"", &[], "track.batch: this is a text, expected true or false without quotes"),
            ("[privacy]\nemail = 1", &[], "privacy.email: this is no text, expected a text in quotes"),
            ("[privacy]\nemail = \"hashed\"", &[], "privacy.email: unknown variant `hashed`, expected one of `hash`, `plain`, `drop`"),
            ("[track]\nsite_id = \"a:b\"\napi_key = \"k\"", &[], "track.site_id = \"a:b\": has no colon"),
            (
                "[track]\nsite_id = \"a\"\napi_key = \"k\"\nurl = \"http://\"",
                &[],
                "track.url = \"http://\": empty host: use https://track.customer.io",
            ),
            (
                "[track]\nsite_id = \"a\"\napi_key = \"k\"\n[track.workspaces.default]\nsite_id = \"b\"\napi_key = \"k\"",
                &[],
                "track.workspaces.default: is there twice",
            ),
            (
                "[policy.workspaces.shpo]\non_complaint = \"identify\"\n[track.workspaces.shop]\nsite_id = \"a\"\napi_key = \"k\"",
                &[],
                "policy.workspaces.shpo: ",
            ),
            ("[kafka]\nbrokers = \"\"", &[], "kafka.brokers = \"\": "),
            ("[kafka.properties]\n\"enable.idempotence\" = \"false\"", &[], "kafka.properties.enable.idempotence"),
            ("[kafka.properties]\n\"metadata.broker.list\" = \"x:1\"", &[], "nor as metadata.broker.list"),
            ("", &[], "privacy.hash_keys: "),
            ("[[source]]\nname = \"a\"", &[], "source \"a\": signing_keys"),
            ("[clickhouse]\ndatabase = \"a;b\"", &[], "clickhouse.database = \"a;b\""),
            ("[clickhouse]\ncluster = \"a b\"", &[], "clickhouse.cluster = \"a b\": use letters"),
            ("[clickhouse]\ntables = [\"raw\"]", &[], "clickhouse.tables = \"raw\": use some of message_outcomes, raw_events, profiles"),
            ("[clickhouse]\ntables = []", &[], "clickhouse.tables: name at least one table"),
            ("[policy]\nirreversible_max_age = \"15m\"", &[], "policy.irreversible_max_age = \"15m\": must be longer than the holds"),
            (
                "[policy.workspaces.eu]\nhold_complaint = \"49h\"",
                &[],
                "policy.workspaces.eu.irreversible_max_age = \"2d\": must be longer than the holds",
            ),
            ("[policy]\nnever_suppress = [\"vip\", \" u-1\"]", &[], "policy.never_suppress = \" u-1\": ids have no blanks"),
            ("[policy]\nnever_suppress = [\"\"]", &[], "policy.never_suppress = \"\": name an id"),
            ("[policy]\nnever_suppress = [\"@\"]", &[], "policy.never_suppress = \"@\": name the domain"),
            (
                "[policy.workspaces.eu]\nnever_suppress = [\"@*.b.example\"]",
                &[],
                "policy.workspaces.eu.never_suppress = \"@*.b.example\": a pattern",
            ),
            (
                "[track.attribute_names]\nscore = \"s\"",
                &[],
                "track.attribute_names.score = \"s\": is no attribute: use one of email_score, ",
            ),
            ("[track.attribute_names]\nreason = \"email\"", &[], "track.attribute_names.reason = \"email\": is a name that Customer.io"),
            ("[track.attribute_names]\nreason = \"Email\"", &[], "track.attribute_names.reason = \"Email\": is a name that Customer.io"),
            ("[track.attribute_names]\nreason = \" \"", &[], "track.attribute_names.reason = \" \": use at most 150"),
            ("[track.attribute_names]\nreason = \"a\\tb\"", &[], "track.attribute_names.reason = \"a\\tb\": use at most 150"),
            (
                "[track.attribute_names]\nreason = \"aftersend_email_state\"",
                &[],
                "track.attribute_names = \"aftersend_email_state\": is the name of two attributes",
            ),
            ("[clickhouse.retention]\nraw_events = \"40d\"", &[], "clickhouse.retention.raw_events = \"40d"),
            (
                "[clickhouse.retention]\nraw_events = \"6d\"",
                &[],
                "clickhouse.retention.raw_events = \"6d\": use whole days, \"7d\" to \"30d\"",
            ),
            ("[clickhouse.retention]\nprofiles = \"36h\"", &[], "clickhouse.retention.profiles = \"36h\": use whole days"),
            ("[clickhouse.retention]\ncounts = \"30d\"", &[], "keep counts at least as long as message_outcomes"),
            ("[clickhouse]\ncount_every = \"0s\"", &[], "clickhouse.count_every = \"0s\": use at least"),
            ("[[bounce.rule]]\nid = \"x\"\ndisabled = true", &[], "bounce.rule: bounce rule \"x\", field disabled: "),
            ("[[bounce.rule]]\nid = \"x\"\nphrase = \"y\"", &[], "bounce.rule[0].phrase: unknown field"),
            ("[[test_event]]\nfield = \"data.\"\nvalue = \"x\"", &[], "test_event[0].field = \"data.\": name a member"),
            ("[[test_event]]\nfield = \"a\"\nvalue = \"*\"", &[], "test_event[0].value = \"*\": "),
            ("[kafka\n", &[], "configuration, line 1: not valid TOML"),
        ] {
            let message = error(text, list);
            assert!(message.starts_with(expected) || message.contains(expected), "{message}");
        }
    }

    #[test]
    fn no_error_shows_a_secret() {
        for text in [
            "[[source]]\nname = \"a\"\nsigning_keys = \"topsecret",
            "[[source]]\nname = \"a\"\nsigning_keys = { topsecret = 1 }",
            "[[source]]\nname = \"a\"\nsigning_keys = [[\"topsecret\"]]",
            "[track]\napi_key = [\"topsecret\"]",
            "[[source]]\nname = \"a\"\nbasic_auth = \"u:topsecret\"",
            "[[source]]\nname = \"a\"\nsecret_header = \"topsecret\"",
            "[privacy]\nhash_keys = \"topsecret\"",
            "[privacy]\nhash_keys = [\"topsecret\"]",
            "[privacy]\nhash_keys = [{ key = \"k\" }]\n[kafka.properties]\n\"sasl.passcode\" = \"topsecret\"",
            "[privacy]\nhash_keys = [{ key = \"k\" }]\n[kafka.properties]\n\"security.protocol\" = \"topsecret\"",
            "[clickhouse]\npassword = 5000111",
            "[clickhouse]\nurl = \"http://u:topsecret@host:8123\"",
            "[track]\nsite_id = \"s\"\napi_key = \"k\"\nurl = \"ftp://u:topsecret@host\"",
        ] {
            let message = error(&format!("{text}\n"), &[]);
            assert!(!message.contains("topsecret") && !message.contains("5000111"), "{message}");
        }
    }
}

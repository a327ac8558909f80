use url::Url;

use super::ConfigError;

/// Checks the address of an HTTP server: scheme, host and port, and a path if need be. Passwords have keys of their own, and are not shown.
pub(super) fn validate(key: &str, text: &str, credentials: &str, example: &str) -> Result<(), ConfigError> {
    if text.contains('@') {
        return Err(ConfigError::missing(key, format!("must hold no user or password: set {credentials}")));
    }
    let wrong = |why: &str| ConfigError::value(key, text, format!("{why}: use {example}"));
    let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("is no http or https address"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("holds more than scheme, host, port and path"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_scheme_a_host_perhaps_a_port_and_a_path() {
        let checked = |text: &str| validate("k.url", text, "user and password", "http://host:80").map_err(|error| error.to_string());
        for good in ["http://a", "https://a.example:8443/", "http://127.0.0.1:8123", "http://[::1]:1/behind/a/proxy"] {
            assert_eq!(checked(good), Ok(()), "{good}");
        }
        for bad in ["", "a.example", "ftp://a", "http://", "http://a:99999", "http://a?b=c", "http://a#b", "http://a b"] {
            let error = checked(bad).unwrap_err();
            assert!(error.starts_with(&format!("k.url = {bad:?}: ")) && error.ends_with(": use http://host:80"), "{error}");
        }
        assert_eq!(checked("http://u:secret@a").unwrap_err(), "k.url: must hold no user or password: set user and password");
    }
}

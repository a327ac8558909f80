//! What a source may ask for beside the signature: a header with a secret value, basic authentication.

use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use aftersend_pipeline::config;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use subtle::{Choice, ConstantTimeEq as _};

/// Headers that a request must have, all of them.
#[derive(Default)]
pub struct Secrets(Vec<Secret>);

struct Secret {
    header: String,
    scheme: &'static [u8],
    /// Values are compared as digests, so that the time tells neither content nor length.
    digest: [u8; 32],
}

impl Secrets {
    /// Those of a source.
    pub fn new(source: &config::Source) -> Self {
        let header = source.secret_header.iter().map(|header| Secret {
            header: header.name.to_ascii_lowercase(),
            scheme: b"",
            digest: sha256(header.value.reveal().trim().as_bytes()),
        });
        let basic = source.basic_auth.iter().map(|basic| Secret {
            header: AUTHORIZATION.as_str().to_owned(),
            scheme: b"basic ",
            digest: sha256(STANDARD.encode(format!("{}:{}", basic.user, basic.password.reveal())).as_bytes()),
        });
        Self(header.chain(basic).collect())
    }

    /// True if every one is there, once, with its value.
    pub fn are_in(&self, headers: &HeaderMap) -> bool {
        let matches = self.0.iter().fold(Choice::from(1), |matches, secret| {
            let mut values = headers.get_all(secret.header.as_str());
            let value = match (values.next(), values.next()) {
                (Some(value), None) => secret.value(value.as_bytes()),
                _ => None,
            };
            matches & sha256(value.unwrap_or_default()).ct_eq(&secret.digest)
        });
        matches.into()
    }
}

impl Secret {
    /// What follows the scheme, whose letter case does not matter.
    fn value<'v>(&self, value: &'v [u8]) -> Option<&'v [u8]> {
        let (scheme, rest) = value.split_at_checked(self.scheme.len())?;
        scheme.eq_ignore_ascii_case(self.scheme).then(|| rest.trim_ascii())
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn every_secret_must_be_there_once_with_its_value() {
        let secrets = Secrets(vec![
            Secret { header: "x-hook".into(), scheme: b"", digest: sha256(b"s3cret") },
            Secret { header: "authorization".into(), scheme: b"basic ", digest: sha256(b"dXNlcjpwYXNz") },
        ]);
        let right = ("authorization", "Basic dXNlcjpwYXNz");
        assert!(secrets.are_in(&headers(&[("x-hook", "s3cret"), right])));
        assert!(secrets.are_in(&headers(&[("x-hook", "s3cret"), ("authorization", "bAsIc  dXNlcjpwYXNz")])));
        for wrong in [
            &[("x-hook", "s3cret")][..],
            &[right],
            &[("x-hook", ""), right],
            &[("x-hook", "s3cret2"), right],
            &[("x-hook", "s3cret"), ("x-hook", "s3cret"), right],
        ] {
            assert!(!secrets.are_in(&headers(wrong)), "{wrong:?}");
        }
        assert!(!secrets.are_in(&headers(&[("x-hook", "s3cret"), ("authorization", "Bearer dXNlcjpwYXNz")])));
        assert!(Secrets::default().are_in(&headers(&[])), "a source may ask for none");
    }
}

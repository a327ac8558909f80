use base64::Engine as _;

use super::*;

#[derive(serde::Deserialize)]
struct Vector {
    key: String,
    timestamp: String,
    body_base64: String,
    signature: String,
    body_only_signature: String,
    reserialised_signature: String,
}

/// Computed with two independent implementations; bodies in base64 so that no byte is lost.
fn vectors() -> Vec<Vector> {
    serde_json::from_str(include_str!("../../../schemas/fixtures/signatures.json")).unwrap()
}

fn body(vector: &Vector) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD.decode(&vector.body_base64).unwrap()
}

fn verify(keys: &[&str], timestamp: &str, signature: &str, body: &[u8]) -> Option<usize> {
    let headers = SignatureHeaders::parse(timestamp.as_bytes(), signature.as_bytes()).ok()?;
    let mut verification = SigningKeys::new(keys.iter().map(|key| key.as_bytes())).begin(&headers);
    for piece in body.chunks(7) {
        verification.update(piece);
    }
    verification.matching_key()
}

#[test]
fn right_signatures_pass_in_any_letter_case_and_under_any_live_key() {
    for vector in &vectors() {
        let body = body(vector);
        assert_eq!(verify(&[&vector.key], &vector.timestamp, &vector.signature, &body), Some(0));
        assert_eq!(verify(&[&vector.key], &vector.timestamp, &vector.signature.to_uppercase(), &body), Some(0));
        assert_eq!(verify(&["old", &vector.key], &vector.timestamp, &vector.signature, &body), Some(1));
    }
}

#[test]
fn every_other_signature_fails() {
    for vector in &vectors() {
        let body = body(vector);
        let fails = |timestamp: &str, signature: &str, body: &[u8]| {
            assert_eq!(verify(&[&vector.key], timestamp, signature, body), None, "{timestamp} {signature}");
        };
        fails(&vector.timestamp, &vector.body_only_signature, &body);
        fails(&vector.timestamp, &vector.reserialised_signature, &body);
        let later = (vector.timestamp.parse::<u64>().unwrap() + 1).to_string();
        fails(&later, &vector.signature, &body);
        let mut flipped = body.clone();
        flipped[10] ^= 1;
        fails(&vector.timestamp, &vector.signature, &flipped);
        fails(&vector.timestamp, &vector.signature, &body[..body.len() - 1]);
        fails(&vector.timestamp, "", &body);
        fails(&vector.timestamp, &vector.signature[..63], &body);
        fails(&vector.timestamp, &format!("{}zz", &vector.signature[..62]), &body);
        fails("", &vector.signature, &body);
        fails("-1", &vector.signature, &body);
        assert_eq!(verify(&["another key"], &vector.timestamp, &vector.signature, &body), None);
    }
}

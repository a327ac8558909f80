use base64::Engine as _;

use super::*;

struct Vector {
    key: &'static str,
    timestamp: &'static str,
    body: &'static str,
    signature: &'static str,
    body_only: &'static str,
    reserialised: &'static str,
}

/// Computed with two independent implementations; bodies in base64 so that no byte is lost.
const VECTORS: [Vector; 3] = [
    Vector {
        key: "key-A_0123456789abcdef",
        timestamp: "1770000123",
        body: "eyJkYXRhIjp7ImN1c3RvbWVyX2lkIjoidS0xIiwiZGVsaXZlcnlfaWQiOiJSQUFBIiwiaWRlbnRpZmllcnMiOnsiaWQiOiJ1LTEifX0sImV2ZW50X2lkIjoiMDFLR0RQQTAwMDAwMDAwMDAwMDAwMDAwMDEiLCJvYmplY3RfdHlwZSI6ImVtYWlsIiwibWV0cmljIjoic2VudCIsInRpbWVzdGFtcCI6MTc3MDAwMDEyMH0=",
        signature: "496871b627fa9186034e5a665449e8ab6cc2519a583ac736f7ec3afcc7ba5e97",
        body_only: "2acd2d4ffd4fed201c351b778621c92c82b34336f7aab714b97103b79a092d40",
        reserialised: "",
    },
    Vector {
        key: "5f2d9c0e7a1b4c3d8e6f",
        timestamp: "1770000456",
        body: "eyJkYXRhIjp7ImN1c3RvbWVyX2lkIjoia3VuZC3DpcOkw7YiLCJyZWNpcGllbnQiOiJ6b8OrQGLDvGNoZXIuZXhhbXBsZSIsInN1YmplY3QiOiLmmKXjga7jgrvjg7zjg6sg8J+MuCDigJMgwr0iLCJpZGVudGlmaWVycyI6eyJpZCI6Imt1bmQtw6XDpMO2In19LCJldmVudF9pZCI6IjAxS0dEUEEwMDAwMDAwMDAwMDAwMDAwMDAyIiwib2JqZWN0X3R5cGUiOiJlbWFpbCIsIm1ldHJpYyI6Im9wZW5lZCIsInRpbWVzdGFtcCI6MTc3MDAwMDQ1MH0=",
        signature: "012aabee382eecd30c1c8b384ca2dd7eeff77eadbb954335f601a3d09fd538ab",
        body_only: "245809e566d963922e54e89e1dd19923118608ccfe24261add365cef77adfdb4",
        reserialised: "d06adddd27e679ed2c4101f3d110f665962e1e5e2bcc18e02b7b65b42b35ff27",
    },
    Vector {
        key: "spaces and : colons in key",
        timestamp: "1770000789",
        body: "ewogICJkYXRhIjogewogICAgImN1c3RvbWVyX2lkIjogInUtMyIsCgkiZmFpbHVyZV9tZXNzYWdlIjogIjU1MCA1LjEuMSAgdXNlciB1bmtub3duXHJcbiIKICB9LA0KICAiZXZlbnRfaWQiOiAiMDFLR0RQQTAwMDAwMDAwMDAwMDAwMDAwMDMiLAogICJvYmplY3RfdHlwZSI6ICJlbWFpbCIsCiAgIm1ldHJpYyI6ICJib3VuY2VkIiwKICAidGltZXN0YW1wIjogMTc3MDAwMDc4MAp9Cg==",
        signature: "1a37a3176a6446bf91337515f532995f2583237970b676dd90f7dd7e389872a0",
        body_only: "86c1624fa5e4ee5c0c70809447dd6ff36ef49d1b208a4680e5626999b1c63a3d",
        reserialised: "31574b85375ff55de59fe4d55c17ef22b31b500e0f64232689d8b4babdbe5887",
    },
];

fn body(vector: &Vector) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD.decode(vector.body).unwrap()
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
    for vector in &VECTORS {
        let body = body(vector);
        assert_eq!(verify(&[vector.key], vector.timestamp, vector.signature, &body), Some(0));
        assert_eq!(verify(&[vector.key], vector.timestamp, &vector.signature.to_uppercase(), &body), Some(0));
        assert_eq!(verify(&["old", vector.key], vector.timestamp, vector.signature, &body), Some(1));
    }
}

#[test]
fn every_other_signature_fails() {
    for vector in &VECTORS {
        let body = body(vector);
        let fails = |timestamp: &str, signature: &str, body: &[u8]| {
            assert_eq!(verify(&[vector.key], timestamp, signature, body), None, "{timestamp} {signature}");
        };
        fails(vector.timestamp, vector.body_only, &body);
        fails(vector.timestamp, vector.reserialised, &body);
        let later = (vector.timestamp.parse::<u64>().unwrap() + 1).to_string();
        fails(&later, vector.signature, &body);
        let mut flipped = body.clone();
        flipped[10] ^= 1;
        fails(vector.timestamp, vector.signature, &flipped);
        fails(vector.timestamp, vector.signature, &body[..body.len() - 1]);
        fails(vector.timestamp, "", &body);
        fails(vector.timestamp, &vector.signature[..63], &body);
        fails(vector.timestamp, &format!("{}zz", &vector.signature[..62]), &body);
        fails("", vector.signature, &body);
        fails("-1", vector.signature, &body);
        assert_eq!(verify(&["another key"], vector.timestamp, vector.signature, &body), None);
    }
}

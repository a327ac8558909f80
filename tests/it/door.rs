use aftersend::traffic::{Body, Outcome, sign};
use aftersend_schemas::headers::Received;
use aftersend_tests::{Service, Setup, eventually, read_topic};
use anyhow::{Context as _, ensure};
use base64::Engine as _;
use std::time::{Duration, Instant};

struct Vector {
    source: &'static str,
    timestamp: &'static str,
    body: &'static str,
    signature: &'static str,
    body_only: &'static str,
    reserialised: &'static str,
}

/// Computed with two independent implementations. The keys are those of [`SOURCES`].
const VECTORS: [Vector; 3] = [
    Vector {
        source: "one",
        timestamp: "1770000123",
        body: "eyJkYXRhIjp7ImN1c3RvbWVyX2lkIjoidS0xIiwiZGVsaXZlcnlfaWQiOiJSQUFBIiwiaWRlbnRpZmllcnMiOnsiaWQiOiJ1LTEifX0sImV2ZW50X2lkIjoiMDFLR0RQQTAwMDAwMDAwMDAwMDAwMDAwMDEiLCJvYmplY3RfdHlwZSI6ImVtYWlsIiwibWV0cmljIjoic2VudCIsInRpbWVzdGFtcCI6MTc3MDAwMDEyMH0=",
        signature: "496871b627fa9186034e5a665449e8ab6cc2519a583ac736f7ec3afcc7ba5e97",
        body_only: "2acd2d4ffd4fed201c351b778621c92c82b34336f7aab714b97103b79a092d40",
        reserialised: "",
    },
    Vector {
        source: "two",
        timestamp: "1770000456",
        body: "eyJkYXRhIjp7ImN1c3RvbWVyX2lkIjoia3VuZC3DpcOkw7YiLCJyZWNpcGllbnQiOiJ6b8OrQGLDvGNoZXIuZXhhbXBsZSIsInN1YmplY3QiOiLmmKXjga7jgrvjg7zjg6sg8J+MuCDigJMgwr0iLCJpZGVudGlmaWVycyI6eyJpZCI6Imt1bmQtw6XDpMO2In19LCJldmVudF9pZCI6IjAxS0dEUEEwMDAwMDAwMDAwMDAwMDAwMDAyIiwib2JqZWN0X3R5cGUiOiJlbWFpbCIsIm1ldHJpYyI6Im9wZW5lZCIsInRpbWVzdGFtcCI6MTc3MDAwMDQ1MH0=",
        signature: "012aabee382eecd30c1c8b384ca2dd7eeff77eadbb954335f601a3d09fd538ab",
        body_only: "245809e566d963922e54e89e1dd19923118608ccfe24261add365cef77adfdb4",
        reserialised: "d06adddd27e679ed2c4101f3d110f665962e1e5e2bcc18e02b7b65b42b35ff27",
    },
    Vector {
        source: "three",
        timestamp: "1770000789",
        body: "ewogICJkYXRhIjogewogICAgImN1c3RvbWVyX2lkIjogInUtMyIsCgkiZmFpbHVyZV9tZXNzYWdlIjogIjU1MCA1LjEuMSAgdXNlciB1bmtub3duXHJcbiIKICB9LA0KICAiZXZlbnRfaWQiOiAiMDFLR0RQQTAwMDAwMDAwMDAwMDAwMDAwMDMiLAogICJvYmplY3RfdHlwZSI6ICJlbWFpbCIsCiAgIm1ldHJpYyI6ICJib3VuY2VkIiwKICAidGltZXN0YW1wIjogMTc3MDAwMDc4MAp9Cg==",
        signature: "1a37a3176a6446bf91337515f532995f2583237970b676dd90f7dd7e389872a0",
        body_only: "86c1624fa5e4ee5c0c70809447dd6ff36ef49d1b208a4680e5626999b1c63a3d",
        reserialised: "31574b85375ff55de59fe4d55c17ef22b31b500e0f64232689d8b4babdbe5887",
    },
];

const SOURCES: &str = r#"
[[source]]
name = "one"
signing_keys = "key-A_0123456789abcdef"
workspace = "shop"
[[source]]
name = "two"
signing_keys = ["an older key", "5f2d9c0e7a1b4c3d8e6f"]
[[source]]
name = "three"
signing_keys = "spaces and : colons in key"
"#;

async fn post(url: &str, headers: &[(&str, &str)], body: &[u8]) -> anyhow::Result<u16> {
    let request = reqwest::Client::new().post(url).body(body.to_vec());
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    Ok(request.send().await?.status().as_u16())
}

#[tokio::test(flavor = "multi_thread")]
async fn right_signatures_are_accepted_and_stored_byte_for_byte_and_all_others_get_401() -> anyhow::Result<()> {
    let mut setup = Setup::new(SOURCES).await?;
    setup.start(Service::Ingest).await?;
    let mut refused = 0;
    for vector in &VECTORS {
        let url = setup.webhook_url(vector.source);
        let body = base64::engine::general_purpose::STANDARD.decode(vector.body)?;
        let signed = async |timestamp: &str, signature: &str, body: &[u8]| {
            post(&url, &[("X-CIO-Timestamp", timestamp), ("X-CIO-Signature", signature), ("Content-Type", "application/json")], body).await
        };
        assert_eq!(signed(vector.timestamp, vector.signature, &body).await?, 200);
        assert_eq!(signed(vector.timestamp, &vector.signature.to_uppercase(), &body).await?, 200);

        let mut flipped = body.clone();
        flipped[5] ^= 1;
        let later = (vector.timestamp.parse::<u64>()? + 1).to_string();
        let fails: [(&str, &str, &[u8]); 8] = [
            (vector.timestamp, vector.body_only, &body),
            (vector.timestamp, vector.reserialised, &body),
            (&later, vector.signature, &body),
            (vector.timestamp, vector.signature, &flipped),
            (vector.timestamp, vector.signature, &body[..body.len() - 1]),
            (vector.timestamp, "", &body),
            (vector.timestamp, &vector.signature[..63], &body),
            ("", vector.signature, &body),
        ];
        for (timestamp, signature, body) in fails {
            assert_eq!(signed(timestamp, signature, body).await?, 401, "{timestamp} {signature}");
            refused += 1;
        }
        assert_eq!(post(&url, &[("X-CIO-Signature", vector.signature)], &body).await?, 401, "no timestamp");
        assert_eq!(post(&url, &[("X-CIO-Timestamp", vector.timestamp)], &body).await?, 401, "no signature");
        refused += 2;
    }
    assert_eq!(setup.metric(Service::Ingest, "aftersend_ingest_webhooks_total{result=\"signature_").await?, f64::from(refused));
    assert_eq!(setup.metric(Service::Ingest, "aftersend_ingest_webhooks_total{result=\"accepted\"").await?, 6.0);
    assert_eq!(setup.metric(Service::Ingest, "aftersend_ingest_signing_key_matches_total{key=\"1\",source=\"two\"}").await?, 2.0);

    let records = read_topic(&setup.config, &setup.topics().raw())?;
    assert_eq!(records.len(), 6);
    for (vector, key, workspace) in [(&VECTORS[0], "u-1", "shop"), (&VECTORS[1], "kund-åäö", "default"), (&VECTORS[2], "u-3", "default")]
    {
        let body = base64::engine::general_purpose::STANDARD.decode(vector.body)?;
        let stored: Vec<_> = records.iter().filter(|record| record.value.as_ref() == Some(&body)).collect();
        assert_eq!(stored.len(), 2, "twice accepted, twice stored: duplicates are recognised further on");
        let received = Received::from_headers(stored[0].headers(), 0);
        assert_eq!((stored[0].key_text().as_ref(), received.workspace.as_str()), (key, workspace));
        assert_eq!((received.source.as_str(), received.signature_timestamp.as_str()), (vector.source, vector.timestamp));
        assert_eq!(received.content_type, "application/json");
        assert_eq!(received.received_at, stored[0].timestamp);
    }
    setup.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_body_that_is_no_event_is_answered_2xx_and_kept_with_its_reason() -> anyhow::Result<()> {
    let mut setup = Setup::new("").await?;
    setup.start(Service::Ingest).await?;
    setup.start(Service::ClickHouse).await?;
    let bodies: [(&[u8], &str); 7] = [
        (b"", "body_empty"),
        (b"hello", "body_not_json"),
        (b"[{\"event_id\":\"x\"}]", "body_not_an_object"),
        (b"null", "body_not_an_object"),
        (b"{\"event_id\":\"cut", "body_not_json"),
        (b"{\"event_id\":\"x\"} {}", "body_not_json"),
        (b"{\"event_id\":\"\xff\xfe\"}", "body_not_utf8"),
    ];
    let sender = setup.sender()?;
    for (body, _) in bodies {
        assert_eq!(sender.send(&Body::junk(body)).await, Outcome::Accepted);
    }
    let dead = read_topic(&setup.config, &setup.topics().dead())?;
    assert_eq!(dead.len(), bodies.len());
    for (body, reason) in bodies {
        let record = dead.iter().find(|record| record.value.as_deref().unwrap_or_default() == body).context("the bytes are not in dead")?;
        let header =
            |name: &str| record.headers().find(|(known, _)| *known == name).map(|(_, value)| String::from_utf8_lossy(value).into_owned());
        assert_eq!((header("reason").as_deref(), header("stage").as_deref()), (Some(reason), Some("ingest")));
    }
    assert_eq!(read_topic(&setup.config, &setup.topics().raw())?.len(), 0);
    eventually(Duration::from_secs(20), async || {
        let rows = setup.count("SELECT count() FROM dead_letters_current WHERE stage = 'ingest'").await?;
        ensure!(rows == bodies.len() as u64, "{rows} rows");
        Ok(())
    })
    .await?;
    setup.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn other_requests_have_answers_of_their_own() -> anyhow::Result<()> {
    let mut setup = Setup::new("").await?;
    setup.start(Service::Ingest).await?;
    let url = setup.webhook_url("default");
    assert_eq!(post(&setup.webhook_url("nobody"), &[], b"{}").await?, 404);
    assert_eq!(reqwest::get(&url).await?.status().as_u16(), 405);
    assert_eq!(post(url.trim_end_matches("/default"), &[], b"{}").await?, 401, "the short path is the source default");
    assert_eq!(reqwest::get(format!("http://{}/other", setup.config.ingest.listen)).await?.status().as_u16(), 404);

    // Above the accepted size: 2xx, and the head in dead.
    let large = format!("{{\"event_id\":\"large\",\"data\":{{\"content\":\"{}\"}}}}", "x".repeat(5 * 1024 * 1024));
    let signature = sign(b"test signing key", "1770000000", large.as_bytes());
    let started = Instant::now();
    let status = post(&url, &[("X-CIO-Timestamp", "1770000000"), ("X-CIO-Signature", &signature)], large.as_bytes()).await?;
    assert_eq!(status, 200, "after {:?}", started.elapsed());
    let dead = read_topic(&setup.config, &setup.topics().dead())?;
    assert_eq!(dead.len(), 1);
    let head = dead[0].value.clone().unwrap_or_default();
    assert!(head.len() == 64 * 1024 && large.as_bytes().starts_with(&head), "{}", head.len());
    setup.finish().await
}

use aftersend::traffic::{Body, Outcome, sign};
use aftersend_schemas::headers::Received;
use aftersend_tests::{Service, Setup, eventually, read_topic};
use anyhow::{Context as _, ensure};
use base64::Engine as _;
use std::time::{Duration, Instant};

#[derive(serde::Deserialize)]
struct Vector {
    key: String,
    timestamp: String,
    body_base64: String,
    signature: String,
    body_only_signature: String,
    reserialised_signature: String,
}

impl Vector {
    fn body(&self) -> anyhow::Result<Vec<u8>> {
        Ok(base64::engine::general_purpose::STANDARD.decode(&self.body_base64)?)
    }
}

/// Three sources, named by place, with the keys of the vectors; the second is changing its key.
fn sources(vectors: &[Vector]) -> String {
    let source = |(place, vector): (usize, &Vector)| {
        let keys = if place == 1 { format!("[\"an older key\", {:?}]", vector.key) } else { format!("{:?}", vector.key) };
        let workspace = if place == 0 { "shop" } else { "default" };
        format!("[[source]]\nname = \"source-{place}\"\nsigning_keys = {keys}\nworkspace = \"{workspace}\"\n")
    };
    vectors.iter().enumerate().map(source).collect()
}

async fn post(url: &str, headers: &[(&str, &str)], body: &[u8]) -> anyhow::Result<u16> {
    let request = reqwest::Client::new().post(url).body(body.to_vec());
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    Ok(request.send().await?.status().as_u16())
}

#[tokio::test(flavor = "multi_thread")]
async fn right_signatures_are_accepted_and_stored_byte_for_byte_and_all_others_get_401() -> anyhow::Result<()> {
    let vectors: Vec<Vector> = serde_json::from_str(include_str!("../../../schemas/fixtures/signatures.json"))?;
    let mut setup = Setup::new(&sources(&vectors)).await?;
    setup.start(Service::Ingest).await?;
    let mut refused = 0;
    for (place, vector) in vectors.iter().enumerate() {
        let url = setup.webhook_url(&format!("source-{place}"));
        let body = vector.body()?;
        let signed = async |timestamp: &str, signature: &str, body: &[u8]| {
            post(
                &url,
                &[
                    ("X-CIO-Timestamp", timestamp),
                    ("X-CIO-Signature", signature),
                    ("Content-Type", "application/json; x=jane@dead.example"),
                ],
                body,
            )
            .await
        };
        let (timestamp, signature) = (vector.timestamp.as_str(), vector.signature.as_str());
        assert_eq!(signed(timestamp, signature, &body).await?, 200);
        assert_eq!(signed(timestamp, &signature.to_uppercase(), &body).await?, 200);

        let mut flipped = body.clone();
        flipped[5] ^= 1;
        let later = (timestamp.parse::<u64>()? + 1).to_string();
        let fails: [(&str, &str, &[u8]); 8] = [
            (timestamp, &vector.body_only_signature, &body),
            (timestamp, &vector.reserialised_signature, &body),
            (&later, signature, &body),
            (timestamp, signature, &flipped),
            (timestamp, signature, &body[..body.len() - 1]),
            (timestamp, "", &body),
            (timestamp, &signature[..63], &body),
            ("", signature, &body),
        ];
        for (timestamp, signature, body) in fails {
            assert_eq!(signed(timestamp, signature, body).await?, 401, "{timestamp} {signature}");
            refused += 1;
        }
        assert_eq!(post(&url, &[("X-CIO-Signature", signature)], &body).await?, 401, "no timestamp");
        assert_eq!(post(&url, &[("X-CIO-Timestamp", timestamp)], &body).await?, 401, "no signature");
        refused += 2;
    }
    assert_eq!(setup.metric(Service::Ingest, "aftersend_ingest_webhooks_total{result=\"signature_").await?, f64::from(refused));
    assert_eq!(setup.metric(Service::Ingest, "aftersend_ingest_webhooks_total{result=\"accepted\"").await?, 6.0);
    assert_eq!(setup.metric(Service::Ingest, "aftersend_ingest_signing_key_matches_total{key=\"1\",source=\"source-1\"}").await?, 2.0);

    let records = read_topic(&setup.config, &setup.topics().raw())?;
    assert_eq!(records.len(), 6);
    for (place, key, workspace) in [(0, "u-1", "shop"), (1, "kund-åäö", "default"), (2, "u-3", "default")] {
        let body = vectors[place].body()?;
        let stored: Vec<_> = records.iter().filter(|record| record.value.as_ref() == Some(&body)).collect();
        assert_eq!(stored.len(), 2, "twice accepted, twice stored: duplicates are recognised further on");
        let received = Received::from_headers(stored[0].headers(), 0);
        assert_eq!((stored[0].key_text().as_ref(), received.workspace.as_ref()), (key, workspace));
        assert_eq!(received.content_type, "application/json", "of the header only the media type");
        assert_eq!(received.received_at, stored[0].timestamp);
        assert_eq!(
            (received.source.as_ref(), received.signature_timestamp.as_ref()),
            (format!("source-{place}").as_str(), vectors[place].timestamp.as_str())
        );
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
    assert_eq!(post(&format!("{url}/"), &[], b"{}").await?, 401, "a slash too many changes nothing");
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

//! What is sent: signed webhooks of 560 bytes, made before the clock runs.

use aftersend::traffic::{Random, SeedableRng as _, sign};
use aftersend_pipeline::unix_millis;
use anyhow::ensure;
use rand::Rng as _;

/// Different ones; each is about a customer of its own, so that they spread over all partitions.
const COUNT: usize = 4_096;
const BODY_BYTES: usize = 560;
const PATH: &str = "/v1/webhooks/customerio/reporting";

/// Whole HTTP/1.1 requests, head and body.
pub(crate) struct Requests(Vec<Vec<u8>>);

impl Requests {
    /// The same bodies every time, signed now.
    pub(crate) fn signed(key: &str) -> anyhow::Result<Self> {
        let mut random = Random::seed_from_u64(1);
        let timestamp = (unix_millis() / 1000).to_string();
        let requests = (0..COUNT).map(|n| {
            let body = body(n, &mut random);
            ensure!(body.len() == BODY_BYTES, "a body of {} bytes", body.len());
            let signature = sign(key.as_bytes(), &timestamp, body.as_bytes());
            let request = format!(
                "POST {PATH} HTTP/1.1\r\nHost: hooks.shop.example\r\nUser-Agent: Customer.io Web Hooks 1.0\r\n\
                 Content-Type: application/json\r\nX-CIO-Timestamp: {timestamp}\r\nX-CIO-Signature: {signature}\r\n\
                 Accept-Encoding: gzip\r\nContent-Length: {BODY_BYTES}\r\n\r\n{body}"
            );
            Ok(request.into_bytes())
        });
        Ok(Self(requests.collect::<anyhow::Result<_>>()?))
    }

    /// Round and round.
    pub(crate) fn get(&self, n: usize) -> &[u8] {
        &self.0[n % COUNT]
    }
}

fn body(n: usize, random: &mut Random) -> String {
    let customer = 100_000 + n;
    let event = format!("01KGE4QRED{}", letters(16, b"0123456789ABCDEFGHJKMNPQRSTVWXYZ", random));
    let delivery = format!("{}=", letters(27, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", random));
    let (metric, more) = match n % 8 {
        0..3 => ("delivered", ""),
        3..5 => ("opened", r#","machine":false,"proxied":true,"prefetched":false"#),
        5 => ("clicked", r#","href":"https://shop.example/sale?utm_source=cio","link_id":3,"machine":false"#),
        6 => ("sent", ""),
        _ => ("bounced", r#","failure_message":"550 5.1.1 Recipient address rejected: User unknown""#),
    };
    let timestamp = 1_770_000_000 + random.random_range(0..86_400);
    let with_subject = |subject: &str| {
        format!(
            r#"{{"data":{{"customer_id":"u-{customer}","delivery_id":"{delivery}","identifiers":{{"id":"u-{customer}","email":"u-{customer}@shop.example","cio_id":"b1f4{customer:08}"}},"campaign_id":31,"action_id":204,"parent_action_id":201,"recipient":"u-{customer}@shop.example","subject":"{subject}"{more}}},"event_id":"{event}","object_type":"email","metric":"{metric}","timestamp":{timestamp}}}"#
        )
    };
    // The subject makes up what is missing to the size.
    let missing = BODY_BYTES.saturating_sub(with_subject("").len());
    with_subject(&"Spring news and a gift for you; ".chars().cycle().take(missing).collect::<String>())
}

fn letters(count: usize, alphabet: &[u8], random: &mut Random) -> String {
    (0..count).map(|_| char::from(alphabet[random.random_range(0..alphabet.len())])).collect()
}

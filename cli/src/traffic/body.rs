use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Map, Value, json};
use ulid::Ulid;

/// A body and the identity it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// The id inside it; nothing for what is no event.
    pub event_id: Option<String>,
    /// What is sent.
    pub bytes: Vec<u8>,
}

impl Body {
    /// An e-mail event of a customer, in the shape of a campaign message. `more` goes into `data`.
    pub fn email(customer: &str, delivery: &str, metric: &str, at: i64, more: Value, random: &mut StdRng) -> Self {
        let recipient = format!("{customer}@shop.example");
        let mut data = Map::new();
        data.insert("customer_id".into(), customer.into());
        data.insert("identifiers".into(), json!({"id": customer}));
        data.insert("delivery_id".into(), delivery.into());
        data.insert("campaign_id".into(), 31.into());
        data.insert("action_id".into(), 118.into());
        data.insert("recipient".into(), recipient.into());
        data.insert("subject".into(), "News from the shop".into());
        if let Value::Object(more) = more {
            data.extend(more);
        }
        let milliseconds = u64::try_from(at).unwrap_or_default() * 1000 + random.random_range(0..1000);
        let event_id = Ulid::from_parts(milliseconds, random.random()).to_string();
        let event = json!({"data": data, "event_id": event_id, "object_type": "email", "metric": metric, "timestamp": at});
        Self { event_id: Some(event_id), bytes: event.to_string().into_bytes() }
    }

    /// Something that is no event.
    pub fn junk(bytes: &[u8]) -> Self {
        Self { event_id: None, bytes: bytes.to_vec() }
    }
}

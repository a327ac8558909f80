//! Events of 560 bytes, as Customer.io sends them.

/// Bounced by an unknown user: read, classified, masked.
pub(crate) const BOUNCED: &str = r#"{"data":{"customer_id":"u-1008","delivery_id":"RshdWjF0zpXrnJCu24bcqcMm53i0=","identifiers":{"id":"u-1008","email":"gone@dead.example","cio_id":"b1f490719637"},"campaign_id":31,"action_id":204,"parent_action_id":201,"journey_id":"01KGE4M0H2V9Z6T3B8N5Q7R1SW","recipient":"gone@dead.example","subject":"Spring News of February, and a gift","failure_message":"550 5.1.1 <gone@dead.example>: Recipient address rejected: User unknown in virtual mailbox table"},"event_id":"01KGE4QREDPKK4SFSGH5MT4GQT","object_type":"email","metric":"bounced","timestamp":1770001261}"#;

/// Clicked.
pub(crate) const CLICKED: &str = r#"{"data":{"customer_id":"u-1006","delivery_id":"R6sPrkqW8zyouNb71ufKWZVtaAKQ=","identifiers":{"id":"u-1006","email":"ana@shop.example","cio_id":"b1f435244543"},"campaign_id":31,"action_id":204,"parent_action_id":201,"journey_id":"01KGE4M0H2V9Z6T3B8N5Q7R1SW","recipient":"ana@shop.example","subject":"Spring is here and so is what you asked News of February, and a gift","href":"https://shop.example/sale?utm_source=cio&x=1%2B2","link_id":3,"machine":false},"event_id":"01KGE4EX5M8BEFV4SQRFJA1ZJ3","object_type":"email","metric":"clicked","timestamp":1770000970}"#;

/// Delivered.
pub(crate) const DELIVERED: &str = r#"{"data":{"customer_id":"u-1006","delivery_id":"R6sPrkqW8zyouNb71ufKWZVtaAKQ=","identifiers":{"id":"u-1006","email":"ana@shop.example","cio_id":"b1f435244543"},"campaign_id":31,"action_id":204,"parent_action_id":201,"journey_id":"01KGE4M0H2V9Z6T3B8N5Q7R1SW","recipient":"ana@shop.example","subject":"Spring is here and so is what you asked us for in wNews of February, and a gift for everybody who has been with us since the first day of the first year"},"event_id":"01KGE4EX5M8BEFV4SQRFJA1ZJ3","object_type":"email","metric":"delivered","timestamp":1770000970}"#;

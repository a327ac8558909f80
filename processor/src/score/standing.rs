use aftersend_schemas::address::ProviderId;

/// How a person's mailbox providers stood when they bounced: what the score needs to know of everybody else's mail.
///
/// Asked by event time, so that a replay gets the same answer. One workspace's view: those of two workspaces never mix.
pub trait Standing {
    /// True if the provider's hard bounces of that second (Unix, event time) are not to be believed.
    fn quarantined(&self, provider: ProviderId, at: u32) -> bool;
}

/// No provider was ever in quarantine.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoQuarantine;

impl Standing for NoQuarantine {
    fn quarantined(&self, _: ProviderId, _: u32) -> bool {
        false
    }
}

//! Places at which tests kill this process. Other builds have none.

/// Ends the process at once, as kill -9 would, where `FAILPOINTS` says so: `clickhouse-after-intent=10*off->return`.
macro_rules! fault_point {
    ($name:literal) => {
        #[cfg(feature = "failpoints")]
        if fail::eval($name, |_| ()).is_some() {
            std::process::abort();
        }
    };
}

pub(super) use fault_point;

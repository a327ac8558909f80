//! What comes next for one person, for an operator who asks. Pure.

use aftersend_pipeline::config::{Config, TrackMode};
use aftersend_schemas::ledger::LedgerRecord;
use aftersend_schemas::operator::OperatorRecord;
use aftersend_schemas::profile::{Cause, ProfileRecord};
use aftersend_schemas::track_call::Call;

use super::brake::Brakes;
use super::decisions::Decisions;
use super::plan::{self, Moment, Ruled, Step};

/// What the sink does next about a person as long as nothing new is heard of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlook {
    /// Nothing, and why: a `result` of `track_profiles_total`.
    Nothing(&'static str),
    /// A call.
    Call(Call),
    /// A suppress, at this time (Unix milliseconds).
    HeldUntil(i64),
    /// A suppress, once the brake for this cause is released.
    Braked(Cause),
}

/// Looks at somebody's profile and where it stands, what Customer.io has acknowledged, what operators decided and which brakes are on.
pub fn outlook(
    config: &Config,
    (profile, offset): (&ProfileRecord, i64),
    ledger: Option<&LedgerRecord>,
    decided: &[OperatorRecord],
    brakes: &Brakes,
    now: i64,
) -> Outlook {
    let workspace = &profile.person.workspace;
    // A dry run rehearses everybody's calls, and asks no brake.
    let is_dry_run = config.track.mode == TrackMode::DryRun;
    if !config.track.workspaces.contains_key(workspace) && !is_dry_run {
        return Outlook::Nothing("no_credentials");
    }
    let mut decisions = Decisions::default();
    for record in decided {
        decisions.take(record);
    }
    let released_through = brakes.released_through(workspace, now);
    let moment = Moment { now, decided: decisions.about(&profile.person.to_string()), released_through };
    let unknown = || LedgerRecord::new(profile.person.clone());
    let ledger = ledger.cloned().unwrap_or_else(unknown);
    match plan::next(profile, offset, &ledger, &Ruled::new(config, workspace), &moment) {
        Step::Done(done) => Outlook::Nothing(done.as_str()),
        Step::WaitUntil(due) => Outlook::HeldUntil(due),
        Step::Call(planned) => match &profile.evaluation.verdict {
            Some(verdict) if planned.call == Call::Suppress && !is_dry_run && brakes.holds(workspace, verdict, now) => {
                Outlook::Braked(verdict.cause)
            }
            _ => Outlook::Call(planned.call),
        },
    }
}

#[cfg(test)]
mod tests {
    use aftersend_schemas::brake::BrakeEntry;
    use aftersend_schemas::identity::{Namespace, Person};
    use aftersend_schemas::operator::Decision;

    use super::super::plan::tests::profile;
    use super::*;

    #[test]
    fn an_operator_is_told_what_the_sink_would_do() {
        let toml = "[privacy]\nemail = \"drop\"\n[policy]\nhold_hard_bounce = \"1h\"\n[track]\nmode = \"live\"\nsite_id = \"s\"\napi_key = \"k\"\n";
        let config = Config::parse(toml, []).unwrap();
        let person = Person { workspace: "default".into(), namespace: Namespace::Id, id: "u".into() };
        let bounced = profile(person.clone(), Some(Cause::HardBounce));
        let received = bounced.evaluation.verdict.as_ref().unwrap().received_at;
        let hour = 3_600_000;
        let mut ledger = LedgerRecord::new(person.clone());
        let Step::Call(identify) = plan::next(&bounced, 7, &ledger, &Ruled::new(&config, "default"), &Moment::default()) else {
            panic!("an identify comes first")
        };
        plan::acknowledged(&mut ledger, &identify, received);
        let mut brakes = Brakes::default();
        let ask = |ledger: Option<&LedgerRecord>, decided: &[OperatorRecord], brakes: &Brakes, now| {
            outlook(&config, (&bounced, 7), ledger, decided, brakes, now)
        };
        assert_eq!(ask(None, &[], &brakes, received), Outlook::Call(Call::Identify));
        assert_eq!(ask(Some(&ledger), &[], &brakes, received), Outlook::HeldUntil(received + hour));
        assert_eq!(ask(Some(&ledger), &[], &brakes, received + hour), Outlook::Call(Call::Suppress));
        assert_eq!(ask(Some(&ledger), &[], &brakes, received + 49 * hour), Outlook::Nothing("too_old_to_suppress"));
        let never = OperatorRecord::new(person.clone(), Decision::NeverSuppress, received / 1_000);
        assert_eq!(ask(Some(&ledger), &[never], &brakes, received + hour), Outlook::Nothing("never_suppress"));
        brakes.apply(0, received, &BrakeEntry::Tripped { workspace: "default".into(), cause: Cause::HardBounce, by: 0 });
        assert_eq!(ask(Some(&ledger), &[], &brakes, received + hour), Outlook::Braked(Cause::HardBounce));
        let rehearsed = Config::parse(&toml.replace("live", "dry-run"), []).unwrap();
        let due = outlook(&rehearsed, (&bounced, 7), Some(&ledger), &[], &brakes, received + hour);
        assert_eq!(due, Outlook::Call(Call::Suppress), "a dry run asks no brake");
        let elsewhere = profile(Person { workspace: "shop".into(), ..person }, None);
        assert_eq!(outlook(&config, (&elsewhere, 7), None, &[], &brakes, received), Outlook::Nothing("no_credentials"));
        let rehearsed = outlook(&rehearsed, (&elsewhere, 7), None, &[], &brakes, received);
        assert_eq!(rehearsed, Outlook::Call(Call::Identify), "a dry run needs none");
    }
}

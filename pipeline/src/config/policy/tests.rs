use super::*;
use crate::config::Config;

fn policy(toml: &str) -> Result<Policy, ConfigError> {
    Config::parse(&format!("[privacy]\nemail = \"drop\"\n{toml}"), []).map(|config| config.policy)
}

#[test]
fn limits_follow_the_cadence_until_they_are_given() {
    let days = |toml: &str, workspace: &str| {
        let scoring = policy(toml).unwrap().scoring_for(workspace);
        [scoring.active_days, scoring.cooling_days, scoring.sunset_after_days]
    };
    assert_eq!(days("", "default"), [30, 60, 90]);
    assert_eq!(days("[policy]\ncadence = \"daily\"", "default"), [15, 30, 60]);
    assert_eq!(days("[policy]\ncadence = \"weekly\"", "default"), [60, 120, 180]);
    assert_eq!(days("[policy]\ncadence = \"monthly\"", "default"), [90, 180, 270]);
    assert_eq!(days("[policy]\nsunset_after_days = 75", "default"), [30, 60, 75]);
    let own = "[policy]\nsunset_after_days = 75\n[policy.workspaces.eu]\ncadence = \"weekly\"";
    assert_eq!((days(own, "eu"), days(own, "us")), ([60, 120, 180], [30, 60, 75]));
}

#[test]
fn a_workspace_takes_what_it_does_not_say_from_all() {
    let policy = policy("[policy]\nbounces = \"grey\"\ngrey_days = 9\n[policy.workspaces.eu]\nbounces = \"strict\"\n").unwrap();
    let (eu, us) = (policy.scoring_for("eu"), policy.scoring_for("us"));
    assert_eq!((eu.bounces, eu.grey_days), (BounceMode::Strict, 9));
    assert_eq!((us.bounces, us.grey_days), (BounceMode::Grey, 9));
}

#[test]
fn rules_that_make_no_sense_are_refused_with_key_value_and_fix() {
    for (toml, expected) in [
        ("[policy]\nsunset_after_days = 500", "policy.sunset_after_days = \"500\": use 7 to 365 days"),
        ("[policy]\ncooling_days = 20", "policy.cooling_days = \"20\": use more than active_days (30)"),
        ("[policy]\nsunset_after_days = 60", "policy.sunset_after_days = \"60\": use more than cooling_days (60)"),
        ("[policy]\nsunset_min_delivered = 0", "policy.sunset_min_delivered = \"0\": use 1 to 200 mails"),
        ("[policy]\nchannels = [\"email\"]", "policy.channels = \"email\": leave e-mail out: it always comes first"),
        ("[policy]\nforget_after = \"30d\"", "policy.forget_after = \"30d\": use at least 365d"),
        (
            "[policy.score]\nvalidity = 50",
            "policy.score.validity = \"50\": validity, engagement and patience must make 100 points, not 105",
        ),
        ("[policy.score]\nvalidity = nan", "policy.score.validity = \"NaN\": use 0 to 100"),
        ("[policy.score]\nopen_weight = 1.2", "policy.score.open_weight = \"1.2\": use at most click_weight (1)"),
        ("[policy.score]\nwatch = 70", "policy.score.watch = \"70\": use more than 0 and less than healthy (70)"),
        ("[policy.soft]\ntransient_weight = 1.5", "policy.soft.transient_weight = \"1.5\": use at most mailbox_full_weight (1)"),
        ("[policy.soft]\nretry_max_days = 20", "policy.soft.retry_max_days = \"20\": use at least retry_days (30)"),
        ("[policy.soft]\nretry_max_days = 181", "policy.soft.retry_max_days = \"181\": use 1 to 180 days"),
        ("[policy.workspaces.eu]\nactive_days = 60", "policy.workspaces.eu.cooling_days = \"60\": use more than active_days (60)"),
        ("[policy.workspaces.eu.soft]\nfailing_days = 0", "policy.workspaces.eu.soft.failing_days = \"0\": use 1 to 30 days"),
    ] {
        let error = policy(toml).map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), expected, "{toml}");
    }
}

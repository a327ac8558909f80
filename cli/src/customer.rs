//! How operators name a customer.

use aftersend_pipeline::config::Config;
use aftersend_schemas::address::Address;
use aftersend_schemas::identity::{Namespace, Person, Subject};
use aftersend_schemas::topics::partition_of;
use anyhow::{Context as _, bail};

use crate::args::Customer;

/// Where none is named.
const DEFAULT_WORKSPACE: &str = "default";

/// An error for a workspace that nothing in the configuration belongs to.
pub(crate) fn check_workspace(workspace: &str, config: &Config) -> anyhow::Result<()> {
    let workspaces = config.workspaces();
    if !workspaces.is_empty() && !workspaces.contains(workspace) {
        bail!("there is no workspace {workspace:?}, only {}", Vec::from_iter(workspaces).join(", "));
    }
    Ok(())
}

/// Whom an operator means.
pub(crate) struct Meant {
    /// As known everywhere.
    pub(crate) person: Person,
    /// Of all that is known of them.
    pub(crate) partition: i32,
    /// Given by the operator.
    pub(crate) address: Option<String>,
}

impl Meant {
    /// Reads how the operator names them.
    pub(crate) fn by(Customer { customer, workspace }: &Customer, config: &Config) -> anyhow::Result<Self> {
        // Also of a workspace that is no longer configured: what is known of its people stays.
        if let Some(person) = Person::parse(customer) {
            if let Some(workspace) = workspace.as_ref().filter(|workspace| **workspace != person.workspace) {
                let Person { workspace: of, namespace, id } = &person;
                bail!(
                    "{customer:?} is the key of {} {id:?} in workspace {of:?}, and --workspace says {workspace:?}: leave --workspace out to mean \
                     that one, or write {:?} to mean whom workspace {workspace:?} knows by the id {customer:?}",
                    namespace.as_str(),
                    format!("{workspace}:{}:{customer}", Namespace::Id.as_str()),
                );
            }
            return Self::in_full(&person);
        }
        let workspace = workspace.as_deref().unwrap_or(DEFAULT_WORKSPACE);
        check_workspace(workspace, config)?;
        if matches!(customer.trim(), "" | "cio_" | "email:") {
            bail!(
                "{customer:?} names nobody: give the customer's id, cio_ and Customer.io's own id, email:ADDRESS, or email: and the hash of one"
            );
        }
        let privacy = config.privacy.privacy()?;
        let by_address = customer.strip_prefix("email:").map(|rest| (rest, Address::read(rest)));
        if let Some((rest, None)) = by_address.as_ref().filter(|(rest, _)| rest.contains('@')) {
            bail!("{rest:?} is no address");
        }
        let is_hash = |text: &str| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let (subject, address) = match (by_address, customer.strip_prefix("cio_")) {
            (Some((_, Some(address))), _) => {
                let hash = privacy.identity(&address);
                let hash = hash.context("with [privacy] email = \"drop\" nobody is known by an address")?;
                (Subject::Email(hash), Some(address.as_str().to_owned()))
            }
            (Some((hash, None)), _) if is_hash(hash) => (Subject::Email(hash.into()), None),
            (_, Some(id)) => (Subject::Cio(id.into()), None),
            _ => (Subject::Id(customer.into()), None),
        };
        Self::of(&subject, workspace, address)
    }

    /// Named by the text that our commands and the keys of our topics name them by.
    fn in_full(Person { workspace, namespace, id }: &Person) -> anyhow::Result<Self> {
        let subject = match namespace {
            Namespace::Id => Subject::Id(id.into()),
            Namespace::Cio => Subject::Cio(id.into()),
            Namespace::Email if id.contains('@') => bail!("a key holds no address: write email:{id} --workspace {workspace}"),
            Namespace::Email => Subject::Email(id.clone()),
        };
        Self::of(&subject, workspace, None)
    }

    fn of(subject: &Subject<'_>, workspace: &str, address: Option<String>) -> anyhow::Result<Self> {
        let key = subject.key();
        let person = subject.person(workspace, &key).context("nobody is meant")?;
        Ok(Self { person, partition: partition_of(key.as_bytes()), address })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(customer: &str, privacy: &str) -> anyhow::Result<Meant> {
        meant_in(None, customer, privacy)
    }

    fn meant_in(workspace: Option<&str>, customer: &str, privacy: &str) -> anyhow::Result<Meant> {
        let config = Config::parse(&format!("[privacy]\n{privacy}\n"), [])?;
        Meant::by(&Customer { customer: customer.into(), workspace: workspace.map(Into::into) }, &config)
    }

    #[test]
    fn customers_are_named_by_their_id_customer_ios_id_or_an_address() {
        let hashed = "hash_keys = [{ key = \"test key\" }]";
        let hash = "e0133736c049df33bb251ff893de6ea7";
        for (customer, person, key) in [
            ("u-1", "default:id:u-1", "u-1"),
            ("cio_ab", "default:cio:ab", "cio_ab"),
            ("A@b.example", "default:id:A@b.example", "A@b.example"),
            ("email:7", "default:id:email:7", "email:7"),
            ("default:id:u-1", "default:id:u-1", "u-1"),
            ("shop:id:a:b", "shop:id:a:b", "a:b"),
            ("shop:cio:ab", "shop:cio:ab", "cio_ab"),
            (&format!("shop:email:{hash}"), &format!("shop:email:{hash}"), &format!("email:{hash}")),
            ("email:A@b.example", &format!("default:email:{hash}"), &format!("email:{hash}")),
            (&format!("email:{hash}"), &format!("default:email:{hash}"), &format!("email:{hash}")),
        ] {
            let meant = meant(customer, hashed).unwrap();
            assert_eq!((meant.person.to_string().as_str(), meant.partition), (person, partition_of(key.as_bytes())), "{customer}");
            assert_eq!(meant.address.as_deref(), customer.starts_with("email:A").then_some("a@b.example"), "{customer}");
        }
        assert!(meant("email:a@b.example", "email = \"drop\"").is_err());
        assert!(meant("shop:email:a@b.example", hashed).is_err(), "the key holds a hash");
        let sources = format!("{hashed}\n[[source]]\nname = \"default\"\nsigning_keys = [\"k\"]");
        assert_eq!(meant("shop:id:u-1", &sources).unwrap().person.workspace, "shop", "a workspace that was configured once");
        let refused = meant_in(Some("shop"), "u-1", &sources);
        assert!(refused.is_err_and(|error| error.to_string() == "there is no workspace \"shop\", only default"));
        for nobody in ["", " ", "cio_", "email:"] {
            assert!(meant(nobody, hashed).is_err(), "{nobody:?}");
        }
        assert!(meant("email:@", hashed).is_err_and(|error| error.to_string() == "\"@\" is no address"));
    }

    #[test]
    fn a_workspace_that_contradicts_the_key_is_refused_and_both_readings_are_named() {
        let hashed = "hash_keys = [{ key = \"test key\" }]";
        let refused = meant_in(Some("default"), "shop:id:7", hashed).err().unwrap().to_string();
        let expected = "\"shop:id:7\" is the key of id \"7\" in workspace \"shop\", and --workspace says \"default\": leave --workspace out to mean \
                        that one, or write \"default:id:shop:id:7\" to mean whom workspace \"default\" knows by the id \"shop:id:7\"";
        assert_eq!(refused, expected);
        let person = |workspace, customer| meant_in(workspace, customer, hashed).unwrap().person;
        for workspace in [None, Some("default")] {
            let theirs = Person { workspace: "default".into(), namespace: Namespace::Id, id: "shop:id:7".into() };
            assert_eq!(person(workspace, "default:id:shop:id:7"), theirs);
        }
        assert_eq!(person(None, "shop:id:7"), person(Some("shop"), "shop:id:7"));
        assert_eq!(person(Some("shop"), "7"), person(None, "shop:id:7"));
    }
}

//! How operators name a customer.

use aftersend_pipeline::config::Config;
use aftersend_schemas::address::Address;
use aftersend_schemas::identity::{Namespace, Person, Subject};
use aftersend_schemas::topics::partition_of;
use anyhow::{Context as _, bail};

use crate::args::Customer;

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
            return Self::in_full(&person);
        }
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
        let config = Config::parse(&format!("[privacy]\n{privacy}\n"), [])?;
        Meant::by(&Customer { customer: customer.into(), workspace: "default".into() }, &config)
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
        let config = Config::parse(&format!("[privacy]\n{sources}\n"), []).unwrap();
        let refused = Meant::by(&Customer { customer: "u-1".into(), workspace: "shop".into() }, &config);
        assert!(refused.is_err_and(|error| error.to_string() == "there is no workspace \"shop\", only default"));
        for nobody in ["", " ", "cio_", "email:"] {
            assert!(meant(nobody, hashed).is_err(), "{nobody:?}");
        }
        assert!(meant("email:@", hashed).is_err_and(|error| error.to_string() == "\"@\" is no address"));
    }
}

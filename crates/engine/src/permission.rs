//! What a user of a cluster lacks, in Kafka's words.

use std::fmt;

/// A permission that is missing, as an ACL of the cluster would give it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// What was to be done.
    pub operation: Operation,
    /// With what.
    pub resource: Resource,
}

/// An operation of Kafka's ACLs. Those that read, write, delete or alter include describing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "Kafka's own names")]
pub enum Operation {
    Read,
    Write,
    Create,
    Delete,
    Alter,
    Describe,
    AlterConfigs,
    DescribeConfigs,
}

/// A resource of Kafka's ACLs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// By its name.
    Topic(String),
    /// A consumer group.
    Group(String),
    /// Of a transactional producer.
    TransactionalId(String),
    /// All of it.
    Cluster,
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operation, resource } = self;
        write!(
            f,
            "{operation:?} on {resource} is not allowed to this user; have it allowed, as with \
             `kafka-acls.sh --add --allow-principal User:NAME --operation {operation:?} {}`",
            resource.option()
        )
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(name) => write!(f, "topic {name}"),
            Self::Group(name) => write!(f, "group {name}"),
            Self::TransactionalId(id) => write!(f, "transactional id {id}"),
            Self::Cluster => f.write_str("the cluster"),
        }
    }
}

impl Resource {
    /// As Kafka's tool wants it.
    fn option(&self) -> String {
        match self {
            Self::Topic(name) => format!("--topic {name}"),
            Self::Group(name) => format!("--group {name}"),
            Self::TransactionalId(id) => format!("--transactional-id {id}"),
            Self::Cluster => "--cluster".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_permission_is_told_as_it_would_be_given() {
        for (operation, resource, expected) in [
            (
                Operation::Write,
                Resource::Topic("orders".into()),
                "Write on topic orders is not allowed to this user; have it allowed, as with \
                 `kafka-acls.sh --add --allow-principal User:NAME --operation Write --topic orders`",
            ),
            (
                Operation::Describe,
                Resource::Cluster,
                "Describe on the cluster is not allowed to this user; have it allowed, as with \
                 `kafka-acls.sh --add --allow-principal User:NAME --operation Describe --cluster`",
            ),
        ] {
            assert_eq!(Permission { operation, resource }.to_string(), expected);
        }
    }
}

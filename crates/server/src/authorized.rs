//! What a client may do: everything, for there is no authorizer.
//!
//! Descriptions say it as Kafka without an authorizer does: a bit for each operation that the kind
//! of resource knows (KIP-430), by the numbers of its `AclOperation`.

/// What is said of access rules.
pub(crate) const NO_AUTHORIZER: &str = "this broker has no authorizer";

const READ: i32 = 1 << 3;
const WRITE: i32 = 1 << 4;
const CREATE: i32 = 1 << 5;
const DELETE: i32 = 1 << 6;
const ALTER: i32 = 1 << 7;
const DESCRIBE: i32 = 1 << 8;
const CLUSTER_ACTION: i32 = 1 << 9;
const DESCRIBE_CONFIGS: i32 = 1 << 10;
const ALTER_CONFIGS: i32 = 1 << 11;
const IDEMPOTENT_WRITE: i32 = 1 << 12;

/// What a resource of a kind knows to be done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Operations(i32);

pub(crate) const CLUSTER: Operations = Operations(
    CREATE
        | ALTER
        | DESCRIBE
        | CLUSTER_ACTION
        | DESCRIBE_CONFIGS
        | ALTER_CONFIGS
        | IDEMPOTENT_WRITE,
);
pub(crate) const TOPIC: Operations = Operations(
    READ | WRITE | CREATE | DELETE | ALTER | DESCRIBE | DESCRIBE_CONFIGS | ALTER_CONFIGS,
);
pub(crate) const GROUP: Operations =
    Operations(READ | DELETE | DESCRIBE | DESCRIBE_CONFIGS | ALTER_CONFIGS);

impl Operations {
    /// The bits if they were asked for, otherwise Kafka's number for saying nothing.
    pub(crate) fn if_asked(self, asked: bool) -> i32 {
        if asked { self.0 } else { i32::MIN }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_are_kafkas() {
        // What `AclEntry.supportedOperations` of Apache Kafka 4.2 adds up to.
        assert_eq!(CLUSTER.if_asked(true), 0b1_1111_1010_0000);
        assert_eq!(TOPIC.if_asked(true), 0b0_1101_1111_1000);
        assert_eq!(GROUP.if_asked(true), 0b0_1101_0100_1000);
        assert_eq!([CLUSTER, TOPIC, GROUP].map(|kind| kind.if_asked(false)), [i32::MIN; 3]);
    }
}

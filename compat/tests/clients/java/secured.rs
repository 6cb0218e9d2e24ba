//! The engine of a cluster against a real Apache Kafka that asks who is there (SASL PLAIN) and allows a user
//! nothing.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use tidings_compat::{Conversation, Finished, ReservedPort, eventually, run};
use tidings_engine::{ConnectTrouble, Engine, Error, NewTopic};

use super::{PATIENCE, java};

/// Brokers speak among themselves as nobody, who may do everything.
const CONFIG: &str = "\
process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SECURED:SASL_PLAINTEXT
inter.broker.listener.name=PLAINTEXT
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
listener.name.secured.sasl.enabled.mechanisms=PLAIN
listener.name.secured.plain.sasl.jaas.config=\
org.apache.kafka.common.security.plain.PlainLoginModule required \
user_owner=\"hunter2\" user_guest=\"hunter3\";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:owner
";

pub(super) struct Secured {
    _running: Conversation,
    folder: TempDir,
    /// Of its listeners: open to all, with a password, the controller's.
    ports: [ReservedPort; 3],
}

impl Secured {
    pub(super) fn start() -> Self {
        let folder = TempDir::new().expect("a temporary directory");
        let any = || ReservedPort::any().expect("a port");
        let ports = [any(), any(), any()];
        let [plain, secured, controller] = ports.each_ref().map(ReservedPort::address);
        let open = format!("PLAINTEXT://{plain},SECURED://{secured}");
        let text = format!(
            "{CONFIG}\
             controller.quorum.bootstrap.servers={controller}\n\
             listeners={open},CONTROLLER://{controller}\n\
             advertised.listeners={open}\n\
             log.dirs={}\n",
            folder.path().join("data").display()
        );
        let config = folder.path().join("server.properties");
        fs::write(&config, text).expect("written");
        let mut command = java("kafka.tools.StorageTool");
        command.args(["format", "--standalone", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c"]).arg(&config);
        run(&mut command, "", PATIENCE).and_then(Finished::success).expect("formatted");
        let mut command = java("kafka.Kafka");
        command.arg(&config);
        let running = Conversation::start(&mut command, PATIENCE).expect("it starts");
        let listens = eventually(PATIENCE, || std::net::TcpStream::connect(secured).ok());
        assert!(listens.is_some(), "Kafka does not listen");
        Self { _running: running, folder, ports }
    }

    /// `host:port` of the listener that asks for a password.
    pub(super) fn address(&self) -> &str {
        self.ports[1].address()
    }

    /// The URL for a user with this password.
    pub(super) fn url(&self, user: &str, password: &str) -> String {
        let path = self.folder.path().join(format!("{user}-{password}"));
        fs::write(&path, password).expect("written");
        url(self.address(), user, &path)
    }
}

fn url(address: &str, user: &str, password: &Path) -> String {
    let password = password.display();
    format!("kafka://{address}?sasl=plain&user={user}&password_file={password}&connect_timeout=30s")
}

fn topic(name: &str) -> NewTopic {
    NewTopic { name: name.to_owned(), partitions: Some(1), configs: Vec::new() }
}

#[test]
fn credentials_and_permissions_are_told_apart() {
    let kafka = Secured::start();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let owner = Engine::connect(&kafka.url("owner", "hunter2")).await.expect("the password");
        owner.create_topic(topic("t")).await.expect("the owner may");

        let refused = Engine::connect(&kafka.url("owner", "wrong")).await.expect_err("a lie");
        let Error::Connect { address, trouble: ConnectTrouble::Denied(why) } = &refused else {
            panic!("{refused:?}")
        };
        assert_eq!(address, kafka.address());
        assert!(why.contains("Authentication failed"), "{why}");
        assert!(!format!("{refused} {refused:?}").contains("wrong"), "{refused}");

        let guest = Engine::connect(&kafka.url("guest", "hunter3")).await.expect("the password");
        let refused = guest.create_topic(topic("u")).await.expect_err("a guest may not");
        assert!(matches!(refused, Error::Denied(_)), "{refused:?}");
        let refused = guest.topic("t").await.expect_err("a guest may not see it");
        assert!(matches!(refused, Error::Denied(_) | Error::UnknownTopic(_)), "{refused:?}");

        let silent = format!("kafka://{}?connect_timeout=2s", kafka.address());
        let refused = Engine::connect(&silent).await.expect_err("who says nothing is not let in");
        assert!(matches!(refused, Error::Connect { .. }), "{refused:?}");
    });
}

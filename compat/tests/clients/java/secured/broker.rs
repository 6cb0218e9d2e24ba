//! A broker with a listener for each way in, its certificates and its users.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tidings_compat::{Conversation, Finished, ReservedPort, eventually, run};

use super::{GUEST, KEY, OWNER, VARIABLE};
use crate::java::{PATIENCE, java};

/// Brokers speak among themselves as nobody, who may do everything; so may the owner.
const CONFIG: &str = "\
process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
inter.broker.listener.name=OPEN
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
group.initial.rebalance.delay.ms=0
num.partitions=1
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:owner;User:packaged;User:CN=client
ssl.keystore.type=PEM
ssl.truststore.type=PEM
listener.name.mutual.ssl.client.auth=required
listener.name.passwords.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.passwords.scram-sha-256.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.passwords.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.unencrypted.sasl.enabled.mechanisms=PLAIN
listener.name.tokens.sasl.enabled.mechanisms=OAUTHBEARER
listener.name.tokens.oauthbearer.connections.max.reauth.ms=600000
listener.name.tokens.oauthbearer.sasl.jaas.config=\
org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \
unsecuredLoginStringClaim_sub=\"broker\";
";

/// What one broker needs for transactions.
const TRANSACTIONS: &str = "\
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
";

/// How a client gets in; the name of the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Neither TLS nor a password.
    Open,
    /// TLS.
    Encrypted,
    /// TLS with a certificate for another host.
    Elsewhere,
    /// TLS with a certificate of yesterday.
    Expired,
    /// TLS that asks the client for its certificate.
    Mutual,
    /// TLS and a password: PLAIN and both SCRAM.
    Passwords,
    /// TLS and an OAUTHBEARER token, as of no signature.
    Tokens,
    /// A PLAIN password without TLS.
    Unencrypted,
}

impl Way {
    const ALL: [(Self, &'static str); 8] = [
        (Self::Open, "PLAINTEXT"),
        (Self::Encrypted, "SSL"),
        (Self::Elsewhere, "SSL"),
        (Self::Expired, "SSL"),
        (Self::Mutual, "SSL"),
        (Self::Passwords, "SASL_SSL"),
        (Self::Tokens, "SASL_SSL"),
        (Self::Unencrypted, "SASL_PLAINTEXT"),
    ];

    fn name(self) -> String {
        format!("{self:?}").to_uppercase()
    }

    /// The certificate that the broker shows.
    fn certificate(self) -> &'static str {
        match self {
            Self::Elsewhere => "elsewhere",
            Self::Expired => "expired",
            _ => "server",
        }
    }
}

/// A broker that answers; killed when dropped.
pub(in crate::java) struct Secured {
    _running: Conversation,
    folder: TempDir,
    plan: Plan,
    _ports: Vec<ReservedPort>,
}

/// Where it listens, and where its files are.
#[derive(Clone)]
pub(super) struct Plan {
    folder: PathBuf,
    addresses: Vec<(Way, String)>,
}

impl Plan {
    /// `host:port` of a listener.
    pub(super) fn address(&self, way: Way) -> &str {
        let found = self.addresses.iter().find(|(each, _)| *each == way);
        found.map(|(_, address)| address).expect("each has one")
    }

    /// The text with the folder for each `$`.
    pub(super) fn with_folder(&self, text: &str) -> String {
        text.replace('$', &self.folder.display().to_string())
    }

    /// The URL of a listener; `$` in its parameters is the folder.
    pub(super) fn url(&self, way: Way, parameters: &str) -> String {
        format!("kafka://{}?{}", self.address(way), self.with_folder(parameters))
    }

    /// `NAME://host:port` of each, separated by commas.
    fn listeners(&self) -> String {
        let each = self.addresses.iter();
        let each = each.map(|(way, address)| format!("{}://{address}", way.name()));
        each.collect::<Vec<_>>().join(",")
    }
}

impl Secured {
    pub(in crate::java) fn start() -> Self {
        Self::start_with(TRANSACTIONS)
    }

    /// With Kafka's default for transactions, which needs three brokers.
    pub(in crate::java) fn start_without_transactions() -> Self {
        Self::start_with("")
    }

    fn start_with(more: &str) -> Self {
        let folder = TempDir::new().expect("a temporary directory");
        make_certificates(folder.path());
        let port = |_| ReservedPort::any().expect("a port");
        // One more for the controller.
        let ports: Vec<ReservedPort> = (0..=Way::ALL.len()).map(port).collect();
        let addresses = Way::ALL.iter().zip(&ports);
        let plan = Plan {
            folder: folder.path().to_owned(),
            addresses: addresses
                .map(|((way, _), port)| (*way, port.address().to_owned()))
                .collect(),
        };
        let config = folder.path().join("server.properties");
        let text = properties(&plan, ports[Way::ALL.len()].address());
        fs::write(&config, text + more).expect("written");
        crate::java::format(&config, &users());
        let mut command = java("kafka.Kafka");
        command.arg(&config);
        let running = Conversation::start(&mut command, PATIENCE).expect("it starts");
        for (way, address) in &plan.addresses {
            let listens = eventually(PATIENCE, || std::net::TcpStream::connect(address).ok());
            assert!(listens.is_some(), "Kafka does not listen for {way:?}");
        }
        Self { _running: running, folder, plan, _ports: ports }
    }

    pub(super) fn plan(&self) -> Plan {
        self.plan.clone()
    }

    /// See [`Plan::url`].
    pub(super) fn url(&self, way: Way, parameters: &str) -> String {
        self.plan.url(way, parameters)
    }

    /// The URL of a user with a password, without TLS.
    pub(in crate::java) fn url_of(&self, user: &str) -> String {
        self.write("owner", OWNER);
        self.write("guest", GUEST);
        let parameters =
            format!("sasl=plain&user={user}&password_file=$/{user}&connect_timeout=60s");
        self.url(Way::Unencrypted, &parameters)
    }

    /// Writes a file of the folder.
    pub(super) fn write(&self, name: &str, text: &str) {
        replace(&self.folder.path().join(name), text);
    }

    /// Where a file of its folder is.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// In one step: nobody reads half of it.
pub(super) fn replace(file: &Path, text: &str) {
    let beside = file.with_extension("new");
    fs::write(&beside, text).expect("written");
    fs::rename(&beside, file).expect("renamed");
}

/// What gives a broker its users of SCRAM when its folder is formatted.
fn users() -> Vec<String> {
    let variable = std::env::var(VARIABLE).expect("cargo sets it");
    let users = [
        ("256", "owner", OWNER),
        ("512", "owner", OWNER),
        ("512", "guest", GUEST),
        ("512", "packaged", &variable),
    ];
    let add = |(mechanism, user, password)| {
        let user = format!("SCRAM-SHA-{mechanism}=[name={user},password={password}]");
        ["--add-scram".to_owned(), user]
    };
    users.into_iter().flat_map(add).chain(["--standalone".to_owned()]).collect()
}

fn make_certificates(folder: &Path) {
    let mut command = java("tools.Certificates");
    command
        .env("JDK_JAVA_OPTIONS", "--add-exports=java.base/sun.security.tools.keytool=ALL-UNNAMED");
    command.arg(folder).arg(KEY);
    run(&mut command, "", PATIENCE).and_then(Finished::success).expect("certificates");
}

fn properties(plan: &Plan, controller: &str) -> String {
    let mut protocols = vec!["CONTROLLER:PLAINTEXT".to_owned()];
    protocols.extend(Way::ALL.iter().map(|(way, protocol)| format!("{}:{protocol}", way.name())));
    let (listeners, folder) = (plan.listeners(), plan.folder.display());
    let mut text = format!(
        "{CONFIG}\
         listener.security.protocol.map={}\n\
         controller.quorum.bootstrap.servers={controller}\n\
         listeners={listeners},CONTROLLER://{controller}\n\
         advertised.listeners={listeners}\n\
         log.dirs={folder}/data\n\
         ssl.truststore.location={folder}/ca.pem\n",
        protocols.join(",")
    );
    for (way, _) in Way::ALL.iter().filter(|(_, protocol)| protocol.ends_with("SSL")) {
        let (name, certificate) = (way.name().to_lowercase(), way.certificate());
        text +=
            &format!("listener.name.{name}.ssl.keystore.location={folder}/{certificate}.both\n");
    }
    for way in [Way::Passwords, Way::Unencrypted] {
        let name = way.name().to_lowercase();
        text += &format!(
            "listener.name.{name}.plain.sasl.jaas.config=\
             org.apache.kafka.common.security.plain.PlainLoginModule required \
             user_owner=\"{OWNER}\" user_guest=\"{GUEST}\";\n"
        );
    }
    text
}

//! Files for a console that asks who they are: who may ask, and what Prometheus says.

use serde_json::{Value, json};
use tidings_terminal::failure::{Exit, Failure};

use crate::args::Generate;

/// What is known of the console's accounts.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    /// The absolute path of their file.
    file: Option<String>,
    scraper: Option<Scraper>,
}

/// Who Prometheus is to the console.
#[derive(Debug, PartialEq, Eq)]
struct Scraper {
    /// With a password; without a user there is a token.
    user: Option<String>,
    /// Where the password or the token is, from where prometheus.yml is.
    secret_file: String,
}

impl Accounts {
    pub(super) fn of(said: &Generate) -> Result<Self, Failure> {
        let Generate { http_auth_file, http_user: user, http_secret_file, .. } = said;
        let file = http_auth_file.as_deref().map(|file| {
            let absolute = std::path::absolute(file).map_err(|error| {
                Failure::new(Exit::Usage, "--http-auth-file names no file").why(error)
            })?;
            line(&absolute.to_string_lossy())
        });
        let file = file.transpose()?;
        let is_locked = file.is_some() || user.is_some() || http_secret_file.is_some();
        let secret_file = match (http_secret_file, user) {
            (Some(file), _) => line(&file.to_string_lossy())?,
            (None, Some(_)) => "tidings.password".to_owned(),
            (None, None) => "tidings.token".to_owned(),
        };
        let scraper = is_locked.then(|| Scraper { user: user.clone(), secret_file });
        Ok(Self { file, scraper })
    }

    /// What Prometheus says, as fields of a scrape configuration, and what to say of it at the file's head.
    pub(super) fn scrape(&self) -> (Option<(&'static str, Value)>, String) {
        let Some(Scraper { user, secret_file }) = &self.scraper else {
            return (None, String::new());
        };
        let (field, secret) = match user {
            Some(user) => {
                let of_user = json!({ "username": user, "password_file": secret_file });
                (("basic_auth", of_user), format!("the password of {user}"))
            }
            None => {
                let of_token = json!({ "credentials_file": secret_file });
                (("authorization", of_token), "a token of the console's accounts".to_owned())
            }
        };
        let head =
            format!("# {secret_file} has {secret}, alone; Prometheus reads it from there.\n");
        (Some(field), head)
    }

    /// A unit that starts with the file, which only root need read.
    pub(super) fn unit(&self, text: &str) -> String {
        let Some(file) = &self.file else { return text.to_owned() };
        let credential = format!("LoadCredential=http:{}\nExecStart=", file.replace('%', "%%"));
        [
            (
                ", --http-host NAME for the name they use, and\n\
                 # --http-auth-file ${CREDENTIALS_DIRECTORY}/http with LoadCredential=http:/etc/tidings/http.\n",
                ", and --http-host NAME for the name they use.\n",
            ),
            (
                " --registry 127.0.0.1:8081\n",
                " --registry 127.0.0.1:8081 --http-auth-file ${CREDENTIALS_DIRECTORY}/http\n",
            ),
            ("ExecStart=", credential.as_str()),
        ]
        .iter()
        .fold(text.to_owned(), |text, (open, locked)| text.replace(open, locked))
    }

    /// A compose file that starts with the file.
    pub(super) fn compose(&self, text: &str) -> String {
        let Some(file) = &self.file else { return text.to_owned() };
        // Compose replaces what follows a dollar; a string of JSON is one of YAML.
        let source = Value::from(file.replace('$', "$$"));
        let mount = format!(
            "      - data:/var/lib/tidings\n      - type: bind\n        source: {source}\n        \
             target: /etc/tidings/http\n        read_only: true\n"
        );
        [
            (
                "# There is no authentication (--insecure): only this machine and this network reach the ports. With a file of accounts,\n\
                 # mounted where user 10001 may read it, say --http-auth-file FILE instead. A client",
                "# Console, HTTP API and registry ask who they are: user 10001 must be able to read the file of accounts. The Kafka port asks\n\
                 # nobody: only this machine and this network reach it. A client",
            ),
            ("      - --insecure\n", "      - --http-auth-file=/etc/tidings/http\n"),
            ("      - data:/var/lib/tidings\n", mount.as_str()),
        ]
        .iter()
        .fold(text.to_owned(), |text, (open, locked)| text.replace(open, locked))
    }
}

/// A path that is one line of a file.
fn line(path: &str) -> Result<String, Failure> {
    match path.contains(char::is_control) {
        false => Ok(path.to_owned()),
        true => Err(Failure::new(Exit::Usage, format!("{path:?} goes into no file"))
            .why("it has characters that no line holds")),
    }
}

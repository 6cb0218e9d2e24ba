//! What commands take for granted: flags go first, then the environment, the project's file, the context, the
//! defaults.
//!
//! The user's file ([`UserFile`]) holds contexts, each a cluster with its settings; the project's file
//! ([`ProjectFile`]) is `tidings.toml` in the working directory or above. Both refuse what they do not know, with
//! what was probably meant, and passwords in clear. [`Settings`] is a function of both, of the environment and of
//! the context that was asked for; it becomes the defaults of the arguments, so clap puts flags and environment
//! before it.
//!
//! Limits: files of [`SETTINGS_BYTES_MAX`](crate::limits::SETTINGS_BYTES_MAX) bytes;
//! [`PROJECT_LEVELS_MAX`](crate::limits::PROJECT_LEVELS_MAX) directories upwards.

mod file;
mod near;

use std::path::PathBuf;

use clap::Command;
use tidings_terminal::failure::{Exit, Failure};

use crate::args::{HTTP_DEFAULT, KAFKA_DEFAULT, REGISTRY_DEFAULT};
pub(crate) use file::{Locations, ProjectFile, Promise, UserFile};
pub(crate) use near::nearest;

/// Something that can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Kafka,
    Engine,
    Output,
    UpData,
    UpKafka,
    UpHttp,
    UpRegistry,
    UpHttpHost,
    UpHttpAuthFile,
}

impl Key {
    pub(crate) const ALL: [Self; 9] = [
        Self::Kafka,
        Self::Engine,
        Self::Output,
        Self::UpData,
        Self::UpKafka,
        Self::UpHttp,
        Self::UpRegistry,
        Self::UpHttpHost,
        Self::UpHttpAuthFile,
    ];
    /// What a context has: where a cluster is. Where a node of one's own listens is no matter of contexts.
    pub(crate) const OF_CONTEXTS: [Self; 3] = [Self::Kafka, Self::Engine, Self::Output];

    /// In files; what stands before a dot is a table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Engine => "engine",
            Self::Output => "output",
            Self::UpData => "up.data",
            Self::UpKafka => "up.kafka",
            Self::UpHttp => "up.http",
            Self::UpRegistry => "up.registry",
            Self::UpHttpHost => "up.http_host",
            Self::UpHttpAuthFile => "up.http_auth_file",
        }
    }

    fn default(self) -> &'static str {
        match self {
            Self::Kafka | Self::UpKafka => KAFKA_DEFAULT,
            Self::Engine => "kafka://127.0.0.1:9092",
            Self::Output => "table",
            Self::UpData => "./tidings-data",
            Self::UpHttp => HTTP_DEFAULT,
            Self::UpRegistry => REGISTRY_DEFAULT,
            Self::UpHttpHost | Self::UpHttpAuthFile => "",
        }
    }

    fn variable(self) -> Option<&'static str> {
        match self {
            Self::Kafka => Some("TIDINGS_KAFKA"),
            Self::Engine => Some("TIDINGS_ENGINE"),
            Self::UpHttpAuthFile => Some("TIDINGS_HTTP_AUTH_FILE"),
            _ => None,
        }
    }
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Environment(&'static str),
    Project(PathBuf),
    Context(String),
    /// From the address that `kafka` says.
    Kafka,
    Default,
}

impl Origin {
    /// What goes before what.
    fn rank(&self) -> u8 {
        match self {
            Self::Environment(_) => 3,
            Self::Project(_) => 2,
            Self::Context(_) => 1,
            Self::Kafka | Self::Default => 0,
        }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Project(path) => write!(f, "project {}", path.display()),
            Self::Context(name) => write!(f, "context {name}"),
            Self::Kafka => write!(f, "setting kafka"),
            Self::Default => write!(f, "default"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) key: Key,
    pub(crate) value: String,
    pub(crate) origin: Origin,
}

/// One for each key; by default there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) all: Vec<Setting>,
    /// The context that is used, if any.
    pub(crate) context: Option<String>,
    /// What the project's file promises of services.
    pub(crate) slo: Vec<Promise>,
    /// The project's file, if there is one.
    pub(crate) project: Option<PathBuf>,
}

impl Settings {
    /// From the files of this user and this directory. `asked` is the context of `--context`.
    pub(crate) fn load(asked: Option<&str>) -> Result<Self, Failure> {
        let locations = Locations::here()?;
        let user = UserFile::read(&locations.user)?;
        let project = locations.project.map(ProjectFile::read).transpose()?;
        let environment = |name: &str| std::env::var(name).ok();
        Self::of(asked, environment, project.as_ref(), &user)
    }

    fn of(
        asked: Option<&str>,
        environment: impl Fn(&str) -> Option<String>,
        project: Option<&ProjectFile>,
        user: &UserFile,
    ) -> Result<Self, Failure> {
        let named = asked.or_else(|| project.and_then(|project| project.context.as_deref()));
        let name = named.or(user.current.as_deref());
        let context = name.map(|name| user.context(name).map(|found| (name, found))).transpose()?;
        let setting = |key: Key| {
            let variable = key.variable().and_then(|name| Some((environment(name)?, name)));
            let of_project = project.and_then(|file| Some((file.values.get(&key)?, &file.path)));
            let of_context =
                context.as_ref().and_then(|(name, values)| Some((values.get(&key)?, *name)));
            let (value, origin) = match (variable, of_project, of_context) {
                (Some((value, name)), ..) => (value, Origin::Environment(name)),
                (_, Some((value, path)), _) => (value.clone(), Origin::Project(path.clone())),
                (.., Some((value, name))) => (value.clone(), Origin::Context(name.to_owned())),
                _ => (key.default().to_owned(), Origin::Default),
            };
            Setting { key, value, origin }
        };
        let mut all = Key::ALL.map(setting).to_vec();
        let kafka = all[0].clone();
        // Who says where Kafka is has said where the engine is as well, unless the engine is said there, or nearer.
        if let Some(engine) =
            all.get_mut(1).filter(|engine| kafka.origin.rank() > engine.origin.rank())
        {
            engine.value = format!("kafka://{}", kafka.value);
            engine.origin = Origin::Kafka;
        }
        let slo = project.map_or_else(Vec::new, |file| file.slo.clone());
        let project = project.map(|file| file.path.clone());
        Ok(Self { all, context: name.map(str::to_owned), slo, project })
    }

    /// Where the broker is.
    pub(crate) fn kafka(&self) -> Option<&str> {
        let setting = self.all.iter().find(|setting| setting.key == Key::Kafka);
        setting.map(|setting| setting.value.as_str())
    }

    /// What an argument is when nobody says it; none where that is what it would be without settings.
    fn of_argument(&self, command: &str, argument: &str) -> Option<&str> {
        let key = match (command, argument) {
            // A node of one's own is never turned into something on a cluster by a file.
            ("up", "engine") => return None,
            ("up", "data") => Key::UpData,
            ("up", "kafka") => Key::UpKafka,
            ("up", "http") => Key::UpHttp,
            ("up", "registry") => Key::UpRegistry,
            ("up", "http_host") => Key::UpHttpHost,
            ("up" | "generate", "http_auth_file") => Key::UpHttpAuthFile,
            (_, "kafka") => Key::Kafka,
            (_, "engine") => Key::Engine,
            (_, "output") => Key::Output,
            _ => return None,
        };
        let setting = self.all.iter().find(|setting| setting.key == key)?;
        let is_file = !matches!(setting.origin, Origin::Default | Origin::Environment(_));
        is_file.then_some(setting.value.as_str())
    }

    /// The command line with these defaults.
    pub(crate) fn apply(&self, command: Command) -> Command {
        let name = command.get_name().to_owned();
        let mut command = command.mut_args(|argument| {
            match self.of_argument(&name, argument.get_id().as_str()) {
                None if argument.get_id() == "slo" && !self.slo.is_empty() => {
                    argument.default_values(self.slo.iter().map(Promise::argument))
                }
                Some(value) => argument.default_value(value.to_owned()),
                None => argument,
            }
        });
        for sub in command.get_subcommands_mut() {
            *sub = self.apply(std::mem::take(sub));
        }
        command
    }
}

/// A setting that may not be: passwords belong in files or the environment, which the URL of an engine names.
fn sound(key: Key, value: &str) -> Result<(), Failure> {
    let query = value.split_once('?').map_or("", |(_, query)| query);
    let mut parameters = query.split('&').filter_map(|parameter| parameter.split_once('='));
    let has_password = parameters.any(|(name, _)| name == "password" || name == "key_password");
    let authority = value.split_once("://").map_or("", |(_, rest)| rest);
    let authority = authority.split(['/', '?']).next().unwrap_or_default();
    if key == Key::Engine && (has_password || authority.contains('@')) {
        return Err(Failure::new(Exit::Usage, "a password is not kept in a file of settings")
            .why("others can read it there")
            .hint("password_file=FILE or password_env=NAME in the URL"));
    }
    let forms = ["table", "wide", "json", "jsonl", "yaml", "name"];
    if key == Key::Output && !forms.contains(&value) {
        return Err(Failure::new(Exit::Usage, format!("{value:?} is no form of an answer"))
            .hint(forms.join(", ")));
    }
    if value.is_empty() {
        return Err(Failure::new(Exit::Usage, format!("{} has no value", key.name()))
            .hint("a value, or no such line"));
    }
    Ok(())
}

/// A project's file comes with the project, from whomever: it must not send a secret of the user's to an address of its own.
fn harmless(key: Key, value: &str) -> Result<(), Failure> {
    if key == Key::UpHttpHost && value.contains('*') {
        return Err(Failure::new(
            Exit::Usage,
            "a project's file does not open a node to every name",
        )
        .why("a page of any site could then lead its own name to the node, and read it")
        .hint("name the hosts, or say --http-host '*' where the node is started"));
    }
    let query = value.split_once('?').map_or("", |(_, query)| query);
    let mut names = query.split('&').map(|parameter| parameter.split('=').next().unwrap_or(""));
    let secret =
        |name: &str| name.contains("password") || matches!(name, "key" | "cert" | "config");
    match names.find(|name| secret(name)) {
        Some(name) if key == Key::Engine => {
            let what = format!("a project's file names no secrets, and {name} does");
            Err(Failure::new(Exit::Usage, what)
                .why("it would send yours wherever the project says")
                .hint(
                    "put the URL into a context of your own: tidings context set NAME engine=URL",
                ))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::args::Arguments;

    const USER: &str = "current = \"dev\"\n[contexts.dev]\nkafka = \"dev:1\"\n\
                        [contexts.prod]\nkafka = \"prod:1\"\nengine = \"kafka://prod:2\"\noutput = \"wide\"\n";

    fn settings(asked: Option<&str>, environment: &[&str], project: &str) -> Settings {
        let user = UserFile::parse(std::path::Path::new("config.toml"), USER).unwrap();
        let project = ProjectFile::parse("/p/tidings.toml".into(), project).unwrap();
        let variable = |name: &str| environment.contains(&name).then(|| "env:1".to_owned());
        Settings::of(asked, variable, Some(&project), &user).unwrap()
    }

    #[test]
    fn environment_goes_before_project_before_context_before_default() {
        let context = |name: &str| Origin::Context(name.to_owned());
        let project = || Origin::Project("/p/tidings.toml".into());
        for (asked, environment, file, key, value, origin) in [
            (None, &[][..], "", Key::Kafka, "dev:1", context("dev")),
            (None, &[], "", Key::Engine, "kafka://dev:1", Origin::Kafka),
            (None, &[], "", Key::Output, "table", Origin::Default),
            (None, &[], "", Key::UpHttp, HTTP_DEFAULT, Origin::Default),
            (Some("prod"), &[], "", Key::Engine, "kafka://prod:2", context("prod")),
            (None, &[], "context = \"prod\"", Key::Output, "wide", context("prod")),
            (Some("dev"), &[], "context = \"prod\"", Key::Kafka, "dev:1", context("dev")),
            (None, &[], "kafka = \"p:1\"", Key::Kafka, "p:1", project()),
            (None, &["TIDINGS_KAFKA"], "", Key::Engine, "kafka://env:1", Origin::Kafka),
            (Some("prod"), &["TIDINGS_KAFKA"], "", Key::Engine, "kafka://env:1", Origin::Kafka),
            (Some("prod"), &[], "kafka = \"p:1\"", Key::Engine, "kafka://p:1", Origin::Kafka),
            (
                None,
                &["TIDINGS_KAFKA"],
                "kafka = \"p:1\"",
                Key::Kafka,
                "env:1",
                Origin::Environment("TIDINGS_KAFKA"),
            ),
            (
                None,
                &["TIDINGS_ENGINE"],
                "",
                Key::Engine,
                "env:1",
                Origin::Environment("TIDINGS_ENGINE"),
            ),
            (None, &[], "[up]\nhttp = \"h:1\"", Key::UpHttp, "h:1", project()),
            (None, &[], "[up]\ndata = \"data\"", Key::UpData, "/p/data", project()),
            (None, &[], "engine = \"data\"", Key::Engine, "/p/data", project()),
        ] {
            let settings = settings(asked, environment, file);
            let found = settings.all.iter().find(|setting| setting.key == key).unwrap();
            assert_eq!((found.value.as_str(), &found.origin), (value, &origin), "{file} {key:?}");
        }
    }

    #[test]
    fn settings_are_the_defaults_of_arguments() {
        let settings = settings(None, &[], "[up]\nkafka = \"here:1\"\n");
        let command = settings.apply(Arguments::command());
        let default = |path: &[&str], argument: &str| {
            let found =
                path.iter().fold(&command, |command, name| command.find_subcommand(name).unwrap());
            let argument = found.get_arguments().find(|a| a.get_id() == argument).unwrap();
            argument.get_default_values().first().map(|value| value.to_string_lossy().into_owned())
        };
        assert_eq!(default(&["topic", "list"], "kafka").as_deref(), Some("dev:1"));
        assert_eq!(default(&["dead", "list"], "engine").as_deref(), Some("kafka://dev:1"));
        assert_eq!(default(&["up"], "kafka").as_deref(), Some("here:1"));
        assert_eq!(default(&["up"], "engine"), None);
        settings.apply(Arguments::command()).debug_assert();
    }

    #[test]
    fn what_a_project_promises_of_services_is_a_default_as_well() {
        let said = "[slo]\n\"*\" = \"success=99%\"\npayment = \"latency=99%<1s\"\n";
        let command = settings(None, &[], said).apply(Arguments::command());
        for name in ["up", "generate"] {
            let sub = command.find_subcommand(name).unwrap();
            let argument = sub.get_arguments().find(|a| a.get_id() == "slo").unwrap();
            let defaults: Vec<_> = argument.get_default_values().iter().collect();
            assert_eq!(defaults, ["*: success=99%", "payment: latency=99%<1s"], "{name}");
        }
        settings(None, &[], said).apply(Arguments::command()).debug_assert();
    }

    #[test]
    fn a_context_that_is_not_there_is_refused_with_one_that_is() {
        let user = UserFile::parse(std::path::Path::new("config.toml"), USER).unwrap();
        let refused = Settings::of(Some("prd"), |_| None, None, &user).unwrap_err();
        assert_eq!(refused.exit, Exit::NotFound);
        assert!(refused.to_string().contains("prod"), "{refused}");
    }

    #[test]
    fn passwords_are_not_kept() {
        for (value, sounds) in [
            ("kafka://a:1?user=me&password_file=/run/p", true),
            ("kafka://a:1?password_env=P", true),
            ("./data@home", true),
            ("kafka://a:1?user=me&password=secret", false),
            ("kafka://a:1?key_password=secret", false),
            ("kafka://me:secret@a:1", false),
            ("", false),
        ] {
            assert_eq!(sound(Key::Engine, value).is_ok(), sounds, "{value}");
        }
        for (value, is_harmless) in [
            ("kafka://a:9092", true),
            ("kafka://a:9092?tls=true&replication=3", true),
            ("kafka://a:9092?sasl=plain&user=u&password_env=AWS_SECRET", false),
            ("kafka://a:9092?tls=true&key=/home/me/key.pem", false),
            ("kafka://a:9092?config=/home/me/kafka.properties", false),
        ] {
            assert_eq!(harmless(Key::Engine, value).is_ok(), is_harmless, "{value}");
        }
        assert!(harmless(Key::UpHttpHost, "log.example.com,tidings").is_ok());
        assert!(harmless(Key::UpHttpHost, "tidings,*").is_err());
        assert!(sound(Key::Output, "xml").is_err());
        assert!(sound(Key::Output, "yaml").is_ok());
    }
}

//! The files of settings, in TOML. What is not known is refused.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use tidings_slo::Objectives;
use tidings_terminal::failure::{Exit, Failure};
use toml_edit::{DocumentMut, Item, Table};

use super::{Key, harmless, nearest, sound};
use crate::limits::{PROJECT_LEVELS_MAX, SETTINGS_BYTES_MAX};
use crate::place::Place;

pub(crate) type Values = BTreeMap<Key, String>;

/// Where the files are.
#[derive(Clone, Debug)]
pub(crate) struct Locations {
    /// It need not be there.
    pub(crate) user: PathBuf,
    pub(crate) project: Option<PathBuf>,
}

impl Locations {
    pub(crate) fn here() -> Result<Self, Failure> {
        let said = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let of_home = || said("HOME").map(|home| PathBuf::from(home).join(".config"));
        let config = said("XDG_CONFIG_HOME").map(PathBuf::from).or_else(of_home);
        let user = config.unwrap_or_default().join("tidings").join("config.toml");
        let here = std::env::current_dir().unwrap_or_default();
        let folders = here.ancestors().take(PROJECT_LEVELS_MAX);
        let mut files = folders.map(|folder| folder.join("tidings.toml"));
        let project = files.find(|path| path.is_file()).filter(|path| is_ours(path));
        Ok(Self { user, project })
    }
}

/// Another user's file, in a directory that all may write to, must not say where records go.
fn is_ours(path: &Path) -> bool {
    let owner = |path: &Path| std::fs::metadata(path).map(|metadata| metadata.uid());
    let ours = match (owner(path), owner(Path::new("/proc/self"))) {
        (Ok(of_file), Ok(of_process)) => of_file == of_process || of_file == 0,
        // Where the system does not tell, there is nobody to tell apart.
        _ => true,
    };
    if !ours {
        eprintln!("note: {} is another user's, and is not read\n", path.display());
    }
    ours
}

/// The user's: contexts, and which one is used.
#[derive(Clone, Debug)]
pub(crate) struct UserFile {
    pub(crate) path: PathBuf,
    /// As it is written, with its comments.
    document: DocumentMut,
    pub(crate) current: Option<String>,
    pub(crate) contexts: BTreeMap<String, Values>,
}

impl UserFile {
    /// A file that is not there is an empty one.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let text = match read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
            read => read.map_err(|error| unreadable(path, &error)),
        };
        Self::parse(path, &text?)
    }

    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, Failure> {
        let document = document(path, text)?;
        let mut file =
            Self { path: path.to_path_buf(), document, current: None, contexts: BTreeMap::new() };
        for (name, item) in file.document.clone().iter() {
            match name {
                "current" => file.current = Some(text_of(path, name, item)?),
                "contexts" => {
                    for (name, item) in table_of(path, name, item)?.iter() {
                        let known = Key::OF_CONTEXTS;
                        let values = values(path, &format!("contexts.{name}"), item, &known)?;
                        file.contexts.insert(name.to_owned(), values);
                    }
                }
                other => return Err(unknown(path, other, &["current", "contexts"])),
            }
        }
        Ok(file)
    }

    pub(crate) fn context(&self, name: &str) -> Result<&Values, Failure> {
        self.contexts.get(name).ok_or_else(|| {
            let known = self.contexts.keys().map(String::as_str);
            let hint = match nearest(name, known) {
                Some(near) => format!("{near}; `tidings context list` has all"),
                None => format!("`tidings context set {name} kafka=HOST:PORT`"),
            };
            Failure::new(Exit::NotFound, format!("there is no context {name}"))
                .why(format!("{} has none of this name", self.path.display()))
                .hint(hint)
        })
    }

    pub(crate) fn use_context(&mut self, name: &str) -> Result<(), Failure> {
        self.context(name)?;
        self.document["current"] = toml_edit::value(name);
        self.write()
    }

    /// Sets values of a context, which is made if it is not there; an empty value takes a setting away. The first
    /// context is used at once.
    pub(crate) fn set(&mut self, name: &str, said: &[(String, String)]) -> Result<(), Failure> {
        let sound_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || !name.chars().all(sound_name) {
            return Err(Failure::new(Exit::Usage, format!("{name:?} cannot name a context"))
                .hint("letters, digits, `.`, `_` and `-`"));
        }
        let mut values = Vec::new();
        for (key, value) in said {
            let found = Key::OF_CONTEXTS.into_iter().find(|known| known.name() == key);
            let names = Key::OF_CONTEXTS.map(Key::name);
            let key = found.ok_or_else(|| unknown(&self.path, key, &names))?;
            if !value.is_empty() {
                sound(key, value)?;
            }
            values.push((key, value));
        }
        let contexts = self.document.entry("contexts").or_insert_with(implicit);
        let context = contexts
            .as_table_like_mut()
            .map(|table| table.entry(name).or_insert_with(|| Item::Table(Table::new())));
        let Some(table) = context.and_then(Item::as_table_like_mut) else {
            return Err(Failure::failed(format!("context {name} is no table")));
        };
        for (key, value) in values {
            if value.is_empty() {
                table.remove(key.name());
            } else {
                table.insert(key.name(), toml_edit::value(value.as_str()));
            }
        }
        if self.current.is_none() && self.contexts.is_empty() {
            self.document["current"] = toml_edit::value(name);
        }
        self.write()
    }

    /// The whole file, at once: who reads meanwhile reads the old one or the new one.
    fn write(&self) -> Result<(), Failure> {
        let unwritten = |error: std::io::Error| {
            Failure::failed(format!("{} cannot be written", self.path.display())).why(error)
        };
        let folder = self.path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(unwritten)?;
        let beside = self.path.with_extension(format!("toml.{}", std::process::id()));
        let mut file = std::fs::File::create(&beside).map_err(unwritten)?;
        let text = self.document.to_string();
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        written.and_then(|()| std::fs::rename(&beside, &self.path)).map_err(unwritten)
    }
}

fn implicit() -> Item {
    let mut table = Table::new();
    table.set_implicit(true);
    Item::Table(table)
}

/// The project's.
#[derive(Clone, Debug)]
pub(crate) struct ProjectFile {
    pub(crate) path: PathBuf,
    pub(crate) context: Option<String>,
    pub(crate) values: Values,
    /// Objectives, by service.
    pub(crate) slo: Vec<Promise>,
}

/// What is promised of a service, or of all (`*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Promise {
    pub(crate) service: String,
    /// As it was said.
    pub(crate) objectives: String,
}

impl Promise {
    /// As `--slo` takes it.
    pub(crate) fn argument(&self) -> String {
        format!("{}: {}", self.service, self.objectives)
    }
}

impl ProjectFile {
    pub(crate) fn read(path: PathBuf) -> Result<Self, Failure> {
        let text = read(&path).map_err(|error| unreadable(&path, &error))?;
        Self::parse(path, &text)
    }

    pub(super) fn parse(path: PathBuf, text: &str) -> Result<Self, Failure> {
        let mut document = document(&path, text)?;
        let context = document.remove("context");
        let context = context.map(|item| text_of(&path, "context", &item)).transpose()?;
        let slo = document.remove("slo").map(|item| objectives(&path, &item)).transpose()?;
        let slo = slo.unwrap_or_default();
        let all = Item::Table(document.as_table().clone());
        let mut values = values(&path, "", &all, &Key::ALL)?;
        let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
        for (key, value) in &mut values {
            harmless(*key, value).map_err(|failure| failure.within(&path))?;
            let is_path = match key {
                Key::UpData | Key::UpHttpAuthFile => true,
                Key::Engine => matches!(Place::of(value), Place::Directory(_)),
                _ => false,
            };
            // Said from where the file is, not from where the command runs.
            if is_path && !value.starts_with("file:") {
                *value = folder.join(&*value).to_string_lossy().into_owned();
            }
        }
        Ok(Self { path, context, values, slo })
    }
}

/// The table `[slo]`: what is promised, by service.
fn objectives(path: &Path, item: &Item) -> Result<Vec<Promise>, Failure> {
    let mut said = Vec::new();
    for (service, item) in table_of(path, "slo", item)?.iter() {
        let name = format!("slo.{service}");
        let objectives = text_of(path, &name, item)?;
        let promise = Promise { service: service.to_owned(), objectives };
        let checked = Objectives::default().say(&promise.argument());
        checked.map_err(|malformed| {
            Failure::new(Exit::Usage, format!("{}: {name} is no objective", path.display()))
                .why(malformed)
        })?;
        said.push(promise);
    }
    Ok(said)
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let limit = SETTINGS_BYTES_MAX as u64 + 1;
    std::fs::File::open(path)?.take(limit).read_to_string(&mut text)?;
    if text.len() > SETTINGS_BYTES_MAX {
        let why = format!("it has more than {SETTINGS_BYTES_MAX} bytes");
        return Err(std::io::Error::new(ErrorKind::FileTooLarge, why));
    }
    Ok(text)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(format!("{} cannot be read", path.display())).why(error)
}

fn document(path: &Path, text: &str) -> Result<DocumentMut, Failure> {
    text.parse().map_err(|error: toml_edit::TomlError| {
        Failure::new(Exit::Usage, format!("{} is no TOML", path.display()))
            .why(error.to_string().trim_end().replace('\n', "\n       "))
    })
}

/// Settings of a table whose name is `within`; tables in it are parts of names.
fn values(path: &Path, within: &str, item: &Item, known: &[Key]) -> Result<Values, Failure> {
    let mut values = Values::new();
    let names: Vec<&str> = known.iter().map(|key| key.name()).collect();
    let mut take = |name: &str, item: &Item| {
        let key = known.iter().find(|key| key.name() == name);
        let key = *key.ok_or_else(|| unknown(path, name, &names))?;
        let value = text_of(path, name, item)?;
        sound(key, &value).map_err(|failure| failure.within(path))?;
        values.insert(key, value);
        Ok::<(), Failure>(())
    };
    for (name, item) in table_of(path, within, item)?.iter() {
        match item.as_table_like() {
            None => take(name, item)?,
            Some(table) => {
                for (inner, item) in table.iter() {
                    take(&format!("{name}.{inner}"), item)?;
                }
            }
        }
    }
    Ok(values)
}

fn table_of<'a>(
    path: &Path,
    name: &str,
    item: &'a Item,
) -> Result<&'a dyn toml_edit::TableLike, Failure> {
    item.as_table_like().ok_or_else(|| {
        Failure::new(Exit::Usage, format!("{}: {name} is no table", path.display()))
            .hint(format!("[{name}]"))
    })
}

fn text_of(path: &Path, name: &str, item: &Item) -> Result<String, Failure> {
    item.as_str().map(str::to_owned).ok_or_else(|| {
        Failure::new(Exit::Usage, format!("{}: {name} is no text", path.display()))
            .hint(format!("{name} = \"…\""))
    })
}

fn unknown(path: &Path, said: &str, known: &[&str]) -> Failure {
    let hint = match nearest(said, known.iter().copied()) {
        Some(near) => near.to_owned(),
        None => format!("one of {}", known.join(", ")),
    };
    Failure::new(Exit::Usage, format!("{}: there is no setting {said}", path.display())).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_refused_with_what_was_meant() {
        for (text, wanted) in [
            ("kafak = \"a:1\"", "there is no setting kafak\ntry:   kafka"),
            ("[up]\nhtpp = \"a:1\"", "there is no setting up.htpp\ntry:   up.http"),
            ("colour = \"red\"", "there is no setting colour\ntry:   one of kafka, engine"),
            ("kafka = 9092", "kafka is no text\ntry:   kafka = \"…\""),
            ("kafka = ", "is no TOML\nwhy:   "),
            ("engine = \"kafka://me:x@a:1\"", "a password is not kept in a file of settings"),
            ("[slo]\npay = \"sucess=9%\"", "slo.pay is no objective\nwhy:   \"sucess\" is nothing"),
            ("[slo]\npay = 99", "slo.pay is no text"),
        ] {
            let refused = ProjectFile::parse("tidings.toml".into(), text).unwrap_err();
            assert_eq!(refused.exit, Exit::Usage, "{text}");
            assert!(refused.to_string().contains(wanted), "{refused}");
        }
        for text in
            ["curent = \"a\"", "contexts = 1", "[contexts.a]\nup = \"x\"", "[contexts]\na = 1"]
        {
            assert!(UserFile::parse(Path::new("config.toml"), text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_set_is_kept_beside_comments() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tidings/config.toml");
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let mut file = UserFile::read(&path).unwrap();
        file.set("dev", &[pair("kafka", "a:1"), pair("output", "wide")]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("# mine\n{text}")).unwrap();

        let mut file = UserFile::read(&path).unwrap();
        assert_eq!(file.current.as_deref(), Some("dev"), "the first one is used");
        file.set("prod", &[pair("kafka", "b:1")]).unwrap();
        file.set("dev", &[pair("output", "")]).unwrap();
        let mut file = UserFile::read(&path).unwrap();
        file.use_context("prod").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let wanted = "# mine\ncurrent = \"prod\"\n\n[contexts.dev]\nkafka = \"a:1\"\n\n\
                      [contexts.prod]\nkafka = \"b:1\"\n";
        assert_eq!(text.trim_start(), wanted.trim_start());

        for (name, key) in [("a b", "kafka"), ("", "kafka"), ("dev", "kafak")] {
            assert_eq!(file.set(name, &[pair(key, "x")]).unwrap_err().exit, Exit::Usage, "{name}");
        }
        assert_eq!(file.use_context("pord").unwrap_err().exit, Exit::NotFound);
    }
}

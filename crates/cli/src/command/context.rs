//! `tidings context` and `tidings config`: which clusters are known, which is used, and where each setting comes from.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tidings_slo as slo;
use tidings_terminal::failure::{Exit, Failure};
use tidings_terminal::output::{Answer, Done, Item, show};
use tidings_terminal::table::{Look, left, table};

use crate::args::{Config, Context};
use crate::settings::{Key, Locations, Origin, Promise, Setting, Settings, UserFile};

pub(crate) fn context(command: Context) -> Result<(), Failure> {
    let mut file = UserFile::read(&Locations::here()?.user)?;
    match command {
        Context::List { output } => show(output, &Contexts { file: &file, only: None }),
        Context::Show { name, output } => {
            let name = name.or_else(|| file.current.clone());
            let Some(name) = name else {
                return Err(Failure::new(Exit::NotFound, "no context is used")
                    .hint("`tidings context set NAME kafka=HOST:PORT`"));
            };
            file.context(&name)?;
            show(output, &Contexts { file: &file, only: Some(&name) })
        }
        Context::Use { name, output } => {
            file.use_context(&name)?;
            show(output, &Done { what: "using", name: &name })
        }
        Context::Set { name, values, output } => {
            file.set(&name, &values)?;
            show(output, &Done { what: "set", name: &name })
        }
    }
}

/// All contexts, or one of them.
struct Contexts<'a> {
    file: &'a UserFile,
    only: Option<&'a str>,
}

impl Contexts<'_> {
    fn names(&self) -> impl Iterator<Item = &String> {
        self.file.contexts.keys().filter(|name| self.only.is_none_or(|only| only == *name))
    }

    fn value(&self, name: &str) -> Value {
        let values = self.file.contexts.get(name);
        let get = |key: Key| values.and_then(|values| values.get(&key));
        let mut object: BTreeMap<_, Value> =
            Key::OF_CONTEXTS.map(|key| (key.name(), json!(get(key)))).into();
        object.insert("name", json!(name));
        object.insert("current", json!(self.file.current.as_deref() == Some(name)));
        json!(object)
    }
}

impl Answer for Contexts<'_> {
    fn document(&self) -> Value {
        match self.only {
            Some(name) => self.value(name),
            None => {
                let all: Vec<Value> = self.names().map(|name| self.value(name)).collect();
                json!({ "current": self.file.current, "contexts": all })
            }
        }
    }

    fn items(&self) -> Vec<Item> {
        self.names().map(|name| Item::new(name, self.value(name))).collect()
    }

    fn text(&self, look: Look) -> String {
        if self.file.contexts.is_empty() {
            return "there are no contexts; `tidings context set NAME kafka=HOST:PORT` makes one\n"
                .to_owned();
        }
        let row = |name: &String| {
            let value = self.value(name);
            let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
            let current = if value["current"] == true { "*" } else { "" };
            [current.to_owned(), name.clone(), text("kafka"), text("engine"), text("output")]
        };
        let rows: Vec<_> = self.names().map(row).collect();
        let columns = [left(""), left("CONTEXT"), left("KAFKA"), left("ENGINE"), left("OUTPUT")];
        table(columns, &rows, look)
    }
}

pub(crate) fn config(command: &Config, settings: &Settings) -> Result<(), Failure> {
    match command {
        Config::Print { origin, output } => {
            show(*output, &Printed { settings, with_origin: *origin })
        }
    }
}

struct Printed<'a> {
    settings: &'a Settings,
    with_origin: bool,
}

impl Printed<'_> {
    /// Names, values and where these come from. Of objectives, those of all services are always among them.
    fn rows(&self) -> Vec<[String; 3]> {
        let all = self.settings.all.iter().map(|Setting { key, value, origin }| {
            [key.name().to_owned(), value.clone(), origin.to_string()]
        });
        let promises = &self.settings.slo;
        let project = self.settings.project.clone().unwrap_or_default();
        let said = promises.iter().map(|Promise { service, objectives }| {
            let origin = Origin::Project(project.clone()).to_string();
            [format!("slo.{service}"), objectives.clone(), origin]
        });
        let is_said = promises.iter().any(|promise| promise.service == "*");
        let default = ["slo.*".to_owned(), slo::DEFAULTS.to_owned(), Origin::Default.to_string()];
        all.chain((!is_said).then_some(default)).chain(said).collect()
    }
}

/// Where each comes from is always in the document.
impl Answer for Printed<'_> {
    fn document(&self) -> Value {
        let all: Vec<Value> = self.items().into_iter().map(|item| item.value).collect();
        json!({ "context": self.settings.context, "settings": all })
    }

    fn items(&self) -> Vec<Item> {
        let item = |[name, value, origin]: [String; 3]| {
            let of = json!({ "key": name, "value": value, "origin": origin });
            Item::new(name, of)
        };
        self.rows().into_iter().map(item).collect()
    }

    fn text(&self, look: Look) -> String {
        let look = if self.with_origin { look.widened() } else { look };
        table([left("SETTING"), left("VALUE"), left("FROM").wide()], &self.rows(), look)
    }
}

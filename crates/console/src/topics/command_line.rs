//! Command lines that do elsewhere what a page shows: curl, kcat and `tidings consume`.
//!
//! Whatever comes from a record or a URL is quoted for a shell.

use serde::Serialize;
use tidings_gateway::url_encoded;

use super::asked::{Asked, Said};
use crate::{ConsoleOptions, LogAddress};

/// What a page can be copied as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct CommandLine {
    pub(super) tool: &'static str,
    pub(super) line: String,
}

/// Where a client finds what the page shows.
pub(super) struct Addresses {
    /// `host:port` of this server, as the client calls it.
    http: String,
    kafka: String,
    /// The URL of the registry beside the console.
    pub(super) registry: Option<String>,
}

impl Addresses {
    pub(super) fn of(host: Option<&str>, options: &ConsoleOptions) -> Self {
        let kafka = match &options.addresses.log {
            LogAddress::Unsaid => "127.0.0.1:9092".to_owned(),
            LogAddress::Node(at) | LogAddress::Cluster(at) => at.clone(),
        };
        let registry = options.addresses.registry_url(host);
        Self { http: host.unwrap_or("127.0.0.1:8080").to_owned(), kafka, registry }
    }
}

/// Those of one record.
pub(super) fn of_record(
    at: &Addresses,
    topic: &str,
    partition: i32,
    offset: i64,
) -> Vec<CommandLine> {
    let Addresses { http, kafka, .. } = at;
    let url = format!("http://{http}/api/topics/{}/{partition}/{offset}", url_encoded(topic));
    let (kafka, topic) = (quoted(kafka), quoted(topic));
    vec![
        CommandLine { tool: "curl", line: format!("curl {}", quoted(&url)) },
        CommandLine {
            tool: "kcat",
            line: format!("kcat -C -b {kafka} -t {topic} -p {partition} -o {offset} -c 1 -J"),
        },
        CommandLine {
            tool: "tidings",
            line: format!(
                "tidings consume {topic} -b {kafka} -p {partition} --offset {offset} -n 1 -o json"
            ),
        },
    ]
}

/// Those of a search. The other tools know less than the console: what they cannot say is left out, and where
/// that would show other records, so is the line.
pub(super) fn of_search(at: &Addresses, topic: &str, asked: &Asked) -> Vec<CommandLine> {
    let said = &asked.said;
    let query = said.but(&[("open", None)]);
    let url = format!("http://{}/api/topics/{}{query}", at.http, url_encoded(topic));
    let mut lines = vec![CommandLine { tool: "curl", line: format!("curl {}", quoted(&url)) }];
    let (kafka, topic) = (quoted(&at.kafka), quoted(topic));
    let partition = asked.partition.map(|partition| format!(" -p {partition}")).unwrap_or_default();
    if !asked.searches() && asked.filter.until.is_none() && asked.offset.is_none() {
        let from = asked.filter.since.map_or("-50".to_owned(), |since| format!("s@{since}"));
        let line = format!("kcat -C -b {kafka} -t {topic}{partition} -o {from} -e -J");
        lines.push(CommandLine { tool: "kcat", line });
    }
    if let Some(filters) = consume_filters(said) {
        let line = format!(
            "tidings consume {topic} -b {kafka}{partition}{} -o json{filters}",
            place(asked)
        );
        lines.push(CommandLine { tool: "tidings", line });
    }
    lines
}

fn place(asked: &Asked) -> String {
    let time = |time: i64| format!("@{time}");
    let filter = &asked.filter;
    match (asked.offset, filter.since, filter.until) {
        (Some(offset), _, _) => format!(" --offset :{}", offset.saturating_add(1)),
        (None, None, None) => String::new(),
        (None, Some(since), None) => format!(" --offset {}", time(since)),
        (None, since, Some(until)) => {
            let since = since.map_or("1970-01-01".to_owned(), |since| since.to_string());
            format!(" --offset @{since}:{until}")
        }
    }
}

/// None where `tidings consume` has no such filter.
fn consume_filters(said: &Said) -> Option<String> {
    let exact = said.one("cel").is_none() && said.all("json").all(|json| json.contains('='));
    let flags = [("key", "--key"), ("q", "--grep"), ("json", "--json")];
    let filters = flags.iter().flat_map(|(name, flag)| {
        said.all(name).map(move |value| format!(" {flag} {}", quoted(value)))
    });
    exact.then(|| filters.collect())
}

/// As a shell reads it back.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,@%+".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity::Moment;

    fn at() -> Addresses {
        let (http, kafka) = ("localhost:8080".into(), "127.0.0.1:9092".into());
        Addresses { http, kafka, registry: None }
    }

    #[test]
    fn a_record_is_found_by_other_tools() {
        let lines = of_record(&at(), "shop.orders", 1, 42).into_iter().map(|command| command.line);
        assert_eq!(
            lines.collect::<Vec<_>>(),
            [
                "curl http://localhost:8080/api/topics/shop.orders/1/42",
                "kcat -C -b 127.0.0.1:9092 -t shop.orders -p 1 -o 42 -c 1 -J",
                "tidings consume shop.orders -b 127.0.0.1:9092 -p 1 --offset 42 -n 1 -o json",
            ]
        );
    }

    #[test]
    fn a_search_is_said_to_those_tools_that_know_it() {
        let lines = |said: &[(&str, &str)]| {
            let pairs = said.iter().map(|(name, value)| ((*name).into(), (*value).into()));
            let asked = Asked::parse(pairs.collect(), Moment(1_000_000)).unwrap();
            let lines = of_search(&at(), "t", &asked).into_iter().map(|command| command.line);
            lines.collect::<Vec<String>>()
        };
        assert_eq!(
            lines(&[("q", "it's $HOME"), ("key", "a"), ("since", "-1s")]),
            [
                "curl 'http://localhost:8080/api/topics/t?q=it%27s%20%24HOME&key=a&since=-1s'",
                r"tidings consume t -b 127.0.0.1:9092 --offset @999000 -o json --key a --grep 'it'\''s $HOME'",
            ]
        );
        assert_eq!(lines(&[("cel", "true")]).len(), 1);
        assert_eq!(
            lines(&[("json", "$.a")]).len(),
            1,
            "that a path is there is no condition of consume"
        );
        assert_eq!(lines(&[("json", "$.a=1")]).len(), 2);
        assert_eq!(lines(&[]).len(), 3);
    }
}

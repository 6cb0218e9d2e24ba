//! A file of properties as Kafka's own tools take with `--command-config`, kcat with `-F`, and vendors hand out:
//! its names, those of the Java client and of librdkafka, become the URL's parameters.
//!
//! A line is `name=value`; one that begins with `#` or `!` says nothing; `\` at the end joins the next line.
//! There are no other escapes. What has no parameter is refused with the list of what has one.

use std::path::Path;

use super::secret::text_of;
use crate::limits::PROPERTIES_BYTES_MAX;

const KNOWN: [&str; 16] = [
    "bootstrap.servers",
    "security.protocol",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.key.password",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.username",
    "sasl.password",
    "sasl.jaas.config",
    "sasl.oauthbearer.token.endpoint.url",
    "client.id",
    "request.timeout.ms",
    "delivery.timeout.ms",
    "socket.connection.setup.timeout.ms",
];

/// What a file says, as parameters of a URL; `password` and `key_password` hold the secrets themselves.
#[derive(Default)]
pub(super) struct Properties {
    pub(super) brokers: Option<String>,
    pub(super) parameters: Vec<(String, String)>,
}

impl Properties {
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let named = |why: String| format!("{}: {why}", path.display());
        Self::parse(&text_of(path, PROPERTIES_BYTES_MAX).map_err(named)?).map_err(named)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let (mut found, mut protocol) = (Self::default(), None);
        let mut names: Vec<String> = Vec::new();
        for line in joined(text) {
            let (name, value) = line.split_once('=').unwrap_or((&line, ""));
            let (name, value) = (name.trim(), value.trim());
            if !KNOWN.contains(&name) {
                return Err(format!("{name} is not known, only {}", KNOWN.join(", ")));
            }
            if value.is_empty() {
                return Err(format!("{name} says nothing"));
            }
            if names.iter().any(|other| other == name) {
                return Err(format!("{name} is said twice"));
            }
            names.push(name.to_owned());
            if name == "security.protocol" {
                protocol = Some(value.to_owned());
            } else {
                found.take(name, value)?;
            }
        }
        found.protect(protocol.as_deref().unwrap_or("PLAINTEXT"))?;
        Ok(found)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "bootstrap.servers" => {
                let hosts = value.split(',').map(str::trim);
                self.brokers = Some(hosts.collect::<Vec<_>>().join(","));
                Ok(())
            }
            "ssl.ca.location" => self.say("ca", value),
            "ssl.certificate.location" => self.say("cert", value),
            "ssl.key.location" => self.say("key", value),
            "ssl.key.password" => self.say("key_password", value),
            "sasl.mechanism" | "sasl.mechanisms" => self.say("sasl", value),
            "sasl.username" => self.say("user", value),
            "sasl.password" => self.say("password", value),
            "sasl.jaas.config" => self.log_in(value),
            "sasl.oauthbearer.token.endpoint.url" => match value.strip_prefix("file:") {
                Some(path) => self.say("password_file", path.strip_prefix("//").unwrap_or(path)),
                None => Err(format!(
                    "{name} is no file:///…; have something else write the token into a file, and \
                     name that"
                )),
            },
            "client.id" => self.say("client_id", value),
            "request.timeout.ms" => self.say("request_timeout", &format!("{value}ms")),
            "delivery.timeout.ms" => self.say("delivery_timeout", &format!("{value}ms")),
            _ => self.say("connect_timeout", &format!("{value}ms")),
        }
    }

    fn say(&mut self, parameter: &str, value: &str) -> Result<(), String> {
        if self.says(parameter) {
            return Err(format!("two properties say what {parameter}= says"));
        }
        self.parameters.push((parameter.to_owned(), value.to_owned()));
        Ok(())
    }

    fn says(&self, parameter: &str) -> bool {
        self.parameters.iter().any(|(said, _)| said == parameter)
    }

    /// `…PlainLoginModule required username="…" password="…";`
    fn log_in(&mut self, config: &str) -> Result<(), String> {
        let module = config.split_whitespace().next().unwrap_or_default();
        let module = module.trim_end_matches(';').rsplit('.').next().unwrap_or_default();
        match module {
            "PlainLoginModule" | "ScramLoginModule" => {
                for (option, parameter) in [("username", "user"), ("password", "password")] {
                    let value = option_of(config, option).ok_or_else(|| {
                        format!("sasl.jaas.config has no {option}=\"…\" of its {module}")
                    })?;
                    self.say(parameter, &value)?;
                }
                Ok(())
            }
            // The token is named elsewhere.
            "OAuthBearerLoginModule" => Ok(()),
            other => Err(format!(
                "sasl.jaas.config names {other}, and not PlainLoginModule, ScramLoginModule or \
                 OAuthBearerLoginModule"
            )),
        }
    }

    fn protect(&mut self, protocol: &str) -> Result<(), String> {
        let (tls, sasl) = match protocol.to_uppercase().as_str() {
            "PLAINTEXT" => ("false", false),
            "SSL" => ("true", false),
            "SASL_PLAINTEXT" => ("false", true),
            "SASL_SSL" => ("true", true),
            _ => {
                return Err(format!(
                    "security.protocol={protocol} is not one of PLAINTEXT, SSL, SASL_PLAINTEXT, \
                     SASL_SSL"
                ));
            }
        };
        match (sasl, self.says("sasl")) {
            (true, false) => Err(format!("security.protocol={protocol} needs sasl.mechanism")),
            (false, true) => {
                Err("sasl.mechanism needs security.protocol=SASL_SSL or SASL_PLAINTEXT".to_owned())
            }
            _ => self.say("tls", tls),
        }
    }
}

/// Lines that say something, each with those that go on with it.
fn joined(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut begun = String::new();
    for line in text.lines() {
        let line = line.trim();
        if begun.is_empty() && (line.is_empty() || line.starts_with(['#', '!'])) {
            continue;
        }
        match line.strip_suffix('\\') {
            Some(part) => begun.push_str(part),
            None => lines.push(std::mem::take(&mut begun) + line),
        }
    }
    if !begun.is_empty() {
        lines.push(begun);
    }
    lines
}

/// The quoted value of an option; `\` keeps the meaning of a quote or of itself from what follows.
fn option_of(config: &str, option: &str) -> Option<String> {
    let (_, rest) = config.split_once(&format!(" {option}=\""))?;
    let mut value = String::new();
    let mut symbols = rest.chars();
    loop {
        match symbols.next()? {
            '"' => return Some(value),
            '\\' => value.push(symbols.next()?),
            symbol => value.push(symbol),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<(String, String)> {
        let mut found = Properties::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
        found.parameters.sort();
        found.parameters
    }

    fn expected(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_vendors_hand_out_becomes_parameters() {
        let librdkafka = "\
            # of a cloud\n\
            bootstrap.servers=a:9092, b:9092\n\
            security.protocol=SASL_SSL\n\
            sasl.mechanisms=PLAIN\n\
            sasl.username=KEY\n\
            sasl.password=a=b\\c\n";
        let found = Properties::parse(librdkafka).unwrap();
        assert_eq!(found.brokers.as_deref(), Some("a:9092,b:9092"));
        let plain = [("password", "a=b\\c"), ("sasl", "PLAIN"), ("tls", "true"), ("user", "KEY")];
        assert_eq!(parsed(librdkafka), expected(&plain));
        let java = "\
            security.protocol = SASL_SSL\n\
            sasl.mechanism = PLAIN\n\
            sasl.jaas.config = org.apache.kafka.common.security.plain.PlainLoginModule required \\\n   \
            username=\"$ConnectionString\" \\\n   \
            password=\"Endpoint=sb://n/;Key=\\\"x\\\\\";\n";
        let java_says = [
            ("password", "Endpoint=sb://n/;Key=\"x\\"),
            ("sasl", "PLAIN"),
            ("tls", "true"),
            ("user", "$ConnectionString"),
        ];
        assert_eq!(parsed(java), expected(&java_says));
        let token = "\
            security.protocol=SASL_PLAINTEXT\n\
            sasl.mechanism=OAUTHBEARER\n\
            sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;\n\
            sasl.oauthbearer.token.endpoint.url=file:///run/token\n\
            request.timeout.ms=3000\n";
        let token_says = [
            ("password_file", "/run/token"),
            ("request_timeout", "3000ms"),
            ("sasl", "OAUTHBEARER"),
            ("tls", "false"),
        ];
        assert_eq!(parsed(token), expected(&token_says));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_does() {
        for (text, contains) in [
            ("acks=all", "acks is not known, only bootstrap.servers, "),
            ("client.id", "client.id says nothing"),
            ("client.id=a\nclient.id=b", "said twice"),
            ("security.protocol=TLS", "SASL_PLAINTEXT, SASL_SSL"),
            ("security.protocol=SASL_SSL", "needs sasl.mechanism"),
            ("sasl.mechanism=PLAIN", "needs security.protocol=SASL_SSL"),
            ("sasl.mechanism=PLAIN\nsasl.mechanisms=PLAIN", "two properties say what sasl="),
            ("sasl.jaas.config=a.b.Krb5LoginModule required;", "names Krb5LoginModule"),
            ("sasl.jaas.config=a.PlainLoginModule required username=\"u\";", "no password="),
            ("sasl.oauthbearer.token.endpoint.url=https://a/token", "is no file:///"),
        ] {
            let refused = Properties::parse(text).err().unwrap_or_else(|| panic!("{text}"));
            assert!(refused.contains(contains), "{text}: {refused}");
        }
    }
}

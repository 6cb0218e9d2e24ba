//! A command as it is asked for, checked before anything is read or written.

use serde::Deserialize;
use tidings::{Act, DeadKey, NewCommand, Selection};
use tidings_gateway::Trouble;

use super::view::is_json;
use crate::limits::{BY_CHARS_MAX, REASON_CHARS_MAX, REDRIVE_RATE_MAX};

/// The body of a command; the form on a page says the same.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Asked {
    pub(super) act: String,
    pub(super) letter: Option<String>,
    pub(super) cause: Option<String>,
    pub(super) all: bool,
    /// What an edited event says instead.
    pub(super) value: Option<String>,
    /// Keys a second, in each partition.
    pub(super) rate: Option<u32>,
    /// Only keys that were dead by then.
    pub(super) cut_off_ms: Option<i64>,
    pub(super) force: bool,
    pub(super) dry_run: bool,
    pub(super) by: Option<String>,
    pub(super) reason: Option<String>,
}

/// The same from a form, whose fields are all there and may be empty.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Form {
    pub(super) act: String,
    pub(super) letter: String,
    pub(super) cause: String,
    /// The same, as the path of a URL is written: fields of forms do not keep the ends of lines.
    pub(super) cause_encoded: String,
    pub(super) all: String,
    pub(super) value: Option<String>,
    pub(super) rate: String,
    pub(super) cut_off_ms: String,
    pub(super) force: String,
    pub(super) by: String,
    pub(super) reason: String,
}

impl Form {
    pub(super) fn asked(self) -> Result<Asked, Trouble> {
        fn number<N: std::str::FromStr>(name: &str, text: &str) -> Result<Option<N>, Trouble> {
            if text.trim().is_empty() {
                return Ok(None);
            }
            let number = text.trim().parse();
            number.map(Some).map_err(|_| refused(format!("{name} is {text:?}, which is no number")))
        }
        let said = |text: String| Some(text).filter(|text| !text.trim().is_empty());
        let cause = match self.cause_encoded.as_str() {
            "" => Some(self.cause),
            encoded => Some(url_decoded(encoded).ok_or_else(|| {
                refused(format!("cause_encoded is {encoded:?}, which is no text of a URL"))
            })?),
        };
        Ok(Asked {
            rate: number("rate", &self.rate)?,
            cut_off_ms: number("cut_off_ms", &self.cut_off_ms)?,
            all: !self.all.is_empty(),
            force: !self.force.is_empty(),
            dry_run: false,
            act: self.act,
            letter: said(self.letter),
            // A cause may be blank; then there is no field for it, and `all` or `letter` is said.
            cause: cause.filter(|cause| !cause.is_empty()),
            // Forms send lines with CR LF.
            value: self.value.map(|value| value.replace("\r\n", "\n")),
            by: said(self.by),
            reason: said(self.reason),
        })
    }
}

/// The text whose bytes are written as `%XX`, all or some.
fn url_decoded(encoded: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (high, low) = (char::from(rest.next()?), char::from(rest.next()?));
        bytes.push(u8::try_from(high.to_digit(16)? * 16 + low.to_digit(16)?).ok()?);
    }
    String::from_utf8(bytes).ok()
}

fn refused(why: impl Into<String>) -> Trouble {
    Trouble::bad_request(why).titled("The command is not understood")
}

impl Asked {
    /// What is meant by it.
    pub(super) fn meant(self) -> Result<NewCommand, Trouble> {
        let of = self.selection()?;
        let act = self.act(&of)?;
        let by = self.by.as_deref().map(str::trim).filter(|by| !by.is_empty());
        let by = by.ok_or_else(|| {
            refused("it does not say by whom it is given")
                .hint("say who you are in `by`: it is kept in the audit")
        })?;
        let by = words("by", by, BY_CHARS_MAX)?;
        let reason = self.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty());
        let reason = reason.map(|reason| words("reason", reason, REASON_CHARS_MAX)).transpose()?;
        Ok(NewCommand { by, of, act, dead_by_ms: self.cut_off_ms, reason })
    }

    /// The same for a look at what it would do, which nobody has to give.
    pub(super) fn previewed(mut self) -> Result<NewCommand, Trouble> {
        self.by.get_or_insert_with(|| "preview".to_owned());
        self.meant()
    }

    fn selection(&self) -> Result<Selection, Trouble> {
        match (&self.letter, &self.cause, self.all) {
            (Some(letter), None, false) => Ok(Selection::Letter(letter.as_str().into())),
            (None, Some(cause), false) => Ok(Selection::Cause(cause.clone())),
            (None, None, true) => Ok(Selection::All),
            _ => Err(refused("it does not say for which keys it is")
                .hint("say one of `letter`, `cause` and `all`")),
        }
    }

    fn act(&self, of: &Selection) -> Result<Act, Trouble> {
        let act = match self.act.as_str() {
            "redrive" => Act::Redrive { per_second: self.rate, force: self.force },
            "edit" => Act::Edit { value: self.value.clone().unwrap_or_default() },
            "discard" => Act::Discard,
            other => {
                return Err(refused(format!("`act` is {other:?}"))
                    .hint("an `act` is redrive, edit or discard"));
            }
        };
        let redrives = matches!(act, Act::Redrive { .. });
        if !redrives && (self.rate.is_some() || self.force) {
            return Err(refused(format!("{} takes neither `rate` nor `force`", self.act))
                .hint("leave them out, or redrive"));
        }
        if self.rate.is_some_and(|rate| !(1..=REDRIVE_RATE_MAX).contains(&rate)) {
            return Err(refused(format!("a rate is from 1 to {REDRIVE_RATE_MAX} keys a second"))
                .hint("leave it out to redrive all at once"));
        }
        match (&act, of, self.value.is_some()) {
            (Act::Edit { .. }, Selection::Letter(_), true)
            | (Act::Redrive { .. } | Act::Discard, _, false) => Ok(act),
            (Act::Edit { .. }, ..) => {
                Err(refused("an edit is for one key, and says its new value")
                    .hint("say `letter` and `value`"))
            }
            _ => Err(refused(format!("{} takes no `value`", self.act)).hint("edit takes one")),
        }
    }
}

/// One line of a person's own words.
fn words(name: &str, said: &str, chars_max: usize) -> Result<String, Trouble> {
    if said.chars().count() > chars_max {
        return Err(refused(format!("`{name}` has more than {chars_max} characters")));
    }
    if said.chars().any(char::is_control) {
        return Err(refused(format!("`{name}` has characters that are none of a text's line")));
    }
    Ok(said.to_owned())
}

/// Refuses what could only die again: a service reads nothing but JSON.
pub(super) fn check_edit(act: &Act, key: &DeadKey) -> Result<(), Trouble> {
    let Act::Edit { value } = act else { return Ok(()) };
    let was_json = key
        .value
        .as_deref()
        .is_none_or(|value| std::str::from_utf8(value).is_ok_and(is_json) || value.is_empty());
    match serde_json::from_str::<serde::de::IgnoredAny>(value) {
        Err(error) if was_json => Err(Trouble::unprocessable(format!("it is not JSON: {error}"))
            .titled("The new value is not taken")
            .hint("mend the JSON, or discard the event")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_comes_back_from_a_form_as_it_was_whatever_ends_its_lines() {
        for cause in ["no card", "a\r\nb", "a\nb", "a\rb", " ", "50 % ü \u{0}", "%41+&="] {
            let encoded = tidings_gateway::url_encoded(cause);
            let form = Form { cause_encoded: encoded.clone(), ..Form::default() };
            assert_eq!(form.asked().unwrap().cause.as_deref(), Some(cause), "{encoded}");
            let link = Form { cause: cause.to_owned(), ..Form::default() };
            assert_eq!(link.asked().unwrap().cause.as_deref(), Some(cause), "{encoded}");
        }
        for broken in ["%", "%4", "%zz", "%ff"] {
            let form = Form { cause_encoded: broken.to_owned(), ..Form::default() };
            assert!(form.asked().is_err(), "{broken}");
        }
    }

    fn asked(body: &str) -> Result<NewCommand, String> {
        let asked: Asked = serde_json::from_str(body).map_err(|error| error.to_string())?;
        asked.meant().map_err(|trouble| trouble.detail)
    }

    #[test]
    fn what_is_understood_is_what_is_meant() {
        let redrive = |per_second, force| Act::Redrive { per_second, force };
        let new = |of, act| NewCommand::new("ann", of, act);
        for (body, wanted) in [
            (
                r#"{"act":"redrive","all":true,"by":"ann"}"#,
                new(Selection::All, redrive(None, false)),
            ),
            (
                r#"{"act":"redrive","cause":"no card","rate":5,"force":true,"by":" ann "}"#,
                new(Selection::Cause("no card".into()), redrive(Some(5), true)),
            ),
            (
                r#"{"act":"edit","letter":"l-1","value":"{}","by":"ann"}"#,
                new(Selection::Letter("l-1".into()), Act::Edit { value: "{}".into() }),
            ),
            (
                r#"{"act":"discard","all":true,"by":"ann","cut_off_ms":7,"reason":"old"}"#,
                NewCommand {
                    dead_by_ms: Some(7),
                    reason: Some("old".into()),
                    ..new(Selection::All, Act::Discard)
                },
            ),
        ] {
            assert_eq!(asked(body), Ok(wanted), "{body}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_with_what_is_wrong() {
        let long = format!(r#"{{"act":"discard","all":true,"by":"{}"}}"#, "x".repeat(101));
        for (body, wanted) in [
            ("{}", "does not say for which keys"),
            (r#"{"act":"redrive","all":true,"cause":"x","by":"ann"}"#, "for which keys"),
            (r#"{"act":"drop","all":true,"by":"ann"}"#, "`act` is \"drop\""),
            (r#"{"act":"redrive","all":true}"#, "by whom"),
            (r#"{"act":"redrive","all":true,"by":"  "}"#, "by whom"),
            (r#"{"act":"redrive","all":true,"rate":0,"by":"ann"}"#, "from 1 to"),
            (r#"{"act":"discard","all":true,"rate":1,"by":"ann"}"#, "neither `rate` nor `force`"),
            (r#"{"act":"discard","all":true,"force":true,"by":"ann"}"#, "neither `rate`"),
            (r#"{"act":"discard","all":true,"value":"{}","by":"ann"}"#, "takes no `value`"),
            (r#"{"act":"edit","all":true,"value":"{}","by":"ann"}"#, "for one key"),
            (r#"{"act":"edit","letter":"l-1","by":"ann"}"#, "its new value"),
            (r#"{"act":"redrive","all":true,"by":"ann","when":"now"}"#, "unknown field `when`"),
            (&long, "more than 100 characters"),
            (r#"{"act":"discard","all":true,"by":"a\nb"}"#, "none of a text's line"),
        ] {
            let why = asked(body).expect_err(body);
            assert!(why.contains(wanted), "{body}: {why}");
        }
    }

    #[test]
    fn a_form_leaves_out_what_is_empty() {
        let form = Form {
            act: "redrive".into(),
            cause: "no card".into(),
            rate: " 5 ".into(),
            by: "ann".into(),
            ..Form::default()
        };
        let command = form.clone().asked().and_then(Asked::meant).expect("understood");
        let act = Act::Redrive { per_second: Some(5), force: false };
        assert_eq!(command, NewCommand::new("ann", Selection::Cause("no card".into()), act));
        let wrong = Form { rate: "fast".into(), ..form }.asked().expect_err("no number");
        assert_eq!(wrong.detail, "rate is \"fast\", which is no number");
    }

    #[test]
    fn json_is_not_edited_into_something_else() {
        let key = |value: &'static [u8]| DeadKey {
            topic: "orders".into(),
            partition: 0,
            offset: 0,
            timestamp: 0,
            key: None,
            value: Some(value.into()),
            headers: Vec::new(),
            letters: Vec::new(),
            cause: String::new(),
            since_ms: 0,
            attempts: 0,
            redrives: 0,
            followers: 0,
            awaits: Vec::new(),
        };
        let edit = |value: &str| Act::Edit { value: value.into() };
        for (was, value, taken) in [
            (&b"{}"[..], r#"{"a":1}"#, true),
            (b"{}", r#"{"a":1"#, false),
            (b"plain", "other", true),
            (b"not {", r#"{"a":1}"#, true),
        ] {
            assert_eq!(check_edit(&edit(value), &key(was)).is_ok(), taken, "{value}");
        }
        assert!(check_edit(&Act::Discard, &key(b"{}")).is_ok());
    }
}

//! What an event is for its readers: [`Kind`].

use std::fmt;

use serde::{Deserialize, Serialize};

/// What an event is for its readers; `ce_kind`.
///
/// | kind | it says | who reads it | what is enforced |
/// |---|---|---|---|
/// | domain | what happened, in the words of its service | services that are built and changed together | nothing beyond its shape |
/// | integration | what happened, for those outside | anybody, unknown to its service | nothing beyond its shape; change it with care |
/// | command | what one service is asked to do, which may refuse | that service | see below |
///
/// A command's topic is `<service>.commands` (the derive refuses another); only the service of that name starts
/// with a handler for it, and only with one; no state is folded from it, since it is no fact.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use tidings::{Event, Kind};
///
/// #[derive(Event, Serialize, Deserialize)]
/// #[event(topic = "payment.commands", key = "order", kind = "command")]
/// struct ChargeCard { order: String, pence: i64 }
///
/// assert_eq!(ChargeCard::KIND, Kind::Command);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A fact, in the words of the service that knows it. What an event is that does not say.
    #[default]
    Domain,
    /// A fact for those outside.
    Integration,
    /// A wish, addressed to one service.
    Command,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Domain, Self::Integration, Self::Command];

    /// As in `ce_kind`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Domain => "domain",
            Self::Integration => "integration",
            Self::Command => "command",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// What keeps a service of this name from handling events of this kind in this topic.
    pub(crate) fn handled_by(self, service: &str, topic: &str, event_type: &str) -> Option<String> {
        let own = format!("{service}.commands");
        (self == Self::Command && topic != own).then(|| {
            format!("the command {event_type} is not for this service, whose commands are in {own}")
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

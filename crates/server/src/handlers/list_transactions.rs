//! ListTransactions, 0 to 2: transactional ids with their producer and state (KIP-664).
//!
//! Filters: states by Kafka's names, of which those that are none are named in the answer; producer
//! ids; from version 1 a duration that the transaction has lasted longer than (KIP-994); from version 2 a
//! regular expression for the whole id (KIP-1152), INVALID_REGULAR_EXPRESSION where it is none.

use regex::{Regex, RegexBuilder};
use tidings_wire::RequestHeader;
use tidings_wire::list_transactions::{Request, Response, TransactionState};

use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;
use crate::error_code::Refusal;
use crate::limits::PATTERN_BYTES_MAX;

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        _header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let pattern = self.transactional_id_pattern.as_deref().filter(|text| !text.is_empty());
        let Ok(pattern) = pattern.map(whole).transpose() else {
            return Ok(Self::refuse(ErrorCode::INVALID_REGULAR_EXPRESSION).into());
        };
        let fits = |id: &str| pattern.as_ref().is_none_or(|pattern| pattern.is_match(id));
        let asked = tidings_broker::ListTransactions {
            states: self.state_filters,
            producer_ids: self.producer_id_filters,
            longer_than_ms: (self.duration_filter >= 0).then_some(self.duration_filter),
        };
        let listed = match context.ask(asked).await? {
            Ok(listed) => listed,
            Err(refused) => return Ok(Self::refuse(refused.code()).into()),
        };
        let listed_ids = listed.transactions.into_iter();
        let fitting = listed_ids.filter(|listed| fits(&listed.transactional_id));
        let states = fitting.map(|listed| TransactionState {
            transactional_id: listed.transactional_id,
            producer_id: listed.producer_id,
            transaction_state: listed.state.name().to_owned(),
        });
        Ok(Response {
            unknown_state_filters: listed.unknown_states,
            transaction_states: states.collect(),
            ..Response::default()
        }
        .into())
    }

    fn refuse(error: ErrorCode) -> Response {
        Response { error_code: error.code, ..Response::default() }
    }
}

/// Matches what the expression matches from its beginning to its end.
fn whole(expression: &str) -> Result<Regex, regex::Error> {
    // First by itself: it may not close the group that it is put into.
    RegexBuilder::new(expression).size_limit(PATTERN_BYTES_MAX).build()?;
    RegexBuilder::new(&format!(r"\A(?:{expression})\z")).size_limit(PATTERN_BYTES_MAX).build()
}

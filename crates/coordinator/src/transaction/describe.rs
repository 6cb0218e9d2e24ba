//! What the transactional ids look like (KIP-664, KIP-994, KIP-1152).

use super::{TransactionState, Transactions};
use crate::Now;

/// Names of states that Kafka knows and that no transactional id is seen in.
const UNSEEN_STATES: [&str; 2] = ["Dead", "PrepareEpochFence"];

/// Which transactional ids are wanted; what is left empty does not matter.
#[derive(Clone, Debug, Default)]
pub struct ListTransactions {
    /// Kafka's names.
    pub states: Vec<String>,
    pub producer_ids: Vec<i64>,
    /// Those whose transaction began longer ago.
    pub longer_than_ms: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedTransactions {
    /// Names asked for that are of no state.
    pub unknown_states: Vec<String>,
    pub transactions: Vec<ListedTransaction>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedTransaction {
    pub transactional_id: String,
    pub producer_id: i64,
    pub state: TransactionState,
}

impl Transactions {
    pub fn list(&self, now: Now, request: &ListTransactions) -> ListedTransactions {
        let named = |name: &String| TransactionState::ALL.into_iter().find(|s| s.name() == *name);
        let states: Vec<TransactionState> = request.states.iter().filter_map(named).collect();
        let is_unknown =
            |name: &&String| named(name).is_none() && !UNSEEN_STATES.contains(&name.as_str());
        let longer = |started_ms: i64| {
            request.longer_than_ms.is_none_or(|ms| now.wall_ms.saturating_sub(started_ms) > ms)
        };
        let listed = self.iter().filter(|(_, held)| {
            (request.states.is_empty() || states.contains(&held.state))
                && (request.producer_ids.is_empty()
                    || request.producer_ids.contains(&held.producer_id))
                && longer(held.started_ms)
        });
        ListedTransactions {
            unknown_states: request.states.iter().filter(is_unknown).cloned().collect(),
            transactions: listed
                .map(|(id, held)| ListedTransaction {
                    transactional_id: id.to_owned(),
                    producer_id: held.producer_id,
                    state: held.state,
                })
                .collect(),
        }
    }
}

//! DescribeClientQuotas, 0 and 1: the quotas of users, client ids and addresses (KIP-546).
//!
//! Filters match a name, the default, or both; every filter must match. `strict` leaves out entities
//! with parts that no filter names. A type that is not known gets UNSUPPORTED_VERSION.

use tidings_broker::{DescribeQuotas, DescribedQuota, QuotaFilter, QuotaMatch};
use tidings_wire::RequestHeader;
use tidings_wire::describe_client_quotas::{
    ComponentData, EntityData, EntryData, Request, Response, ValueData,
};

use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;
use crate::error_code::Refusal;

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        _header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let filters: Option<Vec<_>> = self.components.into_iter().map(filter).collect();
        let Some(filters) = filters else {
            return Ok(Self::refuse(ErrorCode::INVALID_REQUEST).into());
        };
        let described = context.ask(DescribeQuotas { filters, strict: self.strict }).await?;
        let response = match described {
            Ok(described) => {
                let entries = described.into_iter().map(entry).collect();
                Response { entries: Some(entries), ..Response::default() }
            }
            Err(refused) => Response {
                error_code: refused.code().code,
                error_message: Some(refused.text()),
                entries: None,
                ..Response::default()
            },
        };
        Ok(response.into())
    }

    fn refuse(error: ErrorCode) -> Response {
        Response { error_code: error.code, entries: None, ..Response::default() }
    }
}

/// None for a kind of match that there is not.
fn filter(component: ComponentData) -> Option<QuotaFilter> {
    let wanted = match (component.match_type, component.r#match) {
        (0, Some(name)) => QuotaMatch::Exact(name),
        (1, None) => QuotaMatch::Default,
        (2, None) => QuotaMatch::Any,
        _ => return None,
    };
    Some(QuotaFilter { entity_type: component.entity_type, wanted })
}

fn entry(described: DescribedQuota) -> EntryData {
    let entity = described.entity.into_iter();
    let values = described.rates.into_iter();
    EntryData {
        entity: entity
            .map(|(entity_type, entity_name)| EntityData { entity_type, entity_name })
            .collect(),
        values: values
            .map(|(key, value)| ValueData { key: key.name().to_owned(), value })
            .collect(),
    }
}

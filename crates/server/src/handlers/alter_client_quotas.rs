//! AlterClientQuotas, 0 and 1: changes the quotas of users, client ids and addresses, durable when
//! answered (KIP-546).
//!
//! Entries are changed in order, each wholly or not at all; refusals are INVALID_REQUEST with the
//! reason. With `validate_only` nothing is changed.

use tidings_broker::{AlterQuotas, QuotaAlteration, QuotaRefused};
use tidings_wire::RequestHeader;
use tidings_wire::alter_client_quotas::{
    EntityData, EntityDataResponse, EntryData, EntryDataResponse, Request, Response,
};

use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;
use crate::error_code::{Refusal, code_of};

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        _header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let entities: Vec<_> = self.entries.iter().map(|entry| entry.entity.clone()).collect();
        let entries = self.entries.into_iter().map(alteration).collect();
        let alter = AlterQuotas { entries, validate_only: self.validate_only };
        let outcomes = context.ask(alter).await?;
        let entries = entities.into_iter().zip(outcomes).map(respond).collect();
        Ok(Response { entries, ..Response::default() }.into())
    }

    fn refuse(_error: ErrorCode) -> Response {
        Response::default()
    }
}

fn alteration(entry: EntryData) -> QuotaAlteration {
    let entity = entry.entity.into_iter().map(|part| (part.entity_type, part.entity_name));
    let rates = entry.ops.into_iter().map(|op| (op.key, (!op.remove).then_some(op.value)));
    QuotaAlteration { entity: entity.collect(), rates: rates.collect() }
}

fn respond((entity, outcome): (Vec<EntityData>, Result<(), QuotaRefused>)) -> EntryDataResponse {
    let part = |part: EntityData| EntityDataResponse {
        entity_type: part.entity_type,
        entity_name: part.entity_name,
    };
    EntryDataResponse {
        error_code: code_of(&outcome),
        error_message: outcome.err().map(|refused| refused.text()),
        entity: entity.into_iter().map(part).collect(),
    }
}

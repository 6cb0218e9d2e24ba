//! UpdateFeatures, 0 to 2: other levels of features become finalized (KIP-584, KIP-1022), durably.
//!
//! All of them or, with the first refusal as the answer to the whole request, none. A level that is
//! not supported, or lies the other way than the client allows, gets INVALID_UPDATE_VERSION.
//! Version 0 knows upgrades and safe downgrades; below version 2 success is said of each feature.

use tidings_broker::{FeatureDirection, FeatureUpdate};
use tidings_wire::RequestHeader;
use tidings_wire::update_features::{FeatureUpdateKey, Request, Response, UpdatableFeatureResult};

use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::Context;
use crate::error_code::Refusal;

const UPGRADE_TYPE_SINCE: i16 = 1;

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let mut updates = Vec::new();
        for key in self.feature_updates {
            let Some(direction) = direction(&key, header.version) else {
                let refused = format!("{} is no type of upgrade", key.upgrade_type);
                let mut response = Self::refuse(ErrorCode::INVALID_UPDATE_VERSION);
                response.error_message = Some(refused);
                return Ok(response.into());
            };
            let FeatureUpdateKey { feature: name, max_version_level: level, .. } = key;
            updates.push(FeatureUpdate { name, level, direction });
        }
        let names = updates.iter().map(|update| update.name.clone());
        let results = names
            .map(|feature| UpdatableFeatureResult { feature, ..UpdatableFeatureResult::default() })
            .collect();
        let update = tidings_broker::UpdateFeatures { updates, validate_only: self.validate_only };
        let response = match context.ask(update).await? {
            Ok(()) => Response { results, ..Response::default() },
            Err(refused) => Response {
                error_code: refused.code().code,
                error_message: Some(refused.text()),
                ..Response::default()
            },
        };
        Ok(response.into())
    }

    fn refuse(error: ErrorCode) -> Response {
        Response { error_code: error.code, ..Response::default() }
    }
}

/// The way that a client allows; none for a number that is no type of upgrade.
fn direction(key: &FeatureUpdateKey, version: i16) -> Option<FeatureDirection> {
    if version < UPGRADE_TYPE_SINCE && key.allow_downgrade {
        return Some(FeatureDirection::SafelyDown);
    }
    match key.upgrade_type {
        1 => Some(FeatureDirection::Up),
        2 => Some(FeatureDirection::SafelyDown),
        3 => Some(FeatureDirection::Down),
        _ => None,
    }
}

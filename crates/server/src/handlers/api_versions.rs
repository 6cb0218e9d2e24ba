//! ApiVersions, 0 to 4 (KIP-35, KIP-511): which requests are served, in which versions.
//!
//! From version 3 the client names its software; a name that breaks KIP-511's pattern gets
//! INVALID_REQUEST. A version that is not served is answered in the layout of version 0 with
//! UNSUPPORTED_VERSION and the range of ApiVersions alone, so that the client can ask again.
//!
//! Version 3 brought the features with their finalized levels (KIP-584). Older clients fail at a
//! smallest level of 0, so below version 4 such features are said finalized, but not supported
//! (KAFKA-17011).

use bytes::Bytes;
use tidings_broker::{DescribeFeatures, FeatureLevels};
use tidings_wire::api_versions::{
    API, ApiVersion, FinalizedFeature, Request, Response, SupportedFeature,
};
use tidings_wire::{EncodeError, Prefix, RequestHeader};

use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer, Row, TABLE};
use crate::context::Context;

const FEATURES_SINCE: i16 = 3;
const LEVEL_0_SINCE: i16 = 4;

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let named = [&self.client_software_name, &self.client_software_version];
        if header.version >= FEATURES_SINCE && !named.into_iter().all(|name| is_software_name(name))
        {
            return Ok(Self::refuse(ErrorCode::INVALID_REQUEST).into());
        }
        let api_keys = TABLE.iter().map(advertised).collect();
        if header.version < FEATURES_SINCE {
            return Ok(Response { api_keys, ..Response::default() }.into());
        }
        let features = context.ask(DescribeFeatures).await?;
        let shown = |feature: &&FeatureLevels| feature.min > 0 || header.version >= LEVEL_0_SINCE;
        let finalized = features.features.iter().filter(|feature| feature.finalized > 0);
        let response = Response {
            api_keys,
            supported_features: features.features.iter().filter(shown).map(supported).collect(),
            finalized_features_epoch: features.epoch,
            finalized_features: finalized.map(finalized_level).collect(),
            ..Response::default()
        };
        Ok(response.into())
    }

    fn refuse(error: ErrorCode) -> Response {
        Response { error_code: error.code, ..Response::default() }
    }
}

/// KIP-511's answer to a version that is not served.
pub(crate) fn answer_unknown_version(prefix: Prefix) -> Result<Vec<Bytes>, EncodeError> {
    let response = Response {
        error_code: ErrorCode::UNSUPPORTED_VERSION.code,
        api_keys: TABLE.iter().filter(|row| row.api.key == API.key).map(advertised).collect(),
        ..Response::default()
    };
    tidings_wire::encode_response::<Request>(0, prefix.correlation_id, &response)
}

fn advertised(row: &Row) -> ApiVersion {
    ApiVersion {
        api_key: row.api.key,
        min_version: row.advertised_min,
        max_version: row.api.version_max,
    }
}

fn supported(feature: &FeatureLevels) -> SupportedFeature {
    SupportedFeature {
        name: feature.name.to_owned(),
        min_version: feature.min,
        max_version: feature.max,
    }
}

/// Both ends of the range are the level, as Kafka says it since KRaft.
fn finalized_level(feature: &FeatureLevels) -> FinalizedFeature {
    FinalizedFeature {
        name: feature.name.to_owned(),
        max_version_level: feature.finalized,
        min_version_level: feature.finalized,
    }
}

/// `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?`
fn is_software_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    ends.into_iter().all(|end| end.is_some_and(u8::is_ascii_alphanumeric))
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::is_software_name;

    #[test]
    fn software_names_follow_kip_511() {
        for name in ["a", "librdkafka", "apache-kafka-java", "2.12.1", "v1.0-rc1"] {
            assert!(is_software_name(name), "{name}");
        }
        for name in ["", "-a", "a-", ".", "a b", "ü", "a_b"] {
            assert!(!is_software_name(name), "{name}");
        }
    }
}

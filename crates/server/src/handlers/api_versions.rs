//! ApiVersions, 0 to 4 (KIP-35, KIP-511): which requests are served, in which versions.
//!
//! From version 3 the client names its software; a name that breaks KIP-511's pattern gets
//! INVALID_REQUEST. A version that is not served is answered in the layout of version 0 with
//! UNSUPPORTED_VERSION and the range of ApiVersions alone, so that the client can ask again.

use bytes::Bytes;
use tidings_wire::api_versions::{API, ApiVersion, Request, Response};
use tidings_wire::{EncodeError, Prefix, RequestHeader};

use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer, Row, TABLE};
use crate::context::Context;

impl Handler for Request {
    async fn answer(
        self,
        _context: &Context,
        header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let named = [&self.client_software_name, &self.client_software_version];
        if header.version >= 3 && !named.into_iter().all(|name| is_software_name(name)) {
            return Ok(Self::refuse(ErrorCode::INVALID_REQUEST).into());
        }
        let api_keys = TABLE.iter().map(advertised).collect();
        Ok(Response { api_keys, ..Response::default() }.into())
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

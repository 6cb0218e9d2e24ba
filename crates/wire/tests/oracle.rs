//! Every API and version against the `kafka-protocol` crate, which is generated from Apache Kafka's
//! own message specifications.
//!
//! Both directions at once: our encoding of sampled values must decode there to fields of the same
//! names and values, their encoding of those fields must be the same bytes, and it must decode
//! here to the value we began with.

mod debug_tree;

use bytes::{Bytes, BytesMut};
use debug_tree::Tree;
use kafka_protocol::messages::{
    ApiKey, RequestHeader as TheirRequestHeader, RequestKind, ResponseHeader, ResponseKind,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use tidings_wire::sample::{Sample, Source};
use tidings_wire::{Api, Reader, Request, RequestHeader, Wire, Writer};

/// Samples per version and direction; lists have up to three elements, so this covers every field
/// with several values.
const SAMPLES: u64 = 40;

fn joined(segments: &[Bytes]) -> Bytes {
    segments.concat().into()
}

fn encode(message: &impl Wire, flexible: bool, version: i16) -> Bytes {
    let mut w = Writer::new(flexible);
    message.encode(&mut w, version);
    joined(&w.finish().unwrap())
}

fn decode<T: Wire>(bytes: Bytes, flexible: bool, version: i16) -> T {
    let mut r = Reader::new(bytes, flexible);
    let value = T::decode(&mut r, version).unwrap();
    r.finish().unwrap();
    value
}

/// Versions that the crate has a name for and no code: topics by id in commits and fetches of offsets.
/// `known_bytes` has one of each, and compat's Java clients speak them.
const UNKNOWN_TO_THEM: [(i16, i16); 2] = [(8, 10), (9, 10)];

/// Versions newer than theirs that have the layout of the one before.
const SAME_LAYOUT: [(i16, i16); 1] = [(2, 11)];

/// The version of theirs that has the layout of this one of ours.
fn layout_of(api: Api, version: i16) -> i16 {
    if SAME_LAYOUT.contains(&(api.key, version)) { version - 1 } else { version }
}

fn versions_of(api: Api) -> impl Iterator<Item = i16> {
    let known = move |version: &i16| !UNKNOWN_TO_THEM.contains(&(api.key, *version));
    (api.version_min..=api.version_max).filter(known)
}

fn check<T: Wire + Sample + std::fmt::Debug + PartialEq>(
    api: Api,
    direction: &str,
    theirs: impl Fn(&mut Bytes, i16) -> (String, Bytes),
) {
    for version in versions_of(api) {
        for seed in 0..SAMPLES {
            let about = format!("{} {direction} v{version}, seed {seed}", api.name);
            let ours = T::sample(&mut Source::new(seed * 31 + version as u64), version);
            let bytes = encode(&ours, api.flexible(version), version);
            let mut rest = bytes.clone();
            let (shown, again) = theirs(&mut rest, layout_of(api, version));
            assert!(rest.is_empty(), "{about}: {} bytes not read", rest.len());
            let (ours_tree, theirs_tree) = (Tree::of(&format!("{ours:?}")), Tree::of(&shown));
            if let Err(difference) = ours_tree.same_in(&theirs_tree) {
                panic!("{about}: {difference}");
            }
            assert_eq!(bytes, again, "{about}: their encoding differs");
            assert_eq!(decode::<T>(again, api.flexible(version), version), ours, "{about}");
        }
    }
}

fn check_api<R>()
where
    R: Request + Sample + std::fmt::Debug + PartialEq,
    R::Response: Sample + std::fmt::Debug + PartialEq,
{
    let key = ApiKey::try_from(R::API.key).unwrap();
    check::<R>(R::API, "request", |bytes, version| {
        let theirs = RequestKind::decode(key, bytes, version).unwrap();
        let mut again = BytesMut::new();
        theirs.encode(&mut again, version).unwrap();
        (format!("{theirs:?}"), again.freeze())
    });
    check::<R::Response>(R::API, "response", |bytes, version| {
        let theirs = ResponseKind::decode(key, bytes, version).unwrap();
        let mut again = BytesMut::new();
        theirs.encode(&mut again, version).unwrap();
        (format!("{theirs:?}"), again.freeze())
    });
}

macro_rules! oracle_tests {
    ($($api:ident),+) => { $(
        #[test]
        fn $api() {
            check_api::<tidings_wire::$api::Request>();
        }
    )+ };
}

tidings_wire::every_api!(oracle_tests);

fn check_headers<R>()
where
    R: Request + Sample + std::fmt::Debug + PartialEq,
    R::Response: Sample + std::fmt::Debug + PartialEq,
{
    let api = R::API;
    let key = ApiKey::try_from(api.key).unwrap();
    for version in versions_of(api) {
        let mut source = Source::new(version as u64);
        let request = R::sample(&mut source, version);
        let response = R::Response::sample(&mut source, version);
        let client_id = (version % 2 == 0).then(|| "client-ü".to_owned());
        let header = RequestHeader { version, correlation_id: 77, client_id };

        let frame = joined(&tidings_wire::encode_request(&header, &request).unwrap());
        assert_eq!(frame.len(), 4 + i32::from_be_bytes(*frame.first_chunk().unwrap()) as usize);
        let mut theirs = frame.slice(4..);
        let read =
            TheirRequestHeader::decode(&mut theirs, key.request_header_version(version)).unwrap();
        let expected = TheirRequestHeader::default()
            .with_request_api_key(api.key)
            .with_request_api_version(version)
            .with_correlation_id(77)
            .with_client_id(header.client_id.clone().map(StrBytes::from_string));
        assert_eq!(read, expected, "{} v{version}", api.name);
        let body = encode(&request, api.flexible(version), version);
        assert_eq!(theirs, body, "{} v{version}", api.name);
        let decoded = tidings_wire::decode_request::<R>(frame.slice(4..)).unwrap();
        assert_eq!(decoded, (header, request));

        let segments = tidings_wire::encode_response::<R>(version, 78, &response).unwrap();
        let frame = joined(&segments).slice(4..);
        let mut theirs = frame.clone();
        let read =
            ResponseHeader::decode(&mut theirs, key.response_header_version(version)).unwrap();
        assert_eq!(read, ResponseHeader::default().with_correlation_id(78));
        let mut again = BytesMut::new();
        read.encode(&mut again, key.response_header_version(version)).unwrap();
        assert_eq!(frame.slice(..again.len()), again, "{} v{version}", api.name);
        let decoded = tidings_wire::decode_response::<R>(version, frame).unwrap();
        assert_eq!(decoded, (78, response));
    }
}

macro_rules! header_test {
    ($($api:ident),+) => {
        #[test]
        fn headers_are_read_and_written_as_the_api_and_version_want() {
            $( check_headers::<tidings_wire::$api::Request>(); )+
        }
    };
}

tidings_wire::every_api!(header_test);

#[test]
fn every_api_begins_and_turns_flexible_where_kafka_says() {
    for api in tidings_wire::APIS {
        let key = ApiKey::try_from(api.key).unwrap();
        assert_eq!(format!("{key:?}"), format!("{}", api.name));
        let theirs = key.valid_versions();
        let last = layout_of(*api, api.version_max);
        assert!(theirs.min <= api.version_min && last <= theirs.max, "{}", api.name);
        for version in api.version_min..=api.version_max {
            let flexible = key.request_header_version(version) == 2;
            assert_eq!(api.flexible(version), flexible, "{} v{version}", api.name);
        }
    }
}

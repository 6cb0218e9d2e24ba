//! ApiVersions, versions that are not served, and requests that are not implemented.

use tidings_wire::sample::{Sample, Source};
use tidings_wire::{Request, api_versions, update_features};

use crate::client::{Client, Served, appending, batch};

fn software(name: &str, version: &str) -> api_versions::Request {
    api_versions::Request {
        client_software_name: name.into(),
        client_software_version: version.into(),
    }
}

#[tokio::test]
async fn api_versions_lists_what_is_served() {
    let served = Served::start().await;
    let mut client = served.connect().await;
    for version in 0..=api_versions::API.version_max {
        let response = client.call(version, &software("test", "1.0")).await;
        assert_eq!(response.error_code, 0);
        let listed: Vec<_> = response
            .api_keys
            .iter()
            .map(|api| (api.api_key, api.min_version, api.max_version))
            .collect();
        let expected: Vec<_> = tidings_wire::APIS
            .iter()
            .filter(|api| listed.iter().any(|(key, ..)| *key == api.key))
            .map(|api| match api.key {
                0 => (0, 0, api.version_max),
                key => (key, api.version_min, api.version_max),
            })
            .collect();
        assert_eq!(listed, expected);
        let supported: Vec<_> = response
            .supported_features
            .iter()
            .map(|feature| (feature.name.as_str(), feature.min_version, feature.max_version))
            .collect();
        let finalized: Vec<_> = response
            .finalized_features
            .iter()
            .map(|f| (f.name.as_str(), f.min_version_level, f.max_version_level))
            .collect();
        let metadata = ("metadata.version", 29, 29);
        assert_eq!(supported.contains(&metadata), version >= 3, "v{version}");
        assert_eq!(finalized.contains(&metadata), version >= 3, "v{version}");
        assert_eq!(response.finalized_features_epoch, if version >= 3 { 0 } else { -1 });
        // What older clients fail at.
        assert!(version >= 4 || supported.iter().all(|(_, min, _)| *min > 0), "v{version}");
    }
    for (name, version) in [("", "1"), ("-x", "1"), ("x", ""), ("x y", "1")] {
        assert_eq!(client.call(3, &software(name, version)).await.error_code, 42);
        assert_eq!(client.call(2, &software(name, version)).await.error_code, 0);
    }
    served.stop().await;
}

#[tokio::test]
async fn features_change_within_what_is_supported() {
    let served = Served::start().await;
    let mut client = served.connect().await;
    let asking = |feature: &str, max_version_level, upgrade_type| update_features::Request {
        feature_updates: vec![update_features::FeatureUpdateKey {
            feature: feature.into(),
            max_version_level,
            upgrade_type,
            ..Default::default()
        }],
        ..Default::default()
    };
    for version in 0..=2 {
        let same = client.call(version, &asking("metadata.version", 29, 1)).await;
        assert_eq!((same.error_code, same.error_message), (0, None));
        let names: Vec<_> =
            same.results.iter().map(|r| (r.feature.as_str(), r.error_code)).collect();
        let expected = if version < 2 { vec![("metadata.version", 0)] } else { vec![] };
        assert_eq!(names, expected);
        for (feature, level) in [("metadata.version", 28), ("metadata.version", 30), ("x", 1)] {
            let refused = client.call(version, &asking(feature, level, 1)).await;
            assert_eq!((refused.error_code, refused.results.len()), (95, 0));
            assert!(refused.error_message.is_some());
        }
    }
    for upgrade_type in [0, 4, -1] {
        let refused = client.call(1, &asking("metadata.version", 29, upgrade_type)).await;
        assert_eq!(refused.error_code, 95);
    }
    served.stop().await;
}

#[tokio::test]
async fn an_unknown_version_of_api_versions_is_answered_in_version_0() {
    let served = Served::start().await;
    let mut client = served.connect().await;
    for version in [5i16, 99, i16::MAX, -1] {
        let mut frame = vec![0, 0, 0, 10, 0, 18];
        frame.extend_from_slice(&version.to_be_bytes());
        frame.extend_from_slice(&[0, 0, 0, 77, 0xff, 0xff]);
        client.send_raw(&frame).await;
        let answer = client.next_frame().await.unwrap();
        let decoded = tidings_wire::decode_response::<api_versions::Request>(0, answer);
        let (correlation_id, response) = decoded.unwrap();
        assert_eq!((correlation_id, response.error_code), (77, 35));
        let own = api_versions::ApiVersion { api_key: 18, min_version: 0, max_version: 4 };
        assert_eq!(response.api_keys, [own]);
    }
    served.stop().await;
}

/// A frame of `R` in any version: whatever the body, the answer is the same.
fn beyond<R: Request + Sample>(version: i16) -> Vec<u8> {
    let mut frame = vec![0, 0, 0, 12];
    frame.extend_from_slice(&R::API.key.to_be_bytes());
    frame.extend_from_slice(&version.to_be_bytes());
    frame.extend_from_slice(&[0, 0, 0, 9, 0xff, 0xff, 0, 0]);
    frame
}

async fn check_beyond<R>(client: &mut Client)
where
    R: Request + Sample,
    R::Response: std::fmt::Debug,
{
    let api = R::API;
    client.send_raw(&beyond::<R>(api.version_max + 1)).await;
    let answer = client.next_frame().await.unwrap();
    // ApiVersions has its own rule, see the test above.
    let version = if api.key == api_versions::API.key { 0 } else { api.version_max };
    let (correlation_id, response) = tidings_wire::decode_response::<R>(version, answer).unwrap();
    assert_eq!(correlation_id, 9, "{}", api.name);
    let shown = format!("{response:?}");
    let says = |code: &str| {
        ["Response { error_code: ", "Response { throttle_time_ms: 0, error_code: "]
            .iter()
            .any(|start| shown.starts_with(&format!("{start}{code}")))
    };
    assert_eq!(says("35"), says("") && api.name != "FindCoordinator", "{}: {shown}", api.name);
}

macro_rules! beyond_test {
    ($($api:ident),+) => {
        #[tokio::test]
        async fn versions_beyond_the_last_are_answered_in_its_layout() {
            let served = Served::start().await;
            let mut client = served.connect().await;
            $( check_beyond::<tidings_wire::$api::Request>(&mut client).await; )+
            assert_eq!(served.server.figures().frames_refused, 0);
            served.stop().await;
        }
    };
}

tidings_wire::every_api!(beyond_test);

#[tokio::test]
async fn produce_below_version_3_is_refused_in_its_own_layout() {
    let (served, mut client) = Served::with_topic("t").await;
    for version in 0..3i16 {
        let request = appending("t", batch(&["old"]));
        let header = tidings_wire::RequestHeader { version: 3, correlation_id: 5, client_id: None };
        let mut frame = tidings_wire::encode_request(&header, &request).unwrap().concat();
        // Without the transactional id, which version 3 brought.
        frame.drain(14..16);
        let length = (frame.len() - 4) as i32;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        frame[6..8].copy_from_slice(&version.to_be_bytes());
        client.send_raw(&frame).await;
        let answer = client.next_frame().await.unwrap();
        let mut expected = vec![0, 0, 0, 5, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 0, 0, 35];
        expected.extend_from_slice(&(-1i64).to_be_bytes());
        if version >= 2 {
            expected.extend_from_slice(&(-1i64).to_be_bytes());
        }
        if version >= 1 {
            expected.extend_from_slice(&[0, 0, 0, 0]);
        }
        assert_eq!(answer, expected, "v{version}");
    }
    served.stop().await;
}

#[tokio::test]
async fn requests_that_are_not_implemented_are_answered() {
    let served = Served::start().await;
    let mut client = served.connect().await;
    // PushTelemetry 0 (flexible), and ControlledShutdown (between brokers).
    for (key, version, expected) in
        [(72u8, 0u8, &[0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 35, 0][..]), (7, 3, &[0, 0, 0, 3, 0, 35])]
    {
        let frame = [0, 0, 0, 10, 0, key, 0, version, 0, 0, 0, 3, 0xff, 0xff];
        client.send_raw(&frame).await;
        assert_eq!(client.next_frame().await.unwrap(), expected, "key {key}");
    }
    assert_eq!(client.call(0, &software("", "")).await.error_code, 0);
    served.stop().await;
}

#[tokio::test]
async fn every_request_in_every_version_gets_an_answer() {
    let served = Served::start().await;
    let mut source = Source::new(7);
    macro_rules! ask {
        ($($api:ident),+) => { $(
            for version in tidings_wire::$api::API.version_min..=tidings_wire::$api::API.version_max {
                println!("{} v{version}", stringify!($api));
                let mut client = served.connect().await;
                let request = tidings_wire::$api::Request::sample(&mut source, version);
                client.send(version, &request).await;
                client.receive::<tidings_wire::$api::Request>(version).await;
            }
        )+ };
    }
    // Not sampled: Produce, which acks=0 leaves unanswered, and Fetch, which may be told to wait.
    ask!(list_offsets, metadata, offset_commit, offset_fetch, find_coordinator, join_group);
    ask!(heartbeat, leave_group, sync_group, describe_groups, list_groups, api_versions);
    ask!(create_topics, delete_topics, init_producer_id, describe_configs, describe_cluster);
    ask!(delete_groups, update_features, create_partitions, elect_leaders, describe_quorum);
    ask!(alter_partition_reassignments, list_partition_reassignments, describe_log_dirs);
    ask!(alter_replica_log_dirs, unregister_broker, describe_acls, create_acls, delete_acls);
    ask!(sasl_handshake, sasl_authenticate, create_delegation_token, renew_delegation_token);
    ask!(expire_delegation_token, describe_delegation_token, describe_user_scram_credentials);
    ask!(alter_user_scram_credentials);
    served.stop().await;
}

//! Quotas of clients: defined, described, charged, kept over a restart.

use std::net::IpAddr;

use tidings_broker::{
    AlterQuotas, Call, Client, ConnectionOpened, CreatePartitions, CreateTopics, DeleteTopics,
    DescribeQuotas, DescribeTopics, MorePartitions, NewTopic, OverQuota, QuotaAlteration,
    QuotaFilter, QuotaMatch, QuotaRefused, TopicAnswer, TopicName, TopicRefused, Topics, Usage,
    limits,
};

use crate::rig::Rig;

type Entity<'a> = &'a [(&'a str, Option<&'a str>)];

fn alteration(entity: Entity<'_>, key: &str, rate: Option<f64>) -> QuotaAlteration {
    let part = |(kind, name): &(&str, Option<&str>)| ((*kind).into(), name.map(str::to_owned));
    QuotaAlteration {
        entity: entity.iter().map(part).collect(),
        rates: vec![(key.to_owned(), rate)],
    }
}

fn alter(
    rig: &mut Rig,
    entity: Entity<'_>,
    key: &str,
    rate: Option<f64>,
) -> Result<(), QuotaRefused> {
    let entries = vec![alteration(entity, key, rate)];
    rig.call(AlterQuotas { entries, validate_only: false }).remove(0)
}

/// Entities as `kind=name`, `*` for the default, with their rates.
fn described(
    rig: &mut Rig,
    filters: &[(&str, QuotaMatch)],
    strict: bool,
) -> Result<Vec<String>, String> {
    let filter = |(kind, wanted): &(&str, QuotaMatch)| QuotaFilter {
        entity_type: (*kind).to_owned(),
        wanted: wanted.clone(),
    };
    let request = DescribeQuotas { filters: filters.iter().map(filter).collect(), strict };
    let described = rig.call(request).map_err(|refused| refused.to_string())?;
    let text = described.into_iter().map(|quota| {
        let entity = quota.entity.iter();
        let entity =
            entity.map(|(kind, name)| format!("{kind}={}", name.as_deref().unwrap_or("*")));
        let rates = quota.rates.iter().map(|(key, rate)| format!("{}={rate}", key.name()));
        entity.chain(rates).collect::<Vec<_>>().join(" ")
    });
    Ok(text.collect())
}

const BYTES: &str = "producer_byte_rate";

#[test]
fn what_is_wrong_with_a_quota_is_said() {
    let mut rig = Rig::new();
    let cases: [(Entity<'_>, &str, f64, &str); 13] = [
        (&[], BYTES, 1.0, "Invalid empty client quota entity"),
        (&[("group", Some("a"))], BYTES, 1.0, "Unhandled client quota entity type: group"),
        (
            &[("user", Some("a")), ("user", None)],
            BYTES,
            1.0,
            "Entity type user appears more than once",
        ),
        (&[("client-id", Some(""))], BYTES, 1.0, "Empty client-id not supported"),
        (&[("user", Some("a"))], "foo", 1.0, "Invalid configuration key foo"),
        (
            &[("user", Some("a"))],
            "connection_creation_rate",
            1.0,
            "Invalid configuration key connection_creation_rate",
        ),
        (&[("ip", None)], BYTES, 1.0, "Invalid configuration key producer_byte_rate"),
        (&[("ip", Some("nowhere"))], "connection_creation_rate", 1.0, "nowhere is not a valid IP."),
        (
            &[("ip", None), ("user", None)],
            "connection_creation_rate",
            1.0,
            "Invalid quota entity combination, IP entity should not be combined with User or \
             ClientId",
        ),
        (&[("user", None)], BYTES, 0.0, "Quota producer_byte_rate must be greater than 0"),
        (&[("user", None)], BYTES, f64::NAN, "Quota producer_byte_rate must be greater than 0"),
        (&[("user", None)], BYTES, 1.5, "producer_byte_rate cannot be a fractional value."),
        (
            &[("user", None)],
            BYTES,
            1e30,
            "Proposed value for producer_byte_rate is too large for a LONG.",
        ),
    ];
    for (entity, key, rate, text) in cases {
        let refused = alter(&mut rig, entity, key, Some(rate)).unwrap_err();
        assert_eq!(refused, QuotaRefused::Invalid(text.to_owned()));
    }
    assert_eq!(described(&mut rig, &[], false), Ok(vec![]));
}

#[test]
fn quotas_are_found_by_their_parts() {
    let mut rig = Rig::new();
    let both: Entity<'_> = &[("user", Some("a")), ("client-id", None)];
    for entity in [&[("user", Some("a"))][..], &[("user", None)], both] {
        alter(&mut rig, entity, "request_percentage", Some(1.5)).unwrap();
    }
    let (a, default, pair) = (
        "user=a request_percentage=1.5".to_owned(),
        "user=* request_percentage=1.5".to_owned(),
        "client-id=* user=a request_percentage=1.5".to_owned(),
    );
    let exact = || QuotaMatch::Exact("a".to_owned());
    let all = vec![default.clone(), a.clone(), pair.clone()];
    let cases = [
        (vec![], false, all.clone()),
        (vec![], true, vec![]),
        (vec![("user", QuotaMatch::Any)], false, all),
        (vec![("user", QuotaMatch::Any)], true, vec![default.clone(), a.clone()]),
        (vec![("user", QuotaMatch::Default)], false, vec![default]),
        (vec![("user", exact())], true, vec![a]),
        (vec![("user", exact()), ("client-id", QuotaMatch::Any)], true, vec![pair]),
        (vec![("ip", QuotaMatch::Any)], false, vec![]),
    ];
    for (filters, strict, expected) in cases {
        let seen = described(&mut rig, &filters, strict);
        assert_eq!(seen, Ok(expected), "{filters:?}");
    }
    let any = || QuotaMatch::Any;
    let refusals = [
        (vec![("foo", any())], "Unsupported entity type foo"),
        (vec![("", any())], "Invalid empty entity type."),
        (
            vec![("user", any()), ("user", any())],
            "Entity type user cannot appear more than once in the filter.",
        ),
        (
            vec![("user", any()), ("ip", any())],
            "Invalid entity filter component combination. IP filter component should not be used \
             with user or clientId filter component.",
        ),
    ];
    for (filters, text) in refusals {
        assert_eq!(described(&mut rig, &filters, false), Err(text.to_owned()));
    }
}

#[test]
fn a_quota_is_answered_when_it_is_on_disk_and_outlives_a_restart() {
    let mut rig = Rig::new();
    let entries = vec![alteration(&[("user", None)], BYTES, Some(9_007_199_254_740_992.0))];
    let ticket = rig.submit(AlterQuotas { entries, validate_only: false });
    assert!(!rig.is_answered(ticket), "the record is not on disk");
    rig.settle();
    assert_eq!(rig.answer::<AlterQuotas>(ticket).unwrap(), [Ok(())]);
    alter(&mut rig, &[("user", None)], "request_percentage", Some(0.1)).unwrap();
    alter(&mut rig, &[("client-id", Some("gone"))], BYTES, Some(1.0)).unwrap();
    alter(&mut rig, &[("client-id", Some("gone"))], BYTES, None).unwrap();
    let checked = vec![alteration(&[("ip", None)], "connection_creation_rate", Some(1.0))];
    let checked = rig.call(AlterQuotas { entries: checked, validate_only: true });
    assert_eq!(checked, [Ok(())]);
    let mut rig = rig.restart();
    let expected = "user=* producer_byte_rate=9007199254740992 request_percentage=0.1".to_owned();
    assert_eq!(described(&mut rig, &[], false), Ok(vec![expected]));
}

#[test]
fn who_uses_more_than_a_window_gives_is_told_to_pause() {
    let mut rig = Rig::new();
    let client = Client {
        user: "ANONYMOUS".to_owned(),
        client_id: "c".to_owned(),
        ip: IpAddr::from([127, 0, 0, 1]),
    };
    assert!(!rig.broker.has_quotas());
    alter(&mut rig, &[("client-id", Some("c"))], BYTES, Some(100.0)).unwrap();
    assert!(rig.broker.has_quotas());
    let window_s = limits::QUOTA_WINDOW_MS / 1000;
    let usage = Usage { produced_bytes: 100 * window_s + 50, ..Usage::default() };
    assert_eq!(rig.broker.charge(rig.now(), &client, &usage), 500);
    let other = Client { client_id: "d".to_owned(), ..client.clone() };
    assert_eq!(rig.broker.charge(rig.now(), &other, &usage), 0);
    alter(&mut rig, &[("client-id", Some("c"))], BYTES, None).unwrap();
    assert_eq!(rig.broker.charge(rig.now(), &client, &usage), 0);
}

#[test]
fn connections_beyond_the_rate_of_their_address_are_held() {
    let mut rig = Rig::new();
    let opened = ConnectionOpened { ip: IpAddr::from([127, 0, 0, 1]) };
    assert_eq!(rig.call(opened), 0);
    let here: Entity<'_> = &[("ip", Some("127.0.0.1"))];
    alter(&mut rig, here, "connection_creation_rate", Some(1.0)).unwrap();
    for _ in 0..limits::QUOTA_WINDOW_MS / 1000 {
        assert_eq!(rig.call(opened), 0);
    }
    assert_eq!(rig.call(opened), 1000);
}

/// What becomes of each part of a client's request, and its pause.
fn charged<C: Call + Clone>(rig: &mut Rig, over: OverQuota, request: C) -> (C::Reply, u64) {
    let ip = IpAddr::from([127, 0, 0, 1]);
    let client = Client { user: "ANONYMOUS".into(), client_id: "c".into(), ip };
    let now = rig.now();
    rig.broker.prepare(now, &client, over, &mut request.clone().into_request());
    let ticket = rig.submit(request);
    let pause_ms = rig.broker.charge_mutations(now, &client);
    rig.settle();
    (rig.answer::<C>(ticket).expect("settled"), pause_ms)
}

fn creating(names: &[&str], partitions: i32) -> CreateTopics {
    let new = |name: &&str| NewTopic {
        name: (*name).to_owned(),
        partitions: Some(partitions),
        ..NewTopic::default()
    };
    CreateTopics { topics: names.iter().map(new).collect(), validate_only: false }
}

fn growing(name: &str, count: i32) -> CreatePartitions {
    let more = MorePartitions { topic: name.to_owned(), count, assignment: None };
    CreatePartitions { topics: vec![more], validate_only: false }
}

fn deleting(name: &str) -> DeleteTopics {
    DeleteTopics { topics: vec![TopicName::Name(name.to_owned())] }
}

const MUTATIONS: &str = "controller_mutation_rate";

#[test]
fn partitions_are_created_and_deleted_until_the_window_is_used_up() {
    use OverQuota::{Refused, Slowed};
    let mut rig = Rig::new();
    // Ten in a window.
    alter(&mut rig, &[("client-id", Some("c"))], MUTATIONS, Some(1.0)).unwrap();
    let outcomes = |created: Vec<tidings_broker::CreatedTopic>| {
        let outcome = |topic: tidings_broker::CreatedTopic| topic.outcome.map(|_| ());
        created.into_iter().map(outcome).collect::<Vec<_>>()
    };
    let over = Err(TopicRefused::OverQuota);
    let (created, pause_ms) = charged(&mut rig, Refused, creating(&["a", "b", "c"], 6));
    assert_eq!((outcomes(created), pause_ms), (vec![Ok(()), Ok(()), over.clone()], 2_000));
    let (grown, pause_ms) = charged(&mut rig, Refused, growing("a", 7));
    assert_eq!((grown[0].outcome.clone(), pause_ms), (over.clone(), 2_000));
    let (deleted, pause_ms) = charged(&mut rig, Refused, deleting("a"));
    assert_eq!(deleted[0].outcome.clone().map(|_| ()), over);
    assert_eq!(pause_ms, 2_000, "what is refused is not charged");
    let (missing, _) = charged(&mut rig, Refused, deleting("c"));
    assert_eq!(missing[0].outcome, Err(TopicRefused::Unknown), "it was not made");

    let (grown, pause_ms) = charged(&mut rig, Slowed, growing("a", 7));
    assert_eq!((grown[0].outcome.clone(), pause_ms), (Ok(()), 3_000));
    let (deleted, pause_ms) = charged(&mut rig, Slowed, deleting("a"));
    assert_eq!((deleted[0].outcome.is_ok(), pause_ms), (true, 10_000), "all seven count");
    let (checked, pause_ms) =
        charged(&mut rig, Refused, CreateTopics { validate_only: true, ..creating(&["c"], 9) });
    assert_eq!((outcomes(checked), pause_ms), (vec![Ok(())], 10_000), "nothing was made");

    rig.pass(10_000);
    let (created, pause_ms) = charged(&mut rig, Refused, creating(&["c"], 1));
    assert_eq!((outcomes(created), pause_ms), (vec![Ok(())], 1_000));
}

#[test]
fn topics_that_are_created_by_naming_them_are_charged_and_refused_like_others() {
    let mut rig = Rig::new();
    // Ten in a window; a topic that is named has two.
    alter(&mut rig, &[("client-id", Some("c"))], MUTATIONS, Some(1.0)).unwrap();
    let naming = |names: &[&str]| DescribeTopics {
        topics: Topics::These(names.iter().map(|name| TopicName::Name((*name).into())).collect()),
        auto_create: true,
    };
    let made = |answers: Vec<TopicAnswer>| -> Vec<Result<usize, TopicRefused>> {
        let partitions = |answer: TopicAnswer| answer.topic.map(|topic| topic.partitions.len());
        answers.into_iter().map(partitions).collect()
    };
    let (named, pause_ms) =
        charged(&mut rig, OverQuota::Slowed, naming(&["a", "b", "c", "d", "e", "f", "g"]));
    let mut expected = vec![Ok(2); 6];
    expected.push(Err(TopicRefused::Unknown));
    assert_eq!((made(named), pause_ms), (expected, 0), "nobody is slowed down for it");
    let (created, pause_ms) = charged(&mut rig, OverQuota::Refused, creating(&["h"], 1));
    assert_eq!(created[0].outcome.clone().map(|_| ()), Err(TopicRefused::OverQuota));
    assert_eq!(pause_ms, 2_000, "all twelve count");
    let (named, _) = charged(&mut rig, OverQuota::Slowed, naming(&["a", "g"]));
    assert_eq!(made(named), [Ok(2), Err(TopicRefused::Unknown)], "what is there is shown");
    rig.pass(2_000);
    let (named, _) = charged(&mut rig, OverQuota::Slowed, naming(&["g"]));
    assert_eq!(made(named), [Ok(2)]);
}

#[test]
fn who_has_no_quota_makes_as_many_partitions_as_there_is_room_for() {
    let mut rig = Rig::new();
    alter(&mut rig, &[("client-id", Some("other"))], MUTATIONS, Some(0.1)).unwrap();
    let (created, pause_ms) = charged(&mut rig, OverQuota::Refused, creating(&["a", "b"], 20));
    assert!(created.iter().all(|topic| topic.outcome.is_ok()));
    assert_eq!(pause_ms, 0);
}

//! Quotas of clients: defined, described, charged, kept over a restart.

use std::net::IpAddr;

use tidings_broker::{
    AlterQuotas, Client, ConnectionOpened, DescribeQuotas, QuotaAlteration, QuotaFilter,
    QuotaMatch, QuotaRefused, Usage, limits,
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

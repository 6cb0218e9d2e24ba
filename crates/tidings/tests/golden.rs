//! What a golden file lets pass, what it refuses, and with which words.

use std::{collections::BTreeMap, fs, path::PathBuf};

use serde::{Deserialize, Serialize};
use tidings::{
    Event, Shape,
    golden::{GoldenError, Mode, check},
    shape::EventShape,
};

/// An event of its own, in a module of its own, so that all of them are of one type.
macro_rules! event {
    ($module:ident, ($($attributes:tt)*) $(#[$container:meta])* { $($fields:tt)* }) => {
        mod $module {
            use super::*;

            #[derive(Event, Serialize, Deserialize)]
            #[event(key = "order", type = "Paid", $($attributes)*)]
            $(#[$container])*
            pub(super) struct Paid { $($fields)* }
        }
    };
}

#[derive(Shape, Serialize, Deserialize)]
struct Line {
    article: String,
    units: u32,
}

#[derive(Shape, Serialize, Deserialize)]
struct WideLine {
    article: String,
    units: i64,
}

#[derive(Shape, Serialize, Deserialize)]
enum Means {
    Card,
    Cash { till: u8 },
}

#[derive(Shape, Serialize, Deserialize)]
enum MoreMeans {
    Card,
    Cash { till: u8 },
    Cheque,
}

/// Without a shape.
#[derive(Serialize, Deserialize)]
struct Opaque;

#[derive(Shape, Deserialize)]
#[expect(dead_code, reason = "only read")]
struct PaidV1 {
    order: String,
    pence: i64,
    lines: Vec<Line>,
    by: Means,
}

#[derive(Shape, Deserialize)]
struct WrongV1 {
    order: String,
    pounds: i64,
}

impl From<PaidV1> for upcast::Paid {
    fn from(PaidV1 { order, pence, .. }: PaidV1) -> Self {
        Self { order, amount: pence }
    }
}

impl From<PaidV1> for retyped_upcast::Paid {
    fn from(PaidV1 { order, pence, .. }: PaidV1) -> Self {
        Self { order, amount: u8::try_from(pence).unwrap_or(u8::MAX) }
    }
}

impl From<WrongV1> for wrong_upcast::Paid {
    fn from(WrongV1 { order, pounds }: WrongV1) -> Self {
        Self { order, amount: pounds * 100 }
    }
}

event!(before, (topic = "t") { order: String, pence: i64, lines: Vec<Line>, by: Means });

event!(renamed_struct, (topic = "t") { order: String, pence: i64, lines: Vec<Line>, #[serde(rename = "by")] paid_by: Means });
event!(defaulted, (topic = "t") { order: String, pence: i64, lines: Vec<Line>, by: Means, #[serde(default)] tip: i64 });
event!(optional, (topic = "t") { order: String, pence: i64, lines: Vec<Line>, by: Means, note: Option<String> });
event!(moved_on, (topic = "t", version = 2, since = 1) { order: String, pence: i64, lines: Vec<Line>, by: MoreMeans });
event!(upcast, (topic = "t", version = 2, upcast(from = 1, with = PaidV1)) { pub(crate) order: String, pub(crate) amount: i64 });
event!(retyped_upcast, (topic = "t", version = 2, upcast(from = 1, with = PaidV1)) { pub(crate) order: String, pub(crate) amount: u8 });

event!(added, (topic = "t") { order: String, pence: i64, lines: Vec<Line>, by: Means, tip: i64 });
event!(removed, (topic = "t") { order: String, lines: Vec<Line>, by: Means });
event!(renamed, (topic = "t") #[serde(rename_all = "camelCase")] { order: String, pence_paid: i64, lines: Vec<Line>, by: Means });
event!(retyped, (topic = "t") { order: String, pence: String, lines: Vec<Line>, by: Means });
event!(omitted, (topic = "t") { order: String, #[serde(default, skip_serializing_if = "is_zero")] pence: i64, lines: Vec<Line>, by: Means });
event!(nested, (topic = "t") { order: String, pence: i64, lines: Vec<WideLine>, by: Means });
event!(variant, (topic = "t") { order: String, pence: i64, lines: Vec<Line>, by: MoreMeans });
event!(other_kind, (topic = "t", kind = "integration") { order: String, pence: i64, lines: Vec<Line>, by: Means });
event!(other_topic, (topic = "u") { order: String, pence: i64, lines: Vec<Line>, by: Means });
event!(other_key, (topic = "t") { #[serde(rename = "receipt")] order: String, #[serde(rename = "order")] receipt: String, pence: i64, lines: Vec<Line>, by: Means });
event!(no_upcaster, (topic = "t", version = 2) { order: String, amount: i64 });
event!(not_since, (topic = "t", version = 2, since = 1) { order: String, amount: i64 });
event!(wrong_upcast, (topic = "t", version = 2, upcast(from = 1, with = WrongV1)) { pub(crate) order: String, pub(crate) amount: i64 });
event!(opaque, (topic = "t") { order: String, pence: i64, lines: Vec<Line>, by: Means, #[serde(default = "an_opaque")] more: Opaque });
event!(flattened, (topic = "t") { order: String, pence: i64, lines: Vec<Line>, by: Means, #[serde(flatten)] more: BTreeMap<String, String> });
event!(half_renamed, (topic = "t") { order: String, pence: i64, lines: Vec<Line>, #[serde(rename(serialize = "by", deserialize = "paid_by"))] by: Means });
event!(written_as, (topic = "t") { order: String, pence: i64, lines: Vec<Line>, by: Means, #[serde(default = "an_opaque")] #[shape(as = ())] more: Opaque });

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_zero(pence: &i64) -> bool {
    *pence == 0
}

fn an_opaque() -> Opaque {
    Opaque
}

/// A golden file in a folder of its own, with what was before.
fn golden(events: &[EventShape]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.golden.json");
    check(&path, Mode::Write, events).expect("written");
    (folder, path)
}

fn before() -> (tempfile::TempDir, PathBuf) {
    golden(&[before::Paid::shape()])
}

#[test]
fn what_has_not_changed_passes_and_no_file_does_not() {
    let (_folder, path) = before();
    for same in [before::Paid::shape(), renamed_struct::Paid::shape()] {
        check(&path, Mode::Compare, &[same]).expect("the same");
    }
    fs::remove_file(&path).expect("removed");
    let error = check(&path, Mode::Compare, &[before::Paid::shape()]).expect_err("no file");
    assert!(matches!(error, GoldenError::Absent(_)), "{error:?}");
    fs::write(&path, "{").expect("written");
    let error = check(&path, Mode::Write, &[before::Paid::shape()]).expect_err("no JSON");
    assert!(matches!(error, GoldenError::Json { .. }), "{error:?}");
}

#[test]
fn a_compatible_change_is_said_and_can_be_written() {
    let another = "Paid: version 1 has another shape, and either reads the other";
    let new = "Paid: version 2 is new";
    for (after, expected) in [
        (defaulted::Paid::shape(), another),
        (optional::Paid::shape(), another),
        (written_as::Paid::shape(), another),
        (moved_on::Paid::shape(), new),
        (upcast::Paid::shape(), new),
    ] {
        let (_folder, path) = before();
        let after = [after];
        match check(&path, Mode::Compare, &after) {
            Err(error @ GoldenError::Outdated { .. }) => {
                let text = error.to_string();
                assert!(text.contains("run with TIDINGS_GOLDEN=write"), "{text}");
                assert_eq!(text.lines().skip(1).collect::<Vec<_>>(), [format!("- {expected}")]);
            }
            other => panic!("{expected}: {other:?}"),
        }
        check(&path, Mode::Write, &after).expect("written");
        check(&path, Mode::Compare, &after).expect("what was written is what is");
    }
}

#[test]
fn an_incompatible_change_is_refused_with_a_verdict_also_when_writing() {
    for (after, expected) in [
        (
            added::Paid::shape(),
            "added field `tip` without a default: version 1 in the log does not have it; give it \
             #[serde(default)], or needs version 2 with an upcaster",
        ),
        (
            removed::Paid::shape(),
            "removed field `pence`: readers of version 1 cannot do without it; needs version 2 with an \
             upcaster",
        ),
        (
            renamed::Paid::shape(),
            "added field `pencePaid` without a default: version 1 in the log does not have it; give it \
             #[serde(default)], or needs version 2 with an upcaster\n\
             removed field `pence`: readers of version 1 cannot do without it; needs version 2 with an \
             upcaster",
        ),
        (
            retyped::Paid::shape(),
            "`pence` is string and was i64: version 1 in the log cannot be read; needs version 2 with an \
             upcaster",
        ),
        (
            omitted::Paid::shape(),
            "field `pence` is not always written any more: readers of version 1 cannot do without it",
        ),
        (
            nested::Paid::shape(),
            "`lines[].units` is i64 and was u32: readers of version 1 cannot read it; needs version 2",
        ),
        (
            variant::Paid::shape(),
            "added variant `Cheque` of `by`: readers of version 1 do not know it; needs version 2",
        ),
        (other_kind::Paid::shape(), "the kind is integration and was domain: needs version 2"),
        (
            no_upcaster::Paid::shape(),
            "version 1 has no upcaster to 2: write upcast(from = 1, with = …), or since = 1 if it is read \
             as it is",
        ),
        (
            not_since::Paid::shape(),
            "version 1 in the log is not read: `amount` is required and not written",
        ),
        (
            wrong_upcast::Paid::shape(),
            "version 1 in the log is not read: `pounds` is required and not written",
        ),
        (
            opaque::Paid::shape(),
            "the shape of `more` is not known: Opaque: derive `tidings::Shape` for it, or write \
             #[shape(as = …)] on the field",
        ),
        (
            flattened::Paid::shape(),
            "the shape of `more` is not known: serde(flatten): write the fields out",
        ),
        (
            half_renamed::Paid::shape(),
            "the shape of `by` is not known: serde(rename): what it does to the JSON is not understood",
        ),
    ] {
        let (_folder, path) = before();
        let text = fs::read_to_string(&path).expect("a file");
        for mode in [Mode::Compare, Mode::Write] {
            assert_eq!(refused(&path, mode, std::slice::from_ref(&after)), expected);
        }
        assert_eq!(fs::read_to_string(&path).expect("a file"), text, "it is as it was");
    }
}

/// The changes that are refused, without the event's name, one a line.
fn refused(path: &PathBuf, mode: Mode, events: &[EventShape]) -> String {
    match check(path, mode, events) {
        Err(GoldenError::Incompatible { verdicts, .. }) => {
            verdicts.into_iter().map(|verdict| verdict.change).collect::<Vec<_>>().join("\n")
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_readers_rely_on_besides_the_payload_is_held_too() {
    let (_folder, path) = before();
    assert_eq!(
        refused(&path, Mode::Write, &[other_topic::Paid::shape()]),
        "the topic is u and was t: its readers are there; give the new one another type"
    );
    assert_eq!(
        refused(&path, Mode::Write, &[]),
        "not among the events any more: nothing reads what is in t; take it out of the file when no log \
         holds one"
    );
    let key = refused(&path, Mode::Write, &[other_key::Paid::shape()]);
    let first = key.lines().next().expect("a verdict");
    assert_eq!(
        first,
        "the key is `receipt` and was `order`: events of one key would lose their order; needs version 2"
    );
    assert_eq!(
        refused(&path, Mode::Write, &[before::Paid::shape(), before::Paid::shape()]),
        "two events of this type in t"
    );
    let (_folder, path) = golden(&[moved_on::Paid::shape()]);
    assert_eq!(
        refused(&path, Mode::Write, &[before::Paid::shape()]),
        "version 1 was 2: versions only grow"
    );
}

#[test]
fn a_file_keeps_the_versions_and_an_upcaster_may_not_go() {
    let (_folder, path) = before();
    check(&path, Mode::Write, &[upcast::Paid::shape()]).expect("written");
    assert_eq!(
        refused(&path, Mode::Compare, &[no_upcaster::Paid::shape()]),
        "version 1 has no upcaster to 2: write upcast(from = 1, with = …), or since = 1 if it is read as it is"
    );
    assert_eq!(
        refused(&path, Mode::Compare, &[retyped_upcast::Paid::shape()]),
        "`amount` is u8 and was i64: version 2 in the log cannot be read; needs version 3 with an upcaster"
    );
}

#[test]
#[should_panic(expected = "run with TIDINGS_GOLDEN=write and commit it")]
fn the_macro_fails_the_test_it_stands_in() {
    tidings::golden!("tests/no.golden.json", before::Paid, upcast::Paid);
}

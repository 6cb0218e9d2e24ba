use super::*;

/// Key, value and headers of all records, in text.
fn all(format: &str, input: &[u8]) -> Result<Vec<(Option<String>, String, String)>, Failure> {
    let reader = Reader::parse(format).unwrap_or_else(|refused| panic!("{refused:?}"));
    let mut input = Input::new(input);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut read = Vec::new();
    while let Some(record) = reader.next(&mut input, read.len() as u64 + 1)? {
        let header = |h: &Header| format!("{}={};", h.name, text(h.value.as_deref().unwrap()));
        let headers: String = record.headers.iter().map(header).collect();
        let value = text(record.value.as_deref().unwrap_or_default());
        read.push((record.key.as_deref().map(text), value, headers));
    }
    Ok(read)
}

#[test]
fn records_are_read_by_the_format() {
    type Case<'a> = (&'a str, &'a [u8], &'a [(Option<&'a str>, &'a str, &'a str)]);
    let cases: &[Case<'_>] = &[
        ("%v\\n", b"a\nb", &[(None, "a", ""), (None, "b", "")]),
        ("%v\\n", b"a\n\nb\n", &[(None, "a", ""), (None, "", ""), (None, "b", "")]),
        ("%v", b"a\nb\n", &[(None, "a\nb\n", "")]),
        ("%k %v\\n", b"k v w\n", &[(Some("k"), "v w", "")]),
        ("%k::%v\\n", b"a:b::c\n", &[(Some("a:b"), "c", "")]),
        ("%K{3}%k%v\\n", b"keyvalue\n", &[(Some("key"), "value", "")]),
        ("%K %k%V %v", b"1 a2 bc1 d0 ", &[(Some("a"), "bc", ""), (Some("d"), "", "")]),
        ("%V{big16}%v", b"\x00\x02ab\x00\x01c", &[(None, "ab", ""), (None, "c", "")]),
        ("%v{json}", b"{} 1\n\n[2]\n", &[(None, "{}", ""), (None, "1", ""), (None, "[2]", "")]),
        ("%v{json}\\n", b"{}\n{}", &[(None, "{}", ""), (None, "{}", "")]),
        (
            "%k{re#[a-z]+#}%v{re#[0-9]*#}\\n",
            b"ab12\nc\n",
            &[(Some("ab"), "12", ""), (Some("c"), "", "")],
        ),
        ("%v{re#.{2}#}", b"abcd", &[(None, "ab", ""), (None, "cd", "")]),
        ("%V{hex8}%v\\n", b"02ab\n", &[(None, "ab", "")]),
        ("%k{hex} %v{base64}\\n", b"6b YWI=\n", &[(Some("k"), "ab", "")]),
        (
            "%v{json}\\n",
            b"{\"a\": \"}\\\"\"}\n[1]\n7\n",
            &[(None, "{\"a\": \"}\\\"\"}", ""), (None, "[1]", ""), (None, "7", "")],
        ),
        ("%H %h{%k=%v;}%v\\n", b"2 a=1;b=2;x\n0 y\n", &[(None, "x", "a=1;b=2;"), (None, "y", "")]),
    ];
    for (format, input, wanted) in cases {
        let wanted: Vec<_> = wanted
            .iter()
            .map(|(k, v, h)| (k.map(str::to_owned), (*v).to_owned(), (*h).to_owned()))
            .collect();
        assert_eq!(all(format, input).unwrap(), wanted, "{format}");
    }
}

#[test]
fn partition_topic_and_time_are_read() {
    let reader = Reader::parse("%t %p %d %v\\n").unwrap();
    assert!(reader.has_topic);
    let mut input = Input::new(&b"orders 3 2026-11-30 x\n"[..]);
    let record = reader.next(&mut input, 1).unwrap().unwrap();
    assert_eq!(record.topic.as_deref(), Some(&b"orders"[..]));
    assert_eq!((record.partition, record.timestamp), (Some(3), Some(1_795_996_800_000)));
}

#[test]
fn a_format_that_can_be_read_in_two_ways_is_refused_with_its_place() {
    for (format, at, why) in [
        ("%k%v\\n", 1, "where it ends cannot be told"),
        ("%v{hex}%k", 1, "where it ends cannot be told"),
        ("%h{%k=%v }%v\\n", 1, "how many headers come, or how each is written, is not said"),
        ("%H %h{%k=%v}%v\\n", 10, "where it ends cannot be told"),
        ("%H %h{%p %v;}%v\\n", 7, "a header has a key and a value"),
        ("%o %v\\n", 1, "the broker says that, not who produces"),
        ("%v{re#(#}", 1, "that is no regular expression, or too large a one"),
        ("%v{re#[0-9]}", 1, "what begins with # does not end with #"),
        ("%v{unpack[b]}", 1, "a field is not read so"),
        ("%K{2000000}%k", 1, "a field has at most 1000000 bytes"),
        ("%k %k\\n", 4, "it is read before"),
        ("%q", 1, "there is no such escape"),
        ("", 1, "it reads nothing"),
    ] {
        let refused = Reader::parse(format).unwrap_err();
        assert_eq!((refused.at, refused.why.as_str()), (at, why), "{format}");
    }
}

#[test]
fn input_that_does_not_fit_is_refused() {
    for (format, input) in [
        ("%k %v\\n", &b"nokey\n"[..]),
        ("x%v\\n", b"yv\n"),
        ("%v{re#[0-9]*#}", b"1x"),
        ("%v{re#[0-9]+#}", b"x"),
        ("%V{0}%v", b"abc"),
        ("%V %v\\n", b"5 abc"),
        ("%V %v\\n", b"x abc\n"),
        ("%v{hex}\\n", b"6\n"),
        ("%v{hex}\\n", b"+1\n"),
        ("%v{base64}\\n", b"?\n"),
        ("%v{json}\\n", b"{\n"),
        ("%V{big32}%v", b"\xff\xff\xff\xff"),
        ("%p %v\\n", b"99999999999 v\n"),
        ("%d %v\\n", b"yesterday v\n"),
        ("%H %h{%k=%v;}%v\\n", b"2000 a=1;\n"),
    ] {
        assert_eq!(all(format, input).unwrap_err().exit, Exit::Usage, "{format}");
    }
    assert!(all("%v\\n", &vec![b'x'; LINE_BYTES_MAX + 10]).is_err());
    assert_eq!(all("%v\\n", &vec![b'x'; LINE_BYTES_MAX]).unwrap().len(), 1);
}

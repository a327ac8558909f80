use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;

use super::*;

fn assert_masked(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(mask(text), *expected, "{text}");
    }
}

#[test]
fn addresses_inside_texts_are_masked_and_the_rest_stays() {
    assert_masked(&[
        ("550 5.1.1 <gone@dead.example>: User unknown", "550 5.1.1 <[address]>: User unknown"),
        ("a.b+c@x.example, d@y.example", "[address], [address]"),
        ("mail to a@b.example. Or a@b.example... or not", "mail to [address]. Or [address]... or not"),
        ("'a@b.example' (c@d.example) {e@f.example} `g@h.example`", "'[address]' ([address]) {[address]} `[address]`"),
        ("'a@b.example','c@d.example'|e@f.example", "'[address]','[address]'|[address]"),
        ("mailto:a@b.example?cc=c@d.example&subject=x", "mailto:[address]?cc=[address]&subject=x"),
        ("RCPT TO:<A@B.EXAMPLE> SMTP;A@B.EXAMPLE rfc822;a@b.example", "RCPT TO:<[address]> SMTP;[address] rfc822;[address]"),
        ("user@[192.0.2.1], user@[IPv6:2001:db8::1]: no, user@[192.0.2", "[address], [address]: no, [address]"),
        ("a@192.0.2.1:25", "[address]:25"),
        ("a@b@c.example, a@@b.example, a%40%40b.example", "[address], [address], [address]"),
        (r"a\@b.example", "[address]"),
    ]);
}

#[test]
fn what_is_no_address_stays() {
    for text in [
        "no address",
        "meet @ noon",
        "5 @ 3",
        "@handle",
        "by '@handle' and \"@handle\"",
        r#"{"scope":"@x/y"}"#,
        "a@ b",
        "a@...",
        "a@.",
        "@",
        "@@@",
        "\"@",
        "100%",
        "100%40 of it",
        "a&b, R&#38;D &commat; %",
        "https://x.example/@me?via=@you",
        "https%3A%2F%2Fx.example%2F%40me",
        "[address] @ [address]",
        "",
    ] {
        assert!(matches!(mask(text), Cow::Borrowed(same) if same == text), "{text} -> {}", mask(text));
    }
}

#[test]
fn quoted_local_parts_are_masked_with_all_they_quote() {
    assert_masked(&[
        (r#"to "john doe"@x.example"#, "to [address]"),
        (r#"<"john \"jd\" doe"@x.example>"#, "<[address]>"),
        (r#"<"a@b"@x.example>"#, "<[address]>"),
        (r#"<"john a@b.example, doe"@x.example>"#, "<[address]>"),
        (r#"{"to":"\"john doe\"@x.example"}"#, r#"{"to":"[address]"}"#),
        (r#""a b"@x.example,"c d"@y.example"#, "[address],[address]"),
        ("&lt;&quot;john doe&quot;&#64;x.example&gt;", "&lt;[address]&gt;"),
        ("%22john%20doe%22%40x.example", "[address]"),
        ("“john doe”@x.example", "[address]"),
        ("5\" john\"@x.example", "5\" [address]"),
        ("said \"hi\" and \"@handle\"", "said \"hi\" and \"@handle\""),
    ]);
}

#[test]
fn every_spelling_of_the_at_sign_is_one() {
    for at in "@ ＠ ﹫ %40 %2540 %252540 %EF%BC%A0 &#64; &#064; &#x40; &#X40; &#64 &commat; &amp;#64; \\u0040 \\\\u0040".split(' ') {
        assert_eq!(mask(&format!("for john{at}x.example: no")), "for [address]: no", "{at}");
        assert_eq!(mask(&format!("for {at} : no")), format!("for {at} : no"));
    }
}

#[test]
fn escaped_characters_of_an_address_are_masked_and_escaped_delimiters_end_it() {
    assert_masked(&[
        ("a%2Bb%40x.example", "[address]"),
        ("o&#39;brien@x.example", "[address]"),
        ("m&uuml;ller@x.example", "[address]"),
        (r"john\u002Bdoe@x.example", "[address]"),
        ("m%C3%BCller%40b%C3%BCcher%2Eexample", "[address]"),
        ("&lt;a@b.example&gt;", "&lt;[address]&gt;"),
        ("&amp;lt;a@b.example&amp;gt;", "&amp;lt;[address]&amp;gt;"),
        (r"\u003ca@b.example\u003e", r"\u003c[address]\u003e"),
        ("to%3Ca%40b.example%3E%20", "to%3C[address]%3E%20"),
    ]);
}

#[test]
fn addresses_in_urls_leave_the_url() {
    assert_masked(&[
        ("https://s.example/?email=a%40b.example&x=1", "https://s.example/?email=[address]&x=1"),
        ("https://s.example/?email=a@b.example&x=1", "https://s.example/?email=[address]&x=1"),
        ("https://s.example/?x=1&amp;to=a@b.example&amp;y", "https://s.example/?x=1&amp;to=[address]&amp;y"),
        ("https://s.example/u/a@b.example/c@d.example", "https://s.example/u/[address]/[address]"),
        ("https://s.example/u?a@b.example", "https://s.example/u?[address]"),
        ("https://s.example/#to=a@b.example", "https://s.example/#to=[address]"),
        ("https://a@s.example/", "https://[address]/"),
        ("/u?user[to]=a@b.example", "/u?user[to]=[address]"),
        (
            "https://s.example/?u=https%3A%2F%2Ft.example%2F%3Fto%3Da%2540b.example%26x%3D1",
            "https://s.example/?u=https%3A%2F%2Ft.example%2F%3Fto%3D[address]%26x%3D1",
        ),
    ]);
}

#[test]
fn blanks_around_the_at_sign_are_blanks_however_they_are_written() {
    for text in [
        "jo @ d.example",
        "jo%20@d.example",
        "jo%40%20d.example",
        "jo%20%40d.example",
        "jo%20@%20d.example",
        "jo+@+d.example",
        "jo%09%40d.example",
        "jo%0A@d.example",
        "jo%0D%0A%20@d.example",
        "jo%2540%2520d.example",
        "jo&nbsp;@&nbsp;d.example",
        "jo&#32;@d.example",
        "jo&#x20;&#x40;d.example",
        r"jo\u0020@\u000ad.example",
    ] {
        for (before, after) in [("", ""), ("https://s.example/?e=", "&x=1"), ("to ", ": no")] {
            assert_eq!(mask(&format!("{before}{text}{after}")), format!("{before}{MASK}{after}"), "{text}");
        }
    }
    for text in ["jo @ \u{4f8b}\u{3048}\u{3002}\u{30c6}\u{30b9}\u{30c8}", "jo @ [IPv6:2001:db8::1]", "jo @ [192.0.2.1]"] {
        assert_eq!(mask(&format!("550 <{text}> unknown")), format!("550 <{MASK}> unknown"), "{text}");
    }
    for text in ["jo%20@%20noon", "5+@+3", "jo%20%20%20%20@d.example", "https://x.example/?q=a+%20@me"] {
        assert!(matches!(mask(text), Cow::Borrowed(same) if same == text), "{text} -> {}", mask(text));
    }
}

#[test]
fn rewritten_and_gatewayed_addresses_are_masked_whole() {
    assert_masked(&[
        ("<SRS0=HHH=TT=dom.example=local@fwd.example>", "<[address]>"),
        ("prvs=1234abcd=user@dom.example", "[address]"),
        ("bounce+user=example.com@list.example", "[address]"),
        ("user%dom.example@relay.example", "[address]"),
        ("relay.example!user@dom.example", "[address]"),
        ("<@a.example,@b.example:user@c.example>", "<@a.example,@b.example:[address]>"),
        ("IMCEAEX-_o=Org_ou=Group+20+28FYD+29_cn=Recipients_cn=john@x.example", "[address]"),
        ("/C=US/A=NET/G=John/S=Doe/@gate.example", "/[address]"),
    ]);
}

#[test]
fn international_addresses_are_masked() {
    assert_masked(&[
        ("zoë@bücher.example", "[address]"),
        ("zoe\u{308}@bu\u{308}cher.example", "[address]"),
        ("राम@डाक.भारत", "[address]"),
        ("אבא@דואר.ישראל,", "[address],"),
        ("用户@例子.中国，不存在", "[address]，不存在"),
        ("（ｊｏｈｎ＠ｘ．ｅｘａｍｐｌｅ）", "（[address]）"),
        ("«a@xn--bcher-kva.example»", "«[address]»"),
        ("a\u{200b}@\u{200b}b.example", "[address]"),
        ("\u{1f600}@x.example", "[address]"),
    ]);
}

#[test]
fn masked_json_keeps_every_other_byte() {
    let source = r#"{"to":"a\u0040b.example", "n": [1.50, 1e400, 123456789012345678901234567890],"to":"\nx@y.example\ud800",
        "\ud83d\ude00": {"z\uff20y.example":"\ud83d","a\u0062c@x.example":"\u0022j\\\"d\"@x.example", "\\\"":"@\"\\"}}"#;
    let expected = r#"{"to":"[address]", "n": [1.50, 1e400, 123456789012345678901234567890],"to":"\n[address]",
        "\ud83d\ude00": {"[address]":"\ud83d","[address]":"[address]", "\\\"":"@\"\\"}}"#;
    assert_eq!(mask_json(source), expected);
    for source in [r#"{"n":1.50,"at":"a\u0041b\ud800"}"#, "null", r#""""#, r#"["@"]"#] {
        assert!(matches!(mask_json(source), Cow::Borrowed(same) if same == source), "{source}");
    }
    let deep = format!("{}\"a@b.example\"{}", "[".repeat(200_000), "]".repeat(200_000));
    assert_eq!(mask_json(&deep), deep.replace("a@b.example", MASK));
    for cut in (0..source.len()).filter(|cut| source.is_char_boundary(*cut)) {
        let _ = mask_json(&source[..cut]);
    }
}

#[test]
fn a_word_is_masked_where_it_stands_whole() {
    for (text, expected) in [
        ("User jane.doe (Jane.Doe): no", "User [address] ([address]): no"),
        ("jane.doe", "[address]"),
        ("<JANE.DOE>... User unknown", "<[address]>... User unknown"),
        ("jane.doe,jane.doe.", "[address],[address]."),
    ] {
        assert_eq!(mask_word(text, "jane.doe").as_deref(), Some(expected));
    }
    for text in ["jane.doer", "marijane.doe", "\u{e9}jane.doe", "jane_doe", "jane.do\u{e9}", ""] {
        assert_eq!(mask_word(text, "jane.doe"), None, "{text}");
    }
    assert_eq!(mask_word("any text", ""), None);
    for (text, expected) in [("User ZOË.leak: no", "User [address]: no"), ("ZoË.Leak", "[address]"), ("<zoë.LEAK>", "<[address]>")] {
        assert_eq!(mask_word(text, "zoë.leak").as_deref(), Some(expected));
    }
    for text in ["ZOË.LEAKS", "Ézoë.leak", "zoe.leak", "zoë.lea", "é"] {
        assert_eq!(mask_word(text, "zoë.leak"), None, "{text}");
    }
}

#[test]
fn hostile_texts_take_linear_time() {
    // Were one of them quadratic, it would take minutes at least.
    let units = "a@a a@. @a %40a % %25 25 a%EF%BC%A0 //%EF%BC%A0a & &amp; &#64 ; \
        \\ \\u0040 \" \"@a \\\"@a\"@a /@a //a/@a ?a=@a ?a=a@a/ @[1 a@[a [address]@ ＠a \u{300}@ a/ /";
    for (bytes, units) in [(4 << 20, "@ a@ %40 a"), (1 << 18, units)] {
        for unit in units.split(' ') {
            let many = unit.repeat(bytes / 2 / unit.len());
            let text = format!("\"{many}\"@x.example https://x.example/{many}a/{many}@x.example, a@x.example");
            assert!(mask(&text).ends_with(MASK), "{unit}");
        }
    }
}

/// What stands around addresses, separated by `~`.
const BEFORE: &str = "~ ~<~(~to: ~1, ~mailto:~SMTP;~&lt;~[~no\n~«~，~a@b.example,~https://s.example/?a=b&to=";
const AFTER: &str = "~ ~>~)~, 1~: no~. No~...~?x=1~&gt;~&x=1~\"~\n~]~! ~;~/~»~，~,a@b.example~ @ ";
const AT_SIGNS: &str = "@~＠~﹫~%40~%2540~%EF%BC%A0~&#64;~&#x40;~&commat;";
/// Pieces that decide.
const PIECES: &str = "@~@~@~＠~%40~%2540~%EF%BC%A0~&#64~&#64;~&commat;~\\u0040~a~b.c~\
    2~5~0~20~25~%~%20~&#32;~&nbsp;~+~&~amp;~#~\"~\"~\\~=~?~/~//~[~]~[address]~\
    :~;~,~ ~\n~'~.~-~+~é~\u{308}~“~\0~&quot;~%22~%EF~%A0";

fn one_of(list: &'static str) -> impl Strategy<Value = &'static str> {
    select(list.split('~').collect::<Vec<_>>())
}

/// What is kept of a local part's beginning.
const KEPT: &[char] = &['\'', '`', '{', '|', '}', '/', '=', '?', '&', '#', '.'];

/// Local parts without what reads as an escape or as part of a URL.
fn atoms() -> impl Strategy<Value = String> {
    let ascii = "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]{1,10}(\\.[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]{1,10}){0,2}";
    prop_oneof![ascii, "[\\p{L}\\p{M}\\p{N}+.-]{1,10}"].prop_filter("reads as something else", |local| {
        let escape = ["%", "&#"].iter().any(|escape| local.contains(escape));
        let url = local.starts_with("//") || local.contains('=') && local.contains(['?', '&', '#']);
        !escape && !url && !local.trim_start_matches(KEPT).is_empty()
    })
}

fn quoted() -> impl Strategy<Value = String> {
    prop::collection::vec(prop_oneof!["[ !#-$'-\\[\\]-~é😀]", Just(r#"\""#.to_owned()), Just(r"\\".to_owned())], 0..12)
        .prop_map(|inner| format!("\"{}\"", inner.concat()))
}

fn domain() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9]([a-zA-Z0-9_-]{0,6}[a-zA-Z0-9])?(\\.[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?){0,3}",
        "xn--[a-z0-9]{1,8}\\.example",
        "[\\p{L}\\p{N}][\\p{L}\\p{M}\\p{N}]{0,6}\\.[\\p{L}\\p{M}]{1,6}",
        "\\[(IPv6:)?[0-9a-f:.]{1,10}[0-9]\\]",
    ]
}

fn soup() -> impl Strategy<Value = String> {
    prop::collection::vec(one_of(PIECES), 0..24).prop_map(|pieces| pieces.concat())
}

fn json() -> impl Strategy<Value = Value> {
    let text = || prop_oneof![soup(), ".{0,10}", (atoms(), domain()).prop_map(|(local, domain)| format!("{local}@{domain}"))];
    let leaf = prop_oneof![any::<i64>().prop_map(Value::from), Just(Value::Null), text().prop_map(Value::from)];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((text(), inner), 0..4).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn masked_value(value: &Value) -> Value {
    match value {
        Value::String(text) => mask(text).into(),
        Value::Array(items) => items.iter().map(masked_value).collect(),
        Value::Object(members) => members.iter().map(|(name, value)| (mask(name).into_owned(), masked_value(value))).collect(),
        other => other.clone(),
    }
}

/// JSON source in which every `nth` character of a text is escaped.
fn write(value: &Value, nth: usize) -> String {
    let text = |text: &str| {
        let mut buffer = [0; 2];
        let escaped = text.chars().enumerate().map(|(i, c)| match c {
            c if i % nth == 0 => c.encode_utf16(&mut buffer).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
            '"' | '\\' => format!("\\{c}"),
            c if c.is_control() => format!("\\u{:04x}", u32::from(c)),
            c => c.to_string(),
        });
        format!("\"{}\"", escaped.collect::<String>())
    };
    match value {
        Value::String(string) => text(string),
        Value::Array(items) => format!("[{}]", items.iter().map(|item| write(item, nth)).collect::<Vec<_>>().join(", ")),
        Value::Object(members) => {
            format!(
                "{{{}}}",
                members.iter().map(|(name, value)| format!("{} : {}", text(name), write(value, nth))).collect::<Vec<_>>().join(",")
            )
        }
        other => other.to_string(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn an_address_is_masked_whole_wherever_it_stands(
        before in one_of(BEFORE), local in prop_oneof![atoms(), quoted()], at in one_of(AT_SIGNS), domain in domain(), after in one_of(AFTER),
    ) {
        let kept = &local[..local.len() - local.trim_start_matches(KEPT).len()];
        let others = |text: &str| text.replace("a@b.example", MASK);
        let expected = format!("{}{kept}{MASK}{}", others(before), others(after));
        let text = format!("{before}{local}{at}{domain}{after}");
        prop_assert_eq!(mask(&text), expected);
    }

    #[test]
    fn no_local_part_of_rfc_5322_is_left(
        // Without those that read as escapes.
        (head, tail) in ("[a-zA-Z0-9!$&'*+/=?^_`{|}~.-]{0,20}", "[a-zA-Z0-9!#$'*+/=?^_`{|}~.-]{0,20}"), domain in domain(),
    ) {
        let local = format!("{head}Q7{tail}Z");
        let masked = mask(&format!("Address <{local}@{domain}> refused, {local}@{domain} too")).into_owned();
        prop_assert!(!masked.contains(&local) && masked.contains(MASK), "{masked}");
    }

    #[test]
    fn masking_leaves_nothing_to_mask(text in prop_oneof![soup(), "\\PC{0,40}"]) {
        let once = mask(&text);
        prop_assert!(matches!(mask(&once), Cow::Borrowed(_)), "{text} -> {once} -> {}", mask(&once));
    }

    #[test]
    fn a_text_without_at_signs_is_borrowed(text in "[^@＠﹫%&\\\\]{0,60}") {
        prop_assert!(matches!(mask(&text), Cow::Borrowed(_)));
    }

    #[test]
    fn every_text_of_a_json_document_is_masked_as_a_text(value in json(), nth in 1..9_usize) {
        let source = write(&value, nth);
        prop_assert_eq!(&serde_json::from_str::<Value>(&source).unwrap(), &value);
        let masked: Value = serde_json::from_str(&mask_json(&source)).unwrap();
        prop_assert_eq!(masked, masked_value(&value));
    }
}

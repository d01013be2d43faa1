use proptest::prelude::*;

use super::*;

/// RFC 7616 §3.9.1, and §3.9.2 with the values of its erratum 4897; the last two by RFC 2617 §3.5 (with `qop` and without).
#[test]
fn proves_what_the_rfcs_prove() {
    const EXAMPLE: &str = r#"Digest username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html", nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc=00000001, cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop=auth, opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#;
    let mufasa = ("Mufasa", "http-auth@example.org", "Circle of Life");
    let old = r#"Digest username="Mufasa", realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", uri="/dir/index.html", opaque="5ccc069c403ebaf9f0171e9517f40e41", "#;
    let old_mufasa = ("Mufasa", "testrealm@host.com", "Circle Of Life");
    for (line, (username, realm, password)) in [
        (format!(r#"{EXAMPLE}, algorithm=MD5, response="8ca523f5e9506fed4657c9700eebdbec""#), mufasa),
        (format!(r#"{EXAMPLE}, response="8CA523F5E9506FED4657C9700EEBDBEC""#), mufasa),
        (format!(r#"{EXAMPLE}, algorithm=SHA-256, response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1""#), mufasa),
        (
            r#"Digest username="Jäsøn Doe", realm="api@example.org", uri="/doe.json", algorithm=SHA-512-256, nonce="5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK", nc=00000001, cnonce="NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v", qop=auth, response="3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5", userhash=false"#.to_owned(),
            ("Jäsøn Doe", "api@example.org", "Secret, or not?"),
        ),
        (format!(r#"{old} qop=auth, nc=00000001, cnonce="0a4f113b", response="6629fae49393a05397450978507c4ef1""#), old_mufasa),
        (format!(r#"{old} response="670fd8c2df070c60b045671b8b24ff02""#), old_mufasa),
    ] {
        let credentials = Credentials::parse(&line).unwrap();
        let ha1 = |password| Ha1::of_password(credentials.algorithm, username, realm, password);
        assert_eq!((&*credentials.username, &*credentials.realm), (username, realm));
        assert!(credentials.prove("GET", &ha1(password)), "{line}");
        assert!(!credentials.prove("GET", &ha1("another")), "{line}");
        assert!(!credentials.prove("PUT", &ha1(password)), "{line}");
        let with_other = Algorithm::STRONGEST_FIRST.map(|algorithm| credentials.prove("GET", &Ha1::of_password(algorithm, username, realm, password)));
        assert_eq!(with_other.into_iter().filter(|proven| *proven).count(), 1, "only the algorithm's own HA1: {line}");
        let longer = Credentials { response: format!("{}0", credentials.response).into(), ..credentials.clone() };
        assert!(!longer.prove("GET", &ha1(password)));
    }
}

#[test]
fn reads_what_phones_send() {
    let strict = Credentials::parse(
        r#"Digest username="a\"b", realm="r", nonce="n", uri="sip:a@h;x=\"1\",2", response="0f", algorithm=MD5, cnonce="c\\d", qop=auth, nc=0000000a"#,
    )
    .unwrap();
    assert_eq!(&*strict.username, r#"a"b"#);
    assert_eq!(&*strict.uri, r#"sip:a@h;x=\"1\",2"#, "hashed as it stands between the quotes");
    assert_eq!(strict.count(), Some(10));
    for line in [
        r#"  digest   USERNAME="a\"b",Realm="r",nonce = "n" ,uri="sip:a@h;x=\"1\",2",response="0f",algorithm="md5",cnonce="c\\d",qop="auth",nc="0000000a""#,
        r#"Digest nc=0000000a, qop=AUTH, cnonce="c\\d", response=0f, uri="sip:a@h;x=\"1\",2", nonce=n, realm=r, username="a\"b", opaque="", x=y, stale=false,,auth-param"#,
        "Digest\tusername=\"a\\\"b\", realm=r, nonce=n, uri=\"sip:a@h;x=\\\"1\\\",2\", response=0f, cnonce=\"c\\\\d\", qop=auth, nc=0000000a",
    ] {
        assert_eq!(Credentials::parse(line).as_ref(), Ok(&strict), "{line}");
    }
}

#[test]
fn says_what_is_wrong_with_a_line() {
    use CredentialsError::{Missing, NotOffered, Scheme, Unreadable};
    const GOOD: &str = r#"Digest username="a", realm="r", nonce="n", uri="u", response="0f", cnonce="c", qop=auth, nc=1"#;
    assert!(Credentials::parse(GOOD).is_ok());
    let long = format!("\"{}\"", "a".repeat(257));
    for (from, to, want) in [
        ("Digest ", "Basic ", Scheme),
        ("Digest ", "", Scheme),
        (r#"username="a", "#, "", Missing("username")),
        (r#"username="a""#, r#"username="""#, Missing("username")),
        (r#"username="a""#, "username", Missing("username")),
        (r#""a""#, &long, Unreadable("username")),
        (r#"realm="r", "#, "", Missing("realm")),
        (r#"realm="r""#, r#"realm="r"x"#, Unreadable("realm")),
        (r#"nonce="n""#, r#"nonce=n""#, Unreadable("nonce")),
        (r#"nonce="n""#, r#"nonce="n", Nonce="m""#, Unreadable("nonce")),
        (r#"cnonce="c", "#, "", Missing("cnonce")),
        ("nc=1", "nc=x", Unreadable("nc")),
        ("nc=1", "nc=+1", Unreadable("nc")),
        ("nc=1", "nc=100000001", Unreadable("nc")),
        (", nc=1", "", Missing("nc")),
        ("qop=auth", "qop=auth-int", NotOffered("qop")),
        ("qop=auth", "algorithm=MD5-sess", NotOffered("algorithm")),
        ("qop=auth", "algorithm=AKAv1-MD5", NotOffered("algorithm")),
        ("qop=auth", "algorithm=SHA-256", Missing("qop")),
        (r#"uri="u""#, r#"uri="u"#, Unreadable("uri")),
        (r#"uri="u""#, r"uri=u\", Unreadable("uri")),
    ] {
        assert_eq!(Credentials::parse(&GOOD.replace(from, to)), Err(want), "{from} → {to}");
    }
    assert_eq!(Credentials::parse(""), Err(Scheme));
    assert_eq!(Credentials::parse("Digest"), Err(Scheme));
}

#[test]
fn shows_no_secret() {
    let ha1 = Ha1::of_password(Algorithm::Md5, "alice", "r", "secret");
    let credentials = Credentials::answer(("alice", "r"), "n", "SUBSCRIBE", "sip:a@h", &ha1, Some((1, "c")));
    let shown = format!("{ha1:?} {credentials:?}");
    assert!(!shown.contains("alice") && !shown.contains(ha1.as_hex()) && !shown.contains(&*credentials.response), "{shown}");
}

proptest! {
    #[test]
    fn what_is_written_is_read_the_same_and_proves_the_same(
        username in "[ -~é]{1,20}",
        realm in "[ -~]{1,20}",
        password in ".{0,12}",
        nonce in "[a-zA-Z0-9+/=]{1,40}",
        uri in "sip:[a-z0-9@.;=,]{1,20}",
        count in 1_u32..,
        cnonce in "[a-zA-Z0-9+/=]{1,20}",
        algorithm in prop::sample::select(&Algorithm::STRONGEST_FIRST[..]),
    ) {
        let ha1 = Ha1::of_password(algorithm, &username, &realm, &password);
        let credentials = Credentials::answer((&username, &realm), &nonce, "SUBSCRIBE", &uri, &ha1, Some((count, &cnonce)));
        prop_assert!(credentials.prove("SUBSCRIBE", &ha1));
        let read = Credentials::parse(&credentials.to_string());
        prop_assert_eq!(read.as_ref().map(|read| read.prove("SUBSCRIBE", &ha1)), Ok(true));
        prop_assert_eq!(read, Ok(credentials));
    }

    #[test]
    fn anything_is_read_or_refused_and_what_is_read_is_written_readably(text in "(Digest )?([a-z]{1,9}=?\"?[^\"]{0,9}\"?,? ?){0,9}") {
        if let Ok(credentials) = Credentials::parse(&text) {
            prop_assert_eq!(Credentials::parse(&credentials.to_string()), Ok(credentials));
        }
    }

    #[test]
    fn a_line_of_the_right_names_and_any_values_is_read_or_refused(values in prop::collection::vec("\"?[^\"]{0,8}(\\\\.)?\"?", 9)) {
        let params: Vec<_> = NAMES.into_iter().zip(values).map(|(name, value)| format!("{name}={value}")).collect();
        if let Ok(credentials) = Credentials::parse(&format!("Digest {}", params.join(", "))) {
            prop_assert_eq!(Credentials::parse(&credentials.to_string()), Ok(credentials));
        }
    }
}

use super::*;
use crate::sip::parse;
use crate::sip::response::Response;

fn request(via: &str, to: &str) -> Request {
    let text = format!(
        "SUBSCRIBE sip:a@h SIP/2.0\r\nv: {via}\r\nf: Alice <sip:a@h> ; tag = f\r\nt: {to}\r\ni: c1\r\nCSeq: 007  SUBSCRIBE\r\nRecord-Route: <sip:p1;lr> , <sip:p2;lr>\r\n\r\n"
    );
    Request::from_message(parse(text.as_bytes()).unwrap()).unwrap()
}

fn text(writer: ResponseWriter<'_>) -> String {
    String::from_utf8(writer.finish().to_vec()).unwrap()
}

#[test]
fn gives_back_what_it_must_as_it_came() {
    let request = request("SIP / 2.0 / UDP h : 5060 ; branch = z9hG4bKx;rport , SIP/2.0/UDP  g;branch=y", "sip:a@h");
    let mut writer = response(&request, 200, "10.0.0.7:5062".parse().unwrap());
    writer.to_tag("t1").header("Expires", 60).copy_record_route().body("text/plain", b"\0\xff");
    let bytes = writer.finish();
    let want = "SIP/2.0 200 OK\r\nVia: SIP / 2.0 / UDP h : 5060 ; branch = z9hG4bKx;rport=5062;received=10.0.0.7\r\nVia: SIP/2.0/UDP  g;branch=y\r\n\
        From: Alice <sip:a@h> ; tag = f\r\nTo: sip:a@h;tag=t1\r\nCall-ID: c1\r\nCSeq: 007  SUBSCRIBE\r\nExpires: 60\r\n\
        Record-Route: <sip:p1;lr>\r\nRecord-Route: <sip:p2;lr>\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n";
    assert_eq!(bytes, [want.as_bytes(), b"\0\xff"].concat());
    let read = Response::from_message(parse(&bytes).unwrap()).unwrap();
    assert_eq!((read.status(), read.branch(), read.via_count()), (200, "z9hG4bKx", 2));
}

#[test]
fn the_top_via_says_where_the_request_came_from() {
    for (via, source, want) in [
        ("SIP/2.0/UDP 10.0.0.1", "10.0.0.1:5060", "SIP/2.0/UDP 10.0.0.1"),
        ("SIP/2.0/UDP 10.0.0.1;rport", "10.0.0.1:5060", "SIP/2.0/UDP 10.0.0.1;rport=5060;received=10.0.0.1"),
        ("SIP/2.0/UDP 10.0.0.1;rport=9", "10.0.0.1:5060", "SIP/2.0/UDP 10.0.0.1;rport=5060;received=10.0.0.1"),
        ("SIP/2.0/UDP 192.168.0.1:5060;branch=x", "10.0.0.1:5060", "SIP/2.0/UDP 192.168.0.1:5060;branch=x;received=10.0.0.1"),
        ("SIP/2.0/UDP phone.local;branch=x", "10.0.0.1:5060", "SIP/2.0/UDP phone.local;branch=x;received=10.0.0.1"),
        ("SIP/2.0/UDP 10.0.0.1;received=6.6.6.6;branch=x", "10.0.0.1:5060", "SIP/2.0/UDP 10.0.0.1;branch=x"),
        ("SIP/2.0/UDP 10.0.0.9;received=6.6.6.6", "10.0.0.1:5060", "SIP/2.0/UDP 10.0.0.9;received=10.0.0.1"),
        ("SIP/2.0/UDP [2001:db8::0:1];branch=x", "[2001:db8::1]:5060", "SIP/2.0/UDP [2001:db8::0:1];branch=x"),
        ("SIP/2.0/TCP [2001:db8::2];rport", "[2001:db8::1]:5061", "SIP/2.0/TCP [2001:db8::2];rport=5061;received=2001:db8::1"),
        ("SIP/2.0/UDP 10.0.0.1", "[::ffff:10.0.0.1]:5060", "SIP/2.0/UDP 10.0.0.1"),
    ] {
        let request = request(via, "sip:a@h");
        let text = text(response(&request, 200, source.parse().unwrap()));
        assert_eq!(text.lines().nth(1), Some(format!("Via: {want}").as_str()), "{via} from {source}");
    }
}

#[test]
fn a_response_goes_to_where_the_request_came_from_and_nowhere_else() {
    for (via, want) in [
        ("SIP/2.0/UDP 10.0.0.1;rport", "10.0.0.1:6000"),
        ("SIP/2.0/UDP 192.168.0.1:5070;rport", "10.0.0.1:6000"),
        ("SIP/2.0/UDP 10.0.0.1", "10.0.0.1:5060"),
        ("SIP/2.0/UDP 10.0.0.1:5070", "10.0.0.1:5070"),
        ("SIP/2.0/UDP 192.168.0.1:5070", "10.0.0.1:5070"),
        ("SIP/2.0/UDP phone.local:5070", "10.0.0.1:5070"),
        ("SIP/2.0/UDP 10.0.0.1;maddr=6.6.6.6;received=6.6.6.6", "10.0.0.1:5060"),
        ("SIP/2.0/TLS 10.0.0.1", "10.0.0.1:5061"),
        ("SIP/2.0/SCTP 10.0.0.1", "10.0.0.1:5060"),
    ] {
        let via_value = Via::parse(via).unwrap();
        assert_eq!(response_destination(&via_value, "10.0.0.1:6000".parse().unwrap()), want.parse().unwrap(), "{via}");
    }
}

#[test]
fn to_gets_one_tag() {
    let source = "10.0.0.1:5060".parse().unwrap();
    let to_line = |to: &str, status: u16, tag: Option<&str>, branch: &str| {
        let request = request(&format!("SIP/2.0/UDP h;branch={branch}"), to);
        let mut writer = response(&request, status, source);
        if let Some(tag) = tag {
            writer.to_tag(tag);
        }
        text(writer).lines().find(|line| line.starts_with("To: ")).unwrap().to_owned()
    };
    assert_eq!(to_line("<sip:a@h>;tag=old", 200, Some("new"), "x"), "To: <sip:a@h>;tag=old");
    assert_eq!(to_line("<sip:a@h>;tag=", 200, Some("new"), "x"), "To: <sip:a@h>;tag=new");
    assert_eq!(to_line("Alice von Test <sip:a@h>;x=\"a;b\" ;", 200, Some("new"), "x"), "To: Alice von Test <sip:a@h>;x=\"a;b\";tag=new");
    assert_eq!(to_line("\"\" <sip:a@h>", 200, Some("new"), "x"), "To: \"\" <sip:a@h>;tag=new");
    assert_eq!(to_line("<sip:a@h>", 100, Some("new"), "x"), "To: <sip:a@h>");
    let stateless = to_line("<sip:a@h>", 503, None, "x");
    assert_eq!(stateless.len(), "To: <sip:a@h>;tag=".len() + 16);
    assert_eq!(stateless, to_line("<sip:a@h>", 503, None, "x"), "the same for a retransmission");
    assert_ne!(stateless, to_line("<sip:a@h>", 503, None, "y"));
}

#[test]
fn nothing_that_is_put_in_can_end_a_line() {
    let request = request("SIP/2.0/UDP h;branch=x", "sip:a@h");
    let mut writer = response(&request, 400, "10.0.0.1:5060".parse().unwrap());
    writer.reason("a\r\nEvil: 1").to_tag("t\r\nEvil: 2").header("X\nEvil", "b\r\n\r\nEvil: 3").body("c\r\nEvil: 4", b"");
    let text = text(writer);
    assert!(!text.lines().any(|line| line.starts_with("Evil")), "{text}");
    assert_eq!(text.matches("\r\n\r\n").count(), 1);
}

#[test]
fn what_cannot_be_read_is_given_back_as_it_came() {
    let packet = b"SUBSCRIBE sip:a@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=x, nonsense\r\nFrom: <nonsense\r\nTo: more nonsense\r\nCall-ID: a b\r\nCSeq: x\r\n\r\n";
    let message = parse(packet).unwrap();
    let text = text(to_message(&message, 400, "Malformed From", "10.0.0.1:5060".parse().unwrap()).unwrap());
    let want = "SIP/2.0 400 Malformed From\r\nVia: SIP/2.0/UDP h;branch=x;received=10.0.0.1\r\nVia: nonsense\r\nFrom: <nonsense\r\nTo: more nonsense\r\nCall-ID: a b\r\nCSeq: x\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(text, want);
}

#[test]
fn latin_1_is_given_back_in_latin_1() {
    let packet = b"SUBSCRIBE sip:a@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=x\r\nFrom: Zo\xeb <sip:a@h>;tag=f\r\nTo: \"J\xf6rg\" <sip:a@h>\r\nCall-ID: c\r\nCSeq: 1 SUBSCRIBE\r\n\r\n";
    let request = Request::from_message(parse(packet).unwrap()).unwrap();
    let mut writer = response(&request, 200, "10.0.0.1:5060".parse().unwrap());
    writer.to_tag("t");
    let bytes = writer.finish();
    let want = b"\r\nFrom: Zo\xeb <sip:a@h>;tag=f\r\nTo: \"J\xf6rg\" <sip:a@h>;tag=t\r\n";
    assert!(bytes.windows(want.len()).any(|window| window == want), "{}", String::from_utf8_lossy(&bytes));
}

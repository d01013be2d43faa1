//! Addresses: From, To, Contact; sip, sips and tel; IPv6 and escapes.

use super::valid::{contact, from, start};
use super::*;
use crate::feature::Presentity;

fn to(request: &Request) -> String {
    request.to().to_string()
}

/// Whose features a SUBSCRIBE to this Request-URI is about.
fn presentity(request: &Request) -> String {
    Presentity::parse(request.uri()).map_or_else(|error| error.to_string(), |presentity| presentity.to_string())
}

/// Host, port and transport that the Contact leads to.
fn leads_to(request: &Request) -> String {
    let contact = request.contact().unwrap().unwrap();
    let target = crate::sip::uri::parse(&contact.uri).map(|uri| crate::sip::uri::target(&uri));
    match target {
        Ok(Some(target)) => format!("{:?} {:?} {:?}", target.host, target.port, target.transport),
        Ok(None) => "nowhere by itself".to_owned(),
        Err(error) => error.to_string(),
    }
}

pub(super) fn valid() -> Vec<Case> {
    vec![
        ("a Contact over IPv6", with("Contact: <sip:a@[2001:db8::5]:5062>\r\n\r\n"), leads_to, "Ip(2001:db8::5) Some(5062) None"),
        ("a Contact over IPv6 without a port", with("Contact: <sip:[2001:db8::5]>\r\n\r\n"), leads_to, "Ip(2001:db8::5) None None"),
        (
            "a Contact with a transport in upper case",
            with("Contact: <sip:a@10.0.0.1;transport=TCP>\r\n\r\n"),
            leads_to,
            "Ip(10.0.0.1) None Some(Tcp)",
        ),
        (
            "a Contact whose transport nobody knows",
            with("Contact: <sip:a@10.0.0.1;transport=pigeon>\r\n\r\n"),
            leads_to,
            "Ip(10.0.0.1) None None",
        ),
        ("a Contact with headers", with("Contact: <sip:a@h?Subject=x&Route=%3Csip:evil%3E>\r\n\r\n"), leads_to, "Name(\"h\") None None"),
        ("a Contact with a password", with("Contact: <sip:a:secret@h:5070>\r\n\r\n"), leads_to, "Name(\"h\") Some(5070) None"),
        ("maddr leads nowhere", with("Contact: <sip:a@10.0.0.1;maddr=10.9.9.9>\r\n\r\n"), leads_to, "Ip(10.0.0.1) None None"),
        ("a Contact of a number", with("Contact: <tel:+31201234567>\r\n\r\n"), leads_to, "nowhere by itself"),
        (
            "a Contact without brackets: its parameters are the header's",
            with("Contact: sip:a@h;transport=tcp;expires=60\r\n\r\n"),
            contact,
            "<sip:a@h>;transport=tcp;expires=60",
        ),
        ("a Contact with a name that is no ASCII", with("Contact: \"日本\" <sip:a@h>\r\n\r\n"), contact, "\"日本\" <sip:a@h>"),
        (
            "a compact Contact with a GRUU",
            with("m: <sip:a@h;gr=urn:uuid:f81d4fae-7dec>\r\n\r\n"),
            contact,
            "<sip:a@h;gr=urn:uuid:f81d4fae-7dec>",
        ),
        ("a scheme in upper case", with("Contact: <SIP:a@h>\r\n\r\n"), leads_to, "Name(\"h\") None None"),
        (
            "a user of a number and its context",
            started("SUBSCRIBE sip:+31-20;phone-context=nl@h;user=phone SIP/2.0"),
            start,
            "SUBSCRIBE sip:+31-20;phone-context=nl@h;user=phone",
        ),
        ("escaped letters are the letters", started("SUBSCRIBE sip:%61lice@Example.COM SIP/2.0"), presentity, "sip:alice@example.com"),
        ("escapes that must stay", started("SUBSCRIBE sip:a%40b%3Ac@example.com SIP/2.0"), presentity, "sip:a%40b%3Ac@example.com"),
        (
            "port and parameters do not name anyone",
            started("SUBSCRIBE sip:alice@example.com:5070;transport=tcp;x=y SIP/2.0"),
            presentity,
            "sip:alice@example.com",
        ),
        ("sips is sip to the bus", started("SUBSCRIBE SIPS:alice@example.com SIP/2.0"), presentity, "sip:alice@example.com"),
        ("an IPv6 domain", started("SUBSCRIBE sip:alice@[2001:DB8::1] SIP/2.0"), presentity, "sip:alice@[2001:db8::1]"),
        ("a number that is someone", started("SUBSCRIBE tel:+31201234567 SIP/2.0 "), presentity, "tel:+31201234567"),
        (
            "a user of punctuation",
            started("SUBSCRIBE sip:-_.!~*'()&=+$,;?/@example.com SIP/2.0"),
            start,
            "SUBSCRIBE sip:-_.!~*'()&=+$,;?/@example.com",
        ),
        (
            "a user of a hundred letters",
            started(&format!("SUBSCRIBE sip:{}@h SIP/2.0", "u".repeat(100))),
            |r| r.uri().len().to_string(),
            "106",
        ),
        ("a tag of every token character", instead("From", "From: <sip:a@h>;tag=a-.!%*_+`'~z"), from, "<sip:a@h>;tag=a-.!%*_+`'~z"),
        ("a tag in quotes", instead("From", "From: <sip:a@h>;tag=\"a b\""), from, "<sip:a@h>;tag=\"a b\""),
        ("the tag after other parameters", instead("From", "From: <sip:a@h>;x=1;y;TAG=f"), |r| r.from().tag().unwrap().to_owned(), "f"),
        ("an empty To tag is none", instead("To", "To: <sip:a@h>;tag="), |r| format!("{:?}", r.to().tag()), "None"),
        ("blanks within brackets", instead("To", "To: < sip:a@h >"), to, "<sip:a@h>"),
        ("a To of a number", instead("To", "To: tel:+31201234567;tag=t"), to, "<tel:+31201234567>;tag=t"),
        ("a From that is neither sip nor tel", instead("From", "From: <im:a@h>;tag=f"), from, "<im:a@h>;tag=f"),
        ("compact From and To, no blanks", instead("From", "f:\"A\"<sip:a@h>;tag=f"), from, "\"A\" <sip:a@h>;tag=f"),
        (
            "anonymous",
            instead("From", "From: \"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=f"),
            from,
            "\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=f",
        ),
    ]
}

pub(super) fn invalid() -> Vec<Invalid> {
    vec![
        ("From without a scheme", instead("From", "From: <alice@h>;tag=f"), "400 Malformed From"),
        ("From with a scheme of digits", instead("From", "From: <1:a@h>;tag=f"), "400 Malformed From"),
        ("From of a bracket", instead("From", "From: <"), "400 Malformed From"),
        ("From of empty brackets", instead("From", "From: <>;tag=f"), "400 Malformed From"),
        ("From with a blank in its URI", instead("From", "From: <sip:a b@h>;tag=f"), "400 Malformed From"),
        ("From with quotes in its URI", instead("From", "From: <sip:\"a\"@h>;tag=f"), "400 Malformed From"),
        ("From with a second name behind", instead("From", "From: <sip:a@h> \"A\";tag=f"), "400 Malformed From"),
        ("From with a parameter that has no name", instead("From", "From: <sip:a@h>;=f"), "400 Malformed From"),
        ("From with a URI over the limit", instead("From", &format!("From: <sip:{}@h>;tag=f", "a".repeat(MAX_URI))), "400 Malformed From"),
        ("From twice, one compact", instead("From", "f: <sip:a@h>;tag=1\r\nFrom: <sip:a@h>;tag=1"), "400 Missing Or Repeated From"),
        ("To with a scheme and nothing", instead("To", "To: <sip:>"), "400 Malformed To"),
        ("To without a URI, with a tag", instead("To", "To: \"A\";tag=t"), "400 Malformed To"),
        ("To with junk for a parameter", instead("To", "To: <sip:a@h>;tag=1;<x>"), "400 Malformed To"),
        ("To twice, one compact", instead("To", "t: <sip:a@h>\r\nTo: <sip:b@h>"), "400 Missing Or Repeated To"),
    ]
}

const MAX_URI: usize = crate::sip::message::MAX_URI_BYTES;

fn reads_contact(request: &Request) -> String {
    format!("{:?}", request.contact().map(|contact| contact.map(|contact| contact.to_string())))
}

pub(super) fn unusable() -> Vec<Unusable> {
    const CONTACT: &str = "Err(BadHeader(Contact))";
    vec![
        ("a Contact of a star", with("Contact: *\r\n\r\n"), reads_contact, CONTACT),
        ("a Contact of a word", with("Contact: phone\r\n\r\n"), reads_contact, CONTACT),
        ("a Contact never closed", with("m: <sip:a@h\r\n\r\n"), reads_contact, CONTACT),
        ("a Contact of a quoted name alone", with("Contact: \"A\"\r\n\r\n"), reads_contact, CONTACT),
        ("an empty Contact", with("Contact:\r\n\r\n"), reads_contact, "Ok(None)"),
        ("a Contact with a port out of range", with("Contact: <sip:a@h:70000>\r\n\r\n"), leads_to, "the host or port is unreadable"),
        ("a Contact with half an IPv6 address", with("Contact: <sip:a@[2001:db8::>\r\n\r\n"), leads_to, "the host or port is unreadable"),
        ("a Contact without a user before its at sign", with("Contact: <sip:@h>\r\n\r\n"), leads_to, "the user part is unreadable"),
        ("a Contact of the web", with("Contact: <https://h/>\r\n\r\n"), leads_to, "the scheme is neither sip, sips nor tel"),
        ("a Contact of a number of letters", with("Contact: <tel:phone>\r\n\r\n"), leads_to, "the user part is unreadable"),
        ("a Contact with a parameter without a name", with("Contact: <sip:a@h;=1>\r\n\r\n"), leads_to, "a parameter is unreadable"),
    ]
}

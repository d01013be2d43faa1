//! SIP and CSTA as a phone sees them. Written apart from the crate's own reader, so that one checks the other.

use std::collections::BTreeMap;

/// One message, byte for byte and read.
#[derive(Debug, Clone)]
pub struct Packet {
    /// As it came.
    pub raw: Vec<u8>,
    /// Request-line or status-line.
    pub start: String,
    /// Names in lower case, values without blanks around them.
    pub headers: Vec<(String, String)>,
    /// What follows the blank line.
    pub body: String,
}

impl Packet {
    /// Reads a message that follows the grammar to the letter; anything else fails the test. What a phone wrote in Latin-1 comes
    /// back in Latin-1.
    pub fn read(raw: &[u8]) -> Self {
        let text = String::from_utf8(raw.to_vec()).unwrap_or_else(|_| raw.iter().map(|byte| char::from(*byte)).collect());
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no blank line: {text}"));
        let mut lines = head.split("\r\n");
        let start = lines.next().unwrap().to_owned();
        let headers: Vec<_> = lines
            .map(|line| {
                let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("header line '{line}'"));
                (name.to_ascii_lowercase(), value.to_owned())
            })
            .collect();
        let packet = Self { raw: raw.to_vec(), start, headers, body: body.to_owned() };
        assert_eq!(packet.header("content-length"), Some(body.len().to_string().as_str()), "Content-Length of\n{text}");
        packet
    }

    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The value of a header that must be there.
    pub fn must(&self, name: &str) -> &str {
        self.header(name).unwrap_or_else(|| panic!("no {name} in\n{}", String::from_utf8_lossy(&self.raw)))
    }

    /// The status of a response; `None` for a request.
    pub fn status(&self) -> Option<u16> {
        self.start.strip_prefix("SIP/2.0 ").map(|rest| rest[..3].parse().unwrap())
    }

    /// The number of the `CSeq` header.
    pub fn cseq(&self) -> u32 {
        self.must("cseq").split(' ').next().unwrap().parse().unwrap()
    }

    /// A parameter of a header: `;name=value`.
    pub fn param(&self, header: &str, name: &str) -> Option<String> {
        let value = self.header(header)?;
        value.split(';').skip(1).find_map(|param| param.trim().strip_prefix(&format!("{name}="))).map(str::to_owned)
    }

    /// The XML documents of the body: none, the body itself, or the parts of a flat multipart.
    pub fn documents(&self) -> Vec<&str> {
        const XML: &str = "application/x-as-feature-event+xml";
        let Some(content_type) = self.header("content-type") else {
            assert_eq!(self.body, "", "a body without a type");
            return Vec::new();
        };
        if content_type == XML {
            return vec![&self.body];
        }
        let boundary = content_type.strip_prefix("multipart/mixed;").and_then(|rest| rest.trim().strip_prefix("boundary="));
        let boundary = boundary.unwrap_or_else(|| panic!("Content-Type '{content_type}'")).trim_matches('"');
        let body = self.body.strip_prefix(&format!("--{boundary}\r\n")).expect("nothing before the first boundary");
        let (parts, end) = body.split_once(&format!("\r\n--{boundary}--")).expect("a last boundary");
        assert_eq!(end.trim(), "", "nothing after the last boundary");
        let documents: Vec<_> = parts
            .split(&format!("\r\n--{boundary}\r\n"))
            .map(|part| {
                let (head, document) = part.split_once("\r\n\r\n").expect("a blank line in each part");
                assert!(head.contains(&format!("Content-Type: {XML}")), "{head}");
                document
            })
            .collect();
        assert!(documents.len() > 1, "multipart is for several documents");
        documents
    }

    /// What the body shows, a line a feature: `CallForwardingNoAnswer on forwardTo=sip:bob@10.0.0.11 ringCount=3`.
    pub fn shows(&self) -> Vec<String> {
        self.documents().into_iter().map(shown).collect()
    }
}

/// One event document as a line.
fn shown(document: &str) -> String {
    const HEAD: &str = "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><";
    const NAMESPACE: &str = " xmlns=\"http://www.ecma-international.org/standards/ecma-323/csta/ed3\"><device>";
    let rest = document.strip_prefix(HEAD).unwrap_or_else(|| panic!("declaration: {document}"));
    let (root, rest) = rest.split_once(NAMESPACE).unwrap_or_else(|| panic!("namespace: {document}"));
    let inner = rest.strip_suffix(&format!("</{root}>")).unwrap_or_else(|| panic!("end of {root}: {document}"));
    let after_device = inner.split_once("</device>").expect("device").1;
    let fields = if root.starts_with("Agent") { BTreeMap::new() } else { elements(after_device) };
    let of = |name: &str| fields.get(name).map(String::as_str);
    let on = |name: &str| match of(name) {
        Some("true") => "on",
        Some("false") => "off",
        other => panic!("{name} is {other:?} in {document}"),
    };
    match root {
        "DoNotDisturbEvent" => format!("DoNotDisturb {}", on("doNotDisturbOn")),
        "ForwardingEvent" => {
            let feature = match of("forwardingType") {
                Some("forwardImmediate") => "CallForwardingAlways",
                Some("forwardBusy") => "CallForwardingBusy",
                Some("forwardNoAns") => "CallForwardingNoAnswer",
                other => panic!("forwardingType {other:?}"),
            };
            let value = |element: &str| of(element).map(|value| format!(" {element}={value}")).unwrap_or_default();
            format!("{feature} {}{}{}", on("forwardStatus"), value("forwardTo"), value("ringCount"))
        }
        "AgentLoggedOnEvent" | "AgentLoggedOffEvent" | "AgentReadyEvent" | "AgentNotReadyEvent" | "AgentWorkingAfterCallEvent" => {
            const REASON: &str = "<private xmlns:pri=\"http://schema.broadsoft.com/CSTAPrivateData\"><pri:AgentNotReadyReasonValue>";
            let reason = inner.split_once(REASON).map(|(_, rest)| rest.split('<').next().unwrap());
            format!("AgentState {}{}", &root[5..root.len() - 5], reason.map(|reason| format!(" reason={reason}")).unwrap_or_default())
        }
        other => panic!("root {other}"),
    }
}

/// `<a>x</a><b>y</b>` without anything nested, unescaped.
fn elements(mut text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    while let Some(rest) = text.strip_prefix('<') {
        let (name, rest) = rest.split_once('>').unwrap();
        let (value, rest) = rest.split_once(&format!("</{name}>")).unwrap_or_else(|| panic!("end of {name}"));
        let value = value.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
        assert!(found.insert(name.to_owned(), value).is_none(), "{name} twice");
        text = rest;
    }
    assert_eq!(text, "", "text between elements");
    found
}

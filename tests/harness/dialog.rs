//! One dialog of a test's phone: its SUBSCRIBEs, and the NOTIFYs that came in it.

use std::time::Duration;

use super::packet::Packet;
use super::phone::{PATIENCE, Phone};

/// What a SUBSCRIBE asks for.
#[derive(Debug, Clone)]
pub struct Subscribe {
    /// The Expires header; `None`: none.
    pub expires: Option<u32>,
    /// The body; empty: none.
    pub body: String,
    /// More header lines, each with its line end.
    pub more: &'static str,
}

impl Default for Subscribe {
    fn default() -> Self {
        Self { expires: Some(3600), body: String::new(), more: "" }
    }
}

/// One dialog of a phone.
pub struct Dialog<'p> {
    phone: &'p Phone,
    presentity: String,
    /// Its Call-ID.
    pub call_id: String,
    local_tag: String,
    remote_tag: Option<String>,
    target: Option<String>,
    cseq: u32,
    seen: usize,
}

impl<'p> Dialog<'p> {
    /// Nothing was sent in it yet.
    pub(super) fn new(phone: &'p Phone, presentity: &str) -> Self {
        Self {
            phone,
            presentity: presentity.to_owned(),
            call_id: format!("{:032x}@127.0.0.1", rand::random::<u128>()),
            local_tag: format!("{:08x}", rand::random::<u32>()),
            remote_tag: None,
            target: None,
            cseq: 0,
            seen: 0,
        }
    }

    /// As its edge has stored it.
    pub(super) fn stored(phone: &'p Phone, id: &str, record: &serde_json::Value) -> Self {
        let text = |name: &str| record[name].as_str().unwrap().to_owned();
        Self {
            call_id: text("call_id"),
            local_tag: text("remote_tag"),
            remote_tag: Some(id.to_owned()),
            cseq: u32::try_from(record["remote_cseq"].as_u64().unwrap()).unwrap(),
            ..Self::new(phone, &text("presentity"))
        }
    }

    /// The next SUBSCRIBE of the dialog, and its branch. Nothing is sent.
    pub fn request(&mut self, what: &Subscribe) -> (String, String) {
        self.cseq += 1;
        let branch = format!("z9hG4bK{:016x}", rand::random::<u64>());
        let (local, transport) = (self.phone.local, self.phone.transport());
        let uri = self.target.as_deref().unwrap_or(&self.presentity);
        let to_tag = self.remote_tag.as_ref().map(|tag| format!(";tag={tag}")).unwrap_or_default();
        let expires = what.expires.map(|seconds| format!("Expires: {seconds}\r\n")).unwrap_or_default();
        let content_type = if what.body.is_empty() { "" } else { "Content-Type: application/x-as-feature-event+xml\r\n" };
        let text = format!(
            "SUBSCRIBE {uri} SIP/2.0\r\nVia: SIP/2.0/{transport} {local};branch={branch};rport\r\nMax-Forwards: 70\r\n\
             From: <{presentity}>;tag={tag}\r\nTo: <{presentity}>{to_tag}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} SUBSCRIBE\r\n\
             Contact: <sip:phone@{local};transport={scheme}>\r\nEvent: as-feature-event\r\n\
             Accept: application/x-as-feature-event+xml, multipart/mixed\r\nUser-Agent: test-phone/1\r\n{expires}{more}{content_type}\
             Content-Length: {length}\r\n\r\n{body}",
            presentity = self.presentity,
            tag = self.local_tag,
            call_id = self.call_id,
            cseq = self.cseq,
            scheme = transport.to_ascii_lowercase(),
            more = what.more,
            length = what.body.len(),
            body = what.body,
        );
        (text, branch)
    }

    /// Sends a SUBSCRIBE and waits for its response.
    pub fn send(&mut self, what: &Subscribe) -> Packet {
        let (text, branch) = self.request(what);
        self.phone.send(text.as_bytes());
        self.response(&branch)
    }

    /// The response to the request with this branch; a 200 to a SUBSCRIBE makes the dialog what it is.
    pub fn response(&mut self, branch: &str) -> Packet {
        let response = self.phone.responses(branch, 1).remove(0);
        if response.status() == Some(200) && response.must("cseq").ends_with(" SUBSCRIBE") {
            self.remote_tag = response.param("to", "tag");
            let contact = response.must("contact");
            self.target = Some(contact.trim_start_matches('<').split('>').next().unwrap().to_owned());
        }
        response
    }

    /// Presses a key: a SUBSCRIBE with a body, which has to succeed.
    pub fn press(&mut self, body: impl Into<String>) {
        let response = self.send(&Subscribe { body: body.into(), ..Subscribe::default() });
        assert_eq!(response.status(), Some(200), "{}", response.start);
    }

    /// Refreshes, which has to succeed.
    pub fn refresh(&mut self) {
        self.press("");
    }

    /// Unsubscribes, which has to succeed.
    pub fn unsubscribe(&mut self) {
        let response = self.send(&Subscribe { expires: Some(0), ..Subscribe::default() });
        assert_eq!(response.status(), Some(200), "{}", response.start);
    }

    /// The next NOTIFY of the dialog.
    pub fn notify(&mut self) -> Packet {
        self.notify_within(PATIENCE)
    }

    /// The next NOTIFY of the dialog, for which the test has more or less patience.
    pub fn notify_within(&mut self, patience: Duration) -> Packet {
        let (call_id, at) = (self.call_id.clone(), self.seen);
        self.seen += 1;
        let what = format!("NOTIFY {} for {}", at + 1, self.presentity);
        self.phone.shared.wait(&what, patience, |state| state.notifies.get(&call_id).and_then(|all| all.get(at)).cloned())
    }

    /// What the next NOTIFYs show, once they have shown `count` features: a phone over UDP gets the full state one by one.
    pub fn shows(&mut self, count: usize) -> Vec<String> {
        let mut shown = Vec::new();
        while shown.len() < count {
            shown.extend(self.notify().shows());
        }
        assert_eq!(shown.len(), count, "{shown:?}");
        shown
    }

    /// NOTIFYs up to the one that shows this.
    pub fn until(&mut self, wanted: &str) -> Packet {
        loop {
            let notify = self.notify();
            if notify.shows().iter().any(|line| line == wanted) {
                return notify;
            }
        }
    }

    /// How many NOTIFYs of the dialog have come. Ask only after something that would have come later than one too many.
    pub fn notify_count(&self) -> usize {
        self.phone.shared.lock().notifies.get(&self.call_id).map_or(0, Vec::len)
    }

    /// What comes to another phone of the same dialog, from its first NOTIFY there on, however soon that came.
    pub fn all_at<'q>(&self, phone: &'q Phone) -> Dialog<'q> {
        Dialog { seen: 0, ..self.at(phone) }
    }

    /// Goes to another server of the same system, as behind a load balancer; the dialog stays.
    pub fn at<'q>(&self, phone: &'q Phone) -> Dialog<'q> {
        let seen = phone.shared.lock().notifies.get(&self.call_id).map_or(0, Vec::len);
        Dialog {
            phone,
            presentity: self.presentity.clone(),
            call_id: self.call_id.clone(),
            local_tag: self.local_tag.clone(),
            remote_tag: self.remote_tag.clone(),
            target: self.target.clone(),
            cseq: self.cseq,
            seen,
        }
    }

    /// `CSeq` of the last NOTIFY that came.
    pub fn last_cseq(&self) -> u32 {
        self.phone.shared.lock().notifies[&self.call_id].last().unwrap().cseq()
    }

    /// Our tag in its dialog: the subscription's id.
    pub fn subscription(&self) -> String {
        self.remote_tag.clone().unwrap()
    }
}

/// The body by which a phone switches Do Not Disturb.
pub fn set_dnd(on: bool) -> String {
    set("SetDoNotDisturb", &format!("<doNotDisturbOn>{on}</doNotDisturbOn>"))
}

/// The body by which a phone changes a forward; `more` holds its other elements.
pub fn set_forwarding(kind: &str, on: bool, more: &str) -> String {
    set("SetForwarding", &format!("<forwardingType>{kind}</forwardingType><activateForward>{on}</activateForward>{more}"))
}

fn set(root: &str, inner: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\r\n<{root} xmlns=\"http://www.ecma-international.org/standards/ecma-323/csta/ed3\">\
         <device>alice</device>{inner}</{root}>"
    )
}

//! `sip.tls`: what is taken, and what is said to the rest.

use std::path::Path;

use crate::config::{Config, ConfigError};
use crate::sip::transport::tests::authority::Authority;

struct Files(tempfile::TempDir);

impl Files {
    /// A certificate, a key that is its own, one that is not, and an authority.
    fn new() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        let authority = Authority::new();
        authority.write(files.folder(), "edge");
        authority.write(files.folder(), "other");
        std::fs::write(files.folder().join("ca.crt"), authority.pem()).unwrap();
        std::fs::write(files.folder().join("empty.pem"), "").unwrap();
        files
    }

    fn folder(&self) -> &Path {
        self.0.path()
    }

    fn load(&self, text: &str) -> Result<Config, ConfigError> {
        let path = self.folder().join("dfks.toml");
        std::fs::write(&path, format!("[sip]\n{text}")).unwrap();
        Config::load(Some(&path), [])
    }
}

#[test]
fn secure_listeners_are_taken_with_their_files() {
    let files = Files::new();
    for text in [
        "listen = [\"tls:127.0.0.1:5061\", \"wss:127.0.0.1:443\"]\ntls = { certificate = \"edge.crt\", key = \"edge.key\" }",
        "listen = [\"tls:127.0.0.1:5061\"]\ntls = { certificate = \"edge.crt\", key = \"edge.key\", client_ca = \"ca.crt\" }",
        "listen = [\"ws:127.0.0.1:80\"]",
        "tls = { certificate = \"edge.crt\", key = \"edge.key\" }",
    ] {
        files.load(text).unwrap();
    }
    let config = files.load("tls = { certificate = \"edge.crt\", key = \"edge.key\" }").unwrap();
    let tls = config.sip.tls.files().unwrap();
    assert_eq!((tls.certificate, tls.client_ca), (files.folder().join("edge.crt"), None));
    assert_eq!(Config::default().sip.tls.files(), None);
}

#[test]
fn files_that_are_missing_or_do_not_fit_are_named() {
    let files = Files::new();
    let at = |name: &str| files.folder().join(name).display().to_string();
    for (text, want) in [
        (
            "listen = [\"wss:127.0.0.1:443\"]",
            "sip.tls.certificate = \"\": expected a PEM file with our certificate, as sip.listen names tls or wss".to_owned(),
        ),
        (
            "tls = { certificate = \"edge.crt\" }",
            "sip.tls.key = \"\": expected a key exactly where sip.tls.certificate is given".to_owned(),
        ),
        (
            "tls = { client_ca = \"ca.crt\" }",
            format!("sip.tls.client_ca = \"{}\": expected \"\" where no sip.tls.certificate is given", at("ca.crt")),
        ),
        (
            "tls = { certificate = \"edge.crt\", key = \"other.key\" }",
            format!("sip.tls.key = \"{}\": expected PEM that can be used: ", at("other.key")),
        ),
        (
            "tls = { certificate = \"edge.key\", key = \"edge.key\" }",
            format!("sip.tls.key = \"{0}\": expected PEM that can be used: no certificate in '{0}': ", at("edge.key")),
        ),
        (
            "tls = { certificate = \"edge.crt\", key = \"edge.crt\" }",
            format!("sip.tls.key = \"{0}\": expected PEM that can be used: no private key in '{0}': ", at("edge.crt")),
        ),
        (
            "tls = { certificate = \"edge.crt\", key = \"edge.key\", client_ca = \"empty.pem\" }",
            format!("sip.tls.client_ca = \"{0}\": expected PEM that can be used: no certificate in '{0}': ", at("empty.pem")),
        ),
        (
            "tls = { certificate = \"none.crt\", key = \"edge.key\" }",
            format!("sip.tls.certificate = \"{}\": expected a file that", at("none.crt")),
        ),
    ] {
        let error = files.load(text).expect_err(text).to_string();
        assert!(error.starts_with(&want) && !error.contains('\n'), "{error}\nfor {text}\nwants {want}");
    }
}

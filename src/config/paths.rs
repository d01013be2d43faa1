//! Which keys name files.

/// Keys that name files; a relative one in a file is taken from that file's folder.
pub(super) const PATHS: [&str; 16] = [
    "nats.data_dir",
    "nats.credentials_file",
    "nats.password_file",
    "nats.token_file",
    "nats.nkey_file",
    "nats.tls.ca",
    "nats.tls.certificate",
    "nats.tls.key",
    "sip.tls.certificate",
    "sip.tls.key",
    "sip.tls.client_ca",
    "sip.auth.users",
    "routes.script",
    "routes.data",
    "mi.token_file",
    "http.token_file",
];

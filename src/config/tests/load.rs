//! Each way to write a configuration, and each way to get it wrong.

use std::path::PathBuf;

use super::*;
use crate::config::{AuthMode, InitialNotify, LogFormat, PresentityFrom, Responders};

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

fn load(text: &str, env: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let files = Files::new();
    files.put("secret", "00123");
    files.put("routes.rhai", "fn dfks_set(dfks) {}");
    let path = files.put("dfks.toml", text);
    Config::load(Some(&path), env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

#[test]
fn nothing_configured_is_the_documented_default() {
    assert_eq!(Config::load(None, []).unwrap(), Config::default());
    assert_eq!(load("", &[]).unwrap(), Config::default());
    // to the letter
    let contract = r#"
        [nats]
        url = ""
        embedded_listen = "127.0.0.1:4222"
        credentials_file = ""
        user = ""
        password_file = ""
        token_file = ""
        nkey_file = ""
        tls = { ca = "", certificate = "", key = "" }
        timeout_ms = 1000
        prefix = "dfks"
        replicas = 1
        max_bytes = { events = 0, notify = 0, commands = 0, dead = 0 }
        domain = ""
        [sip]
        listen = ["udp:127.0.0.1:5060", "tcp:127.0.0.1:5060"]
        advertise = ""
        edge_id = ""
        domains = []
        presentity_from = "request-uri"
        tls = { certificate = "", key = "", client_ca = "" }
        udp_notify_limit_bytes = 1300
        initial_notify = "auto"
        max_subscriptions = 1000000
        max_subscriptions_per_presentity = 32
        rate_limit_per_source = 50
        rate_limit_exempt = ["127.0.0.0/8", "::1/128"]
        takeover_seconds = 30
        trace_hep = ""
        [sip.auth]
        mode = "none"
        realm = ""
        users = ""
        trusted = []
        allow_unauthenticated = false
        allow_other_presentities = false
        [subscription]
        default_expires_seconds = 3600
        min_expires_seconds = 60
        max_expires_seconds = 7200
        grace_seconds = 60
        [routes]
        script = ""
        get_route = "dfks_get"
        set_route = "dfks_set"
        responder_timeout_ms = 500
        responders = "auto"
        required = []
        responder_memory_days = 30
        [mi]
        http = "127.0.0.1:8888"
        token_file = ""
        [http]
        listen = "127.0.0.1:9464"
        token_file = ""
        [run]
        shutdown_grace_seconds = 40
        local = "auto"
        [trace]
        otlp = ""
        sample = 1.0
        [log]
        level = "info"
        format = "text"
        [features]
        passthrough = false
    "#;
    assert_eq!(load(contract, &[]).unwrap(), Config::default());
    assert_eq!(Config::default().nats.data_dir, PathBuf::from("./dfks-data"));
}

#[test]
fn the_environment_overrides_the_file_and_keeps_strings_strings() {
    let config = load(
        "[nats]\nuser = \"file\"\ntimeout_ms = 7\n[sip]\ndomains = [\"a.example\"]",
        &[
            ("DFKS__NATS__USER", "00123"),
            ("DFKS__NATS__PASSWORD_FILE", "/dev/null"),
            ("DFKS__NATS__TIMEOUT_MS", "250"),
            ("DFKS__NATS__REPLICAS", "3"),
            ("DFKS__NATS__PREFIX", "true"),
            ("DFKS__NATS__TLS__CA", "/dev/null"),
            ("DFKS__SIP__LISTEN", "udp:[::1]:5070, tcp:127.0.0.1:5071"),
            ("DFKS__SIP__DOMAINS", "Example.COM,10.0.0.11"),
            ("DFKS__SIP__PRESENTITY_FROM", "to"),
            ("DFKS__SIP__INITIAL_NOTIFY", "sequential"),
            ("DFKS__SIP__EDGE_ID", "007"),
            ("DFKS__SIP__AUTH__ALLOW_UNAUTHENTICATED", "true"),
            ("DFKS__ROUTES__RESPONDERS", "off"),
            ("DFKS__MI__HTTP", ""),
            ("DFKS__LOG__FORMAT", "json"),
            ("DFKS__LOG__LEVEL", "warn,dfks::sip=trace"),
            ("DFKS_CONFIG", "ignored"),
            ("PATH", "ignored"),
        ],
    )
    .unwrap();
    assert_eq!(config.nats.user, "00123");
    assert_eq!((config.nats.timeout_ms, config.nats.replicas, config.nats.prefix.as_str()), (250, 3, "true"));
    let listeners: Vec<String> = config.sip_listeners().iter().map(ToString::to_string).collect();
    assert_eq!(listeners, ["udp:[::1]:5070", "tcp:127.0.0.1:5071"]);
    assert_eq!(config.sip.domains, ["example.com", "10.0.0.11"]);
    assert_eq!((config.sip.presentity_from, config.sip.initial_notify), (PresentityFrom::To, InitialNotify::Sequential));
    assert_eq!(config.edge_id(), "007");
    assert!(config.sip.auth.allow_unauthenticated);
    assert_eq!((config.routes.responders, config.log.format), (Responders::Off, LogFormat::Json));
    assert_eq!(config.mi_listener(), None);
    assert_eq!(config.sip.auth.mode, AuthMode::None);
}

#[test]
fn an_empty_list_and_an_empty_string_can_be_set_from_the_environment() {
    let config = load("[sip]\ndomains = [\"a.example\"]", &[("DFKS__SIP__DOMAINS", ""), ("DFKS__HTTP__LISTEN", "")]).unwrap();
    assert_eq!((config.sip.domains.len(), config.http_listener()), (0, None));
}

#[test]
fn a_relative_path_in_the_file_is_taken_from_its_folder() {
    let files = Files::new();
    let script = files.put("routes.rhai", "fn dfks_set(dfks) {}");
    let path = files.put("dfks.toml", "[routes]\nscript = \"routes.rhai\"\n[nats]\ndata_dir = \"data\"");
    let config = Config::load(Some(&path), []).unwrap();
    assert_eq!((config.routes.script, config.nats.data_dir), (script, files.0.path().join("data")));
    let env = [("DFKS__NATS__DATA_DIR".to_owned(), "data".to_owned())];
    assert_eq!(Config::load(None, env).unwrap().nats.data_dir, PathBuf::from("data"));
}

/// What is written in the file, and what is said to it.
const BAD: &[(&str, &str)] = &[
    // kinds
    ("nats = 3", "nats = 3: expected a table"),
    ("[nats]\nurl = 3", "nats.url = 3: expected a string"),
    ("[nats]\ntimeout_ms = \"7\"", "nats.timeout_ms = \"7\": expected a whole number"),
    ("[nats]\ntimeout_ms = 1.5", "nats.timeout_ms = 1.5: expected a whole number"),
    ("[sip]\nlisten = \"udp:127.0.0.1:5060\"", "sip.listen = \"udp:127.0.0.1:5060\": expected a list"),
    ("[sip]\ndomains = [1]", "sip.domains = [1]: expected a list of strings"),
    ("[sip.auth]\nallow_unauthenticated = \"on\"", "sip.auth.allow_unauthenticated = \"on\": expected true or false"),
    ("[sip]\nmax_subscriptions = -1", "sip.max_subscriptions = -1: expected a whole number from 0"),
    ("[subscription]\ngrace_seconds = 5000000000", "subscription.grace_seconds = 5000000000: expected a whole number from 0 to 4294967295"),
    // words
    ("[sip]\npresentity_from = \"from\"", "sip.presentity_from = \"from\": expected `request-uri` or `to`"),
    ("[sip]\ninitial_notify = \"all\"", "sip.initial_notify = \"all\": expected one of `auto`, `multipart`, `sequential`"),
    ("[sip.auth]\nmode = \"basic\"", "sip.auth.mode = \"basic\": expected one of `none`, `digest`, `trusted`"),
    ("[routes]\nresponders = \"on\"", "routes.responders = \"on\": expected `auto` or `off`"),
    ("[log]\nformat = \"xml\"", "log.format = \"xml\": expected `text` or `json`"),
    // keys
    (
        "[nat]\nurl = \"\"",
        "nat = { url = \"\" }: unknown key, expected features, http, log, mi, nats, packages, profile, routes, run, sip, subscription, trace",
    ),
    ("[run]\ngrace = 1", "run.grace = 1: unknown key, expected local, shutdown_grace_seconds"),
    ("[run]\nlocal = \"on\"", "run.local = \"on\": expected `auto` or `off`"),
    (
        "[sip.auth]\nusr = \"x\"",
        "sip.auth.usr = \"x\": unknown key, expected allow_other_presentities, allow_unauthenticated, mode, realm, trusted, users",
    ),
    ("[features]\npass = true", "features.pass = true: unknown key, expected hoteling_ends, passthrough, target"),
    (
        "url = \"nats://u:p@h\"",
        "url = \"nats://***@h\": unknown key, expected features, http, log, mi, nats, packages, profile, routes, run, sip, subscription, trace",
    ),
    // nats
    (
        "[nats]\nurl = \"http://h\"",
        "nats.url = \"http://h\": expected nats://HOST:PORT or tls://HOST:PORT, several with commas, or \"\" for an embedded server",
    ),
    (
        "[nats]\nurl = \"nats://u:secret@h:99999\"",
        "nats.url = \"nats://***@h:99999\": expected nats://HOST:PORT or tls://HOST:PORT, several with commas, or \"\" for an embedded server",
    ),
    (
        "[nats]\nurl = \"nats://a,,nats://b\"",
        "nats.url = \"nats://a,,nats://b\": expected nats://HOST:PORT or tls://HOST:PORT, several with commas, or \"\" for an embedded server",
    ),
    ("[nats]\nembedded_listen = \"4222\"", "nats.embedded_listen = \"4222\": expected ADDRESS:PORT, port 0 for any free one"),
    ("[nats]\ntimeout_ms = 0", "nats.timeout_ms = 0: expected a whole number from 1 to 60000"),
    ("[nats]\nreplicas = 6", "nats.replicas = 6: expected a whole number from 1 to 5"),
    ("[nats]\nprefix = \"Dfks\"", "nats.prefix = \"Dfks\": expected 1 to 32 lower-case letters, digits and '-', a letter first"),
    ("[nats]\nprefix = \"a.b\"", "nats.prefix = \"a.b\": expected 1 to 32 lower-case letters, digits and '-', a letter first"),
    (
        "[nats]\ndomain = \"a.b\"",
        "nats.domain = \"a.b\": expected the JetStream domain of the servers: up to 64 letters, digits, '-' and '_', or \"\"",
    ),
    ("[nats]\nprefix = \"\"", "nats.prefix = \"\": expected 1 to 32 lower-case letters, digits and '-', a letter first"),
    ("[nats]\nuser = \"u\"", "nats.password_file = \"\": expected the file with the password of nats.user"),
    (
        "[nats]\nuser = \"u\"\npassword_file = \"secret\"\ntoken_file = \"secret\"",
        "nats.user = \"u\": expected one way to authenticate: credentials_file, or user with password_file, or token_file, or nkey_file",
    ),
    ("[nats]\npassword_file = \"secret\"", "nats.user = \"\": expected the user whose password is in nats.password_file"),
    ("[nats]\ndata_dir = \"\"", "nats.data_dir = \"\": expected a folder"),
    // sip
    ("[sip]\nlisten = []", "sip.listen = []: expected at least one udp:ADDRESS:PORT, or the same with tcp, tls, ws or wss"),
    (
        "[sip]\nlisten = [\"udp:127.0.0.1:5060\", \"5060\"]",
        "sip.listen[1] = \"5060\": expected udp:ADDRESS:PORT, or the same with tcp, tls, ws or wss, the address in numbers, one of IPv6 in brackets",
    ),
    (
        "[sip]\nlisten = [\"udp:127.0.0.1:5060\", \"udp:127.0.0.1:5060\"]",
        "sip.listen[1] = \"udp:127.0.0.1:5060\": expected each listener once",
    ),
    ("[sip]\nadvertise = \"a b\"", "sip.advertise = \"a b\": expected HOST or HOST:PORT, the address that phones can reach"),
    ("[sip]\nadvertise = \"h:70000\"", "sip.advertise = \"h:70000\": expected HOST or HOST:PORT, the address that phones can reach"),
    (
        "[sip]\nedge_id = \"edge 0\"",
        "sip.edge_id = \"edge 0\": expected up to 64 letters, digits, '-', '_' and '.', or \"\" for the hostname",
    ),
    ("[sip]\ndomains = [\"a\", \"b:5060\"]", "sip.domains[1] = \"b:5060\": expected a domain name or an address, without port"),
    ("[sip]\ndomains = [\"\"]", "sip.domains[0] = \"\": expected a domain name or an address, without port"),
    ("[sip]\nudp_notify_limit_bytes = 70000", "sip.udp_notify_limit_bytes = 70000: expected a whole number from 0 to 65507"),
    ("[sip]\nmax_subscriptions = 0", "sip.max_subscriptions = 0: expected a whole number from 1 to 100000000"),
    ("[sip]\nmax_subscriptions_per_presentity = 0", "sip.max_subscriptions_per_presentity = 0: expected a whole number from 1 to 1000000"),
    (
        "[sip]\nrate_limit_exempt = [\"127.0.0.0/33\"]",
        "sip.rate_limit_exempt[0] = \"127.0.0.0/33\": expected an address or a range like 10.0.0.0/8 or 2001:db8::/32",
    ),
    (
        "[sip.auth]\ntrusted = [\"proxy\"]",
        "sip.auth.trusted[0] = \"proxy\": expected an address or a range like 10.0.0.0/8 or 2001:db8::/32",
    ),
    ("[sip]\nrate_limit_per_source = 2000000", "sip.rate_limit_per_source = 2000000: expected a whole number from 0 to 1000000"),
    ("[sip.auth]\nmode = \"trusted\"", "sip.auth.trusted = []: expected at least one address or range where sip.auth.mode = \"trusted\""),
    (
        "[sip.auth]\nrealm = 'a\"b'",
        "sip.auth.realm = 'a\"b': expected up to 128 ASCII characters without '\"' and '\\', or \"\" for the presentity's domain",
    ),
    // profile
    ("[[profile]]\nremaining_expires = true", "profile[0].user_agent = \"\": expected a regular expression"),
    (
        "[[profile]]\nuser_agent = \"a\"\n[[profile]]\nuser_agent = \"(b\"",
        "profile[1].user_agent = \"(b\": expected a regular expression: unclosed group",
    ),
    (
        "[[profile]]\nuser_agent = \"(a{1000}){1000}\"",
        "profile[0].user_agent = \"(a{1000}){1000}\": expected a regular expression: Compiled regex exceeds size limit of 1048576 bytes.",
    ),
    // subscription
    (
        "[subscription]\nmin_expires_seconds = 8000",
        "subscription.min_expires_seconds = 8000: expected at most max_expires_seconds, which is 7200",
    ),
    ("[subscription]\nmin_expires_seconds = 3601", "subscription.min_expires_seconds = 3601: expected at most 3600"),
    (
        "[subscription]\ndefault_expires_seconds = 30",
        "subscription.default_expires_seconds = 30: expected between min_expires_seconds and max_expires_seconds, which are 60 and 7200",
    ),
    ("[subscription]\nmax_expires_seconds = 0", "subscription.max_expires_seconds = 0: expected a whole number from 1 to 31536000"),
    // the rest
    ("[routes]\nget_route = \"1x\"", "routes.get_route = \"1x\": expected the name of a function: letters, digits and '_', no digit first"),
    ("[routes]\nresponder_timeout_ms = 0", "routes.responder_timeout_ms = 0: expected a whole number from 1 to 60000"),
    ("[routes]\nresponder_memory_days = 0", "routes.responder_memory_days = 0: expected a whole number from 1 to 3650"),
    (
        "[routes]\nrequired = [\"*.*\", \"example_com.Foo\"]",
        "routes.required[1] = \"example_com.Foo\": expected <domain>.<Feature> as in subjects, with \"*\" for either: \"example_com.DoNotDisturb\"",
    ),
    (
        "[routes]\nrequired = [\"example.com.DoNotDisturb\"]",
        "routes.required[0] = \"example.com.DoNotDisturb\": expected <domain>.<Feature> as in subjects, with \"*\" for either: \"example_com.DoNotDisturb\"",
    ),
    (
        "[routes]\nresponders = \"off\"\nrequired = [\"*.*\"]",
        "routes.required = [\"*.*\"]: expected none where routes.responders = \"off\": nobody would be asked to approve",
    ),
    ("[mi]\nhttp = \"8888\"", "mi.http = \"8888\": expected ADDRESS:PORT, or \"\" for off"),
    ("[http]\nlisten = \"localhost:1\"", "http.listen = \"localhost:1\": expected ADDRESS:PORT, or \"\" for off"),
    ("[run]\nshutdown_grace_seconds = 4000", "run.shutdown_grace_seconds = 4000: expected a whole number from 0 to 3600"),
    (
        "[log]\nlevel = \"inof\"",
        "log.level = \"inof\": expected error, warn, info, debug, trace or off, or a filter like info,dfks::sip=debug",
    ),
    (
        "[log]\nlevel = \"dfks=loud\"",
        "log.level = \"dfks=loud\": expected error, warn, info, debug, trace or off, or a filter like info,dfks::sip=debug",
    ),
    // open to everyone
    (
        "[sip]\nlisten = [\"udp:127.0.0.1:5060\", \"tcp:0.0.0.0:5060\"]",
        "sip.listen[1] = \"tcp:0.0.0.0:5060\": refused: not a loopback address, and sip.auth.mode = \"none\" lets anyone in: expected a loopback address, another sip.auth.mode, or sip.auth.allow_unauthenticated = true",
    ),
    (
        "[mi]\nhttp = \"0.0.0.0:8888\"",
        "mi.http = \"0.0.0.0:8888\": refused: not a loopback address, and no mi.token_file: expected a loopback address or a token",
    ),
    ("[sip]\ntakeover_seconds = 0", "sip.takeover_seconds = 0: expected a whole number from 1 to 86400"),
    ("[sip]\ntrace_hep = \"h\"", "sip.trace_hep = \"h\": expected HOST:PORT of a HEPv3 collector, or \"\" for off"),
    ("[sip]\ntrace_hep = \"h:0\"", "sip.trace_hep = \"h:0\": expected HOST:PORT of a HEPv3 collector, or \"\" for off"),
    ("[sip]\ntrace_hep = \"udp:h:9060\"", "sip.trace_hep = \"udp:h:9060\": expected HOST:PORT of a HEPv3 collector, or \"\" for off"),
    ("[trace]\nsample = 1.5", "trace.sample = 1.5: expected a share from 0.0 to 1.0"),
    ("[features.CallWaiting]\nevent_root = \"E\"", "features.CallWaiting.request_root: is missing, expected an XML element name"),
    ("[features.X]\nvalues = { a = [\"x\"] }", "features.X.values.a = [\"x\"]: expected [\"requestElement\", \"eventElement\"]"),
    ("[features.X]\nvalues = { a = [\"x\", 1] }", "features.X.values.a = [\"x\", 1]: expected [\"requestElement\", \"eventElement\"]"),
    ("[features.X]\nvalues = 3", "features.X.values = 3: expected a table of field = [\"requestElement\", \"eventElement\"]"),
    ("[features.X]\nevent_root = 3", "features.X.event_root = 3: expected a string"),
    (
        "[features.X]\nroot = \"R\"",
        "features.X.root = \"R\": unknown key, expected event_root, kind, namespace, package, prefix, request_root, status_event, status_request, type_element, type_value, value_namespace, value_prefix, values",
    ),
    ("[features.Hoteling]\nrequest_root = \"R\"", "features.Hoteling: is built in, expected another name"),
    (
        "[features.X]\nrequest_root = \"SetDoNotDisturb\"\nevent_root = \"E\"\nstatus_request = \"on\"\nstatus_event = \"on\"",
        "features.X.request_root: 'SetDoNotDisturb' is taken by DoNotDisturb, expected another root, or another type_value of the same type_element",
    ),
];

#[test]
fn a_bad_value_is_named_with_what_is_allowed() {
    for (text, want) in BAD {
        let error = load(text, &[]).expect_err(text).to_string();
        assert_eq!(&error, want, "{text}");
        assert!(!error.contains('\n'), "{text}");
    }
}

#[test]
fn a_bad_override_is_named_like_a_bad_key() {
    for (name, value, want) in [
        (
            "DFKS__NATS__URLL",
            "x",
            "nats.urll = \"x\": unknown key, expected credentials_file, data_dir, domain, embedded_listen, max_bytes, nkey_file, password_file, prefix, replicas, timeout_ms, tls, token_file, url, user",
        ),
        (
            "DFKS__FOO",
            "x",
            "foo = \"x\": unknown key, expected features, http, log, mi, nats, packages, profile, routes, run, sip, subscription, trace",
        ),
        ("DFKS__NATS", "x", "nats = \"x\": expected a table"),
        ("DFKS__NATS__TIMEOUT_MS", "1s", "nats.timeout_ms = \"1s\": expected a whole number"),
        ("DFKS__SIP__AUTH__ALLOW_UNAUTHENTICATED", "yes", "sip.auth.allow_unauthenticated = \"yes\": expected true or false"),
        ("DFKS__SIP__INITIAL_NOTIFY", "x", "sip.initial_notify = \"x\": expected one of `auto`, `multipart`, `sequential`"),
        ("DFKS__PROFILE", "x", "profile = \"x\": expected a list"),
        ("DFKS__SIP__TAKEOVER_SECONDS", "86401", "sip.takeover_seconds = 86401: expected a whole number from 1 to 86400"),
    ] {
        assert_eq!(load("", &[(name, value)]).expect_err(name).to_string(), want);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_reason() {
    let error = Config::load(Some(Path::new("/nonexistent/dfks.toml")), []).unwrap_err().to_string();
    assert_eq!(error, "configuration file '/nonexistent/dfks.toml' cannot be read: No such file or directory (os error 2)");
    let error = load("[nats]\nurl = = 3", &[]).unwrap_err().to_string();
    assert!(error.ends_with("dfks.toml' is no TOML: TOML parse error at line 2, column 7: extra `=`, expected nothing"), "{error}");
    for (key, text) in [("routes.script", "[routes]\nscript = \"/nonexistent\""), ("nats.tls.ca", "[nats]\ntls.ca = \"/nonexistent\"")] {
        let error = load(text, &[]).unwrap_err().to_string();
        assert_eq!(error, format!("{key} = \"/nonexistent\": expected a file that can be read: No such file or directory (os error 2)"));
    }
    let error = load("[routes]\nscript = \"/\"", &[]).unwrap_err().to_string();
    assert_eq!(error, "routes.script = \"/\": expected a file that can be read: it is a folder");
}

#[test]
fn who_may_subscribe_and_how_much_can_be_set() {
    let text = "[sip]\nlisten = [\"udp:0.0.0.0:5060\"]\nrate_limit_per_source = 0\nrate_limit_exempt = []\n[sip.auth]\nmode = \"digest\"\nrealm = \"Our Company\"\nusers = \"secret\"\ntrusted = [\"10.0.0.0/8\"]\nallow_other_presentities = true\n[[profile]]\nuser_agent = \"(?i)^cisco\"\ncisco_response_body = true\ninitial_notify = \"multipart\"";
    let config = load(text, &[]).unwrap();
    assert_eq!((config.sip.auth.mode, config.sip.rate_limit_per_source), (AuthMode::Digest, 0));
    assert!(config.profile[0].cisco_response_body && !config.profile[0].remaining_expires);
    assert_eq!(config.profile[0].initial_notify, Some(InitialNotify::Multipart));
}

#[test]
fn what_is_open_to_everyone_is_taken_when_asked_for() {
    let config = load("[sip]\nlisten = [\"udp:0.0.0.0:5060\"]\nauth.allow_unauthenticated = true", &[]).unwrap();
    assert_eq!(config.sip_listeners().len(), 1);
    assert!(load("[sip]\nlisten = [\"udp:[::1]:5060\", \"udp:127.9.9.9:0\", \"udp:127.9.9.9:0\"]", &[]).is_ok());
}

//! What an operator can get wrong, and what he is told.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{
    api::signing::authority::{Authority, ECDSA, RSA},
    bch::{FeeRate, Network},
    config::sections::{Credentials, SharedOutputs},
};

/// The least that passes.
const LOGIN: &str = "[node]\nrpc_cookie_file = \"/c\"\n";

fn parse(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Loaded::parse(Some(("jppd.toml", text)), variables)
}

fn message(text: &str, variables: &[(&str, &str)]) -> String {
    parse(text, variables).unwrap_err().to_string()
}

#[track_caller]
fn refused(text: &str, variables: &[(&str, &str)], parts: &[&str]) {
    let message = message(text, variables);
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in:\n{message}\nof:\n{text}");
    }
}

#[test]
fn the_defaults_are_those_of_the_documents() {
    let config = parse(LOGIN, &[]).unwrap().config;
    let minute = Duration::from_secs(60);
    let day = Duration::from_secs(86_400);
    assert_eq!(config.node.network, Network::Main);
    assert_eq!(config.node.rpc_url(), "http://127.0.0.1:8332");
    assert_eq!(config.node.credentials(), Some(Credentials::Cookie(&"/c".into())));
    assert_eq!(config.node.zmq_rawtx.as_deref(), Some("tcp://127.0.0.1:28335"));
    assert_eq!(config.node.zmq_hashblock.as_deref(), Some("tcp://127.0.0.1:28336"));
    assert_eq!(config.node.zmq_hashds.as_deref(), Some("tcp://127.0.0.1:28337"));
    assert_eq!(config.follow.heartbeat, minute / 60);
    assert!(config.follow.rebroadcast);
    assert_eq!(config.follow.audit_every, day / 4);
    assert_eq!(config.store.path, Path::new("/var/lib/jppd/store"));
    assert_eq!(config.http.listen, "127.0.0.1:8090".parse().unwrap());
    assert_eq!(config.http.public_url(), "http://127.0.0.1:8090");
    assert_eq!(config.http.api_keys_file, None);
    assert!(!config.http.open_creation);
    assert_eq!(config.http.trusted_proxies, []);
    assert_eq!(config.jpp.signing_key_file, None);
    assert_eq!(config.jpp.signatures_folder, None);
    assert_eq!(config.bip70.certificate_file, None);
    assert_eq!(config.bip70.key_file, None);
    assert_eq!(config.ops.listen, "127.0.0.1:8091".parse().unwrap());
    assert_eq!(config.invoice.default_expiry, 30 * minute);
    assert_eq!(config.invoice.max_expiry, 30 * day);
    assert_eq!(config.invoice.submission_grace, minute / 2);
    assert_eq!(config.invoice.late_window, 7 * day);
    assert_eq!(config.invoice.max_outputs, 100);
    assert_eq!(config.invoice.required_fee_per_byte.millisatoshis(), 0);
    assert_eq!(config.invoice.confirmations_required, 1);
    assert_eq!(config.invoice.shared_outputs, SharedOutputs::Flag);
    assert!(!config.invoice.public_merchant_data);
    assert_eq!(config.invoice.retention, 90 * day);
    assert_eq!(config.limits.max_body_bytes, 1_048_576);
    assert_eq!(config.limits.max_connections, 4096);
    assert_eq!(config.limits.max_connections_per_address, 64);
    assert_eq!(config.limits.max_sockets, 10_000);
    assert_eq!(config.limits.max_sockets_per_address, 100);
    assert_eq!(config.limits.max_submissions, 10_000);
    assert_eq!(config.limits.max_open_claims, 16);
    assert_eq!(config.limits.verify_per_minute, 120);
    assert_eq!(config.limits.pay_per_minute, 60);
    assert_eq!(config.limits.create_per_minute, 600);
    assert_eq!(config.limits.header_timeout, minute / 6);
    assert_eq!(config.limits.request_timeout, minute / 2);
    assert_eq!(config.limits.idle_timeout, minute * 5 / 4);
}

/// The file that is delivered says what holds without it, and names every key.
#[test]
fn the_delivered_file_is_the_defaults() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config/jppd.toml")).unwrap();
    let mut problems = Vec::new();
    let found = source::from_file("config/jppd.toml", &text, &mut problems);
    let given: Vec<_> = found.iter().map(|found| found.key.path()).collect();
    let (config, _) = merge(found, &mut problems);
    assert_eq!(problems, []);
    assert_eq!(config, Config::default());
    let mut at = 0;
    for key in KEYS {
        // In the order of the table; with a value if there is a default, and commented out if there is none.
        let line = match key.show(&Config::default()) {
            Some(_) => format!("\n{} = ", key.name),
            None => format!("\n# {} = ", key.name),
        };
        let there = text[at..].find(&line);
        at += there.unwrap_or_else(|| panic!("{} is not in config/jppd.toml as {line:?}", key.path()));
        assert_eq!(given.contains(&key.path()), !line.starts_with("\n# "), "{}", key.path());
    }
    let login = ("JPPD_NODE__RPC_COOKIE_FILE", "/c");
    assert!(parse(&text, &[login]).is_ok());
}

#[test]
fn trusted_proxies_are_addresses_and_networks() {
    let read = |text: &str, variables: &[(&str, &str)]| {
        let loaded = parse(&format!("{LOGIN}[http]\n{text}"), variables).unwrap();
        let shown = loaded.show();
        let again = parse(&shown, &[]).unwrap().config;
        assert_eq!(again.http.trusted_proxies, loaded.config.http.trusted_proxies, "{shown}");
        loaded.config.http.trusted_proxies.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let list = "trusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\", \"fd00::/8\"]\n";
    assert_eq!(read(list, &[]), ["127.0.0.1/32", "10.0.0.0/8", "fd00::/8"]);
    assert_eq!(read("trusted_proxies = []\n", &[]), [""; 0]);
    assert_eq!(read("trusted_proxies = \"\"\n", &[]), [""; 0]);
    assert_eq!(read(list, &[("JPPD_HTTP__TRUSTED_PROXIES", "")]), [""; 0]);
    let variable = ("JPPD_HTTP__TRUSTED_PROXIES", "::1, 192.0.2.0/24");
    assert_eq!(read(list, &[variable]), ["::1/128", "192.0.2.0/24"]);
    for wrong in ["\"127.0.0.1\"", "[\"localhost\"]", "[\"10.0.0.0/33\"]", "[127]", "[[\"::1\"]]", "true"] {
        let text = format!("{LOGIN}[http]\ntrusted_proxies = {wrong}\n");
        refused(&text, &[], &["http.trusted_proxies", "a list of IP addresses and CIDR networks"]);
    }
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
    let text = format!("{LOGIN}network = \"regtest\"\n[invoice]\nmax_outputs = 7\nlate_window = \"1d\"\n");
    let variables =
        [("JPPD_INVOICE__MAX_OUTPUTS", "9"), ("JPPD_HTTP__OPEN_CREATION", "true"), ("PATH", "/bin")];
    let loaded = parse(&text, &variables).unwrap();
    assert_eq!(loaded.config.invoice.max_outputs, 9);
    assert_eq!(loaded.config.invoice.late_window, Duration::from_secs(86_400));
    assert_eq!(loaded.config.invoice.confirmations_required, 1);
    assert!(loaded.config.http.open_creation);
    let shown = loaded.show();
    for line in [
        "max_outputs = 9  # JPPD_INVOICE__MAX_OUTPUTS\n",
        "late_window = \"1d\"  # jppd.toml:6:15\n",
        "confirmations_required = 1  # default\n",
        "# rpc_url is not set: http://127.0.0.1:18443\n",
        "required_fee_per_byte = 0.0  # default\n",
    ] {
        assert!(shown.contains(line), "{line:?} is not in:\n{shown}");
    }
}

/// What is shown can be read again, and says the same.
#[test]
fn what_is_shown_is_a_configuration() {
    let text = "[node]\nrpc_user = \"a\\\"b\"\nrpc_password_file = \"/p q\"\nzmq_hashds = \"\"\n\
                [invoice]\nrequired_fee_per_byte = \"1.125\"\nshared_outputs = \"refuse\"\n";
    let loaded = parse(text, &[]).unwrap();
    assert_eq!(parse(&loaded.show(), &[]).unwrap().config, loaded.config, "{}", loaded.show());
}

#[test]
fn every_key_has_a_variable() {
    let mut variables = vec![("JPPD_NODE__RPC_COOKIE_FILE".to_owned(), "/c".to_owned())];
    for key in KEYS {
        if let Some(value) = key.show(&Config::default()) {
            variables.push((key.variable(), value.trim_matches('"').to_owned()));
        }
    }
    let variables: Vec<_> = variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(parse("", &variables).unwrap().config, parse(LOGIN, &[]).unwrap().config);
    for key in KEYS {
        let section = key.section.to_ascii_uppercase();
        let unknown = format!("JPPD_{section}__NO_SUCH_KEY");
        refused(LOGIN, &[(&unknown, "1")], &[&unknown, "there is no such key", key.name]);
    }
}

#[test]
fn a_variable_can_take_away_what_the_file_gives() {
    let text = format!("{LOGIN}[http]\napi_keys_file = \"/k\"\n");
    let variables = [
        ("JPPD_NODE__RPC_COOKIE_FILE", ""),
        ("JPPD_NODE__RPC_USER", "u"),
        ("JPPD_NODE__RPC_PASSWORD_FILE", "/p"),
    ];
    let config = parse(&text, &variables).unwrap().config;
    assert_eq!(config.node.credentials(), Some(Credentials::Password { user: "u", file: &"/p".into() }));
}

/// Every bad value names its key, its place and what is allowed.
#[test]
fn bad_values_of_the_file() {
    let table = [
        (
            "node",
            "network = \"mainnet\"",
            "`mainnet` is none of the words",
            "main, test3, test4, scale, chip, regtest",
        ),
        ("node", "network = 3", "`3` is not a text", "main, test3"),
        ("node", "rpc_url = \"127.0.0.1:8332\"", "`127.0.0.1:8332`", "http://"),
        ("node", "rpc_url = \"https://127.0.0.1:8332\"", "not an absolute address of that kind", "http://"),
        ("node", "rpc_url = \"http://127.0.0.1:8332/\"", "ends in a slash", "no slash at the end"),
        ("node", "rpc_url = \"http://127.0.0.1:8332/wallet\"", "has a path", "HOST[:PORT];"),
        ("node", "rpc_url = \"http://127.0.0.1:99999\"", "port", "HOST[:PORT]"),
        ("node", "rpc_user = \"a:b\"", "a colon", "without a colon"),
        (
            "node",
            "zmq_rawtx = \"127.0.0.1:28335\"",
            "`127.0.0.1:28335` is not",
            "tcp://HOST:PORT or ipc:///PATH",
        ),
        ("node", "zmq_rawtx = \"tcp://127.0.0.1\"", "is not a place", "tcp://HOST:PORT"),
        ("node", "zmq_rawtx = \"tcp://*:28335\"", "is not a place", "tcp://HOST:PORT"),
        ("node", "zmq_rawtx = \"tcp://h:0\"", "is not a place", "tcp://HOST:PORT"),
        ("node", "zmq_hashds = \"ipc://relative\"", "is not a place", "ipc:///PATH"),
        ("node", "zmq_hashblock = \"udp://h:1\"", "is not a place", "tcp://HOST:PORT"),
        ("store", "path = \"\"", "`` is not a path", "a path"),
        ("store", "path = [\"/a\"]", "this list is not a text", "a path"),
        ("http", "listen = \"localhost:8090\"", "`localhost:8090`", "no names"),
        ("http", "listen = \"127.0.0.1\"", "`127.0.0.1`", "IP:PORT"),
        ("http", "listen = 8090", "`8090` is not a text", "IP:PORT"),
        ("http", "public_url = \"pay.example\"", "`pay.example`", "https:// or http://"),
        ("http", "public_url = \"https://pay.example/\"", "ends in a slash", "no slash"),
        ("http", "public_url = \"https://pay.example/a?b=c\"", "has a query", "no query"),
        ("http", "public_url = \"https://pay.example/a#b\"", "has a fragment", "no fragment"),
        ("http", "public_url = \"ftp://pay.example\"", "not an absolute address", "https://"),
        ("http", "public_url = \"https://\"", "`https://`", "HOST"),
        ("http", "open_creation = \"true\"", "`true` is neither", "true, false"),
        ("http", "open_creation = 1", "`1` is neither", "true, false"),
        ("ops", "listen = \"\"", "``", "IP:PORT"),
        ("invoice", "default_expiry = 30", "`30` is not a text", "ms, s, m, h or d"),
        ("invoice", "default_expiry = \"30\"", "`30` is not a length of time", "from 1s to 365d"),
        ("invoice", "default_expiry = \"0.5h\"", "`0.5h` is not a length of time", "a whole number"),
        ("invoice", "default_expiry = \"0s\"", "`0s` is out of bounds", "from 1s to 365d"),
        ("invoice", "max_expiry = \"366d\"", "`366d` is out of bounds", "from 1s to 365d"),
        ("invoice", "submission_grace = \"2h\"", "`2h` is out of bounds", "from 0s to 1h"),
        ("invoice", "max_outputs = 0", "`0` is out of bounds", "from 1 to 2000"),
        ("invoice", "max_outputs = -1", "`-1` is not a whole number", "from 1 to 2000"),
        ("invoice", "max_outputs = 1.5", "`1.5` is not a whole number", "from 1 to 2000"),
        ("invoice", "max_outputs = 0x10", "number that is not decimal", "from 1 to 2000"),
        ("invoice", "max_outputs = 99999999999999999999", "out of bounds", "from 1 to 2000"),
        ("invoice", "max_outputs = \"100\"", "`100` is not a plain number", "from 1 to 2000"),
        ("invoice", "required_fee_per_byte = 1.0001", "`1.0001` is not a fee rate", "at most three decimals"),
        ("invoice", "required_fee_per_byte = -1.0", "`-1.0` is not a fee rate", "from 0 to 1000"),
        ("invoice", "required_fee_per_byte = 1e3", "`1e3` is not a fee rate", "from 0 to 1000"),
        ("invoice", "required_fee_per_byte = nan", "`nan` is not a fee rate", "from 0 to 1000"),
        ("invoice", "required_fee_per_byte = 1001", "`1001` is not a fee rate", "from 0 to 1000"),
        ("invoice", "required_fee_per_byte = true", "`true` is not a text", "from 0 to 1000"),
        ("invoice", "confirmations_required = 101", "`101` is out of bounds", "from 0 to 100"),
        ("invoice", "shared_outputs = \"allow\"", "`allow` is none of the words", "flag, refuse"),
        ("invoice", "retention = 1979-05-27", "this date is not a text", "from 0s"),
        ("limits", "max_body_bytes = 1000", "`1000` is out of bounds", "from 262144"),
        ("limits", "verify_per_minute = \"none\"", "`none` is not a plain number", "from 0"),
        ("limits", "header_timeout = \"10\"", "`10` is not a length of time", "from 1s to 5m"),
    ];
    for (section, line, what, allowed) in table {
        let text = format!("# one\n[{section}]\n{line}\n");
        let name = line.split(' ').next().unwrap();
        let column = line.find('=').unwrap() + 3;
        refused(
            &text,
            &[],
            &[&format!("jppd.toml:3:{column}: {section}.{name}: "), what, "; allowed: ", allowed],
        );
    }
}

#[test]
fn bad_values_of_variables() {
    let table = [
        ("JPPD_NODE__NETWORK", "mainnet", "node.network: `mainnet`"),
        ("JPPD_HTTP__LISTEN", "8090", "http.listen: `8090`"),
        ("JPPD_HTTP__OPEN_CREATION", "yes", "http.open_creation: `yes` is neither"),
        ("JPPD_INVOICE__MAX_OUTPUTS", "many", "invoice.max_outputs: `many` is not a whole number"),
        ("JPPD_INVOICE__REQUIRED_FEE_PER_BYTE", "1,1", "invoice.required_fee_per_byte: `1,1`"),
        ("JPPD_STORE__PATH", "", "store.path: `` is not a path"),
    ];
    for (name, value, what) in table {
        refused(LOGIN, &[(name, value)], &[&format!("{name}: {what}"), "; allowed: "]);
    }
}

#[test]
fn bad_keys() {
    let table = [
        (
            "[htpp]\nlisten = 1\n",
            "jppd.toml:1:2: htpp: there is no such section; allowed: [node], [follow], [store]",
        ),
        (
            "[http]\nlisten_on = \"x\"\n",
            "jppd.toml:2:1: http.listen_on: there is no such key; allowed: in [http]: listen,",
        ),
        (
            "listen = \"127.0.0.1:1\"\n",
            "jppd.toml:1:1: listen: keys stand in a section; did you mean http.listen or ops.listen?",
        ),
        ("http = 3\n", "jppd.toml:1:1: http: this is a section, not a key; allowed: [http]"),
        ("[http]\nlisten = \n", "jppd.toml:2:10: this is not TOML: "),
        ("[http]\nöpen = 1\n", "jppd.toml:2:1: this is not TOML: "),
        ("[ops]\nlisten = \"127.0.0.1:1\"\nlisten = \"127.0.0.1:2\"\n", "jppd.toml:3:1: this is not TOML: "),
    ];
    for (text, message) in table {
        refused(text, &[], &[message]);
    }
    let variables = [
        ("JPPD_HTPP__LISTEN", "JPPD_HTPP__LISTEN: htpp: there is no such section"),
        ("JPPD_HTTP__LISTEN_ON", "JPPD_HTTP__LISTEN_ON: there is no such key; allowed: in [http]: listen,"),
        ("JPPD_HTTP__", "JPPD_HTTP__: there is no such key"),
        ("JPPD_HTTP_LISTEN", "JPPD_HTTP_LISTEN: http.listen: there is no such variable"),
    ];
    for (name, message) in variables {
        refused(LOGIN, &[(name, "127.0.0.1:1")], &[message]);
    }
    // Not of our form: somebody else's.
    assert!(
        parse(LOGIN, &[("JPPD_CONFIG", "/etc/jppd/jppd.toml"), ("JPPDX__Y", "1"), ("jppd_http__x", "1")])
            .is_ok()
    );
}

/// All problems are told at once, in the order of the file.
#[test]
fn nobody_mends_twice() {
    let text = "[ops]\nlisten = 1\n[invoice]\nmax_outputs = 0\n[http]\nlisten = 2\n";
    let error = parse(text, &[("JPPD_STORE__PATH", "")]).unwrap_err();
    let keys: Vec<_> = error.problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["ops.listen", "invoice.max_outputs", "http.listen", "store.path"]);
    assert_eq!(error.to_string().lines().count(), 4);
}

#[test]
fn no_message_repeats_a_secret() {
    let files = [
        "[node]\nrpc_password = \"hunter2\"\n",
        "[node]\nrpc_password = hunter2\n",
        "[node]\nrpcpassword = \"hunter2\"\n",
        "[http]\napi_keys = [\"hunter2\"]\n",
        "[http]\napi_key = \"hunter2\"\n",
        "[jpp]\nsigning_key = \"hunter2\"\n",
        "[bip70]\nprivate_key = \"hunter2\"\n",
        "[secrets]\nrpc = \"hunter2\"\n",
        "[node]\nrpc_url = \"http://user:hunter2@127.0.0.1:8332\"\n",
        "[http]\npublic_url = \"https://user:hunter2@pay.example\"\n",
        "[node]\nrpc_user = \"user:hunter2\"\n",
    ];
    for text in files {
        let message = message(text, &[]);
        assert!(!message.contains("hunter2"), "{message}");
    }
    let by_file = "name the file that holds them";
    refused(files[0], &[], &["jppd.toml:2:1: node.rpc_password: ", by_file, "node.rpc_password_file"]);
    refused(files[3], &[], &["jppd.toml:2:1: http.api_keys: ", by_file, "http.api_keys_file"]);
    refused(files[5], &[], &["jppd.toml:2:1: jpp.signing_key: ", by_file, "jpp.signing_key_file"]);
    refused(files[6], &[], &["jppd.toml:2:1: bip70.private_key: ", by_file, "bip70.key_file"]);
    for name in
        ["JPPD_NODE__RPC_PASSWORD", "JPPD_HTTP__API_KEYS", "JPPD_HTTP__API_KEY", "JPPD_NODE__RPC_COOKIE"]
    {
        let message = message(LOGIN, &[(name, "hunter2")]);
        assert!(
            message.starts_with(name) && message.contains(by_file) && !message.contains("hunter2"),
            "{message}"
        );
    }
}

#[test]
fn the_whole_must_fit() {
    let table: [(&str, &[&str]); 13] = [
        (
            "",
            &["node.rpc_cookie_file: nothing says how to log in", "either rpc_cookie_file, or rpc_user with"],
        ),
        ("[node]\nrpc_user = \"u\"\n", &["jppd.toml:2:12: node.rpc_user: a user without a password file"]),
        (
            "[node]\nrpc_password_file = \"/p\"\n",
            &["jppd.toml:2:21: node.rpc_password_file: a password without a user"],
        ),
        (
            "[node]\nrpc_cookie_file = \"/c\"\nrpc_user = \"u\"\n",
            &["jppd.toml:3:12: node.rpc_user: there is a cookie"],
        ),
        (
            "[node]\nrpc_cookie_file = \"/c\"\nrpc_password_file = \"/p\"\n",
            &["jppd.toml:3:21: node.rpc_password_file:"],
        ),
        (
            "[node]\nrpc_cookie_file = \"/c\"\nnetwork = \"test4\"\nzmq_rawtx = \"tcp://127.0.0.1:28332\"\n",
            &["jppd.toml:4:13: node.zmq_rawtx: this is the node's RPC address"],
        ),
        (
            "[node]\nrpc_cookie_file = \"/c\"\n[ops]\nlisten = \"0.0.0.0:8090\"\n",
            &[
                "jppd.toml:4:10: ops.listen: http.listen (127.0.0.1:8090) and ops.listen (0.0.0.0:8090) are one",
            ],
        ),
        (
            "[node]\nrpc_cookie_file = \"/c\"\n[http]\nlisten = \"127.0.0.1:8091\"\n",
            &["jppd.toml:4:10: http.listen:"],
        ),
        (
            "[node]\nrpc_cookie_file = \"/c\"\n[invoice]\nmax_expiry = \"1m\"\n",
            &["jppd.toml:4:14: invoice.max_expiry:"],
        ),
        (
            "[node]\nrpc_cookie_file = \"/c\"\n[invoice]\nretention = \"1d\"\n",
            &["invoice.retention: the index would"],
        ),
        (
            "[node]\nrpc_cookie_file = \"/c\"\n[limits]\nmax_sockets = 5\n",
            &["jppd.toml:4:15: limits.max_sockets:"],
        ),
        (
            "[node]\nrpc_cookie_file = \"/c\"\n[bip70]\ncertificate_file = \"/p\"\n",
            &["jppd.toml:4:20: bip70.certificate_file: certificates without a key", "or neither"],
        ),
        (
            "[node]\nrpc_cookie_file = \"/c\"\n[bip70]\nkey_file = \"/p\"\n",
            &["jppd.toml:4:12: bip70.key_file: a key without certificates", "or neither"],
        ),
    ];
    for (text, parts) in table {
        refused(text, &[], parts);
    }
    refused(
        LOGIN,
        &[("JPPD_LIMITS__REQUEST_TIMEOUT", "5s")],
        &["JPPD_LIMITS__REQUEST_TIMEOUT: limits.request_timeout"],
    );
    // Two ports that the system chooses do not collide.
    assert!(
        parse(&format!("{LOGIN}[http]\nlisten = \"127.0.0.1:0\"\n[ops]\nlisten = \"127.0.0.1:0\"\n"), &[])
            .is_ok()
    );
}

#[test]
fn what_works_but_is_probably_not_meant() {
    let quiet = format!(
        "{LOGIN}[http]\napi_keys_file = \"/k\"\npublic_url = \"https://pay.example/shop\"\nlisten = \"[::1]:8090\"\n"
    );
    assert_eq!(parse(&quiet, &[]).unwrap().warnings, []);
    let table = [
        ("JPPD_HTTP__API_KEYS_FILE", "", "http.api_keys_file: not set, and http.open_creation is false"),
        ("JPPD_HTTP__PUBLIC_URL", "", "http.public_url: not set: wallets are sent to http://[::1]:8090"),
        ("JPPD_NODE__ZMQ_RAWTX", "", "node.zmq_rawtx: not set"),
        ("JPPD_NODE__ZMQ_HASHBLOCK", "", "node.zmq_hashblock: not set"),
        (
            "JPPD_NODE__ZMQ_HASHBLOCK",
            "tcp://127.0.0.1:28335",
            "node.zmq_hashblock: the same address as node.zmq_rawtx",
        ),
        (
            "JPPD_NODE__ZMQ_HASHDS",
            "tcp://127.0.0.1:28335",
            "node.zmq_hashds: the same address as node.zmq_rawtx",
        ),
        ("JPPD_OPS__LISTEN", "0.0.0.0:8091", "ops.listen: 0.0.0.0:8091 is open to others"),
    ];
    for (name, value, warning) in table {
        let warnings = parse(&quiet, &[(name, value)]).unwrap().warnings;
        let [only] = warnings.as_slice() else { panic!("{name}: {warnings:?}") };
        assert!(only.to_string().starts_with(warning), "{only}");
    }
    let open = [("JPPD_HTTP__OPEN_CREATION", "true"), ("JPPD_HTTP__LISTEN", "0.0.0.0:8090")];
    let warnings = parse(&quiet, &open).unwrap().warnings;
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].to_string().starts_with("http.open_creation: anybody who reaches 0.0.0.0:8090"));
    let elsewhere = [open[0], open[1], ("JPPD_NODE__NETWORK", "chip")];
    assert_eq!(parse(&quiet, &elsewhere).unwrap().warnings, []);
    // Without hashds there is less to know, and nothing to warn of.
    assert_eq!(parse(&quiet, &[("JPPD_NODE__ZMQ_HASHDS", "")]).unwrap().warnings, []);
}

#[test]
fn what_is_allowed_is_taken() {
    let table = [
        ("JPPD_NODE__RPC_URL", "http://[::1]:8332"),
        ("JPPD_NODE__RPC_URL", "http://node"),
        ("JPPD_NODE__ZMQ_RAWTX", "tcp://[::1]:28335"),
        ("JPPD_NODE__ZMQ_RAWTX", "tcp://node.example:28335"),
        ("JPPD_NODE__ZMQ_RAWTX", "ipc:///run/bitcoind/rawtx"),
        ("JPPD_HTTP__PUBLIC_URL", "http://pay.example:8090"),
        ("JPPD_HTTP__PUBLIC_URL", "https://[2001:db8::1]:8443/a/b"),
        ("JPPD_INVOICE__REQUIRED_FEE_PER_BYTE", "1"),
        ("JPPD_LIMITS__PAY_PER_MINUTE", "0"),
    ];
    for (name, value) in table {
        assert!(
            parse(LOGIN, &[(name, value)]).is_ok(),
            "{name}={value}: {}",
            message(LOGIN, &[(name, value)])
        );
    }
    let config = parse(&format!("{LOGIN}[limits]\nmax_body_bytes = 2_097_152\n"), &[]).unwrap().config;
    assert_eq!(config.limits.max_body_bytes, 2 << 20);
}

#[test]
fn a_fee_rate_is_exact_however_it_is_written() {
    for (written, millisatoshis) in
        [("1.0", 1000), ("1.1", 1100), ("1", 1000), ("0.125", 125), ("\"1.1\"", 1100), ("2.300000", 2300)]
    {
        let config =
            parse(&format!("{LOGIN}[invoice]\nrequired_fee_per_byte = {written}\n"), &[]).unwrap().config;
        assert_eq!(config.invoice.required_fee_per_byte.millisatoshis(), millisatoshis, "{written}");
    }
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_no_text() {
    use std::os::unix::ffi::OsStringExt as _;
    let variables = [("JPPD_STORE__PATH".into(), OsString::from_vec(vec![0xff]))];
    let error = Loaded::parse(Some(("jppd.toml", LOGIN)), variables).unwrap_err().to_string();
    assert!(error.starts_with("JPPD_STORE__PATH: store.path: the value is not UTF-8"), "{error}");
}

#[test]
fn files_are_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let read = |text: String| {
        fs::write(path("jppd.toml"), text).unwrap();
        Loaded::read(Some(&path("jppd.toml")), [])
    };
    let by_password = format!("[node]\nrpc_user = \"u\"\nrpc_password_file = {:?}\n", path("password"));
    let error = read(by_password.clone()).unwrap_err().to_string();
    assert!(
        error.contains("jppd.toml:3:21: node.rpc_password_file: ") && error.contains("cannot be read"),
        "{error}"
    );
    fs::write(path("password"), "hunter2\n").unwrap();
    assert!(read(by_password).is_ok());

    let keys = format!(
        "[node]\nrpc_cookie_file = {:?}\n[http]\napi_keys_file = {:?}\n",
        path("cookie"),
        path("keys")
    );
    let warnings = read(keys.clone()).unwrap().warnings;
    let about: Vec<_> = warnings.iter().map(|warning| warning.key).collect();
    assert_eq!(about, ["http.public_url", "node.rpc_cookie_file", "http.api_keys_file"]);
    fs::write(path("keys"), "# one\nshop\n").unwrap();
    let error = read(keys).unwrap_err().to_string();
    assert!(error.contains(": http.api_keys_file: ") && error.contains("line 2: 1 fields"), "{error}");

    let error = Loaded::read(Some(&path("nothing.toml")), []).unwrap_err().to_string();
    assert!(error.contains("nothing.toml: cannot be read: "), "{error}");
    fs::write(path("binary"), [0xff]).unwrap();
    assert!(Loaded::read(Some(&path("binary")), []).unwrap_err().to_string().ends_with("this is not UTF-8"));
}

/// A configuration with these lines, read with its files.
fn read(folder: &Path, lines: &str) -> Result<Loaded, ConfigError> {
    let file = folder.join("jppd.toml");
    let login =
        format!("[node]\nnetwork = \"regtest\"\nrpc_cookie_file = {file:?}\n[http]\nopen_creation = true\n");
    fs::write(&file, login + lines).unwrap();
    Loaded::read(Some(&file), [])
}

#[test]
fn the_keys_that_sign_are_read_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jpp_keys");
    let lines = format!("[jpp]\nsigning_key_file = {path:?}\nsignatures_folder = {:?}\n", folder.path());
    let secret = "5a".repeat(32);
    let good = format!("owner o\nexpires 2999-01-31\ndomain a.b\nkey {secret}\n");
    let write = |text: &str| {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    };
    write(&good);
    let loaded = read(folder.path(), &lines).unwrap();
    assert!(loaded.signing.jpp.as_ref().unwrap().identity().starts_with(['m', 'n']));
    assert_eq!(loaded.signing.signatures_folder.as_deref(), Some(folder.path()));
    assert_eq!(loaded.warnings, []);
    assert!(!format!("{loaded:?}{}", loaded.show()).contains("5a5a"));

    write(&good.replace("2999", "2001"));
    let warnings = read(folder.path(), &lines).unwrap().warnings;
    assert!(warnings[0].to_string().contains("jpp_keys: the keys expired at 2001-01-31"), "{warnings:?}");
    write(&good);
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let warnings = read(folder.path(), &lines).unwrap().warnings;
    assert!(warnings[0].to_string().contains("jpp_keys can be read by everybody"), "{warnings:?}");

    let table = [
        (format!("{good}key {secret}\n"), "jpp_keys: line 5: this was said before"),
        (format!("{secret}\n"), "jpp_keys: line 1: this is none of the statements"),
        ("owner o\n".to_owned(), "jpp_keys: there is no line `domain NAME`"),
        ("#".repeat(65_537), "jpp_keys: this is larger than 65536 bytes"),
    ];
    for (text, reason) in table {
        write(&text);
        let error = read(folder.path(), &lines).unwrap_err().to_string();
        assert!(
            error.contains("jppd.toml:7:20: jpp.signing_key_file: ") && error.contains(reason),
            "{error}"
        );
        assert!(!error.contains("5a5a"), "{error}");
    }
    fs::remove_file(&path).unwrap();
    let error = read(folder.path(), &lines).unwrap_err().to_string();
    assert!(error.contains("jpp_keys: cannot be read: No such file"), "{error}");
    let error = read(folder.path(), "[jpp]\nsignatures_folder = \"/nonexistent\"\n").unwrap_err().to_string();
    assert!(error.contains("jpp.signatures_folder: /nonexistent: cannot be read"), "{error}");
}

#[test]
fn certificates_are_tried_before_the_start() {
    let Some(authority) = Authority::new("certificates_are_tried_before_the_start") else { return };
    authority.issue("shop", RSA);
    authority.issue("curve", ECDSA);
    let folder = tempfile::tempdir().unwrap();
    let with = |chain: &str, key: &str| {
        let (chain, key) = (authority.path(chain), authority.path(key));
        read(folder.path(), &format!("[bip70]\ncertificate_file = {chain:?}\nkey_file = {key:?}\n"))
    };
    let loaded = with("shop.chain", "shop.key").unwrap();
    assert!(loaded.signing.x509.is_some() && loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let refusals = [
        ("curve.chain", "curve.key", "bip70.key_file", "curve.key: this is an ECDSA key"),
        ("shop.pem", "shop.key", "bip70.certificate_file", "shop.pem: there is only one certificate"),
    ];
    for (chain, key, about, reason) in refusals {
        let loaded = with(chain, key).unwrap();
        assert!(loaded.signing.x509.is_none());
        let [warning] = loaded.warnings.as_slice() else { panic!("{:?}", loaded.warnings) };
        assert_eq!(warning.key, about);
        assert!(warning.what.contains(reason) && warning.what.contains("unsigned"), "{warning}");
    }
    for (name, days, reason) in
        [("late", -1, "a certificate expired at 2"), ("soon", 13, "a certificate expires at 2")]
    {
        authority.issue_for(name, RSA, days);
        let loaded = with(&format!("{name}.chain"), &format!("{name}.key")).unwrap();
        assert!(loaded.signing.x509.is_some());
        let [warning] = loaded.warnings.as_slice() else { panic!("{:?}", loaded.warnings) };
        assert_eq!(warning.key, "bip70.certificate_file");
        assert!(warning.what.contains(&format!("{name}.chain: {reason}")), "{warning}");
    }
    let problems = [
        (
            "shop.chain",
            "root.key",
            "jppd.toml:8:12: bip70.key_file: ",
            "not the key of the first certificate",
        ),
        ("shop.chain", "none", "jppd.toml:8:12: bip70.key_file: ", "none: cannot be read"),
        ("none", "shop.key", "jppd.toml:7:20: bip70.certificate_file: ", "none: cannot be read"),
        ("shop.key", "shop.key", "jppd.toml:7:20: bip70.certificate_file: ", "there is no certificate"),
    ];
    for (chain, key, place, reason) in problems {
        let error = with(chain, key).unwrap_err().to_string();
        assert!(error.contains(place) && error.contains(reason), "{error}");
    }
}

proptest! {
    #[test]
    fn any_file_is_answered(text in ".*") {
        let _ = parse(&text, &[]);
    }

    #[test]
    fn any_value_is_answered(index in 0..KEYS.len(), value in ".*") {
        let _ = parse(LOGIN, &[(&KEYS[index].variable(), &value.replace('\0', ""))]);
    }

    /// A rate is the same from a number of the file, a text of the file and a variable.
    #[test]
    fn a_rate_has_one_reading(whole in 0u64..1000, thousandths in 0u64..1000) {
        let rate = FeeRate::from_millisatoshis(whole * 1000 + thousandths).unwrap();
        let written = format!("{whole}.{thousandths:03}");
        let number = parse(&format!("{LOGIN}[invoice]\nrequired_fee_per_byte = {written}\n"), &[]).unwrap();
        let text = parse(&format!("{LOGIN}[invoice]\nrequired_fee_per_byte = \"{written}\"\n"), &[]).unwrap();
        let variable = parse(LOGIN, &[("JPPD_INVOICE__REQUIRED_FEE_PER_BYTE", &written)]).unwrap();
        for loaded in [number, text, variable] {
            prop_assert_eq!(loaded.config.invoice.required_fee_per_byte, rate);
        }
    }

    #[test]
    fn a_length_of_time_has_one_reading(seconds in 1u64..=365 * 86_400) {
        let written = format!("{seconds}s");
        let variables = [("JPPD_INVOICE__LATE_WINDOW", written.as_str()), ("JPPD_INVOICE__RETENTION", "365d")];
        let config = parse(LOGIN, &variables).unwrap().config;
        prop_assert_eq!(config.invoice.late_window, Duration::from_secs(seconds));
    }
}

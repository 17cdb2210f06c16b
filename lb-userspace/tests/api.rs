//! The socket and the routes: who is let in, what every request is answered, and that the OpenAPI description
//! tells the truth.

mod support;

use std::{
    collections::BTreeSet,
    fs,
    os::unix::{
        fs::{PermissionsExt, symlink},
        net::{UnixListener, UnixStream},
        process::CommandExt,
    },
    process::Command,
};

use lb_userspace::api::{
    client::{Client, ClientError},
    server::ROUTES,
    socket::{Socket, SocketError},
};
use serde_json::{Value, json};
use support::{Daemon, private_directory};
use tokio::runtime::Runtime;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

// === the socket ===

#[test]
fn a_living_daemon_is_not_replaced_and_a_dead_ones_socket_is() {
    let directory = private_directory();
    let path = directory.path().join("run/xvs.sock");
    let runtime = runtime();
    let _guard = runtime.enter();

    let first = Socket::bind(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    let refused = Socket::bind(&path).unwrap_err().to_string();
    assert!(refused.starts_with(&format!("daemon already running (pid {})", std::process::id())), "{refused}");
    UnixStream::connect(&path).expect("the refused one left the first one's socket alone");
    drop(first);
    assert!(!path.exists(), "a daemon that ends takes its socket away");

    // A killed daemon leaves its socket; the kernel took its lock.
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let second = Socket::bind(&path).unwrap();
    UnixStream::connect(&path).unwrap();
    drop(second);
}

#[test]
fn a_place_where_others_could_replace_the_socket_is_refused() {
    let directory = private_directory();
    let runtime = runtime();
    let _guard = runtime.enter();
    let open = directory.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o1777)).unwrap();
    let error = Socket::bind(&open.join("xvs.sock")).unwrap_err();
    assert!(matches!(error, SocketError::OpenDirectory { .. }), "{error}");
    assert!(error.to_string().contains("(mode 1777); chmod 700 it"), "{error}");

    let file = directory.path().join("file.sock");
    fs::write(&file, "precious").unwrap();
    let error = Socket::bind(&file).unwrap_err();
    assert!(matches!(error, SocketError::NotASocket(_)), "{error}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    let link = directory.path().join("link.sock");
    symlink(&file, &link).unwrap();
    assert!(matches!(Socket::bind(&link), Err(SocketError::NotASocket(_))));

    let error = Socket::bind(&directory.path().join("x".repeat(120))).unwrap_err().to_string();
    assert!(error.starts_with("cannot listen on "), "{error}");
}

#[test]
fn another_user_is_turned_away_even_when_the_modes_are_lost() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root to become another user");
        return;
    }
    let daemon = Daemon::start();
    fs::set_permissions(daemon.directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(daemon.socket(), fs::Permissions::from_mode(0o666)).unwrap();
    let curl = |uid: u32| {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--max-time", "10", "--unix-socket"]).arg(daemon.socket()).arg("http://xvs/v1/status");
        curl.uid(uid).gid(uid).output().unwrap()
    };
    assert!(curl(0).status.success());
    let other = curl(65_534);
    assert!(!other.status.success() && other.stdout.is_empty(), "{other:?}");
}

#[test]
fn an_ending_server_finishes_and_takes_its_socket_away() {
    let mut daemon = Daemon::start();
    daemon.xvs(&["status"]).good();
    daemon.stop();
    assert!(!daemon.socket().exists());
    daemon.xvs(&["status"]).bad(3, "there is no such socket");
}

// === requests ===

/// The status and the body of an answer that is no success.
fn refusal<T: std::fmt::Debug>(result: Result<T, ClientError>) -> (u16, String, usize) {
    match result {
        Err(ClientError::Answer { status, body }) => (status, body.error, body.problems.len()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn wrong_requests_have_a_status_and_a_sentence() {
    let daemon = Daemon::start();
    let client = Client::new(&daemon.socket());
    let post = |path: &str, body: Value| refusal(runtime().block_on(client.post::<Value>(path, &body)));
    let get = |path: &str| refusal(runtime().block_on(client.get::<Value>(path)));
    let service = json!({"service": "10.0.0.1:80"});

    for (body, status, part, problems) in [
        (json!({}), 400, "exactly one of toml, spec and edits", 0),
        (json!({"toml": "", "spec": {}}), 400, "exactly one of", 0),
        (json!({"edits": []}), 400, "edits is empty", 0),
        (json!({"tomll": ""}), 400, "unknown field `tomll`", 0),
        (json!([1]), 400, "the body is not such a request", 0),
        (json!({"spec": {"services": [{"service": "x"}]}}), 400, "\"x\" is not an address", 0),
        (json!({"spec": {"services": [{"service": "10.0.0.1:80", "scheduler": "nqq"}]}}), 400, "unknown scheduler", 0),
        (json!({"spec": {"services": [service, service]}}), 422, "is there already, as service[0]", 1),
        (
            json!({"toml": "a = 1\nb = 2\n"}),
            422,
            "1:1: a: unknown key; known here: director, mark, service (and 1 more)",
            2,
        ),
        (json!({"edits": [{"remove_service": {"service": "10.0.0.1:80"}}]}), 404, "does not exist", 0),
        (json!({"edits": [{"add_service": service}, {"add_service": service}]}), 409, "exists already", 0),
        (json!({"edits": [{"add_service": {"service": "127.0.0.1:80"}}]}), 422, "loopback", 1),
    ] {
        for path in ["/v1/plan", "/v1/apply"] {
            let (got, error, count) = post(path, body.clone());
            assert_eq!((got, count), (status, problems), "{path} {body}: {error}");
            assert!(error.contains(part), "{path} {body}: {error}");
        }
    }
    assert_eq!(post("/v1/plan", json!({"toml": "", "if_revision": 0})).0, 400);
    assert_eq!(post("/v1/apply", json!({"toml": "", "if_revision": 3})).0, 409);
    assert_eq!(post("/v1/apply", json!({"toml": "#".repeat(257 << 20)})).0, 413);
    daemon.engine.break_next("broken");
    assert_eq!(post("/v1/apply", json!({"toml": ""})), (500, "broken".to_owned(), 0));
    assert_eq!(post("/v1/status", json!({})).0, 405);
    assert_eq!(post("/v1/zero", json!({"service": "10.0.0.1:80"})).0, 404);
    assert_eq!(post("/v1/zero", json!({"services": []})).0, 400);
    assert_eq!(get("/v1/nothing").0, 404);
    for query in ["limit=x", "skip=-1", "limit=0", "limit=268435457", "nothing=1", "client=a", "service=fd00::1"] {
        assert_eq!(get(&format!("/v1/connections?{query}")).0, 400, "{query}");
    }
    assert_eq!(get("/v1/connections?state=no").0, 404);
    assert_eq!(daemon.engine.current().0, 0, "nothing of all this was applied");
}

// === the description ===

fn openapi() -> Value {
    serde_json::from_str(include_str!("../../docs/reference/openapi.json")).unwrap()
}

#[test]
fn the_description_has_every_route_and_no_other() {
    let described: BTreeSet<(String, String)> = openapi()["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(|method| (method.clone(), path.clone())).collect::<Vec<_>>()
        })
        .collect();
    let routes: BTreeSet<_> = ROUTES.iter().map(|(method, path)| ((*method).to_owned(), (*path).to_owned())).collect();
    assert_eq!(described, routes);

    let daemon = Daemon::start();
    let client = Client::new(&daemon.socket());
    for (method, path) in ROUTES {
        let result = match *method {
            "get" => runtime().block_on(client.get_text(path)),
            _ => {
                let body = if *path == "/v1/zero" { json!({}) } else { json!({"toml": ""}) };
                runtime().block_on(client.post::<Value>(path, &body)).map(|value| value.to_string())
            }
        };
        result.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
    }
}

#[test]
fn every_answer_has_the_shape_that_is_described() {
    let daemon = Daemon::start();
    let client = Client::new(&daemon.socket());
    let toml = "[director]\nsloppy_sctp = true\nconn_reuse_mode = 1\ntunnel_source_v4 = \"10.0.0.9\"\ntunnel_source_v6 = \"fd00::9\"\nlocal_addresses = [\"10.0.0.8\"]\n\
                [[mark]]\nmark = 1\naddress = \"10.0.0.0/24:80-90\"\n[[service]]\naddress = \"10.0.0.1:80\"\n\
                persistence = { netmask = \"255.255.255.0\" }\ntimeouts = { tcp = 60 }\n\
                scheduler = \"sh\"\nflags = [\"sh-port\"]\n[service.health]\ntype = \"http\"\nport = 80\nhost = \"a\"\n\
                [[service.real]]\naddress = \"10.0.1.1\"\nmethod = \"direct\"\nupper_threshold = 9\nlower_threshold = 1\n\
                [[service]]\nmark = 1\nscheduler = \"mh\"\nflags = [\"flag-3\"]\ntable_slots = 251\none_packet = true\n";
    let request = json!({"toml": toml});
    let document = openapi();
    let answer = |path: &str| -> Value {
        match path {
            "/v1/plan" | "/v1/apply" => runtime().block_on(client.post(path, &request)).unwrap(),
            "/v1/zero" => runtime().block_on(client.post(path, &json!({"service": "tcp://10.0.0.1:80"}))).unwrap(),
            "/v1/connections" => runtime().block_on(client.get("/v1/connections?limit=1")).unwrap(),
            _ => runtime().block_on(client.get(path)).unwrap(),
        }
    };
    for path in
        ["/v1/plan", "/v1/apply", "/v1/zero", "/v1/status", "/v1/spec", "/v1/services", "/v1/stats", "/v1/connections"]
    {
        let method = if ["/v1/plan", "/v1/apply", "/v1/zero"].contains(&path) { "post" } else { "get" };
        let schema = &document["paths"][path][method]["responses"]["200"]["content"]["application/json"]["schema"];
        matches(&document, schema, &answer(path), path);
    }
    // The request and the error are shapes too.
    let spec = answer("/v1/spec")["spec"].clone();
    let key = "tcp://10.0.0.1:80";
    let edits = json!([{"edit_service": {"service": key, "scheduler": "sh", "scheduler_flags": ["sh-port"], "method": "tunnel",
        "on_real_down": "drop", "helper": null, "health": null, "persistence": null, "timeouts": {"udp": 5}, "table_slots": null}},
        {"add_mark": {"mark": 2, "protocol": "udp", "address": "[fd00::/64]:53"}}, {"remove_mark": spec["marks"][0]},
        {"set_timeouts": {"tcp": 60}}, {"edit_director": {"expire_nodest_conn": true, "conn_reuse_mode": 0}},
        {"edit_service": {"service": "mark://1", "persistence": {"timeout": 5}, "one_packet": false}}, {"add_real": {"service": key, "real": {"address": "10.0.1.2", "port": 80}}},
        {"edit_real": {"service": key, "real": "10.0.1.2:80", "weight": 3, "method": "tunnel", "upper_threshold": 8}},
        {"remove_real": {"service": key, "real": "10.0.1.2:80"}}, {"remove_service": {"service": key}},
        "clear", {"add_service": spec["services"][0]}]);
    let schemas = &document["components"]["schemas"];
    for body in [json!({"spec": spec, "if_revision": 1}), json!({"edits": edits, "if_revision": 1})] {
        matches(&document, &schemas["ChangeRequest"], &body, "request");
        runtime().block_on(client.post::<Value>("/v1/apply", &body)).unwrap_or_else(|error| panic!("{error}: {body}"));
    }
    let Err(ClientError::Answer { body, .. }) =
        runtime().block_on(client.post::<Value>("/v1/plan", &json!({"toml": "a = 1"})))
    else {
        panic!("not refused");
    };
    matches(&document, &schemas["Error"], &serde_json::to_value(body).unwrap(), "error");
}

/// As much of JSON Schema as the description uses: both ways, so that a field missing on either side shows.
fn matches(document: &Value, schema: &Value, value: &Value, at: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap();
        let schema = &document["components"]["schemas"][name];
        assert!(schema.is_object(), "{at}: no schema {name}");
        return matches(document, schema, value, at);
    }
    if let Some(variants) = schema["oneOf"].as_array() {
        // A null is described as such; of edits, the variant is the one that has the key.
        let fitting = variants.iter().find(|variant| match value.as_object().and_then(|value| value.keys().next()) {
            Some(key) => variant["properties"].get(key).is_some() || variant.get("$ref").is_some(),
            None => variant["type"] == if value.is_string() { "string" } else { "null" },
        });
        return matches(document, fitting.unwrap_or_else(|| panic!("{at}: no variant for {value}")), value, at);
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        other => panic!("{at}: type {other}"),
    };
    assert!(kinds.contains(&kind), "{at}: {value} is not {kinds:?}");
    if let Some(words) = schema["enum"].as_array() {
        assert!(words.contains(value), "{at}: {value} is none of {words:?}");
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        matches(document, &schema["items"], item, &format!("{at}[{index}]"));
    }
    for (key, inner) in value.as_object().into_iter().flatten() {
        let described = &schema["properties"][key];
        assert!(described.is_object(), "{at}.{key} is not described");
        matches(document, described, inner, &format!("{at}.{key}"));
    }
    for required in schema["required"].as_array().into_iter().flatten() {
        assert!(value.get(required.as_str().unwrap()).is_some(), "{at}: {required} is missing");
    }
}

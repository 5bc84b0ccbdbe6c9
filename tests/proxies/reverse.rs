//! In front of a service.

use std::net::SocketAddr;

use sessionwire::mux::{Code, ConnectionError};
use sessionwire::rpc::{Client, Link};
use sessionwire::transport::{self, TlsClient, TransportConfig};

use super::program::{Program, documented, free_address, with};
use super::stage::{Server, Talk, everything_passes, link, waits_for};
use super::support::watched;

/// A proxy at an address, before a service at another.
struct Setting {
    program: &'static str,
    arguments: &'static [&'static str],
    /// The name of its configuration, which it wants to have.
    file: &'static str,
    configuration: fn(&str, SocketAddr) -> String,
    /// The signal that makes it read its configuration again.
    reload: &'static str,
    /// What it says whenever it has read it.
    ready: &'static str,
    /// What it says while it reaches no service.
    unreached: u16,
}

const NGINX: Setting = Setting {
    program: "nginx",
    arguments: &["-p", ".", "-e", "stderr", "-c", "nginx.conf"],
    file: "nginx.conf",
    configuration: nginx,
    reload: "HUP",
    ready: "start worker processes",
    unreached: 502,
};

const HAPROXY: Setting = Setting {
    program: "haproxy",
    arguments: &["-W", "-f", "haproxy.cfg"],
    file: "haproxy.cfg",
    configuration: haproxy,
    reload: "USR2",
    ready: "Loading success",
    unreached: 503,
};

/// What it had, it ends soon after it has read its configuration again.
fn nginx(service: &str, here: SocketAddr) -> String {
    let block = documented("nginx");
    let block = with(&block, "listen 443 ", &format!("listen {here} "));
    let block = with(&block, "example.org;", "localhost;");
    let block = with(&block, "/etc/ssl/example.org", "FOLDER/both");
    let block = with(&block, "127.0.0.1:9000", service);
    let block = with(&block, "both.key", "both.pem");
    let folders = ["client_body", "fastcgi", "proxy", "scgi", "uwsgi"];
    let folders = folders.map(|kind| format!("{kind}_temp_path FOLDER/{kind};"));
    format!(
        "daemon off; pid pid; error_log stderr notice; worker_shutdown_timeout 50ms; events {{}}
         http {{ access_log off; {} {block} }}",
        folders.join(" ")
    )
}

/// As of the other.
fn haproxy(service: &str, here: SocketAddr) -> String {
    let block = documented("haproxy");
    let block = with(&block, "bind :443", &format!("bind {here}"));
    let block = with(&block, "/etc/ssl/example.org.both.pem", "FOLDER/both.pem");
    let block = with(&block, "127.0.0.1:9000 check", service);
    format!("global\n    hard-stop-after 50ms\n\n{block}")
}

struct Scene {
    program: Program,
    here: SocketAddr,
    transport: TransportConfig,
}

impl Setting {
    /// Before the service at a `ws://` endpoint.
    fn start(&self, service: &str) -> Option<Scene> {
        self.start_without(service, "")
    }

    /// With a configuration from which something was left out.
    fn start_without(&self, service: &str, line: &str) -> Option<Scene> {
        let here = free_address();
        let made = rcgen::generate_simple_self_signed(vec![here.ip().to_string()]);
        let made = made.expect("a certificate");
        let both = made.cert.pem() + &made.signing_key.serialize_pem();
        let service = service
            .strip_prefix("ws://")
            .and_then(|rest| rest.split('/').next());
        let configuration = (self.configuration)(service.expect("an address"), here);
        let configuration = with(&configuration, line, "");
        let files = [(self.file, &*configuration), ("both.pem", &both)];
        let program = Program::start(self.program, self.arguments, &files, here)?;
        let trusting = TlsClient::builder().ca_pem(made.cert.pem().as_bytes());
        let trusting = trusting.expect("a certificate").build().expect("settings");
        Some(Scene {
            program,
            here,
            transport: TransportConfig::default().tls_client(trusting),
        })
    }
}

impl Scene {
    fn link(&self) -> Link {
        link(&self.endpoint(), self.transport.clone())
    }

    fn endpoint(&self) -> String {
        format!("wss://{}/wire", self.here)
    }
}

async fn service() -> Server {
    Server::listen("ws://127.0.0.1:0/wire", TransportConfig::default()).await
}

/// Calls, subscriptions, and messages of any size.
async fn passes(setting: &Setting) {
    let mut server = service().await;
    let Some(scene) = setting.start(&server.endpoint) else {
        return;
    };
    let link = scene.link();
    let client: Client<Talk> = Client::new(&link);
    everything_passes(&client, &server).await;
    let there = server.connections.recv().await.expect("a connection");
    let asked = there.info().websocket.as_ref().expect("a request");
    let from = asked.headers.get_all("X-Forwarded-For").iter();
    assert_eq!(
        from.collect::<Vec<_>>(),
        ["127.0.0.1"],
        "who it came from is told"
    );
    link.close().await;
    let end = there.closed().await;
    let agreed = matches!(
        end,
        ConnectionError::ClosedByPeer {
            code: Code::NONE,
            ..
        }
    );
    assert!(agreed, "both have agreed on the end: {end}");
}

/// A proxy that begins anew ends what it had: each number comes once nevertheless.
async fn goes_on(setting: &Setting, anew: fn(&mut Program, &Setting)) {
    let server = service().await;
    let Some(mut scene) = setting.start(&server.endpoint) else {
        return;
    };
    let link = scene.link();
    super::stage::goes_on(&link, &server, || anew(&mut scene.program, setting)).await;
}

/// Nobody need change anything, so the link goes on until there is a service.
async fn waits(setting: &Setting) {
    let address = free_address();
    let endpoint = format!("ws://{address}/wire");
    let Some(scene) = setting.start(&endpoint) else {
        return;
    };
    let link = scene.link();
    let why = waits_for(&link).await;
    let expected = format!("HTTP status {}", setting.unreached);
    assert!(why.contains(&expected), "{why}");
    assert!(
        why.contains("a proxy in between does not reach the server"),
        "{why}"
    );
    let server = Server::listen(&endpoint, TransportConfig::default()).await;
    everything_passes(&Client::new(&link), &server).await;
}

#[tokio::test]
async fn what_a_proxy_fails_to_pass_on_is_named() {
    watched(async {
        let server = service().await;
        for line in [
            "proxy_http_version 1.1;",
            "proxy_set_header Upgrade $http_upgrade;",
            "proxy_set_header Connection upgrade;",
        ] {
            let Some(scene) = NGINX.start_without(&server.endpoint, line) else {
                return;
            };
            let endpoint = scene.endpoint().parse().expect("an endpoint");
            let error = transport::connect(&endpoint, &scene.transport).await;
            let error = error.expect_err("no WebSocket").to_string();
            let advice = "a proxy in between must pass `Upgrade` and `Connection` on";
            assert!(error.contains(advice), "{line}: {error}");
        }
    })
    .await;
}

#[tokio::test]
async fn nginx_passes_on_whatever_is_said() {
    watched(passes(&NGINX)).await;
}

#[tokio::test]
async fn haproxy_passes_on_whatever_is_said() {
    watched(passes(&HAPROXY)).await;
}

#[tokio::test]
async fn no_number_is_lost_while_nginx_reads_its_configuration_again() {
    watched(goes_on(&NGINX, |program, of| {
        program.reload(of.reload, of.ready);
    }))
    .await;
}

#[tokio::test]
async fn no_number_is_lost_while_haproxy_reads_its_configuration_again() {
    watched(goes_on(&HAPROXY, |program, of| {
        program.reload(of.reload, of.ready);
    }))
    .await;
}

#[tokio::test]
async fn no_number_is_lost_by_a_crash_of_nginx() {
    watched(goes_on(&NGINX, |program, _| program.restart())).await;
}

#[tokio::test]
async fn no_number_is_lost_by_a_crash_of_haproxy() {
    watched(goes_on(&HAPROXY, |program, _| program.restart())).await;
}

#[tokio::test]
async fn a_service_behind_nginx_that_is_down_is_waited_for() {
    watched(waits(&NGINX)).await;
}

#[tokio::test]
async fn a_service_behind_haproxy_that_is_down_is_waited_for() {
    watched(waits(&HAPROXY)).await;
}

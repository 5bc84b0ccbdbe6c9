//! Between a client and the world.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use sessionwire::rpc::{Client, DialError, Link, LinkError, LinkState};
use sessionwire::transport::{
    HttpProxy, Identity, TlsClient, TlsServer, TransportConfig, TransportError,
};

use super::program::{Program, free_address};
use super::stage::{Server, everything_passes, goes_on, link, waits_for};
use super::support::watched;

/// A name that only the proxy knows an address for: who dials it directly does not get there.
const HOST: &str = "far.example.org";

/// Squid asks this program whether it knows somebody.
const DOORMAN: &str = r#"while read -r who; do
    if [ "$who" = "ada s%20ecret" ]; then echo OK; else echo ERR; fi
done"#;

struct Squid {
    program: Program,
    /// What the names of its shared memory begin with: other Squids of this machine, and other users', must not meet it.
    name: String,
    address: SocketAddr,
}

impl Squid {
    /// One that lets Ada connect to everything but port 25.
    fn start() -> Option<Self> {
        let address = free_address();
        let name = format!("wire{}x{}", std::process::id(), address.port());
        let configuration = format!(
            "http_port {address}
             visible_hostname proxy.example.org
             pid_filename none
             cache_log /dev/null
             access_log none
             hosts_file FOLDER/hosts
             shutdown_lifetime 0 seconds
             auth_param basic program /bin/sh FOLDER/doorman
             acl known proxy_auth REQUIRED
             acl mail port 25
             http_access deny mail
             http_access allow known
             http_access deny all\n"
        );
        let hosts = format!("127.0.0.1 {HOST}\n");
        let files = [
            ("squid.conf", &*configuration),
            ("hosts", &hosts),
            ("doorman", DOORMAN),
        ];
        let arguments = ["-N", "-n", &name, "-f", "squid.conf"];
        let program = Program::start("squid", &arguments, &files, address)?;
        Some(Self {
            program,
            name,
            address,
        })
    }

    fn proxy(&self) -> HttpProxy {
        let proxy = HttpProxy::new(&format!("http://{}", self.address)).expect("a proxy");
        proxy.credentials("ada", "s ecret").expect("a user")
    }

    fn transport(&self) -> TransportConfig {
        TransportConfig::default().proxy(self.proxy())
    }
}

/// A Squid that is killed leaves its shared memory behind.
impl Drop for Squid {
    fn drop(&mut self) {
        for part in ["metadata", "queues", "readers"] {
            std::fs::remove_file(format!("/dev/shm/{}-cf__{part}.shm", self.name)).ok();
        }
    }
}

/// As the proxy's clients know it.
fn far(endpoint: &str) -> String {
    endpoint.replace("127.0.0.1", HOST)
}

async fn service() -> Server {
    Server::listen("ws://127.0.0.1:0/wire", TransportConfig::default()).await
}

/// What a link comes to that must not go on.
async fn end(endpoint: &str, transport: TransportConfig) -> TransportError {
    match link(endpoint, transport).closed().await {
        LinkError::Unreachable {
            attempts: 1, last, ..
        } => match last.error {
            DialError::Transport(error) => error,
            other => panic!("{other}"),
        },
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn squid_passes_on_whatever_is_said_over_any_transport() {
    let Some(squid) = Squid::start() else { return };
    let made = rcgen::generate_simple_self_signed(vec![HOST.to_owned()]).expect("a certificate");
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let identity = Identity::from_pem(certificate.as_bytes(), key.as_bytes()).expect("an identity");
    let serving = TlsServer::builder(identity).build().expect("settings");
    let serving = TransportConfig::default().tls_server(serving);
    let trusting = TlsClient::builder().ca_pem(certificate.as_bytes());
    let trusting = trusting.expect("a certificate").build().expect("settings");
    let transport = squid.transport().tls_client(trusting);
    for endpoint in [
        "tcp://127.0.0.1:0",
        "tls://127.0.0.1:0",
        "ws://127.0.0.1:0/wire",
        "wss://127.0.0.1:0/wire",
    ] {
        watched(async {
            let server = Server::listen(endpoint, serving.clone()).await;
            let link = link(&far(&server.endpoint), transport.clone());
            everything_passes(&Client::new(&link), &server).await;
        })
        .await;
    }
}

#[tokio::test]
async fn no_number_is_lost_by_a_crash_of_squid() {
    let Some(mut squid) = Squid::start() else {
        return;
    };
    watched(async {
        let server = service().await;
        let link = link(&far(&server.endpoint), squid.transport());
        goes_on(&link, &server, || squid.program.restart()).await;
    })
    .await;
}

#[tokio::test]
async fn who_may_not_pass_is_told_so_and_does_not_try_again() {
    let Some(squid) = Squid::start() else { return };
    watched(async {
        let server = service().await;
        let endpoint = far(&server.endpoint);
        let nobody = HttpProxy::new(&squid.address.to_string()).expect("a proxy");
        let impostor = nobody.clone().credentials("ada", "guess").expect("a user");
        for proxy in [nobody, impostor] {
            let error = end(&endpoint, TransportConfig::default().proxy(proxy)).await;
            let told = matches!(error, TransportError::ProxyRefused { status: 407, .. });
            assert!(
                told && error.to_string().contains("other credentials"),
                "{error}"
            );
        }
        let error = end(&format!("tcp://{HOST}:25"), squid.transport()).await;
        let told = matches!(error, TransportError::ProxyRefused { status: 403, .. });
        assert!(
            told && error.to_string().contains("its rules forbid"),
            "{error}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_service_that_squid_does_not_reach_is_waited_for() {
    let Some(squid) = Squid::start() else { return };
    watched(async {
        let endpoint = format!("ws://127.0.0.1:{}/wire", free_address().port());
        let link = link(&far(&endpoint), squid.transport());
        let why = waits_for(&link).await;
        assert!(
            why.contains("HTTP status 503") && why.contains("it does not reach"),
            "{why}"
        );
        let server = Server::listen(&endpoint, TransportConfig::default()).await;
        everything_passes(&Client::new(&link), &server).await;
    })
    .await;
}

#[tokio::test]
async fn what_is_exempt_is_dialled_directly() {
    watched(async {
        let server = service().await;
        let proxy = HttpProxy::new(&free_address().to_string()).expect("a proxy");
        let transport = TransportConfig::default().proxy(proxy.exempt("127.0.0.0/8"));
        let link = link(&server.endpoint, transport);
        everything_passes(&Client::new(&link), &server).await;
    })
    .await;
}

#[tokio::test]
async fn a_proxy_that_is_not_there_or_says_nothing_is_tried_again() {
    watched(async {
        let nowhere = free_address();
        let silent = TcpListener::bind("127.0.0.1:0").expect("to listen");
        let silent = silent
            .local_addr()
            .map(|address| (silent, address))
            .expect("an address");
        for (address, expected) in [
            (nowhere, "the proxy http://127.77.0.1:"),
            (
                silent.1,
                "no answer from ws://far.example.org:9000/wire within 50ms",
            ),
        ] {
            let proxy = HttpProxy::new(&address.to_string()).expect("a proxy");
            let transport = TransportConfig::default()
                .proxy(proxy)
                .connect_timeout(Duration::from_millis(50));
            let link: Link = link("ws://far.example.org:9000/wire", transport);
            let why = waits_for(&link).await;
            assert!(why.contains(expected), "{why}");
            assert!(!matches!(link.state(), LinkState::Down(_)));
        }
    })
    .await;
}

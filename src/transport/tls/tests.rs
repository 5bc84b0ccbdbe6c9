//! Both ends over memory, on a clock that is moved by hand.

use std::io;
use std::sync::mpsc;
use std::time::Duration;

use futures::executor::block_on;
use futures_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use futures_rustls::rustls::{ServerConfig, version};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use super::*;
use crate::runtime::{Runtime as _, SharedRuntime, VirtualClock};
use crate::transport::{CertificateProblem, MemoryStream, pipe};

type Shaken = Result<(TlsStream<MemoryStream>, TlsInfo), TransportError>;

fn deadline() -> Deadline {
    let runtime: SharedRuntime = Arc::new(VirtualClock::new());
    Deadline::new(runtime, Duration::from_secs(10))
}

fn tls() -> Endpoint {
    "tls://localhost:1".parse().unwrap()
}

/// What both ends make of each other, given the time to part.
fn shake(client: &TlsClient, server: &TlsServer, endpoint: &Endpoint) -> (Shaken, Shaken) {
    let (here, there) = pipe(64 * 1024);
    let clock = VirtualClock::new();
    let runtime: SharedRuntime = Arc::new(clock.clone());
    let deadline = Deadline::new(runtime, Duration::from_secs(10));
    let (told, outcomes) = mpsc::channel();
    let (client, server) = (client.clone(), server.clone());
    let (far, near) = (endpoint.clone(), endpoint.clone());
    let (ours, theirs) = (deadline.clone(), told.clone());
    clock.spawn(Box::pin(async move {
        told.send((0, connect(here, &far, &client, &ours).await))
            .unwrap();
    }));
    clock.spawn(Box::pin(async move {
        theirs
            .send((1, accept(there, &near, &server, &deadline).await))
            .unwrap();
    }));
    clock.advance(FAREWELL);
    let mut outcomes: Vec<(u8, Shaken)> = outcomes.try_iter().collect();
    outcomes.sort_by_key(|(end, _)| *end);
    let [(_, client), (_, server)] = outcomes.try_into().expect("both ends are done");
    (client, server)
}

/// What a server makes of a peer that sends these bytes, and what that peer hears.
fn server_hears(said: &[u8]) -> (TransportError, Vec<u8>) {
    let (mut raw, there) = pipe(64 * 1024);
    block_on(raw.write_all(said)).unwrap();
    let clock = VirtualClock::new();
    let runtime: SharedRuntime = Arc::new(clock.clone());
    let deadline = Deadline::new(runtime, Duration::from_secs(10));
    let (told, outcome) = mpsc::channel();
    clock.spawn(Box::pin(async move {
        let server = served(self_signed(&[]));
        let shaken = accept(there, &tls(), &server, &deadline).await;
        told.send(shaken.unwrap_err()).unwrap();
    }));
    clock.advance(Duration::from_secs(10));
    let mut heard = Vec::new();
    block_on(raw.read_to_end(&mut heard)).unwrap();
    (outcome.try_recv().unwrap(), heard)
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    CertificateParams::new(names).unwrap()
}

fn self_signed(names: &[&str]) -> Identity {
    made(&params(names))
}

fn made(params: &CertificateParams) -> Identity {
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    Identity::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap()
}

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = params(&[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let name = Fingerprint::of(&key.serialize_der()).to_string();
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    fn issue(&self, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Identity::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap()
    }

    fn trusted(&self) -> TlsClientBuilder {
        let builder = TlsClient::builder();
        builder.ca_pem(self.pem().as_bytes()).unwrap()
    }
}

fn served(identity: Identity) -> TlsServer {
    TlsServer::builder(identity).build().unwrap()
}

fn pinned(identity: &Identity) -> TlsClient {
    let builder = TlsClient::builder().pin(identity.fingerprint());
    builder.build().unwrap()
}

/// The error of each end, as text.
fn errors((client, server): (Shaken, Shaken)) -> (String, String) {
    (
        client.unwrap_err().to_string(),
        server.unwrap_err().to_string(),
    )
}

#[test]
fn a_certificate_from_a_trusted_issuer_is_enough() {
    let authority = Authority::new();
    let server = served(authority.issue(&params(&["localhost"])));
    let client = authority.trusted().build().unwrap();
    for (endpoint, alpn) in [
        ("tls://localhost:1", &b"sessionwire/1"[..]),
        ("wss://localhost:1/", &b"http/1.1"[..]),
    ] {
        let (client, server) = shake(&client, &server, &endpoint.parse().unwrap());
        let (client, server) = (client.unwrap().1, server.unwrap().1);
        assert_eq!(client.peer_certificates.len(), 1);
        assert_eq!(client.alpn.as_deref(), Some(alpn));
        assert_eq!(server.alpn.as_deref(), Some(alpn));
        assert_eq!(server.server_name.as_deref(), Some("localhost"));
        assert!(server.peer_certificates.is_empty());
    }
}

#[test]
fn certificates_that_are_no_good() {
    let (authority, other) = (Authority::new(), Authority::new());
    let mut expired = params(&["localhost"]);
    expired.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let mut early = params(&["localhost"]);
    early.not_before = rcgen::date_time_ymd(3000, 1, 1);
    let table = [
        (
            authority.issue(&expired),
            "it has expired; the peer must renew it (or this machine's clock is wrong)",
            "CertificateExpired): this end's certificate has expired, or the peer's clock is wrong; renew it",
        ),
        (
            authority.issue(&early),
            "it is not valid yet; check the clocks of both machines",
            "CertificateExpired): this end's certificate has expired, or the peer's clock is wrong; renew it",
        ),
        (
            other.issue(&params(&["localhost"])),
            "nobody that this end trusts has issued it; trust its issuer with `ca_file`, or, if it is \
             self-signed, the certificate itself with `pin`",
            "UnknownCA): it does not trust the issuer of this end's certificate; have it trust that \
             issuer, or that certificate",
        ),
        (
            self_signed(&["localhost"]),
            "nobody that this end trusts has issued it; trust its issuer with `ca_file`, or, if it is \
             self-signed, the certificate itself with `pin`",
            "UnknownCA): it does not trust the issuer of this end's certificate; have it trust that \
             issuer, or that certificate",
        ),
        (
            authority.issue(&params(&["example.org", "www.example.org"])),
            "it is for example.org, www.example.org and not for localhost; dial a name that it is for, or \
             have it issued for that name too",
            "BadCertificate): it does not accept this end's certificate; the peer's own error says why",
        ),
    ];
    let client = authority.trusted().build().unwrap();
    for (identity, problem, alert) in table {
        let (here, there) = errors(shake(&client, &served(identity), &tls()));
        assert_eq!(
            here,
            format!("the peer's certificate was not accepted: {problem}")
        );
        assert_eq!(
            there,
            format!("the peer refused the TLS handshake ({alert}")
        );
    }
}

#[test]
fn a_pinned_certificate_needs_no_issuer_name_or_date() {
    let mut expired = params(&["example.org"]);
    expired.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let identity = made(&expired);
    let (client, server) = shake(&pinned(&identity), &served(identity.clone()), &tls());
    assert!(client.is_ok() && server.is_ok());
    let others = TlsClient::builder()
        .pin(self_signed(&[]).fingerprint())
        .pin(identity.fingerprint());
    let (client, _server) = shake(&others.build().unwrap(), &served(identity), &tls());
    assert!(client.is_ok(), "any of several pins will do");
}

#[test]
fn another_certificate_than_the_pinned_one_is_refused() {
    let (identity, other) = (self_signed(&["localhost"]), self_signed(&["localhost"]));
    let found = identity.fingerprint();
    let (here, there) = errors(shake(&pinned(&other), &served(identity), &tls()));
    assert_eq!(
        here,
        format!(
            "the peer's certificate was not accepted: its SHA-256 fingerprint is {found}, which is not \
             pinned; pin that one only if its owner tells you that it is theirs"
        )
    );
    assert!(
        there.contains("it does not accept this end's certificate"),
        "{there}"
    );
}

/// As `openssl req -x509` makes them: self-signed, and of an authority.
#[test]
fn a_certificate_of_an_authority_can_be_pinned_and_is_no_servers_otherwise() {
    let mut params = params(&["localhost"]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    let identity = Identity::from_pem(certificate.as_bytes(), key.serialize_pem().as_bytes());
    let identity = identity.unwrap();
    let (client, server) = shake(&pinned(&identity), &served(identity.clone()), &tls());
    assert!(client.is_ok() && server.is_ok());
    let trusting = TlsClient::builder().ca_pem(certificate.as_bytes()).unwrap();
    let (client, _) = shake(&trusting.build().unwrap(), &served(identity), &tls());
    assert!(matches!(
        client,
        Err(TransportError::Certificate {
            problem: CertificateProblem::Authority
        })
    ));
}

/// Anyone can copy a certificate: without its key, the pin is worth nothing.
#[test]
fn a_stolen_certificate_is_no_proof() {
    for version in [&version::TLS13, &version::TLS12] {
        let (identity, thief) = (self_signed(&["localhost"]), self_signed(&["localhost"]));
        let (chain, _key) = identity.parts();
        let (_chain, key) = thief.parts();
        let key = ring::sign::any_supported_type(&key).unwrap();
        let stolen = SingleCertAndKey::from(CertifiedKey::new(chain, key));
        let config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(stolen));
        let server = TlsServer::from_config(Arc::new(config));
        let (client, _server) = shake(&pinned(&identity), &server, &tls());
        match client.unwrap_err() {
            TransportError::Certificate {
                problem: CertificateProblem::Invalid(problem),
            } => assert!(problem.contains("signature"), "{problem}"),
            other => panic!("{other}"),
        }
    }
}

fn demanding(authority: &Authority) -> (TlsServerBuilder, Identity) {
    let identity = self_signed(&["localhost"]);
    let builder = TlsServer::builder(identity.clone());
    let builder = builder.client_ca_pem(authority.pem().as_bytes()).unwrap();
    (builder, identity)
}

#[test]
fn a_client_shows_who_it_is() {
    let authority = Authority::new();
    let (server, identity) = demanding(&authority);
    let client = authority.issue(&params(&["ada"]));
    let fingerprint = client.fingerprint();
    let client = TlsClient::builder()
        .pin(identity.fingerprint())
        .identity(client);
    let (_client, server) = shake(&client.build().unwrap(), &server.build().unwrap(), &tls());
    let shown = server.unwrap().1.peer_certificates;
    assert_eq!(Fingerprint::of(&shown[0]), fingerprint);
}

/// With TLS 1.3 the client's handshake is over before the server has seen its certificate.
fn refused_later(client: Shaken) -> String {
    let mut stream = client.unwrap().0;
    let told = |stream: &mut TlsStream<_>| {
        let error = block_on(stream.read(&mut [0])).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        error.to_string()
    };
    let text = told(&mut stream);
    assert_eq!(told(&mut stream), text, "it is told again");
    text
}

#[test]
fn a_client_that_does_not_show_who_it_is_is_told_to() {
    let (server, identity) = demanding(&Authority::new());
    let (client, server) = shake(&pinned(&identity), &server.build().unwrap(), &tls());
    assert_eq!(
        server.unwrap_err().to_string(),
        "the peer's certificate was not accepted: there was none; give the client one with `identity`"
    );
    assert_eq!(
        refused_later(client),
        "the peer refused the TLS handshake (CertificateRequired): it wants to know who this client is; \
         give the client a certificate with `identity`"
    );
}

#[test]
fn a_client_of_another_authority_is_refused() {
    let (server, identity) = demanding(&Authority::new());
    let client = TlsClient::builder()
        .pin(identity.fingerprint())
        .identity(Authority::new().issue(&params(&["mallory"])));
    let (client, server) = shake(&client.build().unwrap(), &server.build().unwrap(), &tls());
    assert!(matches!(
        server,
        Err(TransportError::Certificate {
            problem: CertificateProblem::UnknownIssuer
        })
    ));
    assert!(refused_later(client).contains("(UnknownCA)"));
}

#[test]
fn a_client_may_be_left_to_choose() {
    let (server, identity) = demanding(&Authority::new());
    let server = server.client_certificate_optional(true).build().unwrap();
    let (client, server) = shake(&pinned(&identity), &server, &tls());
    assert!(client.is_ok() && server.unwrap().1.peer_certificates.is_empty());
}

#[test]
fn ends_of_different_protocols_part() {
    let identity = self_signed(&["localhost"]);
    let server = TlsServer::builder(identity.clone()).alpn(["other/1"]);
    let shaken = shake(&pinned(&identity), &server.build().unwrap(), &tls());
    let (here, there) = errors(shaken);
    assert_eq!(
        here,
        "the peer refused the TLS handshake (NoApplicationProtocol): the two ends have no protocol in \
         common (ALPN); use the same kind of endpoint, or the same `alpn`"
    );
    assert!(there.starts_with("the peer does not speak TLS:"), "{there}");
    let silent = TlsClient::builder().pin(identity.fingerprint());
    let silent = silent.alpn(Vec::<Vec<u8>>::new()).build().unwrap();
    let (client, server) = shake(&silent, &served(identity), &tls());
    assert!(client.is_ok(), "ALPN is no must");
    assert_eq!(server.unwrap().1.alpn, None);
}

#[test]
fn a_client_in_plain_text_is_told() {
    let (error, heard) = server_hears(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(
        error.to_string(),
        "the peer does not speak TLS: it sent an HTTP request in plain text; let the client use wss:// \
         or https://; check that both ends use the same kind of endpoint"
    );
    let heard = String::from_utf8(heard).unwrap();
    let (above, text) = heard.split_once("\r\n\r\n").unwrap();
    assert!(above.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{above}");
    assert!(
        above.contains(&format!("content-length: {}\r\n", text.len())),
        "{above}"
    );
}

#[test]
fn garbage_is_no_tls() {
    for garbage in [
        &[0; 64][..],
        b"\x00\x00\x00\x0cabcdefgh",
        b"SSH-2.0-",
        b"\x80\x2e\x01\x03\x01",
    ] {
        let (error, heard) = server_hears(garbage);
        assert_eq!(
            error.to_string(),
            "the peer does not speak TLS: what it sent first is no TLS; let the client use tls:// or \
             wss://; check that both ends use the same kind of endpoint"
        );
        assert!(heard.is_empty());
    }
    let record = |body: &[u8]| {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&[22, 3, 1][..], &length, body].concat()
    };
    for garbage in [
        record(&[1, 0, 0, 0]),
        record(&[2, 0, 0, 0]),
        record(&[1, 255, 255, 255]),
        [22, 3, 1, 255, 255].repeat(9),
    ] {
        let (error, heard) = server_hears(&garbage);
        assert!(
            error
                .to_string()
                .starts_with("the peer does not speak TLS:"),
            "{error}"
        );
        assert!(
            heard.first().is_none_or(|first| *first == 21),
            "no alert: {heard:?}"
        );
    }
}

/// The beginning of something that could still become a message is waited for, not longer than that.
#[test]
fn what_is_never_finished_runs_out_of_time() {
    for begun in [
        &[22, 3, 1][..],
        &[22, 3, 1, 0, 0],
        &[22, 3, 1, 0, 4, 1, 0, 1, 0],
    ] {
        let (error, heard) = server_hears(begun);
        assert!(
            matches!(error, TransportError::HandshakeTimeout { .. }),
            "{error}"
        );
        assert!(heard.is_empty());
    }
}

#[test]
fn a_server_in_plain_text_is_noticed() {
    let (here, mut raw) = pipe(64 * 1024);
    let client = pinned(&self_signed(&[]));
    block_on(raw.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")).unwrap();
    let shaken = block_on(connect(here, &tls(), &client, &deadline()));
    assert_eq!(
        shaken.unwrap_err().to_string(),
        "the peer does not speak TLS: what it sent is no TLS; a plain endpoint (tcp:// or ws://) listens \
         there, or something else; check that both ends use the same kind of endpoint"
    );
}

#[test]
fn a_peer_that_leaves_is_told_apart() {
    for said in [&b""[..], &[22, 3, 1], &[22, 3, 1, 0, 100, 1]] {
        let (mut raw, there) = pipe(1024);
        block_on(raw.write_all(said)).unwrap();
        drop(raw);
        let server = served(self_signed(&[]));
        let shaken = block_on(accept(there, &tls(), &server, &deadline()));
        let text = shaken.unwrap_err().to_string();
        assert!(
            text.starts_with("the connection broke during the TLS handshake"),
            "{text}"
        );
    }
}

#[test]
fn a_stream_that_is_cut_short_never_ends_well() {
    for server_vanishes in [true, false] {
        let identity = self_signed(&["localhost"]);
        let (client, server) = shake(&pinned(&identity), &served(identity), &tls());
        let (client, server) = (client.unwrap().0, server.unwrap().0);
        let (mut vanishes, mut stays) = if server_vanishes {
            (server, client)
        } else {
            (client, server)
        };
        block_on(vanishes.write_all(b"half a mess")).unwrap();
        block_on(vanishes.flush()).unwrap();
        drop(vanishes);
        let mut heard = [0; 11];
        block_on(stays.read_exact(&mut heard)).unwrap();
        assert_eq!(&heard, b"half a mess");
        for _ in 0..2 {
            let error = block_on(stays.read(&mut [0])).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            assert_eq!(
                error.to_string(),
                "the peer vanished without ending TLS; what was read may be cut short"
            );
        }
    }
}

#[test]
fn a_stream_that_is_closed_ends_well_and_half_of_it_goes_on() {
    let identity = self_signed(&["localhost"]);
    let (client, server) = shake(&pinned(&identity), &served(identity), &tls());
    let (mut client, mut server) = (client.unwrap().0, server.unwrap().0);
    block_on(server.close()).unwrap();
    for _ in 0..2 {
        assert_eq!(block_on(client.read(&mut [0])).unwrap(), 0);
    }
    block_on(client.write_all(b"still here")).unwrap();
    block_on(client.close()).unwrap();
    let mut heard = Vec::new();
    block_on(server.read_to_end(&mut heard)).unwrap();
    assert_eq!(heard, b"still here");
}

#[test]
fn a_handshake_that_dribbles_gets_ten_seconds() {
    let clock = VirtualClock::new();
    let runtime: SharedRuntime = Arc::new(clock.clone());
    let deadline = Deadline::new(runtime, Duration::from_secs(10));
    let (mut raw, there) = pipe(1024);
    clock.spawn(Box::pin(async move {
        let server = served(self_signed(&[]));
        let shaken = accept(there, &tls(), &server, &deadline).await;
        assert_eq!(
            shaken.unwrap_err().to_string(),
            "the peer did not finish the TLS handshake within 10s; it is slow or hostile, or waits because it does not speak TLS"
        );
    }));
    for byte in [22, 3, 1, 0, 200, 1, 0, 0, 196] {
        block_on(raw.write_all(&[byte])).unwrap();
        clock.advance(Duration::from_secs(1));
    }
    clock.advance(Duration::from_millis(999));
    assert_eq!(clock.run_until_stalled(), 1);
    clock.advance(Duration::from_millis(1));
    assert_eq!(clock.run_until_stalled(), 0);
}

#[test]
fn settings_that_cannot_work_are_refused_with_advice() {
    let (one, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let certificate = params(&[]).self_signed(&one).unwrap().pem();
    let mixed = Identity::from_pem(certificate.as_bytes(), other.serialize_pem().as_bytes());
    let mixed = mixed.unwrap();
    let both = Authority::new().trusted().pin(Fingerprint::of(b""));
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let table = [
        (
            TlsServer::builder(mixed).build().err(),
            "the private key does not belong to the certificate; take the two files that were made together",
        ),
        (
            TlsClient::builder().build().err(),
            "the client trusts nobody; choose `native_roots`, `ca_file` or `pin`",
        ),
        (
            both.build().err(),
            "a pinned certificate needs no issuer; choose either `pin`, or `native_roots` and `ca_file`",
        ),
        (
            Identity::from_pem(b"", b"").err(),
            "the PEM text has no readable certificate",
        ),
        (
            Identity::from_pem(certificate.as_bytes(), b"").err(),
            "the PEM text has no readable private key",
        ),
        (
            Identity::from_pem_files("/nowhere/a.pem", file).err(),
            "cannot read /nowhere/a.pem: No such file or directory (os error 2)",
        ),
        (
            TlsClient::builder().server_name("not a name").err(),
            "\"not a name\" is no name that a certificate can be for; give one with `server_name`",
        ),
        (
            "ab:c".parse::<Fingerprint>().err(),
            "\"ab:c\" is no fingerprint; write the SHA-256 of a certificate as 64 hexadecimal digits",
        ),
    ];
    for (error, problem) in table {
        assert_eq!(
            error.unwrap().to_string(),
            format!("cannot set up TLS: {problem}")
        );
    }
    let text = TlsClient::builder().ca_file(file).unwrap_err().to_string();
    assert!(
        text.ends_with("has no certificate in PEM; name a file with a `-----BEGIN` line for one"),
        "{text}"
    );
}

#[test]
fn fingerprints_are_those_that_openssl_shows() {
    let written = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(Fingerprint::of(b"").to_string(), written);
    let pairs: Vec<&str> = (0..32)
        .map(|place| &written[2 * place..2 * place + 2])
        .collect();
    let shown = pairs.join(":").to_uppercase();
    assert_eq!(shown.parse::<Fingerprint>().unwrap(), Fingerprint::of(b""));
    for wrong in [
        "",
        &written[1..],
        &format!("{written}0"),
        &format!("{written}00"),
        &written.replace('e', "g"),
    ] {
        assert!(wrong.parse::<Fingerprint>().is_err(), "{wrong}");
    }
}

/// A key in a log would be worse than none.
#[test]
fn no_key_is_shown() {
    let identity = self_signed(&[]);
    let shown = format!("{identity:?}");
    assert_eq!(
        shown,
        format!(
            "Identity {{ fingerprint: Fingerprint({}), .. }}",
            identity.fingerprint()
        )
    );
}

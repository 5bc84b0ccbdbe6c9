use std::io;
use std::sync::Arc;

use futures::executor::block_on;
use futures::future::join;
use futures::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::runtime;
use crate::transport::deadline::Deadline;
use crate::transport::{BoxedStream, TransportConfig, pipe};

fn endpoint(text: &str) -> Endpoint {
    text.parse().unwrap()
}

/// What comes of a proxy that answers so, and then says nothing more; and what it was asked.
fn told(
    proxy: &HttpProxy,
    config: &TransportConfig,
    answer: &[u8],
) -> (Result<BoxedStream, TransportError>, String) {
    let (here, mut there) = pipe(64 * 1024);
    let asked = async move {
        let mut heard = Vec::new();
        let mut byte = [0];
        while !heard.ends_with(b"\r\n\r\n") {
            there.read_exact(&mut byte).await.unwrap();
            heard.push(byte[0]);
        }
        there.write_all(answer).await.unwrap();
        there.close().await.unwrap();
        String::from_utf8(heard).unwrap()
    };
    let to = endpoint("wss://Example.org/wire");
    let deadline = Deadline::new(runtime::current(), config.connect_timeout);
    let opening = open(Box::new(here), proxy, &to, config, &deadline);
    block_on(join(opening, asked))
}

fn fails(answer: &str) -> String {
    let (proxy, config) = (
        HttpProxy::new("proxy:3128").unwrap(),
        TransportConfig::default(),
    );
    match told(&proxy, &config, answer.as_bytes()).0 {
        Ok(_stream) => panic!("{answer:?} was taken"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn it_is_asked_for_the_host_and_the_port_and_nothing_else() {
    let proxy = HttpProxy::new("http://proxy.example.org:3128").unwrap();
    let (opened, asked) = told(
        &proxy,
        &TransportConfig::default(),
        b"HTTP/1.1 200 OK\r\n\r\n",
    );
    assert!(opened.is_ok());
    let head = "CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n";
    assert_eq!(asked, head);
    for (to, place) in [
        ("tcp://10.0.0.1:9000", "10.0.0.1:9000"),
        ("tls://[::1]:9000", "[::1]:9000"),
        ("ws://example.org", "example.org:80"),
    ] {
        let asked = String::from_utf8(proxy.request(&endpoint(to))).unwrap();
        assert!(
            asked.starts_with(&format!("CONNECT {place} HTTP/1.1\r\n")),
            "{asked}"
        );
    }
}

#[test]
fn what_comes_at_once_behind_its_answer_is_not_lost() {
    let proxy = HttpProxy::new("proxy:3128").unwrap();
    // Answers to CONNECT have no body, whatever their headers say.
    for head in [
        "HTTP/1.1 200 Connection established\r\n\r\n",
        "HTTP/1.0 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nVia: 1.1 x\r\n\r\n",
    ] {
        let answer = format!("{head}{}", "first words".repeat(20));
        let (opened, _asked) = told(&proxy, &TransportConfig::default(), answer.as_bytes());
        let mut heard = String::new();
        block_on(opened.unwrap().read_to_string(&mut heard)).unwrap();
        assert_eq!(heard, "first words".repeat(20), "{head}");
    }
}

#[test]
fn a_refusal_says_why_and_what_to_do() {
    let refused = fails("HTTP/1.1 403 Forbidden\r\nContent-Length: 7\r\n\r\nno\r\nwayTHE NEXT");
    assert_eq!(
        refused,
        "the proxy http://proxy:3128 did not connect to wss://example.org/wire: HTTP status 403 and said \
         \"no way\"; its rules forbid that host or port; many let only port 443 through"
    );
    for (status, advice) in [
        (407, "it wants other credentials"),
        (503, "it does not reach that host"),
        (404, "it does not reach that host"),
        (500, "it does not reach that host"),
        (501, "is it a proxy that connects"),
        (405, "is it a proxy that connects"),
        (301, "is it a proxy that connects"),
        (101, "is it a proxy that connects"),
    ] {
        let refused = fails(&format!("HTTP/1.0 {status} Because\r\n\r\n"));
        assert!(refused.contains(advice), "{refused}");
    }
}

#[test]
fn what_does_not_speak_as_a_proxy_is_told() {
    for (answer, problem) in [
        ("\0\0\0\u{17}", "its answer is no HTTP/1.1 response"),
        (
            "SSH-2.0-OpenSSH\r\n\r\n",
            "its answer is no HTTP/1.1 response",
        ),
        (
            "HTTP/1.1 200 OK\r\n",
            "the connection broke during the HTTP CONNECT handshake",
        ),
        ("", "the connection broke during the HTTP CONNECT handshake"),
        (
            "HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
            "its answer is no HTTP/1.1 response",
        ),
    ] {
        let told = fails(answer);
        assert!(
            told.starts_with("through the proxy http://proxy:3128: "),
            "{told}"
        );
        assert!(told.contains(problem), "{answer:?}: {told}");
    }
}

#[test]
fn its_answer_is_read_as_far_as_a_head_may_go() {
    let proxy = HttpProxy::new("proxy:3128").unwrap();
    let config = TransportConfig::default()
        .max_http_head(1024)
        .max_http_headers(4);
    let begin = "HTTP/1.1 200 OK\r\nX: ";
    let of = |bytes: usize| format!("{begin}{}\r\n\r\n", "x".repeat(bytes - begin.len() - 4));
    assert!(told(&proxy, &config, of(1024).as_bytes()).0.is_ok());
    let (opened, _asked) = told(&proxy, &config, of(1025).as_bytes());
    let error = opened.err().unwrap().to_string();
    assert!(
        error.contains("has more than 1024 bytes") && error.contains("max_http_head"),
        "{error}"
    );
    let of = |headers: usize| format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(headers));
    assert!(told(&proxy, &config, of(4).as_bytes()).0.is_ok());
    let (opened, _asked) = told(&proxy, &config, of(5).as_bytes());
    let error = opened.err().unwrap().to_string();
    assert!(
        error.contains("has more than 4 headers") && error.contains("max_http_headers"),
        "{error}"
    );
}

#[test]
fn credentials_are_sent_and_shown_to_nobody() {
    let proxies = [
        HttpProxy::new("http://ada:s%20e%3Acret@proxy").unwrap(),
        HttpProxy::new("proxy")
            .unwrap()
            .credentials("ada", "s e:cret")
            .unwrap(),
    ];
    assert_eq!(proxies[0], proxies[1]);
    for proxy in proxies {
        let config = TransportConfig::default().proxy(proxy.clone());
        let (refused, asked) = told(&proxy, &config, b"HTTP/1.1 407 Who?\r\n\r\n");
        let line = "Proxy-Authorization: Basic YWRhOnMgZTpjcmV0\r\n";
        assert!(asked.contains(line), "{asked}");
        let refused = refused.err().unwrap();
        let shown = format!("{proxy} {proxy:?} {config:?} {refused} {refused:?}");
        for secret in ["cret", "YWRhOnMgZTpjcmV0"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert!(shown.contains("http://proxy:80"), "{shown}");
    }
    assert!(
        HttpProxy::new("proxy")
            .unwrap()
            .credentials("a:b", "c")
            .is_err()
    );
}

#[test]
fn what_cannot_be_a_proxy_is_refused_without_showing_it() {
    for (url, problem) in [
        ("", "it is no URL"),
        ("http://", "it is no URL"),
        ("https://ada:secret@proxy", "only http:// proxies"),
        ("socks5://ada:secret@proxy:1080", "only http:// proxies"),
        ("http://ada:secret@proxy:99999", "its host or port is none"),
        ("http://ada:secret@proxy:0", "its host or port is none"),
        ("http://ada:secret@proxy/path", "it has a path"),
        ("http://ada:secret@proxy/?query", "it has a path"),
        ("http://ada:80#secret@proxy:3128", "it has a #"),
        ("http://proxy:3128#", "it has a #"),
        ("http://ada:s\u{e9}secret@proxy", "it is no URL"),
        ("http://ada:secret\r\nX: y@proxy", "it is no URL"),
        ("http://a%FFda:secret@proxy", "no UTF-8"),
        ("http://a%3Ada:secret@proxy", "colon"),
    ] {
        let error = HttpProxy::new(url).unwrap_err();
        let told = error.to_string();
        assert!(told.contains(problem), "{url}: {told}");
        assert!(!format!("{told} {error:?}").contains("secret"), "{told}");
    }
}

#[test]
fn the_environment_names_it() {
    let of = |set: &[(&str, &str)]| {
        let value = |name: &str| set.iter().find(|(known, _)| *known == name);
        HttpProxy::from_variables(|name| value(name).map(|(_, value)| (*value).to_owned()))
    };
    assert_eq!(of(&[("no_proxy", "a")]).unwrap(), None);
    assert_eq!(
        of(&[("HTTPS_PROXY", " "), ("all_proxy", "")]).unwrap(),
        None
    );
    let named = |set| of(set).unwrap().unwrap().to_string();
    assert_eq!(
        named(&[("ALL_PROXY", "one:1"), ("all_proxy", "two:2")]),
        "http://two:2"
    );
    assert_eq!(
        named(&[("https_proxy", ""), ("HTTPS_PROXY", " http://three:3/ ")]),
        "http://three:3"
    );
    assert!(of(&[("https_proxy", "socks5://four:4")]).is_err());
    let set = [
        ("https_proxy", "five:5"),
        (
            "NO_PROXY",
            "localhost, .internal,,10.0.0.0/8 one.test\ttwo.test",
        ),
    ];
    let proxy = of(&set).unwrap().unwrap();
    assert!(!proxy.serves(&endpoint("ws://a.internal")));
    assert!(!proxy.serves(&endpoint("tcp://10.2.3.4:5")));
    assert!(!proxy.serves(&endpoint("tcp://one.test:1")));
    assert!(!proxy.serves(&endpoint("tcp://two.test:1")));
    assert!(proxy.serves(&endpoint("wss://example.org")));
}

#[test]
fn some_hosts_are_exempt() {
    let exempt = |hosts: &str, to: &str| {
        let proxy = HttpProxy::new("proxy").unwrap().exempt(hosts);
        !proxy.serves(&endpoint(to))
    };
    for (hosts, to) in [
        ("*", "tcp://anything:1"),
        ("Example.org", "wss://example.org"),
        ("example.org", "wss://EXAMPLE.org"),
        ("example.org", "wss://a.b.example.org"),
        (".example.org", "wss://example.org"),
        ("example.org.", "wss://example.org"),
        ("example.org", "wss://a.example.org."),
        ("*.example.org", "wss://a.example.org"),
        ("10.0.0.1", "tcp://10.0.0.1:1"),
        ("10.0.0.0/8", "tcp://10.255.0.1:1"),
        ("0.0.0.0/0", "tcp://10.255.0.1:1"),
        ("[::1]", "tcp://[::1]:1"),
        ("fd00::/7", "tcp://[fcff::1]:1"),
        ("::ffff:10.0.0.1", "tcp://10.0.0.1:1"),
    ] {
        assert!(exempt(hosts, to), "{hosts}: {to}");
    }
    for (hosts, to) in [
        ("", "tcp://anything:1"),
        ("example.org", "wss://badexample.org"),
        ("example.org", "wss://example.org.evil"),
        ("a.example.org", "wss://example.org"),
        ("10.0.0.1", "tcp://10.0.0.2:1"),
        ("10.0.0.0/8", "tcp://11.0.0.1:1"),
        ("10.0.0.0/33", "tcp://10.0.0.1:1"),
        ("10.0.0.0/x", "tcp://10.0.0.0:1"),
        ("fd00::/8", "tcp://[fcff::1]:1"),
        ("::/0", "tcp://10.0.0.1:1"),
        ("example.org/8", "wss://example.org"),
    ] {
        assert!(!exempt(hosts, to), "{hosts}: {to}");
    }
    let proxy = HttpProxy::new("proxy").unwrap();
    for local in ["memory://here", "unix:///run/wire"] {
        assert!(!proxy.serves(&endpoint(local)), "{local} is on no network");
    }
}

#[test]
fn answers_that_announce_another_are_passed_over() {
    let proxy = HttpProxy::new("proxy:3128").unwrap();
    let config = TransportConfig::default();
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n";
    let answer = format!("{interim}HTTP/1.1 200 OK\r\n\r\nfirst words");
    let (opened, _asked) = told(&proxy, &config, answer.as_bytes());
    let mut heard = String::new();
    block_on(opened.unwrap().read_to_string(&mut heard)).unwrap();
    assert_eq!(heard, "first words");
    let refused = fails(&format!("{interim}HTTP/1.1 407 Who?\r\n\r\nsay"));
    assert!(
        refused.contains("HTTP status 407 and said \"say\""),
        "{refused}"
    );
    let endless = fails(&"HTTP/1.1 102 Processing\r\n\r\n".repeat(1000));
    assert!(endless.contains("more than 5 interim answers"), "{endless}");
}

#[cfg(any(feature = "async-std", feature = "smol"))]
/// What connecting comes to through a proxy that listens, and says that at once and then nothing more.
fn connected_through(answer: &'static [u8]) -> TransportError {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = HttpProxy::new(&listener.local_addr().unwrap().to_string()).unwrap();
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        io::Write::write_all(&mut client, answer).unwrap();
        io::copy(&mut client, &mut io::sink()).ok();
    });
    let config = TransportConfig::default()
        .proxy(proxy)
        .connect_timeout(std::time::Duration::from_secs(2));
    let to = endpoint("ws://example.org/wire");
    block_on(crate::transport::connect(&to, &config))
        .err()
        .unwrap()
}

#[cfg(any(feature = "async-std", feature = "smol"))]
#[test]
fn a_refusal_whose_text_does_not_end_in_time_is_a_refusal_nevertheless() {
    let error = connected_through(b"HTTP/1.1 407 Who?\r\n\r\nsay");
    let TransportError::ProxyRefused { status, text, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!((*status, &**text), (407, "say"));
}

#[cfg(any(feature = "async-std", feature = "smol"))]
#[test]
fn a_proxy_that_says_nothing_is_named() {
    let error = connected_through(b"").to_string();
    assert!(
        error.starts_with("through the proxy http://127.0.0.1:"),
        "{error}"
    );
    assert!(
        error.contains("no answer from ws://example.org/wire within 2s"),
        "{error}"
    );
}

#[test]
fn it_is_not_blamed_for_what_this_process_lacks() {
    let proxy = HttpProxy::new("proxy:3128").unwrap();
    let cause = Arc::new(io::Error::from_raw_os_error(24));
    let error = proxy.failed(TransportError::OutOfFiles { cause });
    assert!(
        matches!(error, TransportError::OutOfFiles { .. }),
        "{error}"
    );
}

#[test]
fn it_is_found_however_its_url_is_written() {
    for (url, place) in [
        ("HTTP://Proxy.Example.org:3128", "proxy.example.org:3128"),
        ("proxy", "proxy:80"),
        ("proxy/", "proxy:80"),
        ("[::1]:3128", "[::1]:3128"),
        ("http://[::1]", "[::1]:80"),
        ("ada@[::1]:3128", "[::1]:3128"),
        ("http://ada:secret@[::1]/", "[::1]:80"),
        ("http://ada:%40secret@proxy:1", "proxy:1"),
        ("http://ada:p@secret@proxy:1", "proxy:1"),
        ("http://:secret@proxy:1", "proxy:1"),
    ] {
        let proxy = HttpProxy::new(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        assert_eq!(proxy.to_string(), format!("http://{place}"), "{url}");
    }
}

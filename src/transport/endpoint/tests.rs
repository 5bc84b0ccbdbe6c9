use super::*;

fn parts(input: &str) -> (Scheme, Option<String>, Option<u16>, String, String) {
    let endpoint: Endpoint = input.parse().unwrap();
    (
        endpoint.scheme(),
        endpoint.host().map(str::to_owned),
        endpoint.port(),
        endpoint.path().to_owned(),
        endpoint.to_string(),
    )
}

#[test]
fn what_is_read() {
    #[rustfmt::skip]
    let table = [
        ("memory://name", Scheme::Memory, None, None, "name", "memory://name"),
        ("memory://a/b:c", Scheme::Memory, None, None, "a/b:c", "memory://a/b:c"),
        ("tcp://h:1", Scheme::Tcp, Some("h"), Some(1), "", "tcp://h:1"),
        ("TCP://EXAMPLE.org:65535", Scheme::Tcp, Some("example.org"), Some(65535), "", "tcp://example.org:65535"),
        ("tcp://127.0.0.1:0", Scheme::Tcp, Some("127.0.0.1"), Some(0), "", "tcp://127.0.0.1:0"),
        ("tcp://[::1]:9", Scheme::Tcp, Some("::1"), Some(9), "", "tcp://[::1]:9"),
        ("tcp://[0:0:0:0:0:0:0:1]:9", Scheme::Tcp, Some("::1"), Some(9), "", "tcp://[::1]:9"),
        ("tcp://h:80", Scheme::Tcp, Some("h"), Some(80), "", "tcp://h:80"),
        ("tls://h:443", Scheme::Tls, Some("h"), Some(443), "", "tls://h:443"),
        ("unix:///run/x", Scheme::Unix, None, None, "/run/x", "unix:///run/x"),
        ("unix://x y?z#", Scheme::Unix, None, None, "x y?z#", "unix://x y?z#"),
        ("ws://h", Scheme::Ws, Some("h"), Some(80), "/", "ws://h/"),
        ("ws://h:80/", Scheme::Ws, Some("h"), Some(80), "/", "ws://h/"),
        ("ws://h:443/a", Scheme::Ws, Some("h"), Some(443), "/a", "ws://h:443/a"),
        ("ws://h?q=1", Scheme::Ws, Some("h"), Some(80), "/", "ws://h/?q=1"),
        ("ws://[fe80::1]/a%20b?q", Scheme::Ws, Some("fe80::1"), Some(80), "/a%20b", "ws://[fe80::1]/a%20b?q"),
        ("wss://h", Scheme::Wss, Some("h"), Some(443), "/", "wss://h/"),
        ("wss://h_1.x-y:1/z", Scheme::Wss, Some("h_1.x-y"), Some(1), "/z", "wss://h_1.x-y:1/z"),
    ];
    for (input, scheme, host, port, path, shown) in table {
        let expected = (
            scheme,
            host.map(str::to_owned),
            port,
            path.to_owned(),
            shown.to_owned(),
        );
        assert_eq!(parts(input), expected, "{input}");
        assert_eq!(
            shown.parse::<Endpoint>().unwrap(),
            input.parse().unwrap(),
            "{input}"
        );
    }
}

#[test]
fn what_is_refused() {
    let table = [
        ("", "no scheme"),
        ("h:1", "no scheme"),
        ("http://h:1", "scheme is not one of"),
        ("memory://", "no name"),
        ("memory://a b", "blanks"),
        ("memory://a\n", "blanks"),
        ("tcp://", "no host"),
        ("tcp://:1", "no host"),
        ("tcp://h", "no port"),
        ("tcp://h:", "no number"),
        ("tcp://h:+1", "no number"),
        ("tcp://h:-1", "no number"),
        ("tcp://h:65536", "above 65535"),
        ("tcp://h:1/", "after the port"),
        ("tcp://h:1?q", "after the port"),
        ("tcp://::1:1", "brackets"),
        ("tcp://[::1:1", "never closed"),
        ("tcp://[::1]1", "colon"),
        ("tcp://[h]:1", "no IPv6"),
        ("tcp://[fe80::1%eth0]:1", "no IPv6"),
        ("tcp://1.2.3:1", "no IPv4"),
        ("tcp://256.0.0.1:1", "no IPv4"),
        ("tcp://h h:1", "characters"),
        ("tcp://hö:1", "characters"),
        ("tcp://u@h:1", "password"),
        ("ws://u:p@h/", "password"),
        ("ws://h/#f", "fragment"),
        ("ws://h/a b", "percent"),
        ("ws://h/\"", "percent"),
        ("ws://h/ö", "percent"),
        ("unix://", "no file"),
        ("unix:///run/", "no file"),
        ("unix:///a\0b", "NUL"),
    ];
    for (input, problem) in table {
        let message = input.parse::<Endpoint>().unwrap_err().to_string();
        assert!(message.contains(problem), "{input:?}: {message}");
        assert!(message.contains(&format!("{input:?}")), "{message}");
        assert!(message.contains("write it like"), "{message}");
    }
}

#[test]
fn the_length_is_bounded() {
    let longest = format!("memory://{}", "n".repeat(MAX_LENGTH - "memory://".len()));
    assert!(longest.parse::<Endpoint>().is_ok());
    let message = format!("{longest}n")
        .parse::<Endpoint>()
        .unwrap_err()
        .to_string();
    assert!(message.contains("2048"), "{message}");
}

#[test]
fn a_bound_port_replaces_the_free_one() {
    let endpoint: Endpoint = "ws://[::1]:0/a?b".parse().unwrap();
    assert_eq!(endpoint.with_port(7).to_string(), "ws://[::1]:7/a?b");
    assert_eq!(endpoint.address(), Some("[::1]:0".parse().unwrap()));
}

use super::*;

fn hello(number: u8) -> Hello {
    Hello {
        network: "test".to_owned(),
        id: PeerId::new([number; 32]),
        instance: 1,
        nonce: u64::from(number),
        versions: (2, 4),
        capabilities: 0,
        endpoints: Vec::new(),
        application: Bytes::new(),
    }
}

fn dialer() -> Handshake {
    Handshake::new(Direction::Outbound, hello(1), None)
}

fn listener() -> Handshake {
    Handshake::new(Direction::Inbound, hello(2), None)
}

fn hear(handshake: &mut Handshake, message: &Bytes) -> Result<Step, Failure> {
    handshake.receive(message, |_| false, |_| Ok(()))
}

fn refused(theirs: Hello) -> Reason {
    let message = Message::Hello(theirs).encode();
    match listener().receive(&message, |nonce| nonce == 99, |_| Ok(())) {
        Err(Failure::Refused(rejection)) => rejection.reason().clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn two_nodes_meet() {
    let (mut dialer, mut listener) = (dialer(), listener());
    assert_eq!(listener.first(), None);
    let first = dialer.first().unwrap();
    assert_eq!(hear(&mut listener, &first), Ok(Step::Examine(hello(1), 4)));
    let (answer, opens) = listener.accept();
    assert!(!opens, "the dialer may still refuse");
    assert_eq!(hear(&mut dialer, &answer), Ok(Step::Examine(hello(2), 4)));
    let (last, opens) = dialer.accept();
    assert!(opens);
    assert_eq!(hear(&mut listener, &last), Ok(Step::Open));
}

#[test]
fn checks_go_in_order() {
    let mut theirs = hello(2);
    theirs.network = "other".to_owned();
    theirs.nonce = 99;
    theirs.versions = (5, 6);
    assert_eq!(refused(theirs.clone()), Reason::Network);
    theirs.network = "test".to_owned();
    assert_eq!(refused(theirs.clone()), Reason::SelfDial);
    theirs.nonce = 98;
    assert_eq!(refused(theirs.clone()), Reason::IdentityClash);
    theirs.id = PeerId::new([3; 32]);
    assert_eq!(refused(theirs.clone()), Reason::Version);
    let banned = |_: &Hello| Err(Rejection::new(Reason::Banned));
    let heard = listener().receive(&Message::Hello(theirs).encode(), |_| false, banned);
    assert_eq!(heard, Err(Failure::Refused(Rejection::new(Reason::Banned))));
}

#[test]
fn another_peer_than_expected_is_refused() {
    let mut dialer = Handshake::new(Direction::Outbound, hello(1), Some(PeerId::new([3; 32])));
    let heard = hear(&mut dialer, &Message::Hello(hello(2)).encode());
    assert_eq!(
        heard,
        Err(Failure::Refused(Rejection::new(Reason::OtherPeer)))
    );
}

#[test]
fn the_highest_common_version_is_spoken() {
    assert_eq!(common((1, 3), (2, 9)), Some(3));
    assert_eq!(common((3, 3), (1, 3)), Some(3));
    assert_eq!(common((1, 2), (3, 4)), None);
    assert_eq!(common((4, 2), (2, 4)), None, "a range that is none");
}

#[test]
fn a_rejection_is_heard_where_it_can_come() {
    let rejection = Rejection::new(Reason::Full);
    let message = Message::Reject(rejection.clone()).encode();
    let expected = Err(Failure::Rejected(rejection));
    assert_eq!(hear(&mut dialer(), &message), expected);
    let mut listener = listener();
    hear(&mut listener, &Message::Hello(hello(1)).encode()).unwrap();
    listener.accept();
    assert_eq!(hear(&mut listener, &message), expected);
}

#[test]
fn nothing_comes_out_of_order() {
    let messages = [
        Message::Hello(hello(3)).encode(),
        Message::Ack.encode(),
        Message::Reject(Rejection::new(Reason::Full)).encode(),
        Bytes::from_static(b""),
        Bytes::from_static(b"\xff"),
    ];
    for (place, message) in messages.iter().enumerate() {
        if place != 0 {
            assert_eq!(hear(&mut listener(), message), Err(Failure::Malformed));
        }
        let mut waits = listener();
        hear(&mut waits, &messages[0]).unwrap();
        waits.accept();
        if place != 1 && place != 2 {
            assert_eq!(hear(&mut waits, message), Err(Failure::Malformed));
        }
        let mut over = dialer();
        hear(&mut over, &messages[0]).unwrap();
        over.accept();
        assert_eq!(hear(&mut over, message), Err(Failure::Malformed));
    }
}

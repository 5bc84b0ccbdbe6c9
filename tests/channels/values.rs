//! What fails concerns one value, and leaves the channel as it was.

use bytes::Bytes;
use futures::SinkExt;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sessionwire::mux::RawChannel;
use sessionwire::transport::pipe;
use sessionwire::{Channel, ChannelError, Code, Config, Connection, Role};

use super::support::stage::Stage;
use super::support::{KIB, MIB, channel, pattern};

/// A number that only travels when it is even.
#[derive(Debug, PartialEq)]
struct Even(u32);

impl Serialize for Even {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 % 2 == 1 {
            return Err(serde::ser::Error::custom("odd numbers stay here"));
        }
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Even {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u32::deserialize(deserializer)?;
        if number % 2 == 1 {
            return Err(serde::de::Error::custom("an odd number"));
        }
        Ok(Self(number))
    }
}

#[test]
fn a_value_that_cannot_be_encoded_or_decoded_fails_alone() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    stage.run(async {
        let (one, other) = channel(&here, &there).await;
        let mut evens = Channel::<Even, u32>::from_raw(one);
        let mut numbers = Channel::<u32, Even>::from_raw(other);
        for number in 0..6 {
            let sent = evens.send(&Even(number)).await;
            assert_eq!(sent.is_err(), number % 2 == 1, "{number}: {sent:?}");
            if let Err(error) = sent {
                assert!(
                    error.to_string().contains("odd numbers stay here"),
                    "{error}"
                );
            }
        }
        for number in [0, 2, 4] {
            assert_eq!(
                numbers.recv().await.expect("to receive"),
                Some(Even(number))
            );
        }
        let mut numbers_to_evens = numbers;
        let mut plain = evens;
        for number in 0..6 {
            numbers_to_evens.send(&number).await.expect("to send");
        }
        for number in 0..6 {
            assert_eq!(plain.recv().await.expect("to receive"), Some(number));
        }
        let (one, other) = channel(&here, &there).await;
        let mut numbers = Channel::<u32, u32>::from_raw(one);
        let mut evens = Channel::<u32, Even>::from_raw(other);
        for number in 0..6 {
            numbers.send(&number).await.expect("to send");
        }
        numbers.finish();
        for number in 0..6 {
            match evens.recv().await {
                Ok(heard) => assert_eq!(heard, Some(Even(number))),
                Err(error) => {
                    assert!(
                        number % 2 == 1 && matches!(error, ChannelError::Codec(_)),
                        "{error}"
                    );
                }
            }
        }
        assert_eq!(evens.recv().await.expect("an end"), None);
    });
}

#[test]
fn a_message_too_large_for_either_end_is_refused_before_it_is_sent() {
    for (mine, theirs) in [(100 * KIB, MIB), (MIB, 100 * KIB)] {
        let stage = Stage::default();
        let (one, other) = pipe(64 * KIB);
        let config = |max| Config::default().max_message_size(max);
        let here = stage.running(one, Role::Dialer, &config(mine));
        let there = stage.running(other, Role::Acceptor, &config(theirs));
        stage.run(async {
            let (mut one, mut other) = channel(&here, &there).await;
            let message = pattern(100 * KIB + 1, 1);
            let error = one.send(message.clone()).await.expect_err("too large");
            assert!(
                matches!(error.error, ChannelError::TooLarge { length, max }
                    if length == 100 * KIB + 1 && max == 100 * KIB),
                "{error:?}"
            );
            assert_eq!(error.message, message, "it comes back");
            // A value and a sink say the same.
            let mut typed = Channel::<Vec<u8>, ()>::from_raw(one);
            let value = vec![1; 100 * KIB];
            let error = typed.send(&value).await.expect_err("too large");
            assert!(matches!(error, ChannelError::TooLarge { .. }), "{error}");
            let error = SinkExt::send(&mut typed, value)
                .await
                .expect_err("too large");
            assert!(matches!(error, ChannelError::TooLarge { .. }), "{error}");
            // The channel goes on, up to the limit itself.
            let value = vec![1; 100 * KIB - 5];
            typed.send(&value).await.expect("to send");
            assert_eq!(
                other.recv().await.expect("to receive").expect("it").len(),
                100 * KIB
            );
        });
    }
}

#[test]
fn a_message_sent_before_the_peer_told_its_limit_resets_only_its_channel() {
    let stage = Stage::default();
    let (one, other) = pipe(64 * KIB);
    let small = Config::default().max_message_size(10 * KIB);
    let here = stage.running(one, Role::Dialer, &Config::default());
    let there = stage.running(other, Role::Acceptor, &small);
    stage.run(async {
        let mut early = here.open_raw("test/1").await.expect("a channel");
        early.send(pattern(20 * KIB, 1)).await.expect("nothing is known yet");
        let mut late = there.accept().await.expect("a living connection").expect("it").accept_raw();
        let error = early.recv().await.expect_err("too large");
        assert!(
            matches!(&error, ChannelError::Refused { code, .. } | ChannelError::ResetByPeer { code, .. }
                if *code == Code::TOO_LARGE),
            "{error}"
        );
        let error = late.recv().await.expect_err("too large");
        assert!(matches!(error, ChannelError::ResetHere { .. }), "{error}");
        channel(&here, &there).await;
    });
}

#[test]
fn a_failed_send_gives_the_message_back() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    let message = pattern(10 * KIB, 5);
    let ways: [fn(&Connection, &mut RawChannel); 2] = [
        |_, channel| channel.finish(),
        |connection, _| connection.close(Code::NONE, ""),
    ];
    for fails in ways {
        stage.run(async {
            let (mut one, _other) = channel(&here, &there).await;
            fails(&here, &mut one);
            let error = one.send(message.clone()).await.expect_err("it cannot go");
            assert_eq!(error.message, message);
        });
    }
}

#[test]
fn an_empty_message_is_a_message() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    stage.run(async {
        let (mut one, mut other) = channel(&here, &there).await;
        for _ in 0..3 {
            one.send(Bytes::new()).await.expect("to send");
        }
        one.finish();
        for _ in 0..3 {
            assert_eq!(other.recv().await.expect("to receive"), Some(Bytes::new()));
        }
        assert_eq!(other.recv().await.expect("an end"), None);
    });
}

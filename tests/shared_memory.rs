//! Windows that grow and messages larger than a window share memory: none may keep it from a
//! message that needs it.

use std::time::Duration;

use async_std::future::timeout;
use async_std::task;
use sessionwire::transport::pipe;
use sessionwire::{Config, Connection, Error, RawChannel, Role};

const SIZE: usize = 1024 * 1024;

#[test]
fn a_large_message_arrives_however_far_other_windows_have_grown() {
    run(async {
        let (here, there) = pair();
        let mut growing = here.open_raw("growing").await?;
        let mut reading = there.accept().await?.expect("a channel").accept_raw();
        let reader = task::spawn(async move {
            for _ in 0..4000 {
                reading.recv().await?;
            }
            Ok::<_, Error>(reading)
        });
        let sender =
            task::spawn(
                async move { while growing.send(vec![0; 16 * 1024].into()).await.is_ok() {} },
            );
        let reading = reader.await?;
        send(&here, &there, SIZE).await?;
        drop(reading);
        sender.await;
        Ok(())
    });
}

#[test]
fn a_channel_gives_its_memory_back_when_its_large_message_was_read() {
    run(async {
        let (here, there) = pair();
        let mut open = Vec::new();
        for size in [SIZE / 3, SIZE / 2, SIZE] {
            open.push(send(&here, &there, size).await?);
        }
        Ok(())
    });
}

#[test]
fn memory_is_not_lent_to_a_channel_that_needs_it_no_more() {
    run(async {
        let (here, there) = pair();
        let mut unread = here.open_raw("unread").await?;
        unread.send(vec![0; SIZE].into()).await?;
        let mut reading = there.accept().await?.expect("a channel").accept_raw();
        while there.statistics().messages_received == 0 {
            task::yield_now().await;
        }
        // It waits for memory at first, but then its window is enough.
        let _fits = send(&here, &there, 100 * 1024).await?;
        reading.recv().await?;
        let _waiting = task::spawn(async move { reading.recv().await });
        send(&here, &there, SIZE).await?;
        Ok(())
    });
}

/// Two ends with the least shared memory that there can be: one message.
fn pair() -> (Connection, Connection) {
    let (one, other) = pipe(64 * 1024);
    let config = Config::default().max_message_size(SIZE).receive_memory(0);
    let (here, driver) = Connection::new(one, Role::Dialer, config.clone());
    driver.spawn();
    let (there, driver) = Connection::new(other, Role::Acceptor, config);
    driver.spawn();
    (here, there)
}

/// Sends one message over a new channel, answers its two ends, still open; the receiver waits for
/// more.
async fn send(
    here: &Connection,
    there: &Connection,
    size: usize,
) -> Result<(RawChannel, task::JoinHandle<()>), Error> {
    let mut sending = here.open_raw("large").await?;
    sending.send(vec![0; size].into()).await?;
    let mut receiving = there.accept().await?.expect("a channel").accept_raw();
    let received = receiving.recv().await?.expect("a message");
    assert_eq!(received.len(), size);
    let waiting = task::spawn(async move {
        let _ = receiving.recv().await;
    });
    Ok((sending, waiting))
}

fn run(test: impl Future<Output = Result<(), Error>>) {
    let all = timeout(Duration::from_secs(10), test);
    let ended = task::block_on(all).expect("no deadlock");
    ended.expect("no error");
}

//! Windows that grow and messages larger than a window share memory: the former must not starve
//! the latter.

use std::time::Duration;

use async_std::future::timeout;
use async_std::task;
use sessionwire::transport::pipe;
use sessionwire::{Config, Connection, Error, Role};

const SIZE: usize = 1024 * 1024;

#[test]
fn a_large_message_arrives_however_far_other_windows_have_grown() {
    let all = timeout(Duration::from_secs(10), grow_then_send_large());
    task::block_on(all).expect("no deadlock").unwrap();
}

async fn grow_then_send_large() -> Result<(), Error> {
    let (one, other) = pipe(64 * 1024);
    // The least that there can be.
    let config = Config::default().max_message_size(SIZE).receive_memory(0);
    let (here, driver) = Connection::new(one, Role::Dialer, config.clone());
    driver.spawn();
    let (there, driver) = Connection::new(other, Role::Acceptor, config);
    driver.spawn();

    let mut growing = here.open_raw("growing").await?;
    let mut reading = there.accept().await?.expect("a channel").accept_raw();
    let reader = task::spawn(async move {
        for _ in 0..4000 {
            reading.recv().await?;
        }
        Ok::<_, Error>(reading)
    });
    let sender =
        task::spawn(async move { while growing.send(vec![0; 16 * 1024].into()).await.is_ok() {} });
    let reading = reader.await?;

    let mut large = here.open_raw("large").await?;
    large.send(vec![0; SIZE].into()).await?;
    let mut receiving = there.accept().await?.expect("a channel").accept_raw();
    let received = receiving.recv().await?.expect("a message");
    assert_eq!(received.len(), SIZE);
    drop(reading);
    sender.await;
    Ok(())
}

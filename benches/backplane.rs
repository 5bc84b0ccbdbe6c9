//! What one process publishes over a Redis server: items per second, by how many publish at once.
//!
//! `redis-server --port 0 --unixsocket /tmp/redis.sock --save ''`, then
//! `SESSIONWIRE_REDIS=unix:///tmp/redis.sock cargo bench --features redis,tokio --bench backplane`

#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

use std::time::Instant;

use async_std::task;
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use sessionwire::rpc::{Backplane, RedisBackplane, RedisConfig};

const ITEMS: u32 = 20_000;
const AT_ONCE: [usize; 4] = [1, 16, 256, 1024];

fn main() {
    let Ok(address) = std::env::var("SESSIONWIRE_REDIS") else {
        println!("skipped: SESSIONWIRE_REDIS names no server");
        return;
    };
    println!("| runtime | publishers at once | items of 64 bytes per second |\n|---|---|---|");
    task::block_on(measure("async-std", &address));
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let tokio = tokio.expect("a runtime");
    tokio.block_on(measure("tokio, one thread", &address));
}

async fn measure(runtime: &str, address: &str) {
    let config = RedisConfig::default().prefix("bench:");
    let backplane = RedisBackplane::connect(address, config).await;
    let backplane = backplane.expect("a server");
    for at_once in AT_ONCE {
        let begun = Instant::now();
        publish(&backplane, at_once).await;
        let rate = f64::from(ITEMS) / begun.elapsed().as_secs_f64();
        println!("| {runtime} | {at_once} | {rate:.0} |");
    }
}

async fn publish(backplane: &RedisBackplane, at_once: usize) {
    let item = Bytes::from_static(&[7; 64]);
    let publishing = stream::iter(0..ITEMS)
        .map(|_| backplane.publish(Bytes::from_static(b"topic"), item.clone()))
        .buffer_unordered(at_once);
    publishing
        .for_each(|published| async {
            published.expect("to publish");
        })
        .await;
}

//! What the guard around decoding costs: nanoseconds per operation beside bincode alone.
//!
//! `cargo bench --bench codec`

#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use bincode::config::standard;
use bytes::BytesMut;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sessionwire::codec::{MaxMessageSize, decode, encode};

#[derive(Serialize, Deserialize)]
struct Packet {
    sequence: u64,
    #[serde(with = "serde_bytes")]
    payload: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Order {
    id: u64,
    symbol: String,
    price: f64,
    quantity: u32,
    side: Side,
    limit: Option<f64>,
    tags: Vec<u32>,
}

#[derive(Serialize, Deserialize)]
enum Side {
    Buy,
    Sell { short: bool },
}

fn main() {
    println!(
        "{:<22} {:>12} {:>12} {:>6} {:>12} {:>12} {:>6}",
        "", "encode", "bincode", "ratio", "decode", "bincode", "ratio"
    );
    for size in [64, 1024, 64 * 1024, 1_000_000] {
        let packet = Packet {
            sequence: 70_000,
            payload: vec![7; size],
        };
        compare(&format!("payload of {size}"), &packet);
    }
    let order = || Order {
        id: 1 << 40,
        symbol: "EURUSD".to_owned(),
        price: 1.25,
        quantity: 1_000,
        side: Side::Sell { short: true },
        limit: Some(1.5),
        tags: vec![1, 2, 3, 400],
    };
    let _ = Side::Buy;
    compare("order", &order());
    compare(
        "1000 orders",
        &(0..1000).map(|_| order()).collect::<Vec<_>>(),
    );
    compare(
        "Vec<u64> of 10000",
        &(0..10_000_u64).map(|n| n << 20).collect::<Vec<_>>(),
    );
    compare("Vec<u8> of 100000", &vec![7_u8; 100_000]);
}

fn compare<T: Serialize + DeserializeOwned>(name: &str, value: &T) {
    let max = MaxMessageSize::default();
    let mut buffer = BytesMut::new();
    encode(value, &mut buffer, max).expect("encodes");
    let body = buffer.clone().freeze();
    let mut scratch = Vec::with_capacity(body.len());

    let [our_encode, plain_encode, our_decode, plain_decode] = fastest([
        &mut || {
            buffer.clear();
            black_box(encode(black_box(value), &mut buffer, max).expect("encodes"));
        },
        &mut || {
            scratch.clear();
            let written =
                bincode::serde::encode_into_std_write(black_box(value), &mut scratch, standard());
            black_box(written.expect("encodes"));
        },
        &mut || {
            black_box(decode::<T>(black_box(&body), max).expect("decodes"));
        },
        &mut || {
            let decoded = bincode::serde::decode_from_slice::<T, _>(black_box(&body), standard());
            black_box(decoded.expect("decodes"));
        },
    ]);
    println!(
        "{name:<22} {our_encode:>9.1} ns {plain_encode:>9.1} ns {:>6.2} {our_decode:>9.1} ns {plain_decode:>9.1} ns {:>6.2}",
        our_encode / plain_encode,
        our_decode / plain_decode,
    );
}

/// The fastest of some rounds of each, taken in turn so that a busy machine hits all alike.
fn fastest<const COUNT: usize>(mut operations: [&mut dyn FnMut(); COUNT]) -> [f64; COUNT] {
    let mut fastest = [f64::INFINITY; COUNT];
    for _ in 0..15 {
        for (operation, best) in operations.iter_mut().zip(&mut fastest) {
            let start = Instant::now();
            let mut runs = 0_u32;
            while start.elapsed() < Duration::from_millis(10) {
                for _ in 0..10 {
                    operation();
                }
                runs += 10;
            }
            let nanoseconds = start.elapsed().as_secs_f64() * 1e9 / f64::from(runs);
            *best = best.min(nanoseconds);
        }
    }
    fastest
}

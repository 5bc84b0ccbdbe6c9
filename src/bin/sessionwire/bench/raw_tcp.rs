//! The same bytes over TCP with nothing around them: one write per message, nothing checked but
//! the count.

use std::time::{Duration, Instant};

use async_std::io;
use async_std::net::{Shutdown, TcpListener, TcpStream};
use async_std::task::{self, JoinHandle};
use futures_util::future::try_join_all;
use futures_util::{AsyncReadExt, AsyncWriteExt};

use super::plan::{Measurement, RAW_TCP};
use super::row::{Bulk, Kind, RoundTrips, Row};
use crate::failure::Failure;
use crate::protocol::payload;

/// Measures over connections of its own, as many as there are channels.
pub(super) async fn measure(measurement: &Measurement, time: Duration) -> Result<Row, Failure> {
    let &Measurement {
        kind,
        size,
        channels,
    } = measurement;
    let transport = RAW_TCP.to_owned();
    match kind {
        Kind::Bulk => {
            flood_all(size, channels, time / 10).await?;
            let bulk = flood_all(size, channels, time).await?;
            Ok(Row::bulk(transport, size, channels, bulk))
        }
        Kind::Rtt => {
            let trips = round_trips(size, time).await?;
            Ok(Row::round_trips(transport, size, trips))
        }
    }
}

async fn flood_all(size: usize, channels: usize, time: Duration) -> io::Result<Bulk> {
    let (mut senders, mut receivers) = (Vec::new(), Vec::new());
    for _ in 0..channels {
        let (here, there) = pair().await?;
        senders.push(here);
        receivers.push(task::spawn(count(there, size)));
    }
    let start = Instant::now();
    let floods = senders
        .into_iter()
        .map(|stream| task::spawn(flood(stream, size, start + time)));
    let floods: Vec<JoinHandle<_>> = floods.collect();
    let sent = try_join_all(floods).await?.into_iter().sum::<u64>();
    let received = try_join_all(receivers).await?.into_iter().sum::<u64>();
    let elapsed = start.elapsed();
    if received != sent * size as u64 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Bulk {
        messages: sent,
        elapsed,
    })
}

async fn flood(mut stream: TcpStream, size: usize, end: Instant) -> io::Result<u64> {
    let message = payload(size);
    let mut sent = 0;
    while sent == 0 || Instant::now() < end {
        stream.write_all(&message).await?;
        sent += 1;
    }
    stream.shutdown(Shutdown::Write)?;
    Ok(sent)
}

async fn count(mut stream: TcpStream, size: usize) -> io::Result<u64> {
    let mut buffer = vec![0; size.clamp(64 * 1024, 1024 * 1024)];
    let mut received = 0;
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(received),
            length => received += length as u64,
        }
    }
}

async fn round_trips(size: usize, time: Duration) -> io::Result<RoundTrips> {
    let (mut here, mut there) = pair().await?;
    let echo = task::spawn(async move {
        let mut message = vec![0; size];
        // The end of the stream is the end of the measurement.
        while there.read_exact(&mut message).await.is_ok() {
            there.write_all(&message).await?;
        }
        io::Result::Ok(())
    });
    send_there_and_back(&mut here, size, time / 10).await?;
    let trips = send_there_and_back(&mut here, size, time).await?;
    drop(here);
    echo.await?;
    Ok(trips)
}

async fn send_there_and_back(
    stream: &mut TcpStream,
    size: usize,
    time: Duration,
) -> io::Result<RoundTrips> {
    let message = payload(size);
    let mut answer = vec![0; size];
    let mut times = Vec::new();
    let start = Instant::now();
    let mut sent = start;
    loop {
        stream.write_all(&message).await?;
        stream.read_exact(&mut answer).await?;
        let now = Instant::now();
        times.push(now - sent);
        sent = now;
        let elapsed = now - start;
        if elapsed >= time {
            return Ok(RoundTrips { times, elapsed });
        }
    }
}

async fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let dialling = task::spawn(TcpStream::connect(address));
    let (there, _) = listener.accept().await?;
    let here = dialling.await?;
    here.set_nodelay(true)?;
    there.set_nodelay(true)?;
    Ok((here, there))
}

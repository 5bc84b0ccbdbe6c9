use std::pin::pin;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use async_std::future::timeout;
use futures_util::future::{Either, select};
use sessionwire::Channel;
use sessionwire::transport::Endpoint;

use crate::arguments::PingOptions;
use crate::failure::Failure;
use crate::output::say;
use crate::protocol::{self, Message, Outgoing};
use crate::signals::Interruption;

/// The command `ping`.
pub(crate) async fn run(options: &PingOptions) -> Result<ExitCode, Failure> {
    let interruption = Interruption::listen()?;
    let endpoint = &options.endpoint;
    let transport = options.client.transport()?.connect_timeout(options.timeout);
    let connecting = sessionwire::connect_with(endpoint, protocol::config(SIZE, 1), &transport);
    let connection = match select(pin!(connecting), pin!(interruption.wait())).await {
        Either::Left((connected, _)) => connected?,
        Either::Right(_) => return Ok(ExitCode::FAILURE),
    };
    let channel = connection.open("ping/1").await?;
    let mut pinger = Pinger {
        channel,
        options,
        interruption,
        tally: Tally::default(),
    };
    say(&format!("PING {endpoint}: {SIZE} bytes"))?;
    let ended = pinger.ping_until_told().await;
    if let Err(failure) = &ended {
        failure.report();
    }
    for line in pinger.tally.lines(endpoint) {
        say(&line)?;
    }
    pinger.channel.finish();
    // What matters has been said; a server that is gone cannot answer.
    let _ = connection.drain(Duration::from_secs(1)).await;
    let complete = ended.is_ok() && pinger.tally.lost() == 0;
    Ok(if complete {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Payload of a ping, in bytes.
const SIZE: usize = 64;

struct Pinger<'o> {
    channel: Channel<Outgoing, Message>,
    options: &'o PingOptions,
    interruption: Interruption,
    tally: Tally,
}

/// What came while something was waited for.
enum Heard {
    Answer,
    Nothing,
    Interruption,
}

impl Pinger<'_> {
    async fn ping_until_told(&mut self) -> Result<(), Failure> {
        let count = self.options.count.unwrap_or(u64::MAX);
        let payload = protocol::payload(SIZE);
        let mut next = Instant::now();
        for sequence in 0..count {
            let wait = next.saturating_duration_since(Instant::now());
            if !wait.is_zero() && matches!(self.hear(wait, None).await?, Heard::Interruption) {
                return Ok(());
            }
            let sent = Instant::now();
            next = sent + self.options.interval;
            let payload = payload.clone();
            self.tally.sent += 1;
            self.channel.send(&Outgoing { sequence, payload }).await?;
            match self.hear(self.options.timeout, Some(sequence)).await? {
                Heard::Answer => self.answered(sequence, sent.elapsed())?,
                Heard::Nothing => say(&format!(
                    "no answer to sequence={sequence} within {:?}",
                    self.options.timeout
                ))?,
                Heard::Interruption => {
                    // It was given no chance.
                    self.tally.sent -= 1;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn answered(&mut self, sequence: u64, time: Duration) -> Result<(), Failure> {
        self.tally.answered(time);
        say(&format!(
            "{SIZE} bytes from {}: sequence={sequence} time={} ms",
            self.options.endpoint,
            milliseconds(time)
        ))
    }

    /// Listens for the answer to `sequence`, at most `time`; answers to earlier pings come too late.
    async fn hear(&mut self, time: Duration, sequence: Option<u64>) -> Result<Heard, Failure> {
        let channel = &mut self.channel;
        let listening = pin!(timeout(time, async {
            loop {
                match channel.recv().await? {
                    Some(answer) if Some(answer.sequence) == sequence => return Ok(()),
                    Some(_) => {}
                    None => {
                        let hint = "ping again when it is back";
                        return Err(Failure::new("the server is shutting down", hint));
                    }
                }
            }
        }));
        match select(listening, pin!(self.interruption.wait())).await {
            Either::Left((Ok(heard), _)) => heard.map(|()| Heard::Answer),
            Either::Left((Err(_), _)) => Ok(Heard::Nothing),
            Either::Right(_) => Ok(Heard::Interruption),
        }
    }
}

#[derive(Debug, Default)]
struct Tally {
    sent: u64,
    received: u32,
    least: Duration,
    most: Duration,
    sum: Duration,
}

impl Tally {
    fn answered(&mut self, time: Duration) {
        self.least = if self.received == 0 {
            time
        } else {
            self.least.min(time)
        };
        self.most = self.most.max(time);
        self.sum += time;
        self.received = self.received.saturating_add(1);
    }

    fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.received.into())
    }

    fn lines(&self, endpoint: &Endpoint) -> Vec<String> {
        let (sent, received, lost) = (self.sent, self.received, self.lost());
        let percent = (lost * 100).checked_div(sent).unwrap_or(0);
        let mut lines = vec![
            String::new(),
            format!("--- {endpoint} ping statistics ---"),
            format!("{sent} sent, {received} received, {lost} lost ({percent}%)"),
        ];
        if let Some(mean) = self.sum.checked_div(received) {
            let [least, mean, most] = [self.least, mean, self.most].map(milliseconds);
            lines.push(format!("round trip min/avg/max = {least}/{mean}/{most} ms"));
        }
        lines
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64() * 1000.0)
}

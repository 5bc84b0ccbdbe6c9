//! A server that publishes prices, and a client that watches them through lost connections and
//! restarts of the server, over any transport.
//!
//! In one terminal, then in another:
//!
//!     cargo run --example ticker -- serve tcp://127.0.0.1:9000 ws://127.0.0.1:9001/prices
//!     cargo run --example ticker -- watch ws://127.0.0.1:9001/prices tcp://127.0.0.1:9000
//!
//! Kill the server and start it again: the client says what it missed, and goes on.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use async_std::task;
use sessionwire::rpc::{
    Caller, Client, Event, Fault, FaultKind, Feed, Interface, Link, LinkConfig, LinkState,
    LinkWatch, Never, Service, SubscribeOptions, Topics,
};
use sessionwire::transport::TransportConfig;
use sessionwire::{Config, Listener, Router};

const HELP: &str = "\
usage: ticker serve URL...
       ticker watch URL...

  serve   publishes the prices of bread and coffee at all URLs, until it is killed
  watch   prints them from one of the URLs, and from the next one when that is lost

  URL     such as tcp://127.0.0.1:9000, ws://127.0.0.1:9001/prices or unix:///tmp/prices";

/// What things cost, in cents.
enum Prices {}

impl Interface for Prices {
    const NAME: &'static str = "prices/1";
    type Request = Never;
    type Response = Never;
    type Topic = String;
    type Item = u32;
}

const GOODS: [(&str, u32); 2] = [("bread", 320), ("coffee", 1490)];

struct Market(Topics<Prices>);

impl Service for Market {
    type Interface = Prices;

    async fn call(&self, _: Caller, request: Never) -> Result<Never, Fault> {
        match request {}
    }

    async fn follow(&self, _: Caller, goods: String) -> Result<Feed<u32>, Fault> {
        let unknown = || Fault::new(FaultKind::UnknownTopic, format!("no {goods} here"));
        self.0.get(&goods).ok_or_else(unknown)
    }
}

#[async_std::main]
async fn main() -> ExitCode {
    let Err(error) = run().await else {
        return ExitCode::SUCCESS;
    };
    eprintln!("{error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((verb, urls)) if verb == "serve" && !urls.is_empty() => serve(urls).await,
        Some((verb, urls)) if verb == "watch" && !urls.is_empty() => watch(urls).await,
        Some((help, _)) if help == "--help" || help == "-h" => {
            println!("{HELP}");
            Ok(())
        }
        _ => Err(HELP.into()),
    }
}

async fn serve(urls: &[String]) -> Result<(), Box<dyn Error>> {
    let topics = Topics::new();
    for (goods, _) in GOODS {
        topics.open(&goods.to_owned())?;
    }
    let router = Router::new().on_service(Market(topics.clone()));
    let mut listener = Listener::new(Config::default(), TransportConfig::default());
    for url in urls {
        listener = listener.and(url).await?;
    }
    for endpoint in listener.endpoints() {
        println!("listening on {endpoint}");
    }
    task::spawn(publish(topics));
    Ok(listener.serve(&router).await?)
}

/// Prices go up and down, ten times a second.
async fn publish(topics: Topics<Prices>) -> Result<(), sessionwire::rpc::PublishError> {
    let mut prices = GOODS;
    for turn in 0_u32.. {
        for (goods, price) in &mut prices {
            *price = price.saturating_add_signed([5, -3, 4, -6][turn as usize % 4]);
            topics.publish(&(*goods).to_owned(), price)?;
        }
        task::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

async fn watch(urls: &[String]) -> Result<(), Box<dyn Error>> {
    let config = LinkConfig::default().backoff_cap(Duration::from_secs(2));
    let link = Link::to_any(urls.iter().map(String::as_str), config)?;
    let client: Client<Prices> = Client::new(&link);
    task::spawn(say_states(link.watch()));
    let watching = GOODS.map(|(goods, _)| task::spawn(watch_one(client.clone(), goods)));
    for task in watching {
        task.await?;
    }
    Ok(())
}

async fn say_states(mut states: LinkWatch) {
    let mut was_up = false;
    loop {
        let state = states.changed().await;
        let is_up = matches!(state, LinkState::Up { .. });
        match state {
            LinkState::Up { epoch, .. } => println!("connected, for the {epoch}. time"),
            LinkState::Down(error) => return println!("no connection any more: {error}"),
            LinkState::Waiting { why: Some(why), .. }
            | LinkState::Connecting { why: Some(why), .. }
                if was_up =>
            {
                println!("connection lost: {why}");
            }
            LinkState::Waiting { why: Some(why), .. } => println!("no connection: {why}"),
            _ => {}
        }
        was_up = is_up;
    }
}

async fn watch_one(
    client: Client<Prices>,
    goods: &str,
) -> Result<(), sessionwire::rpc::SubscribeError> {
    // However long it takes until a server is there.
    let options = SubscribeOptions::default().deadline(Duration::MAX);
    let mut prices = client.subscribe_with(&goods.to_owned(), options).await?;
    while let Some(event) = prices.recv().await {
        match event {
            Event::Item { value, .. } => {
                println!("{goods} {}.{:02}", value / 100, value % 100);
            }
            Event::Gap { missed, why } => {
                let missed =
                    missed.map_or_else(|| "nobody knows how many".to_owned(), |n| n.to_string());
                println!("{goods} missed: {missed} ({why:?})");
            }
            Event::End(reason) => println!("{goods} ended: {reason}"),
            other => println!("{goods}: {other:?}"),
        }
    }
    Ok(())
}

//! A service that takes orders, in as many processes as there are to be: each order gets the next number, and comes
//! to whoever watches, whichever process has which client. Over Redis, so that they share the numbers.
//!
//! In one terminal, in another, and in a third:
//!
//!     cargo run --example orders --features tokio,redis -- serve redis://127.0.0.1:6379 ws://127.0.0.1:9000/orders
//!     cargo run --example orders --features tokio,redis -- serve redis://127.0.0.1:6379 ws://127.0.0.1:9001/orders
//!     cargo run --example orders --features tokio,redis -- watch ws://127.0.0.1:9000/orders ws://127.0.0.1:9001/orders
//!
//! Then `place bread 2` in the place of `watch`, and end one of the servers by Ctrl-C meanwhile: it answers what it
//! has begun, its clients go over to the other one, and no order is lost or made twice.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sessionwire::Router;
use sessionwire::rpc::{
    CallOptions, Caller, Client, Delivery, Event, Fault, Feed, Interface, Link, LinkConfig,
    RedisBackplane, RedisConfig, Service, SharedTopics, SubscribeOptions,
};

const HELP: &str = "\
usage: orders serve REDIS URL
       orders watch URL...
       orders place GOODS COUNT URL...

  serve   takes orders at URL until Ctrl-C, together with all others at the same Redis
  watch   prints all orders from now on, from one of the URLs, and from the next one when that is lost
  place   orders so many of the goods, and prints the number of the order

  REDIS   such as redis://127.0.0.1:6379
  URL     such as ws://127.0.0.1:9000/orders or tcp://127.0.0.1:9001";

/// What calls that are under way may still take when a server ends.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long an order may take in all, servers that end and begin meanwhile included.
const PATIENCE: Duration = Duration::from_mins(1);

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Order {
    goods: String,
    count: u32,
}

enum Orders {}

impl Interface for Orders {
    const NAME: &'static str = "orders/1";
    type Request = Order;
    type Response = u64;
    type Topic = ();
    type Item = Order;
}

struct Shop {
    orders: SharedTopics<Orders, RedisBackplane>,
}

impl Service for Shop {
    type Interface = Orders;

    async fn call(&self, _: Caller, order: Order) -> Result<u64, Fault> {
        if order.count == 0 {
            return Err(Fault::refused("none of it is no order"));
        }
        Ok(self.orders.publish(&(), &order).await?.sequence())
    }

    async fn follow(&self, _: Caller, (): ()) -> Result<Feed<Order>, Fault> {
        Ok(self.orders.open(&()).await?)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    // What the library says, such as that Redis is away.
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr);
    log.with_max_level(tracing::Level::INFO).init();
    let Err(error) = run().await else {
        return ExitCode::SUCCESS;
    };
    eprintln!("{error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["serve", redis, url] => serve(redis, url).await,
        ["watch", urls @ ..] if !urls.is_empty() => watch(urls).await,
        ["place", goods, count, urls @ ..] if !urls.is_empty() => {
            let (goods, count) = ((*goods).to_owned(), count.parse()?);
            place(Order { goods, count }, urls).await
        }
        ["--help" | "-h", ..] => {
            println!("{HELP}");
            Ok(())
        }
        _ => Err(HELP.into()),
    }
}

async fn serve(redis: &str, url: &str) -> Result<(), Box<dyn Error>> {
    let backplane = RedisBackplane::connect(redis, RedisConfig::default().prefix("shop:")).await?;
    let orders = SharedTopics::new(backplane);
    let router = Router::new().on_service(Shop { orders });
    let listener = sessionwire::listen(url).await?;
    println!("listening on {}", listener.endpoint());
    let interrupted = async {
        if let Err(error) = tokio::signal::ctrl_c().await {
            eprintln!("Ctrl-C will end it without a goodbye: {error}");
            std::future::pending::<()>().await;
        }
    };
    listener.serve_until(&router, interrupted, FAREWELL).await?;
    println!("ended");
    Ok(())
}

fn client(urls: &[&str]) -> Result<Client<Orders>, Box<dyn Error>> {
    let link = Link::to_any(urls.iter().copied(), LinkConfig::default())?;
    Ok(Client::new(&link))
}

async fn watch(urls: &[&str]) -> Result<(), Box<dyn Error>> {
    let options = SubscribeOptions::default().deadline(Duration::MAX);
    let mut orders = client(urls)?.subscribe_with(&(), options).await?;
    println!("watching");
    while let Some(event) = orders.recv().await {
        match event {
            Event::Item { cursor, value } => {
                let Order { goods, count } = value;
                println!("order {}: {count} {goods}", cursor.sequence());
            }
            Event::Gap { missed, why } => println!("missed {missed:?} orders ({why:?})"),
            Event::End(reason) => return Err(reason.to_string().into()),
            other => println!("{other:?}"),
        }
    }
    Ok(())
}

/// One call with one key for the whole matter: it is sent again over the next connection, and run once. Only of an
/// order that was sent to a process that is gone, nobody can say whether it was placed.
async fn place(order: Order, urls: &[&str]) -> Result<(), Box<dyn Error>> {
    let options = CallOptions::default()
        .delivery(Delivery::Idempotent(rand::random()))
        .deadline(PATIENCE);
    match client(urls)?.call_with(&order, options).await {
        Ok(number) => println!("order {number} is placed"),
        Err(error) if error.is_not_run() => {
            return Err(format!("the order is not placed: {error}").into());
        }
        Err(error) => return Err(format!("the order may be placed: {error}").into()),
    }
    Ok(())
}

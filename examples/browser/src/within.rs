//! Calls and a subscription between two ends in one page, to see that they run there.

use sessionwire::rpc::{
    Caller, Client, Event, Fault, Feed, Interface, Link, Service, SubscribeOptions, Topics,
};
use sessionwire::{Connection, Router};
use wasm_bindgen::prelude::{JsError, wasm_bindgen};

enum Sums {}

impl Interface for Sums {
    const NAME: &'static str = "sums/1";
    type Request = Vec<u32>;
    type Response = u32;
    type Topic = ();
    type Item = u32;
}

/// Answers sums, and publishes them.
struct Adder(Topics<Sums>);

impl Service for Adder {
    type Interface = Sums;

    async fn call(&self, _: Caller, numbers: Vec<u32>) -> Result<u32, Fault> {
        let sum = numbers.iter().sum();
        let feed = self
            .0
            .open(&())
            .map_err(|error| Fault::refused(error.to_string()))?;
        feed.publish(&sum)
            .map_err(|error| Fault::refused(error.to_string()))?;
        Ok(sum)
    }

    async fn follow(&self, _: Caller, topic: ()) -> Result<Feed<u32>, Fault> {
        self.0
            .open(&topic)
            .map_err(|error| Fault::refused(error.to_string()))
    }
}

/// The sums of the first number, of the first two, and so on, as they come on a subscription.
#[wasm_bindgen]
pub async fn sums(numbers: Vec<u32>) -> Result<Vec<u32>, JsError> {
    let (here, there) = Connection::pair();
    let router = Router::new().on_service(Adder(Topics::new()));
    wasm_bindgen_futures::spawn_local(async move {
        // Its end is that of the page's own end.
        let _ = router.serve(&there).await;
    });
    let client: Client<Sums> = Client::new(&Link::over(here));
    let mut subscription = client
        .subscribe_with(&(), SubscribeOptions::default())
        .await?;
    let mut heard = Vec::new();
    for last in 1..=numbers.len() {
        let sum = client.call(&numbers[..last].to_vec()).await?;
        match subscription.recv().await {
            Some(Event::Item { value, .. }) if value == sum => heard.push(value),
            other => return Err(JsError::new(&format!("{sum}, then {other:?}"))),
        }
    }
    Ok(heard)
}

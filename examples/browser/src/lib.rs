//! A client for a page in a browser: what is typed there is echoed by a server.
//!
//!     cargo run --manifest-path examples/browser/Cargo.toml
//!     cargo run --features tokio --example axum_server -- 127.0.0.1:9000 examples/browser/page
//!
//! The first one puts what is below, as WebAssembly, and the JavaScript around it beside
//! `page/index.html`; it needs `rustup target add wasm32-unknown-unknown`. The second one serves the page:
//! open <http://127.0.0.1:9000/>. Stop it while the page is open, and start it again.

mod within;

use sessionwire::rpc::{Link, LinkConfig};
use wasm_bindgen::prelude::{JsError, wasm_bindgen};

/// A server that echoes, behind a link that is made again when it is lost.
#[wasm_bindgen]
pub struct Echo {
    link: Link,
}

#[wasm_bindgen]
impl Echo {
    /// Begins to connect, to a URL such as `wss://example.org/wire`.
    #[wasm_bindgen(constructor)]
    pub fn new(url: &str) -> Result<Self, JsError> {
        Ok(Self {
            link: Link::to(url, LinkConfig::default())?,
        })
    }

    /// What the server says to a text, on a channel of its own.
    pub async fn say(&self, text: String) -> Result<String, JsError> {
        let connection = self.link.connection().await?;
        let mut channel = connection.open::<String, String>("echo/1").await?;
        channel.send(&text).await?;
        channel.finish();
        let answer = channel.recv().await?;
        answer.ok_or_else(|| JsError::new("the server said nothing"))
    }

    /// Whether there is a connection, and why not.
    pub fn state(&self) -> String {
        self.link.state().to_string()
    }
}

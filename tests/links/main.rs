//! Links through a network that fails, and the network that fails for them.
#![cfg(all(
    unix,
    feature = "async-std",
    feature = "smol",
    feature = "tls",
    feature = "tokio",
    feature = "websocket"
))]

#[path = "../support/mod.rs"]
mod support;

mod network;
mod reconnect;

macro_rules! everywhere {
    ($($case:ident)+) => { $(
        mod $case {
            everywhere!(@over $case, over_tcp Tcp);
            everywhere!(@over $case, over_websocket WebSocket);
        }
    )+ };
    (@over $case:ident, $over:ident $wire:ident) => {
        mod $over {
            everywhere!(@on $case $wire, on_async_std AsyncStd);
            everywhere!(@on $case $wire, on_smol Smol);
            everywhere!(@on $case $wire, on_tokio Tokio);
        }
    };
    (@on $case:ident $wire:ident, $name:ident $on:ident) => {
        #[test]
        fn $name() {
            use crate::support::world::{On, Wire};
            On::$on.run(Wire::$wire, |_| crate::reconnect::$case(Wire::$wire));
        }
    };
}

everywhere! {
    a_link_survives_resets
    a_link_follows_a_server_that_moves
    a_link_that_is_cut_at_any_byte_comes_up_again
    a_link_goes_on_with_a_byte_at_a_time
    a_closed_link_has_closed_its_connection
}

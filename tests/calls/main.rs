//! Calls over sockets, through a network that fails.
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

mod failing;
#[cfg(feature = "tower")]
mod tower;

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
            On::$on.run(Wire::$wire, |_| crate::failing::$case(Wire::$wire));
        }
    };
}

everywhere! {
    calls_are_answered_a_byte_at_a_time
    idempotent_calls_are_run_once_however_often_the_network_fails
    other_calls_are_run_as_often_as_they_say
    a_service_that_moves_runs_no_idempotent_call_again
    what_a_server_that_drains_has_holds_nothing_up
    a_deadline_passes_in_the_dark
}

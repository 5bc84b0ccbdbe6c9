//! Whole connections do the same whatever carries their bytes and whatever runs their tasks.
//!
//! Each case is a test of its own over each wire and on each runtime: the files beside this one
//! hold the cases, `support/world.rs` the wires and runtimes.
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

mod endings;
mod endpoints;
mod halves;
mod messages;
mod whole;

macro_rules! everywhere {
    ($($group:ident { $($case:ident)+ })+) => { $($(
        mod $case {
            everywhere!(@over $group $case, over_memory Memory);
            everywhere!(@over $group $case, over_tcp Tcp);
            everywhere!(@over $group $case, over_unix Unix);
            everywhere!(@over $group $case, over_websocket WebSocket);
            everywhere!(@over $group $case, over_tls Tls);
            everywhere!(@over $group $case, over_websocket_over_tls WebSocketOverTls);
            everywhere!(@over $group $case, over_their_websocket_dialling TheirClient);
            everywhere!(@over $group $case, over_their_websocket_accepting TheirServer);
            everywhere!(@over $group $case, over_their_websocket_at_both_ends TheirBoth);
        }
    )+)+ };
    (@over $group:ident $case:ident, $over:ident $wire:ident) => {
        mod $over {
            everywhere!(@on $group $case $wire, on_async_std AsyncStd);
            everywhere!(@on $group $case $wire, on_smol Smol);
            everywhere!(@on $group $case $wire, on_tokio Tokio);
        }
    };
    (@on $group:ident $case:ident $wire:ident, $name:ident $on:ident) => {
        #[test]
        fn $name() {
            use crate::support::world::{On, Wire};
            On::$on.run(Wire::$wire, crate::$group::$case);
        }
    };
}

everywhere! {
    messages {
        messages_of_every_size_come_back
        both_directions_press_at_once
        a_hundred_channels_talk_at_once
        either_side_opens
        values_have_types
        a_sink_forwards_and_a_stream_collects
        channels_of_every_priority_arrive
    }
    halves {
        finishing_one_way_leaves_the_other
        a_reset_carries_its_code_and_reason
        a_dropped_sender_is_a_reset
        a_stop_fails_the_sender_and_only_it
        halves_on_two_tasks_are_each_woken
        bytes_flow_through_a_channel_as_a_stream
    }
    whole {
        an_unknown_protocol_is_refused_by_name
        a_refusal_carries_its_reason
        a_ping_is_answered
        statistics_of_both_ends_agree
        more_channels_than_places_wait_their_turn
    }
    endings {
        a_drain_lets_finished_channels_complete
        a_drain_cuts_what_is_still_open
        nobody_opens_while_draining
        a_goodbye_reaches_the_peer
        dropping_everything_ends_both_ends_well
        what_was_finished_arrives_though_everything_was_dropped
        a_dropped_driver_is_reported_at_both_ends
    }
}

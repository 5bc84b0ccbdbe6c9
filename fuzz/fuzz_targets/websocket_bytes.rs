#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| sessionwire_fuzz::websocket_bytes(data));

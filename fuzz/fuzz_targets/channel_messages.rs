#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| sessionwire_fuzz::channel_messages(data));

use sessionwire::protocol;

protocol! {
    pub Table = "table" version 1;
    Idle: Client(secs(1), 8) { 0 Number: u64 => End, 1 Other: u64 => End }
}

fn main() {}

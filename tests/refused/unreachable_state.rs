use sessionwire::protocol;

protocol! {
    pub Table = "table" version 1;
    Idle: Client(secs(1), 8) { 0 Number: u64 => End }
    Lost: Server(secs(1), 8) { 0 Number: u64 => End }
}

fn main() {}

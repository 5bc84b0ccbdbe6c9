use sessionwire::protocol;

protocol! {
    pub Table = "table" version 1;
    Idle: Client(secs(1), 8) { 0 Ask: u64 => Asked, 1 Bye: () => End }
    Asked: Server(secs(1), 8) { 0 Answer: u64 => Asked }
}

fn main() {}

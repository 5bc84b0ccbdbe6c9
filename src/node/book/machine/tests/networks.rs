//! What becomes of whole networks.

use super::super::BookConfig;
use super::address;
use super::world::World;

const ROUND: u32 = 30;

#[test]
fn a_ring_of_which_each_knows_one_grows_together_within_ten_rounds() {
    let config = BookConfig::default().outbound(8);
    let mut world = World::new(50, &config);
    for node in 0..50 {
        let neighbour = address((node + 1) % 50);
        assert!(world.nodes[node].keep(neighbour, world.now));
    }
    let mut rounds = 0;
    while (0..50).any(|node| world.outbound(node) < 8) {
        world.run(ROUND);
        rounds += 1;
        assert!(rounds <= 10, "{:?}", world.links);
    }
    assert!(world.is_connected());
    println!("{rounds} rounds, {} dials", world.dials);
    assert!(world.dials < 50 * 8 * 4, "{} dials", world.dials);
    for node in 0..50 {
        assert!(!world.links.contains(&(node, node)));
        let own = &world.nodes[node].addresses;
        assert!(own.get(&address(node)).is_none(), "no entry of its own");
    }
}

#[test]
fn a_network_that_was_divided_grows_together_again() {
    let config = BookConfig::default().outbound(3);
    let mut world = World::new(20, &config);
    for node in 1..20 {
        world.nodes[node].keep(address(0), world.now);
    }
    world.run(10 * ROUND);
    assert!(world.is_connected());
    world.divide(|node| node % 2);
    // Long enough that whatever is forgotten is forgotten.
    world.run(6 * 3600);
    assert!(!world.is_connected());
    let outbound: usize = (0..20).map(|node| world.outbound(node)).sum();
    assert!(
        outbound > 20 * 3 * 4 / 5,
        "each half is content: {outbound}"
    );
    world.divide(|_| 0);
    let mut minutes = 0;
    while !world.is_connected() {
        world.run(60);
        minutes += 1;
        assert!(minutes <= 60);
    }
    println!("together after {minutes} minutes");
}

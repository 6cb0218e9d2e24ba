//! `kill -9` at random moments, under transactions that move records and their positions, beside other
//! producers. Transactions into a topic in memory are the control: those do not stay whole.

use tidings_compat::Server;

use crate::dice::Dice;
use crate::load::{Load, MIXED, create};
use crate::pipeline::{IN_MEMORY, Pipeline, Workers};
use crate::rounds;

/// Inputs in each partition of one round.
const INPUTS: i64 = 500;
/// Records of each producer beside them.
const EACH: u64 = 1500;
const PARTITIONS: i32 = 3;
/// How often a round is killed, at most.
const KILLS_MAX: u64 = 4;

#[test]
fn transactions_are_whole_after_any_kill() {
    let mut dice = Dice::new("transactions");
    let mut server = Server::start().expect("the server starts");
    let (mut kills, mut all, mut lost) = (0, [0; 3], 0);
    for round in 0..rounds() {
        let topic = format!("load-{round}");
        create(server.kafka(), &topic, PARTITIONS, &[]);
        let pipeline = Pipeline::new(server.kafka(), &format!("moved-{round}"), &[], INPUTS);
        let control =
            Pipeline::new(server.kafka(), &format!("in-memory-{round}"), &IN_MEMORY, INPUTS);
        let mut load = Load::new(server.kafka(), &topic, &MIXED);
        load.send(EACH);
        let workers =
            [&pipeline, &control].map(|pipeline| pipeline.work(server.kafka(), &mut dice));
        for _ in 0..=dice.below(KILLS_MAX) {
            let moved = pipeline.moved_now();
            let until = moved + dice.below((pipeline.all() - moved).max(1)) / 2;
            assert!(pipeline.moved(until), "only {} inputs were moved", pipeline.moved_now());
            server.kill_and_restart().expect("the server starts again");
            // What is committed behind somebody's open transaction is not seen yet, so what should stay
            // whole is looked at in the end.
            lost += control.violations_so_far(server.kafka()).len();
            kills += 1;
        }
        workers.into_iter().for_each(Workers::finish);
        load.finish();
        assert_eq!(pipeline.violations(server.kafka()), Vec::<String>::new());
        load.check(server.kafka(), PARTITIONS, false);
        for (sum, count) in all.iter_mut().zip(pipeline.transactions()) {
            *sum += count;
        }
    }
    assert!(
        lost > 0,
        "transactions into a topic in memory lost nothing, so the kills show nothing"
    );
    let [committed, aborted, unknown] = all;
    assert!(committed > 0 && aborted > 0, "{all:?} show nothing");
    println!(
        "transactions: {kills} kills, {committed} committed, {aborted} aborted, {unknown} that \
         nobody was told of; none lost, half visible, repeated or hanging; into a topic in memory \
         {lost} violations"
    );
}

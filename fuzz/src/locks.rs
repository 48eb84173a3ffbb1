//! Lock resolution: readers and writers among the locks of clients that died, against a cluster with faults.
//!
//! Dead clients leave every state of a transaction behind: some keys prewritten, the primary committed or rolled back or
//! neither, plain or by async commit, with any time to live; now and then they come back and go on. Laws, judged in the end
//! against the cluster's data:
//!
//! * a read sees just what was committed up to its timestamp, whatever it resolved or went round;
//! * no lock is committed or rolled back against the primary; an async commit that was complete is committed, at its time;
//! * a transaction that its client committed stays committed; in the end no lock stays.

use crate::choices::Choices;
use crate::world::judge::judge;
use crate::world::play::Play;

/// Steps of one input at the most.
const STEPS: usize = 300;

/// See the module.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut play = Play::new(&mut choices);
    let late_first = choices.one_in(2);
    for _ in 0..STEPS {
        if choices.is_over() {
            break;
        }
        match choices.below(24) {
            0..7 => play.dead(&mut choices),
            7..9 => play.read(&mut choices),
            9 => play.begin(&mut choices),
            10..20 => play.complete(&mut choices),
            20 => play.arrive(&mut choices),
            21 => play.world.shake(&mut choices),
            22 => play.pass(&mut choices),
            _ => play.stop(&mut choices),
        }
    }
    play.finish(late_first);
    play.resolve();
    judge(&mut play);
}

//! Two-phase commits side by side against a cluster that loses, delays and refuses, splits and moves.
//!
//! Laws, judged in the end against the cluster's data:
//!
//! * reported as committed: committed at just that time, all keys; any error but `Undetermined`: never committed;
//! * `Undetermined` only when the fate of a commit of the primary was not known;
//! * nothing that may have left a lock ends without a clean-up in the background, and in the end no lock stays;
//! * a rollback begins with the primary, and no other key is rolled back while the primary has its lock;
//! * no key is committed or rolled back against the primary; reads see just what was committed up to their timestamp.

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
            0..3 => play.begin(&mut choices),
            3 => play.read(&mut choices),
            4..18 => play.complete(&mut choices),
            18 => play.arrive(&mut choices),
            19 | 20 => play.world.shake(&mut choices),
            21 => play.pass(&mut choices),
            22 => play.stop(&mut choices),
            _ => play.dead(&mut choices),
        }
    }
    play.finish(late_first);
    play.resolve();
    judge(&mut play);
}

//! Everything that is encoded and decoded. The first byte chooses: `pure` takes the codecs as functions, `replies` plays every
//! operation against stores that answer anything, so that each of its decoders meets hostile bytes; `traces` replays traces that
//! nobody recorded.

pub(crate) mod pure;
pub(crate) mod replies;
pub(crate) mod traces;

use crate::choices::Choices;

/// See the module.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    match choices.below(5) {
        0 | 1 => pure::check(&mut choices),
        2 | 3 => replies::play_any(&mut choices),
        _ => traces::check(&mut choices),
    }
}

//! Everything that is encoded and decoded. The first byte chooses: [`pure`] takes the codecs as functions, [`replies`] plays every
//! operation against stores that answer anything, so that each of its decoders meets hostile bytes.

pub(crate) mod pure;
pub(crate) mod replies;

use crate::choices::Choices;

/// See the module.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    if choices.one_in(2) {
        replies::play_any(&mut choices);
    } else {
        pure::check(&mut choices);
    }
}

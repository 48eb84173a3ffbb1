//! What this client asks of PD, against a hostile one. The first byte chooses: `queries` plays the service of members and
//! queries, `timestamps` the batcher of timestamps.

mod queries;
mod timestamps;

use crate::choices::Choices;

/// See the module.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    if choices.one_in(2) {
        timestamps::play(&mut choices);
    } else {
        queries::play(&mut choices);
    }
}

//! What a person reads.

use super::*;
use crate::replica::Score;

fn hop(store: u64, at_ms: u64, error: Option<&str>, then: Then) -> Hop {
    Hop {
        at: Instant(at_ms * 1_000_000),
        command: Command::Get,
        region: RegionId(7),
        peer: PeerId(10 + store),
        store: StoreId(store),
        through: None,
        leads: store == 1,
        asked: Asked::Plainly,
        why: Chosen::Leader,
        took: Duration::from_micros(2_300),
        error: error.map(Into::into),
        then,
    }
}

#[test]
fn a_way_is_told_line_by_line() {
    let mut told = Explanation::default();
    told.push(hop(1, 5, Some("not leader"), Then::AtOnce));
    let pause = Then::Pause(Kind::TikvServerBusy, Duration::from_millis(1_700));
    let best = Chosen::Best(Score(Score::NOT_SLOW.0 | Score::MEANT.0 | Score::NOT_ASKED.0));
    told.push(Hop { asked: Asked::ReplicaRead, why: best, ..hop(2, 8, Some("server is busy"), pause) });
    let proxy = Chosen::Through(StoreId(2));
    let through = Some(StoreId(2));
    told.push(Hop { why: proxy, through, ..hop(1, 1712, Some("no answer in time: store1"), Then::GaveUp) });
    told.push(Hop { asked: Asked::StaleRead, why: Chosen::Again, ..hop(3, 1720, None, Then::Answered) });
    insta::assert_snapshot!(told);
    insta::assert_snapshot!(told.in_a_line());
}

#[test]
fn of_more_attempts_than_there_is_room_for_the_rest_is_counted() {
    let mut told = Explanation::with_room(1);
    for _ in 0..1000 {
        told.push(hop(1, 0, Some("server is busy"), Then::AtOnce));
        told.push(hop(2, 0, None, Then::Answered));
    }
    assert_eq!((told.hops.len(), told.attempts()), (1, 2000));
    insta::assert_snapshot!(told);
}

#[test]
fn nothing_met_is_told_as_that() {
    assert_eq!(Explanation::default().to_string(), "0 attempts in 0 ms");
}

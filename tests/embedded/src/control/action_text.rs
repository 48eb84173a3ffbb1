//! An action as one word of text: `lose`, `delay:50ms`, `refuse:not-leader:2`, `fail:unavailable`.

use tikv_proto::kvrpcpb::{AlreadyExist, CommitTsTooLarge, KeyError, LockInfo, TxnNotFound};
use tikv_proto::pdpb;

use super::words::{duration, key, number};
use super::{Action, Refusal};
use crate::model::{Code, Status};

/// Reads an action.
pub(super) fn action(text: &str) -> Option<Action> {
    let (word, argument) = split(text);
    Some(match (word, argument) {
        ("pass", None) => Action::Pass,
        ("drop-answer", None) => Action::DropAnswer,
        ("lose", None) => Action::Lose,
        ("break", None) => Action::Break,
        ("break-after", None) => Action::BreakAfter,
        ("hold", None) => Action::Hold,
        ("delay", Some(by)) => Action::Delay(duration(by)?),
        ("delay-answer", Some(by)) => Action::DelayAnswer(duration(by)?),
        ("refuse", Some(what)) => Action::Refuse(refusal(what)?),
        ("refuse-after", Some(what)) => Action::RefuseAfter(refusal(what)?),
        ("key-error", Some(error)) => Action::KeyError(Box::new(key_error(error)?)),
        ("key-error-after", Some(error)) => Action::KeyErrorAfter(Box::new(key_error(error)?)),
        ("pd-error", Some(error)) => {
            let (kind, message) = split(error);
            let kind = pdpb::ErrorType::from_str_name(kind)?;
            Action::PdError(kind, message.unwrap_or("ordered by a fault rule").to_owned())
        }
        ("fail", Some(code)) => {
            let (code, message) = split(code);
            Action::Fail(Status::new(self::code(code)?, message.unwrap_or("ordered by a fault rule")))
        }
        _ => return None,
    })
}

fn split(text: &str) -> (&str, Option<&str>) {
    text.split_once(':').map_or((text, None), |(word, argument)| (word, Some(argument)))
}

fn refusal(text: &str) -> Option<Refusal> {
    let (word, argument) = split(text);
    Some(match (word, argument) {
        ("not-leader", None) => Refusal::NotLeader { leader: None },
        ("not-leader", Some(store)) => Refusal::NotLeader { leader: Some(number(store)?) },
        ("epoch-not-match", None) => Refusal::EpochNotMatchUnknown,
        ("epoch-not-match", Some(siblings)) => Refusal::EpochNotMatch { siblings: number(siblings)? },
        ("region-not-found", None) => Refusal::RegionNotFound,
        ("server-is-busy", None) => Refusal::busy(),
        ("server-is-busy", Some(wait)) => {
            let estimated_wait_ms = u32::try_from(duration(wait)?.as_millis()).ok()?;
            Refusal::ServerIsBusy { reason: "scheduler is busy".to_owned(), estimated_wait_ms }
        }
        ("stale-command", None) => Refusal::StaleCommand,
        ("store-not-match", None) => Refusal::StoreNotMatch,
        ("max-timestamp-not-synced", None) => Refusal::MaxTimestampNotSynced,
        ("read-index-not-ready", None) => Refusal::ReadIndexNotReady,
        ("data-is-not-ready", None) => Refusal::DataIsNotReady { safe_ts: 0 },
        ("data-is-not-ready", Some(safe_ts)) => Refusal::DataIsNotReady { safe_ts: number(safe_ts)? },
        ("proposal-in-merging-mode", None) => Refusal::ProposalInMergingMode,
        ("disk-full", None) => Refusal::DiskFull,
        ("undetermined-result", None) => Refusal::UndeterminedResult,
        ("key-not-in-region", None) => Refusal::KeyNotInRegion,
        ("mismatch-peer-id", None) => Refusal::MismatchPeerId,
        ("raft-entry-too-large", Some(bytes)) => Refusal::RaftEntryTooLarge { entry_size: number(bytes)? },
        ("region-not-initialized", None) => Refusal::RegionNotInitialized,
        ("is-witness", None) => Refusal::IsWitness,
        ("recovery-in-progress", None) => Refusal::RecoveryInProgress,
        ("flashback-in-progress", Some(ts)) => Refusal::FlashbackInProgress { start_ts: number(ts)? },
        ("flashback-not-prepared", None) => Refusal::FlashbackNotPrepared,
        ("bucket-version-not-match", Some(version)) => {
            Refusal::BucketVersionNotMatch { version: number(version)? }
        }
        // Words of several words have `_` for a space.
        ("message", Some(words)) => Refusal::Message(words.replace('_', " ")),
        _ => return None,
    })
}

/// An error of a key. Words have `_` for a space.
fn key_error(text: &str) -> Option<KeyError> {
    let (word, argument) = text.split_once(':')?;
    let mut error = KeyError::default();
    match word {
        "retryable" => error.retryable = argument.replace('_', " "),
        "abort" => error.abort = argument.replace('_', " "),
        "already-exist" => error.already_exist = Some(AlreadyExist { key: key(argument)? }),
        "locked" => {
            let primary_lock = key(argument)?;
            let locked =
                LockInfo { key: primary_lock.clone(), primary_lock, lock_version: 1, ..Default::default() };
            error.locked = Some(Box::new(locked));
        }
        "commit-ts-too-large" => {
            error.commit_ts_too_large = Some(CommitTsTooLarge { commit_ts: number(argument)? });
        }
        "txn-not-found" => {
            let (start_ts, primary_key) = argument.split_once(':')?;
            let (start_ts, primary_key) = (number(start_ts)?, key(primary_key)?);
            error.txn_not_found = Some(TxnNotFound { start_ts, primary_key });
        }
        _ => return None,
    }
    Some(error)
}

fn code(word: &str) -> Option<Code> {
    Some(match word {
        "cancelled" => Code::Cancelled,
        "unknown" => Code::Unknown,
        "invalid-argument" => Code::InvalidArgument,
        "deadline-exceeded" => Code::DeadlineExceeded,
        "not-found" => Code::NotFound,
        "resource-exhausted" => Code::ResourceExhausted,
        "failed-precondition" => Code::FailedPrecondition,
        "unimplemented" => Code::Unimplemented,
        "internal" => Code::Internal,
        "unavailable" => Code::Unavailable,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn actions_are_read_with_their_arguments() {
        assert!(matches!(action("lose"), Some(Action::Lose)));
        assert!(matches!(action("delay:50ms"), Some(Action::Delay(by)) if by == Duration::from_millis(50)));
        let leader = |text| match action(text) {
            Some(Action::Refuse(Refusal::NotLeader { leader })) => Some(leader),
            _ => None,
        };
        assert_eq!(leader("refuse:not-leader"), Some(None));
        assert_eq!(leader("refuse:not-leader:2"), Some(Some(2)));
        let status = |text| match action(text) {
            Some(Action::Fail(status)) => Some((status.code, status.message)),
            _ => None,
        };
        assert_eq!(status("fail:unavailable:gone"), Some((Code::Unavailable, "gone".to_owned())));
        for bad in [
            "",
            "loose",
            "lose:1",
            "delay",
            "delay:5",
            "refuse",
            "refuse:x",
            "refuse:not-leader:x",
            "fail:ok",
        ] {
            assert!(action(bad).is_none(), "{bad:?}");
        }
    }
}

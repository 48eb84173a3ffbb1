//! A script: instructions with the time at which each is due.
//!
//! ```text
//! # two seconds after the start a store dies; others lead its regions after ten more
//! 2s  stop node=store:1
//! 12s fail-over store=1
//! 20s restart node=store:1
//! ```

use std::time::Duration;

use super::words::duration;
use super::{BadInstruction, Instruction};

/// Instructions by the time since the start at which they are due.
#[derive(Clone, Debug)]
pub struct Script {
    steps: Vec<Step>,
}

/// A line of a script.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Step {
    /// When it is due, from the start on.
    pub at: Duration,
    /// Its line in the text, from 1 on.
    pub line: usize,
    /// What is to be done.
    pub instruction: Instruction,
}

/// Why a text is no script.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadScript {
    /// A line that does not begin with a time such as `5s`.
    #[error("line {line}: {word:?} is no time such as 200ms or 5s")]
    Time {
        /// The line, from 1 on.
        line: usize,
        /// Its first word.
        word: String,
    },
    /// A line that is due before the one above it.
    #[error("line {line} is due before the one above it")]
    Order {
        /// The line, from 1 on.
        line: usize,
    },
    /// A line whose instruction cannot be read.
    #[error("line {line}")]
    Instruction {
        /// The line, from 1 on.
        line: usize,
        /// What is wrong with it.
        source: BadInstruction,
    },
}

impl Script {
    /// Reads a script: a line is a time and an instruction, nothing, or a comment after `#`.
    ///
    /// # Errors
    /// The first line that cannot be read.
    pub fn parse(text: &str) -> Result<Self, BadScript> {
        let mut steps: Vec<Step> = Vec::new();
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let (time, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
            let at = duration(time).ok_or_else(|| BadScript::Time { line, word: time.to_owned() })?;
            if steps.last().is_some_and(|above| above.at > at) {
                return Err(BadScript::Order { line });
            }
            let instruction = rest.parse().map_err(|source| BadScript::Instruction { line, source })?;
            steps.push(Step { at, line, instruction });
        }
        Ok(Self { steps })
    }

    /// The instructions in order.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_with_their_times() {
        let script =
            Script::parse("# a comment\n\n0s pause by=1ms\n 200ms  split key=k\n").expect("a script");
        let times: Vec<_> = script.steps().iter().map(|step| (step.at.as_millis(), step.line)).collect();
        assert_eq!(times, [(0, 3), (200, 4)]);
    }

    #[test]
    fn a_bad_line_is_named() {
        let bad = |text: &str| Script::parse(text).expect_err(text).to_string();
        assert_eq!(bad("0s pause by=1s\nsplit key=k"), "line 2: \"split\" is no time such as 200ms or 5s");
        assert_eq!(bad("5s pause by=1s\n\n2s thaw-regions"), "line 3 is due before the one above it");
        assert_eq!(bad("5s explode"), "line 1");
        assert_eq!(bad("5s"), "line 1");
    }
}

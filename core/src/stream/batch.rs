//! Whether a frame waits for more requests.
//!
//! A frame goes out as soon as a stream takes it. Two things may make it wait, each for a bounded time: a store that says it is
//! overloaded, and a [`BatchPolicy`] that expects more requests soon.
//!
//! client-go: `internal/client/client_batch.go: turboBatchTrigger`, `conn_batch.go: batchSendLoop`.

use std::str::FromStr;
use std::time::Duration;

use super::config::StreamConfig;
use crate::types::Instant;

/// Whether a frame that could be sent waits a little for more requests.
///
/// The default is [`Basic`](Self::Basic): all that other tasks have ready when a request comes goes into its frame anyway. client-go's
/// default is `standard`, whose wait of 100 µs is shorter than the timers of most runtimes can be (tokio's have
/// steps of 1 ms): it would cost each request more time than it saves.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum BatchPolicy {
    /// Never waits.
    #[default]
    Basic,
    /// Waits up to 100 µs while requests come less than 80 µs apart.
    Standard,
    /// Waits up to 100 µs.
    Positive,
    /// Waits as told.
    Custom(Turbo),
}

/// When and how long a frame waits for more requests.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Turbo {
    /// What makes it wait. client-go: `v`.
    pub strategy: Strategy,
    /// The longest wait; nothing waits when it is zero. client-go: `t`, in seconds.
    pub wait: Duration,
    /// Pauses between requests count as so many waits at the most. client-go: `n`.
    pub longest_pause: f64,
    /// How much the newest pause counts, 0 to 1. client-go: `w`.
    pub weight: f64,
    /// The threshold: a part of the wait by time, a probability by chance. client-go: `p`.
    pub threshold: f64,
    /// The part of a request from which on the average frame is rounded up. client-go: `q`.
    pub round_up: f64,
}

/// What makes a frame wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Strategy {
    /// Always. client-go: 0.
    #[default]
    Always,
    /// Requests come close behind each other, on average. client-go: 1.
    ByTime,
    /// The next request comes within the wait, more often than not. client-go: 2.
    ByChance,
}

impl BatchPolicy {
    fn turbo(self) -> Turbo {
        let wait = Duration::from_micros(100);
        match self {
            Self::Basic => Turbo::default(),
            Self::Positive => Turbo { wait, ..Turbo::default() },
            Self::Standard => Turbo {
                strategy: Strategy::ByTime,
                wait,
                longest_pause: 5.0,
                weight: 0.2,
                threshold: 0.8,
                round_up: 0.8,
            },
            Self::Custom(turbo) => turbo,
        }
    }
}

/// A text that names no [`BatchPolicy`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("{text:?} is no batch policy: basic, standard, positive or custom {{…}} are")]
pub struct BadPolicy {
    /// The text.
    pub text: String,
}

impl FromStr for BatchPolicy {
    type Err = BadPolicy;

    /// Reads client-go's form: a name, or `custom {"v":1,"t":0.0001,"n":5,"w":0.2,"p":0.8,"q":0.8}`, where each number may be left
    /// out. client-go takes what it cannot read as `standard`; here it is an error.
    fn from_str(text: &str) -> Result<Self, BadPolicy> {
        let bad = || BadPolicy { text: text.to_owned() };
        match text {
            "basic" => return Ok(Self::Basic),
            "standard" => return Ok(Self::Standard),
            "positive" => return Ok(Self::Positive),
            _ => {}
        }
        let custom = text.strip_prefix("custom").unwrap_or(text).trim();
        let fields = custom.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).ok_or_else(bad)?;
        let mut turbo = Turbo::default();
        for field in fields.split(',').filter(|_| !fields.trim().is_empty()) {
            let (name, number) = field.split_once(':').ok_or_else(bad)?;
            let number: f64 = number.trim().parse().map_err(|_| bad())?;
            if !number.is_finite() || number < 0.0 {
                return Err(bad());
            }
            match name.trim() {
                "\"v\"" if number == 0.0 => turbo.strategy = Strategy::Always,
                "\"v\"" if number == 1.0 => turbo.strategy = Strategy::ByTime,
                "\"v\"" if number == 2.0 => turbo.strategy = Strategy::ByChance,
                "\"t\"" => turbo.wait = Duration::try_from_secs_f64(number).map_err(|_| bad())?,
                "\"n\"" => turbo.longest_pause = number,
                "\"w\"" => turbo.weight = number,
                "\"p\"" => turbo.threshold = number,
                "\"q\"" => turbo.round_up = number,
                _ => return Err(bad()),
            }
        }
        Ok(Self::Custom(turbo))
    }
}

/// What the pauses between requests have been like.
#[derive(Debug)]
struct Trigger {
    turbo: Turbo,
    /// The average pause, seconds; 0 before the first.
    pause: f64,
    chance: f64,
}

impl Trigger {
    fn new(policy: BatchPolicy) -> Self {
        Self { turbo: policy.turbo(), pause: 0.0, chance: 0.0 }
    }

    /// Whether more requests are expected, now that one came `pause` behind the last.
    fn expects_more(&mut self, pause: Duration) -> bool {
        let Turbo { strategy, wait, longest_pause, weight, threshold, .. } = self.turbo;
        let (pause, wait) = (pause.as_secs_f64(), wait.as_secs_f64());
        match strategy {
            Strategy::Always => true,
            Strategy::ByTime => {
                let pause = pause.min(longest_pause * wait);
                let smoothed = weight.mul_add(pause, (1.0 - weight) * self.pause);
                self.pause = if self.pause == 0.0 { pause } else { smoothed };
                self.pause < threshold * wait
            }
            Strategy::ByChance => {
                let soon = f64::from(u8::from(pause < wait));
                self.chance = weight.mul_add(soon, (1.0 - weight) * self.chance);
                self.chance > threshold
            }
        }
    }

    /// How many requests are worth waiting for.
    fn wanted(&self, average: f64, configured: usize) -> usize {
        if self.turbo.strategy == Strategy::Always {
            return configured;
        }
        let up = average.fract() >= self.turbo.round_up;
        // An average of frames: small and not negative.
        average as usize + usize::from(up)
    }
}

/// A frame that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Waiting {
    until: Instant,
    wanted: usize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Batching {
    trigger: Trigger,
    /// Requests of a frame, on average.
    average: f64,
    /// When the first request of the last frame came.
    head: Option<Instant>,
    waiting: Option<Waiting>,
    /// How busy the store's connections are, percent of a core.
    load: u64,
}

impl Batching {
    pub(super) fn new(config: &StreamConfig) -> Self {
        let average = config.batch_wait_size as f64;
        Self { trigger: Trigger::new(config.policy), average, head: None, waiting: None, load: 0 }
    }

    /// The store told how busy it is.
    pub(super) fn told(&mut self, load: u64) {
        self.load = load;
    }

    /// Until when a frame of `queued` requests waits; `None`: it goes now.
    pub(super) fn holds(&mut self, queued: usize, now: Instant, config: &StreamConfig) -> Option<Instant> {
        if queued == 0 || queued >= config.max_batch {
            return None;
        }
        if let Some(waiting) = self.waiting {
            return (queued < waiting.wanted && now < waiting.until).then_some(waiting.until);
        }
        let overloaded = !config.batch_wait.is_zero() && self.load > config.overload_threshold;
        let turbo = self.trigger.turbo.wait;
        if !overloaded && turbo.is_zero() {
            return None;
        }
        let pause = self.head.replace(now).map(|head| now.since(head)).filter(|pause| !pause.is_zero());
        let (wait, wanted) = if overloaded {
            (config.batch_wait, config.batch_wait_size)
        } else if pause.is_some_and(|pause| self.trigger.expects_more(pause)) {
            (turbo, self.trigger.wanted(self.average, config.batch_wait_size))
        } else {
            return None;
        };
        let until = now + wait;
        self.waiting = Some(Waiting { until, wanted });
        (queued < wanted).then_some(until)
    }

    /// A frame of so many requests went out.
    pub(super) fn sent(&mut self, requests: usize) {
        self.waiting = None;
        self.average = 0.2f64.mul_add(requests as f64, 0.8 * self.average);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn us(us: u64) -> Duration {
        Duration::from_micros(us)
    }

    fn trigger(policy: &str) -> Trigger {
        Trigger::new(policy.parse().unwrap())
    }

    #[test]
    fn basic_never_waits() {
        assert!(trigger("basic").turbo.wait.is_zero());
        assert_eq!(BatchPolicy::default(), BatchPolicy::Basic);
    }

    #[test]
    fn positive_always_waits() {
        let mut trigger = trigger("positive");
        assert_eq!(trigger.turbo.wait, us(100));
        assert!(trigger.expects_more(Duration::from_secs(3600)) && trigger.expects_more(us(1000)));
        assert_eq!([1.0, 1.2, 1.8].map(|average| trigger.wanted(average, 8)), [8, 8, 8]);
    }

    #[test]
    fn standard_waits_while_requests_come_close_behind_each_other() {
        let mut trigger = trigger("standard");
        assert_eq!([1.0, 1.2, 1.8].map(|average| trigger.wanted(average, 8)), [1, 1, 2]);
        assert_eq!(trigger.turbo.wait, us(100));
        let seen = [100, 80, 10, 80, 90].map(|pause| trigger.expects_more(us(pause)));
        assert_eq!(seen, [false, false, true, true, false]);
        // A long silence counts as five waits, so that the way back is short.
        for _ in 0..50 {
            trigger.expects_more(Duration::from_secs(3600));
        }
        assert!(trigger.pause < 5.0 * 0.0001);
        for _ in 0..8 {
            assert!(!trigger.expects_more(us(10)));
        }
        assert!(trigger.expects_more(us(10)));
    }

    #[test]
    fn by_chance_waits_when_the_next_came_soon_more_often_than_not() {
        let mut trigger = trigger(r#"{"v":2,"t":0.001,"w":0.2,"p":0.5}"#);
        assert_eq!([1.0, 1.2].map(|average| trigger.wanted(average, 8)), [2, 2]);
        assert_eq!(trigger.turbo.wait, us(1000));
        let seen = [999, 999, 999, 999, 1000].map(|pause| trigger.expects_more(us(pause)));
        assert_eq!(seen, [false, false, false, true, false]);
    }

    #[test]
    fn policies_are_read_as_client_go_writes_them() {
        let turbo = |text: &str| text.parse::<BatchPolicy>().map(BatchPolicy::turbo);
        assert_eq!(turbo("custom {} "), turbo("basic"));
        assert_eq!(turbo(r#"{"t":0.0001}"#), turbo("positive"));
        assert_eq!(turbo(r#"{"v":1,"t":0.0001,"n":5,"w":0.2,"p":0.8,"q":0.8}"#), turbo("standard"));
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        for text in [
            "",
            "invalid",
            "custom",
            "custom {x:1}",
            r#"{"t":-1}"#,
            r#"{"v":3}"#,
            r#"{"t":1e99}"#,
            "{\"w\":inf}",
        ] {
            assert_eq!(text.parse::<BatchPolicy>(), Err(BadPolicy { text: text.to_owned() }));
        }
    }

    #[test]
    fn an_overloaded_store_gets_larger_frames() {
        let config = StreamConfig { batch_wait: us(50), ..StreamConfig::default() };
        let mut batching = Batching::new(&config);
        assert_eq!(batching.holds(1, Instant(0), &config), None, "nothing is known of its load");
        batching.told(201);
        let until = Instant(0) + us(50);
        assert_eq!(batching.holds(1, Instant(0), &config), Some(until));
        assert_eq!(batching.holds(7, Instant(1), &config), Some(until));
        assert_eq!(batching.holds(8, Instant(1), &config), None, "as many as were waited for");
        batching.sent(8);
        assert_eq!(batching.holds(1, Instant(2), &config), Some(Instant(2) + us(50)));
        assert_eq!(batching.holds(1, Instant(2) + us(50), &config), None, "the time is over");
        // client-go never takes the load back (tikv/client-go: a load of 0 is not stored).
        batching.sent(1);
        batching.told(0);
        assert_eq!(batching.holds(1, Instant(3) + us(50), &config), None);
    }
}

//! A group's token bucket: what each client that asks for tokens is granted, and over what time it is to spread them.
//!
//! The bucket is shared out to the clients that ask, in *slots*: each has a part of the fill rate by what it has asked for lately.
//! A client that asks for more than its slot holds takes a loan on the fill rate of the coming period, at most so much
//! that the loan is paid back in time; what it gets then is to be spread over the period.
//!
//! PD: `pkg/mcs/resourcemanager/server/token_buckets.go`, `keyspace_manager.go: ruTracker`.

use std::collections::BTreeMap;
use std::time::Duration;

use tikv_proto::resource_manager::{TokenBucket, TokenLimitSettings};

use crate::model::clock::Now;

/// What a group without a fill rate gets, and what a new group that may burst has.
const DEFAULT_FILL_RATE: u64 = 10_000;
const INITIAL_TOKENS: f64 = 100_000.0;
/// What a moderated group may have above its fill rate.
const MODERATED_RATE: f64 = 10_000.0;
/// A client gets at least this part of what its slot is filled with in a period.
const RESERVE: f64 = 0.5;
/// Loans reach into so many periods.
const LOAN: u32 = 2;
/// A client that asks for nothing for so long loses its slot.
const SLOT_LIFE: Duration = Duration::from_secs(600);
/// The most that a fill rate can be.
const UNLIMITED_RATE: f64 = i32::MAX as f64;
/// After so long half of what a client has asked for is forgotten; a rate below the second one counts as none.
// PD: keyspace_manager.go: defaultRUTrackerTimeConstant, minSampledRUPerSec
const HALF_LIFE: Duration = Duration::from_secs(5);
const LEAST_DEMAND: f64 = 1.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Burst {
    /// No more than the fill rate.
    RateControlled,
    Limited,
    Unlimited,
    /// Somewhat above the fill rate.
    Moderated,
}

fn burst_of(limit: i64) -> Burst {
    match limit {
        -1 => Burst::Unlimited,
        -2 => Burst::Moderated,
        0 => Burst::RateControlled,
        _ => Burst::Limited,
    }
}

/// What one client may use of the bucket.
#[derive(Clone, Debug)]
struct Slot {
    fill_rate: u64,
    burst_limit: i64,
    /// What is there for it, less what it has borrowed; before and after the request that is being answered.
    now: f64,
    before: f64,
    asked_at: Now,
    /// What it has asked for a second, as an average that forgets; `None` until it has asked twice.
    demand: Option<f64>,
}

/// The bucket of a group.
#[derive(Clone, Debug, Default)]
pub(super) struct Bucket {
    /// `None`: the group has no settings, and nothing is granted.
    settings: Option<TokenLimitSettings>,
    tokens: f64,
    /// `None` until the first request.
    updated: Option<Now>,
    slots: BTreeMap<u64, Slot>,
    /// Tokens that slots had above their burst limit; they are shared out again.
    reserved: f64,
    changed: bool,
}

/// The integer part of what is never negative; too much is the most.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast from floating point saturates, which is what is wanted"
)]
fn whole(value: f64) -> u64 {
    value as u64
}

#[allow(clippy::cast_precision_loss, reason = "rates are far below 2^52")]
fn real(value: u64) -> f64 {
    value as f64
}

#[allow(clippy::cast_possible_truncation, reason = "a cast from floating point saturates")]
fn signed(value: f64) -> i64 {
    value as i64
}

#[allow(clippy::cast_precision_loss, reason = "limits are far below 2^52")]
fn real_limit(value: i64) -> f64 {
    value as f64
}

impl Bucket {
    pub(super) fn new(wire: Option<TokenBucket>) -> Self {
        let Some(TokenBucket { settings: Some(settings), tokens }) = wire else { return Self::default() };
        Self { settings: Some(settings), tokens, ..Self::default() }
    }

    pub(super) fn wire(&self) -> Option<TokenBucket> {
        let settings = Some(self.settings?);
        Some(TokenBucket { settings, tokens: self.tokens })
    }

    /// Takes new settings over, and adds the tokens that come with them.
    pub(super) fn patch(&mut self, wire: Option<&TokenBucket>) {
        let Some(wire) = wire else { return };
        if let Some(settings) = wire.settings {
            self.settings = Some(settings);
            self.changed = true;
        }
        self.tokens += wire.tokens;
    }

    fn fill_rate(&self) -> u64 {
        self.settings.map_or(0, |settings| settings.fill_rate)
    }

    fn burst_limit(&self) -> i64 {
        self.settings.map_or(0, |settings| settings.burst_limit)
    }

    /// Grants a client tokens: how many, and over how many milliseconds it is to spread them (0: at once).
    pub(super) fn request(
        &mut self,
        now: Now,
        required: f64,
        period_ms: u64,
        client: u64,
    ) -> Option<(TokenBucket, i64)> {
        self.settings?;
        // A client can ask for anything, but nothing is granted that cannot be counted.
        if !required.is_finite() {
            return None;
        }
        self.update(now, client, required);
        let Some(slot) = self.slots.get_mut(&client) else {
            return Some((granted(self.burst_limit(), 0.0), 0));
        };
        let (tokens, trickle_ms) = slot.assign(required, period_ms);
        if tokens < 0.0 || !tokens.is_finite() || !slot.now.is_finite() {
            self.reset_loan();
            return None;
        }
        self.tokens -= slot.before - slot.now;
        slot.before = slot.now;
        Some((granted(slot.burst_limit, tokens), trickle_ms))
    }

    /// Fills the bucket with what has come since the last request, and shares it out.
    fn update(&mut self, now: Now, client: u64, required: f64) {
        let mut to_share = 0.0;
        match self.updated {
            None => {
                if let Some(settings) = &mut self.settings
                    && settings.fill_rate == 0
                {
                    settings.fill_rate = DEFAULT_FILL_RATE;
                }
                if self.tokens < INITIAL_TOKENS && self.burst_limit() > 0 {
                    self.tokens = INITIAL_TOKENS;
                }
                self.updated = Some(now);
            }
            Some(updated) if self.burst_limit() > 0 => {
                let passed = now.since(updated);
                if !passed.is_zero() {
                    to_share = real(self.fill_rate()) * passed.as_secs_f64() + self.reserved;
                    self.reserved = 0.0;
                    self.tokens += to_share;
                }
                let most = real_limit(self.burst_limit());
                if self.tokens > most {
                    to_share -= self.tokens - most;
                    self.tokens = most;
                }
                self.updated = Some(now);
            }
            Some(_) => {}
        }
        if self.changed && self.tokens <= 0.0 {
            to_share = 0.0;
            self.reset_loan();
        }
        self.share_out(now, client, required, to_share);
    }

    fn reset_loan(&mut self) {
        self.changed = false;
        self.tokens = 0.0;
        for slot in self.slots.values_mut() {
            (slot.now, slot.before) = (0.0, 0.0);
        }
    }

    /// Gives each client its part of the fill rate and of `to_share`.
    fn share_out(&mut self, now: Now, client: u64, required: f64, to_share: f64) {
        if required == 0.0 {
            self.slots.remove(&client);
        } else {
            let new =
                Slot { fill_rate: 0, burst_limit: 0, now: 0.0, before: 0.0, asked_at: now, demand: None };
            self.slots.entry(client).and_modify(|slot| slot.asked_again(now, required)).or_insert(new);
        }
        self.slots.retain(|_, slot| now.since(slot.asked_at) < SLOT_LIFE);
        let count = real(u64::try_from(self.slots.len()).unwrap_or(1));
        let (fill_rate, burst_limit) = (self.fill_rate(), self.burst_limit());
        let (fill_rate, burst_limit) = match burst_of(burst_limit) {
            Burst::RateControlled | Burst::Unlimited => {
                for slot in self.slots.values_mut() {
                    slot.fill_rate = whole(real(fill_rate) / count);
                    slot.burst_limit = burst_limit;
                }
                return;
            }
            Burst::Moderated => {
                let rate = (real(fill_rate) + MODERATED_RATE).min(UNLIMITED_RATE);
                (whole(rate), signed(rate))
            }
            Burst::Limited => (fill_rate, burst_limit),
        };
        if self.slots.len() == 1 {
            for slot in self.slots.values_mut() {
                let tokens = if fill_rate == 0 { 0.0 } else { self.tokens };
                (slot.now, slot.before) = (tokens, tokens);
                (slot.fill_rate, slot.burst_limit) = (fill_rate, burst_limit);
            }
            return;
        }
        if fill_rate == 0 {
            (self.tokens, self.reserved) = (0.0, 0.0);
            for slot in self.slots.values_mut() {
                (slot.now, slot.before) = (0.0, 0.0);
                (slot.fill_rate, slot.burst_limit) = (0, 0);
            }
            return;
        }
        let parts = parts(&self.slots, real(fill_rate));
        for (slot, part) in self.slots.values_mut().zip(parts) {
            let ratio = part / real(fill_rate);
            let burst = real_limit(burst_limit) * ratio;
            let mut share = to_share * ratio;
            if burst > 0.0 && slot.now > burst {
                let above = slot.now - burst;
                self.reserved += above;
                self.tokens -= above;
                share -= above;
            }
            slot.now += share;
            slot.before += share;
            (slot.fill_rate, slot.burst_limit) = (whole(part), signed(burst));
        }
    }
}

/// The part of `fill_rate` that each slot gets: what it asks for, as far as that is an even part; what is left over goes
/// to those who ask for more, by what they ask for.
fn parts(slots: &BTreeMap<u64, Slot>, fill_rate: f64) -> Vec<f64> {
    let count = real(u64::try_from(slots.len()).unwrap_or(1));
    let even = fill_rate / count;
    let above: Vec<f64> = slots.values().map(|slot| (slot.demand.unwrap_or(0.0) - even).max(0.0)).collect();
    let mut parts: Vec<f64> =
        slots.values().map(|slot| slot.demand.map_or(even, |rate| rate.min(even))).collect();
    let left = fill_rate - parts.iter().sum::<f64>();
    let wanted: f64 = above.iter().sum();
    if left > 0.0 {
        for (part, above) in parts.iter_mut().zip(above) {
            *part += if wanted > 0.0 { left * above / wanted } else { left / count };
        }
    }
    parts
}

impl Slot {
    /// Notes that the client asks again.
    fn asked_again(&mut self, now: Now, required: f64) {
        let passed = now.since(self.asked_at).as_secs_f64();
        if passed > 0.0 {
            let rate = required.max(0.0) / passed;
            let kept = 0.5_f64.powf(passed / HALF_LIFE.as_secs_f64());
            let demand = self.demand.map_or(rate, |old| kept * old + (1.0 - kept) * rate);
            self.demand = Some(if demand < LEAST_DEMAND { 0.0 } else { demand });
        }
        self.asked_at = now;
    }

    /// Takes tokens out of the slot, and a loan if there are too few.
    fn assign(&mut self, required: f64, period_ms: u64) -> (f64, i64) {
        if burst_of(self.burst_limit) == Burst::Unlimited {
            return (required, 0);
        }
        if required <= 0.0 {
            return (0.0, 0);
        }
        let period_ms_signed = i64::try_from(period_ms).unwrap_or(i64::MAX);
        if self.fill_rate == 0 {
            (self.now, self.before) = (0.0, 0.0);
            return (0.0, period_ms_signed);
        }
        if self.now >= required {
            self.now -= required;
            return (required, 0);
        }
        let mut required = required;
        let mut granted = 0.0;
        let had_some = self.now > 0.0;
        if had_some {
            granted = self.now;
            required -= granted;
            self.now = 0.0;
        }
        let period = real(period_ms) / 1_000.0;
        let rate = real(self.fill_rate);
        let within = self.burst_limit > 0 && real_limit(self.burst_limit) <= rate;
        let rounds = if within { 1 } else { LOAN };
        // In each round the rate of the loan is lower; a round ends at what may be owed up to it.
        let mut trickle = 0.0;
        let mut may_owe = 0.0;
        for round in (1..=rounds).rev().map(f64::from) {
            let rate = round * rate;
            may_owe += rate * period;
            if required <= 0.0 || trickle >= period {
                break;
            }
            let owed = -self.now;
            if owed >= may_owe {
                continue;
            }
            let room = may_owe - owed;
            if room > required {
                self.now -= required;
                granted += required;
                trickle += granted / rate;
                required = 0.0;
            } else if room / rate + trickle >= period {
                let tokens = (period - trickle) * rate;
                required -= tokens;
                self.now -= tokens;
                granted += tokens;
                trickle = period;
            } else {
                granted += room;
                required -= room;
                self.now -= room;
                trickle += room / rate;
            }
        }
        let least = RESERVE * rate * period;
        if required > 0.0 && granted < least {
            let more = (required + granted).min(least);
            self.now -= more - granted;
            granted = more;
        }
        let spread = if had_some { signed(trickle.min(period) * 1_000.0) } else { period_ms_signed };
        (granted, spread)
    }
}

fn granted(burst_limit: i64, tokens: f64) -> TokenBucket {
    let settings = TokenLimitSettings { burst_limit, ..Default::default() };
    TokenBucket { settings: Some(settings), tokens }
}

//! Who looks on at calls and what their requests carry, as the cluster sees it.
//!
//! `options`: what is in the context of requests; `intercept`: a program's own code around them; `details`: what calls cost;
//! `numbers`: metrics; `spans`: spans.

mod details;
mod intercept;
mod numbers;
mod options;
mod spans;

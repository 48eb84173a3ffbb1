//! Raw machines at their boundary.

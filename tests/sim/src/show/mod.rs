//! `tikv-sim show`: a trace as one self-contained page, a sequence picture that a person can read and filter.
//!
//! [`data`] turns the records into what is drawn: lanes, operations, arrows, waits, notes; `text` says in few words what a
//! request, an answer and a fault are; [`listing`] is the same as plain text; `page.html` draws it, without network, in light and dark, on a wide screen and on a phone.

pub mod data;
mod listing;
mod text;

pub use listing::listing;

use tikv_client_core::trace::{Records, TraceError};

/// Where the page has its data.
const SLOT: &str = "/*DATA*/";

/// The page of a trace; `title` heads it.
///
/// # Errors
/// [`TraceError`]: the bytes are no trace.
pub fn page(title: &str, trace: &[u8]) -> Result<String, TraceError> {
    let records: Vec<_> = Records::new(trace)?.collect::<Result<_, _>>()?;
    let picture = data::Picture::new(title, &records);
    // A text within the data must not end the element that holds it.
    let json = picture.json().replace('<', "\\u003c");
    Ok(include_str!("page.html").replacen(SLOT, &json, 1))
}

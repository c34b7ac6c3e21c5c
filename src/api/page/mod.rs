//! The page of an invoice, for people: what a browser gets at the one URL.
//!
//! # What pulls in different directions
//!
//! * **Everything at once against one file.** A page with an invoice on it is opened once, on a phone, over a bad line,
//!   by somebody who wants to pay and leave. So what is right at that moment is in the HTML, and nothing is needed to
//!   read it but the style sheet and the code: no font, no picture of anybody else's, and no script. It says that it
//!   shows how things stood, and how to look again.
//! * **Live against true.** A page that is open while the payment comes shall say so. A script that knows what an
//!   invoice is would be a second place with the rules of what to say, in another language, and sooner or later of
//!   another opinion. Ours knows next to nothing: whenever something may have changed, it asks for this same page again
//!   and makes the one that is shown like it. The WebSocket tells it when to ask; without one it asks every few
//!   seconds; without an answer it says that what is shown may be old. What counts down, it counts by the server's
//!   clock, and when that is over, what asks for money goes, whether or not anybody answers.
//! * **Openness against trust.** What a merchant and a payer wrote stands beside our words, and neither may look like
//!   them or change how they read. All of it is text: the templates escape it, `<bdi>` keeps its direction of writing
//!   to itself, and a policy forbids what would have slipped through ([`POLICY`]).
//! * **A link is a demand.** What asks for money is shown exactly while paying it is right. A part payer is shown the
//!   rest; a link to the invoice would ask for everything again.
//!
//! # How it is built
//!
//! `model` turns a statement into what is said, `messages` has the words, in the payer's language where there are any,
//! `amounts` writes numbers, `assets` has the style sheet and the script; the templates, in `templates/` at the root,
//! place it all. Paths are relative, so that the page works under whatever name and below whatever folder a proxy
//! serves it.

mod amounts;
mod assets;
mod messages;
mod model;

use std::sync::Arc;

use askama::Template;
use axum::{
    Router,
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode,
        header::{CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, RETRY_AFTER},
    },
    response::{IntoResponse as _, Response},
    routing::get,
};

use self::{
    assets::Assets,
    messages::{Language, Messages},
    model::{Page, Ways},
};
use super::{
    state::{ApiState, Shared},
    wallet::WalletFault,
    watchtower::reading,
};
use crate::invoice::Statement;

/// What a browser lets the page do: load what is ours, and nothing else; run no script and no style that stands in the
/// page; send nothing anywhere.
///
/// Any page may show it in a frame. A shop's checkout has reason to; and there is nothing to gain from leading a click
/// astray in it, for the page knows no visitor: it has no cookie, no session and no form, and the one thing that a click
/// does, opening a wallet with this invoice, any page can do with a link of its own.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors *",
);

/// What goes with every page beside what goes with every answer. The URL is all that one needs to see an invoice, so no
/// page that is opened from it is told.
const HEADERS: [(HeaderName, HeaderValue); 3] = [
    (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
    (CONTENT_SECURITY_POLICY, POLICY),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
];

/// The routes of what the page is drawn with.
pub(super) fn routes<S: Send + Sync + 'static>() -> Router<Arc<Shared<S>>> {
    Router::new().route("/assets/{name}", reading(get(assets::serve)))
}

#[derive(Template)]
#[template(path = "invoice.html", whitespace = "minimize")]
struct InvoiceTemplate<'a> {
    frame: Frame,
    page: Page<'a>,
}

#[derive(Template)]
#[template(path = "fault.html", whitespace = "minimize")]
struct FaultTemplate<'a> {
    frame: Frame,
    headline: &'a str,
    text: &'a str,
    /// After how many seconds to look again.
    again: Option<u64>,
}

/// What every page has around it.
struct Frame {
    words: &'static Messages,
    assets: &'static Assets,
    /// The way from the page to the root of the interface, such as `../`.
    root: String,
}

impl Frame {
    /// The frame of the page at a path.
    fn at(path: &str, words: &'static Messages) -> Self {
        let depth = path.matches('/').count().saturating_sub(1);
        Self { words, assets: Assets::compiled(), root: "../".repeat(depth) }
    }
}

/// The page of an invoice, or of what there is instead, at the path at which it was asked for, in the language that
/// the headers of the request ask for.
pub(super) fn show<S>(
    found: Result<&Statement, &WalletFault>,
    state: &ApiState<S>,
    headers: &HeaderMap,
    path: &str,
) -> Response {
    let words = Messages::of(Language::of(headers));
    let frame = Frame::at(path, words);
    match found {
        Ok(statement) => {
            let watched = state.health.watches();
            let page = Page::of(statement, &state.engine.now(), watched, &state.settings, words);
            answer(StatusCode::OK, words, &InvoiceTemplate { frame, page })
        }
        Err(fault) => {
            let (headline, text) = match fault.status() {
                StatusCode::NOT_FOUND => (&words.not_found, &words.not_found_text),
                StatusCode::SERVICE_UNAVAILABLE => (&words.away, &words.away_text),
                _ => (&words.trouble, &words.trouble_text),
            };
            let again = fault.retry_after();
            let mut answer = answer(fault.status(), words, &FaultTemplate { frame, headline, text, again });
            if let Some(seconds) = again {
                answer.headers_mut().insert(RETRY_AFTER, seconds.into());
            }
            answer
        }
    }
}

fn answer(status: StatusCode, words: &Messages, template: &impl Template) -> Response {
    let language = HeaderValue::from_str(&words.language).ok().map(|tag| [(CONTENT_LANGUAGE, tag)]);
    match template.render() {
        Ok(html) => (status, HEADERS, language, html).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_the_root() {
        let table = [
            ("/i/ID", "../"),
            ("/i/ID/", "../../"),
            ("/jpp/i/bitpay/ID", "../../../"),
            ("/api/jpp/invoices/ID/", "../../../../"),
        ];
        for (path, root) in table {
            assert_eq!(Frame::at(path, Messages::of(Language::English)).root, root, "{path}");
        }
    }
}

//! What the page is drawn with: compiled in, and addressed by its content, so that a browser that has it never asks
//! again, and never has another one.

use std::sync::LazyLock;

use axum::{
    extract::{Path, rejection::PathRejection},
    http::{
        HeaderValue,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    response::{IntoResponse as _, Response},
};
use sha2::{Digest as _, Sha256};

use crate::api::watchtower::Fault;

/// How long an asset may be kept: its address never has another content.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// One file that the page needs.
#[derive(Debug)]
struct Asset {
    /// The last part of its path.
    name: String,
    content_type: HeaderValue,
    content: &'static str,
}

impl Asset {
    fn new(extension: &str, content_type: &'static str, content: &'static str) -> Self {
        let digest = hex::encode(Sha256::digest(content));
        let digest = digest.get(..16).unwrap_or(&digest);
        let content_type = HeaderValue::from_static(content_type);
        Self { name: format!("page-{digest}.{extension}"), content_type, content }
    }
}

/// The files that the page needs.
#[derive(Debug)]
pub(super) struct Assets {
    style: Asset,
    script: Asset,
    icon: Asset,
}

impl Assets {
    /// Those that are compiled in.
    pub(super) fn compiled() -> &'static Self {
        static ASSETS: LazyLock<Assets> = LazyLock::new(|| Assets {
            style: Asset::new("css", "text/css; charset=utf-8", include_str!("assets/page.css")),
            script: Asset::new("js", "text/javascript; charset=utf-8", include_str!("assets/page.js")),
            icon: Asset::new("svg", "image/svg+xml", include_str!("assets/icon.svg")),
        });
        &ASSETS
    }

    /// The name of the style sheet, below `/assets/`.
    pub(super) fn style(&self) -> &str {
        &self.style.name
    }

    /// The name of the script, below `/assets/`.
    pub(super) fn script(&self) -> &str {
        &self.script.name
    }

    /// The name of the icon, below `/assets/`.
    pub(super) fn icon(&self) -> &str {
        &self.icon.name
    }

    fn find(&self, name: &str) -> Option<&Asset> {
        [&self.style, &self.script, &self.icon].into_iter().find(|asset| asset.name == name)
    }
}

/// `GET /assets/{name}`.
pub(super) async fn serve(name: Result<Path<String>, PathRejection>) -> Result<Response, Fault> {
    let Path(name) = name.map_err(|_| Fault::NotFound)?;
    let asset = Assets::compiled().find(&name).ok_or(Fault::NotFound)?;
    let headers = [(CONTENT_TYPE, asset.content_type.clone()), (CACHE_CONTROL, FOR_EVER)];
    Ok((headers, asset.content).into_response())
}

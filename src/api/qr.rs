//! QR codes of the URIs, as SVG and as PNG.
//!
//! A code takes a core about a millisecond, and depends on its text alone. So codes are kept by their text, and others
//! are drawn one at a time, off the threads that serve requests: a client that asks for many keeps one core busy and
//! no more, and others wait in the order in which they came.

use std::sync::Arc;

use bytes::Bytes;
use fast_qr::{
    ECL, QRBuilder, QRCode,
    convert::{Builder as _, svg::SvgBuilder},
};

use super::cache::Cache;

/// How many bytes of codes are kept: some 500 codes as SVG, or 5,000 as PNG.
const MOST_KEPT: usize = 8 << 20;

/// Bytes that a cache entry takes in addition to its image and its text.
const ENTRY: usize = 128;

/// The white around a code, in modules: without it scanners don't find the code (ISO/IEC 18004).
const QUIET: usize = 4;

/// How many pixels of a PNG one module is wide.
const SCALE: usize = 8;

/// The text has more bytes than a QR code can hold (about 2,300), which only a very long `http.public_url` brings
/// about: the operator is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the text is too long for a QR code")]
pub(super) struct TooLong;

/// The form of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Form {
    Svg,
    Png,
}

/// Why there is no image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoCode {
    /// See [`TooLong`].
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// The program is stopping.
    #[error("drawing the code was given up")]
    Stopped,
}

/// The codes of late, and whose turn it is to draw another.
#[derive(Clone, Debug)]
pub(super) struct Codes {
    kept: Arc<Cache<(Form, String), Bytes>>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Default for Codes {
    fn default() -> Self {
        Self { kept: Arc::new(Cache::new(MOST_KEPT)), turn: Arc::default() }
    }
}

impl Codes {
    /// The code of a text, kept or new.
    ///
    /// # Errors
    ///
    /// [`NoCode`]. That is not kept.
    pub(super) async fn of(&self, form: Form, text: String) -> Result<Bytes, NoCode> {
        let key = (form, text);
        if let Some(image) = self.kept.get(&key) {
            return Ok(image);
        }
        let turn = self.turn.clone().lock_owned().await;
        // Another request for the same text may have had the turn before.
        if let Some(image) = self.kept.get(&key) {
            return Ok(image);
        }
        metrics::counter!("jppd_qr_codes_drawn_total").increment(1);
        let kept = self.kept.clone();
        // The turn lasts until the code is kept, even if its request has gone.
        let drawn = tokio::task::spawn_blocking(move || {
            let (form, text) = &key;
            let image = Bytes::from(match form {
                Form::Svg => svg(text)?,
                Form::Png => png(text)?,
            });
            let bytes = image.len().saturating_add(text.len()).saturating_add(ENTRY);
            kept.put(key, image.clone(), bytes);
            drop(turn);
            Ok(image)
        });
        drawn.await.map_err(|_| NoCode::Stopped)?
    }
}

/// A code of a text, with a middling redundancy: screens and paper of a till are not always clean.
fn code(text: &str) -> Result<QRCode, TooLong> {
    QRBuilder::new(text).ecl(ECL::M).build().map_err(|_| TooLong)
}

/// A code as SVG.
///
/// # Errors
///
/// [`TooLong`].
pub(super) fn svg(text: &str) -> Result<Vec<u8>, TooLong> {
    Ok(SvgBuilder::default().margin(QUIET).to_str(&code(text)?).into_bytes())
}

/// A code as PNG: one bit a pixel, black on white.
///
/// # Errors
///
/// [`TooLong`].
pub(super) fn png(text: &str) -> Result<Vec<u8>, TooLong> {
    let code = code(text)?;
    let side = (code.size + 2 * QUIET) * SCALE;
    let is_dark = |x: usize, y: usize| {
        let module = |pixel: usize| (pixel / SCALE).checked_sub(QUIET).filter(|at| *at < code.size);
        module(x).zip(module(y)).is_some_and(|(x, y)| code[y].get(x).is_some_and(|module| module.value()))
    };
    let rows = (0..side).flat_map(|y| (0..side).step_by(8).map(move |x| (x, y)));
    let pixels: Vec<u8> =
        rows.map(|(x, y)| (0..8).fold(0, |byte, bit| byte << 1 | u8::from(!is_dark(x + bit, y)))).collect();
    let side = u32::try_from(side).map_err(|_| TooLong)?;
    let mut image = Vec::new();
    let mut encoder = png::Encoder::new(&mut image, side, side);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::One);
    let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(&pixels));
    written.map_err(|_| TooLong)?;
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pixels of a PNG: whether each is dark, row by row.
    fn pixels(image: &[u8]) -> (usize, Vec<bool>) {
        let mut reader = png::Decoder::new(std::io::Cursor::new(image)).read_info().unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut bytes).unwrap();
        assert_eq!((info.color_type, info.bit_depth), (png::ColorType::Grayscale, png::BitDepth::One));
        let side = info.width as usize;
        assert_eq!(info.height as usize, side);
        let is_dark = |x: usize, y: usize| bytes[y * info.line_size + x / 8] & (0x80 >> (x % 8)) == 0;
        (side, (0..side * side).map(|at| is_dark(at % side, at / side)).collect())
    }

    #[test]
    fn a_camera_reads_what_was_written() {
        let url = "https://pay.example/i/2c442fff579b4dee995e4640c452258c";
        for text in [
            "x".to_owned(),
            format!("bitcoincash:?r={url}"),
            format!("bitcoincash:qr6m7j9njldwwzlg9v7v53unlr4jkmx6eylep8ekg2?amount=0.00001&r={url}"),
            "u".repeat(2000),
        ] {
            let (side, dark) = pixels(&png(&text).unwrap());
            let mut image = rqrr::PreparedImage::prepare_from_greyscale(side, side, |x, y| {
                if dark[y * side + x] { 0 } else { 255 }
            });
            let codes = image.detect_grids();
            assert_eq!(codes.len(), 1, "{text}");
            assert_eq!(codes[0].decode().unwrap().1, text);
            // The SVG has the same modules.
            let svg = String::from_utf8(svg(&text).unwrap()).unwrap();
            let modules: Vec<(usize, usize)> = svg
                .split('M')
                .filter_map(|part| part.split_once('h')?.0.split_once(','))
                .filter_map(|(x, y)| Some((x.parse().ok()?, y.parse().ok()?)))
                .collect();
            let drawn = (0..side / SCALE).flat_map(|y| (0..side / SCALE).map(move |x| (x, y)));
            let in_png: Vec<_> = drawn.filter(|(x, y)| dark[y * SCALE * side + x * SCALE]).collect();
            assert_eq!(modules, in_png, "{text}");
        }
    }

    #[tokio::test]
    async fn a_code_is_drawn_once_and_one_at_a_time() {
        use futures_util::future::join_all;
        use metrics_exporter_prometheus::PrometheusBuilder;

        let recorder = PrometheusBuilder::new().build_recorder();
        let _guard = metrics::set_default_local_recorder(&recorder);
        let drawn = || {
            let text = recorder.handle().render();
            let line = text.lines().find_map(|line| line.strip_prefix("jppd_qr_codes_drawn_total "));
            line.map_or(0, |number| number.parse::<u64>().unwrap())
        };
        let codes = Codes::default();
        let text = |number: usize| format!("bitcoincash:?r=https://pay.example/i/{number}");
        // Fifty requests for two texts at once, half of them as SVG.
        let requests = (0..50).map(|number| {
            let form = if number % 4 < 2 { Form::Svg } else { Form::Png };
            codes.of(form, text(number % 2))
        });
        let images = join_all(requests).await;
        for (number, image) in images.into_iter().enumerate() {
            let text = text(number % 2);
            let expected = if number % 4 < 2 { svg(&text) } else { png(&text) };
            assert_eq!(image.unwrap(), expected.unwrap());
        }
        assert_eq!(drawn(), 4);
        // While somebody has the turn, a kept code is given out and a new one waits.
        let turn = codes.turn.lock().await;
        assert!(codes.of(Form::Png, text(1)).await.is_ok());
        let waits = tokio::time::timeout(std::time::Duration::from_millis(50), codes.of(Form::Png, text(2)));
        assert!(waits.await.is_err());
        drop(turn);
        assert!(codes.of(Form::Png, text(2)).await.is_ok());
        assert_eq!(drawn(), 5);
        // A text that is too long returns an error, and the next caller gets its code.
        assert_eq!(codes.of(Form::Svg, "u".repeat(3000)).await, Err(NoCode::TooLong(TooLong)));
        assert!(codes.of(Form::Svg, text(3)).await.is_ok());
    }

    #[test]
    fn the_white_around_is_there() {
        let (side, dark) = pixels(&png("bitcoincash:?r=https://pay.example").unwrap());
        let quiet = QUIET * SCALE;
        let around = |at: usize| at < quiet || at >= side - quiet;
        assert!(dark.iter().enumerate().all(|(at, dark)| !dark || !around(at % side) && !around(at / side)));
        assert!(dark[quiet * side + quiet], "and not more of it");
    }

    #[test]
    fn what_is_too_long_is_refused() {
        let text = "u".repeat(3000);
        assert_eq!((svg(&text).err(), png(&text).err()), (Some(TooLong), Some(TooLong)));
    }
}

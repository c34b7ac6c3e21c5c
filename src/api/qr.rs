//! QR codes of the URIs, as SVG and as PNG.

use fast_qr::{
    ECL, QRBuilder, QRCode,
    convert::{Builder as _, svg::SvgBuilder},
};

/// The white around a code, in modules: without it scanners don't find the code (ISO/IEC 18004).
const QUIET: usize = 4;

/// How many pixels of a PNG one module is wide.
const SCALE: usize = 8;

/// The text has more bytes than a QR code can hold (about 2,300), which only a very long `http.public_url` brings
/// about: the operator is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the text is too long for a QR code")]
pub(super) struct TooLong;

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

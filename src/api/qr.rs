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

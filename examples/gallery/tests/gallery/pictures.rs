//! Pictures for the tests.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};

/// Returns a picture whose left half is red and whose right half is blue.
pub(crate) fn halves(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
    let halves = RgbImage::from_fn(width, height, |x, _| match x < width / 2 {
        true => Rgb([255, 0, 0]),
        false => Rgb([0, 0, 255]),
    });
    encoded(&halves.into(), format)
}

pub(crate) fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Adds the note of a camera that was held so that the top of the picture is at its right.
pub(crate) fn held_sideways(jpeg: &[u8]) -> Vec<u8> {
    // An APP1 segment with one entry of TIFF: tag 0x112 (orientation), a 16-bit integer, 6.
    let exif =
        b"\xff\xe1\x00\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    [&jpeg[..2], exif, &jpeg[2..]].concat()
}

pub(crate) fn is_red(pixel: Rgb<u8>) -> bool {
    pixel.0[0] > 200 && pixel.0[2] < 50
}

//! Decodes a picture with limits and scales it.

use std::io::{BufRead, Seek};

use anystorage::Error;
use image::codecs::jpeg::JpegEncoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageReader, Rgb, RgbImage};

/// The largest picture, in pixels. A file of a few KiB can decode to gigabytes. A picture of this
/// size takes 200 MB while it is scaled, and 400 MB with 16 bits a color.
pub const MAX_PIXELS: u64 = 50_000_000;
/// The side of the square that contains a thumbnail, in pixels.
const SIDE: u32 = 640;
const QUALITY: u8 = 82;

/// Why there is no thumbnail.
#[derive(Debug)]
pub(crate) enum ThumbnailError {
    /// The storage failed while the picture was read.
    Storage(Error),
    /// The picture has more than [`MAX_PIXELS`].
    TooLarge,
    /// The bytes are not a complete picture in a known format.
    NotAPicture,
}

/// Returns a small JPEG of a picture, without its metadata, such as the place where it was taken.
/// Blocks, and takes up to a few seconds.
pub(crate) fn scale(picture: impl BufRead + Seek) -> Result<Vec<u8>, ThumbnailError> {
    let reader = ImageReader::new(picture).with_guessed_format().map_err(ImageError::from)?;
    let mut decoder = reader.into_decoder()?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(ThumbnailError::TooLarge);
    }
    // The thumbnail loses the EXIF orientation of the camera, so it is applied here.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let image = DynamicImage::from_decoder(decoder)?;
    // `thumbnail` also enlarges.
    let mut image = match width.max(height) > SIDE {
        true => image.thumbnail(SIDE, SIDE),
        false => image,
    };
    image.apply_orientation(orientation);
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY).encode_image(&on_white(&image))?;
    Ok(jpeg)
}

/// JPEG has no transparency.
fn on_white(image: &DynamicImage) -> RgbImage {
    if !image.color().has_alpha() {
        return image.to_rgb8();
    }
    let image = image.to_rgba8();
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let [r, g, b, alpha] = image.get_pixel(x, y).0.map(u16::from);
        Rgb([r, g, b].map(|color| ((color * alpha + 255 * (255 - alpha)) / 255) as u8))
    })
}

impl From<Error> for ThumbnailError {
    fn from(error: Error) -> Self {
        Self::Storage(error)
    }
}

impl From<ImageError> for ThumbnailError {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Limits(_) => Self::TooLarge,
            // The error of a reader contains the error of the storage.
            ImageError::IoError(error) => match error.downcast::<Error>() {
                Ok(error) => Self::Storage(error),
                Err(_) => Self::NotAPicture,
            },
            _ => Self::NotAPicture,
        }
    }
}

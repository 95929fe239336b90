//! Checks a picture by its content and scales it.

use std::io::Cursor;

use bytes::Bytes;
use image::error::{LimitError, LimitErrorKind};
use image::imageops::FilterType;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, ImageResult};

/// The largest upload, in bytes.
pub const MAX_UPLOAD: usize = 2 * 1024 * 1024;

/// The largest decoded picture, in bytes. A file of a few KiB can decode to gigabytes.
pub const MAX_DECODED: u64 = 128 * 1024 * 1024;

/// A decoded picture, and the format that it was uploaded in.
pub(crate) struct Picture {
    image: DynamicImage,
    format: ImageFormat,
}

/// An encoded picture.
pub(crate) struct Encoded {
    pub(crate) bytes: Bytes,
    pub(crate) format: ImageFormat,
}

impl Picture {
    /// Decodes a picture. The format is detected from the bytes; the content type from the client
    /// has no effect. The formats are those that are enabled as features of the crate `image`.
    ///
    /// # Errors
    /// Those of the decoder, for example if the bytes are not a picture or it exceeds
    /// [`MAX_DECODED`].
    pub(crate) fn decode(bytes: &[u8]) -> ImageResult<Self> {
        let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
        let format = reader.format();
        let mut decoder = reader.into_decoder()?;
        if decoder.total_bytes() > MAX_DECODED {
            return Err(ImageError::Limits(LimitError::from_kind(
                LimitErrorKind::InsufficientMemory,
            )));
        }
        // Scaled pictures lose the EXIF orientation of the camera, so it is applied here.
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        let mut image = DynamicImage::from_decoder(decoder)?;
        image.apply_orientation(orientation);
        Ok(Self { image, format: format.unwrap_or(ImageFormat::Png) })
    }

    pub(crate) fn format(&self) -> ImageFormat {
        self.format
    }

    /// Returns the middle of the picture as a square of this many pixels on each side. The result
    /// has no metadata, such as the place, the time or the name of the camera.
    ///
    /// # Errors
    /// Those of the encoder.
    pub(crate) fn square(&self, side: u32) -> ImageResult<Encoded> {
        // Not `resize_to_fill`: it scales the whole picture before it cuts out the middle, so a
        // line of a million pixels, a file of a few KiB, would take hundreds of gigabytes.
        let (width, height) = (self.image.width(), self.image.height());
        let edge = width.min(height);
        let middle = self.image.crop_imm((width - edge) / 2, (height - edge) / 2, edge, edge);
        let square = middle.resize_exact(side, side, FilterType::Triangle);
        let (format, square) = match square.color().has_alpha() {
            true => (ImageFormat::Png, square),
            false => (ImageFormat::Jpeg, DynamicImage::ImageRgb8(square.into_rgb8())),
        };
        let mut bytes = Cursor::new(Vec::new());
        square.write_to(&mut bytes, format)?;
        Ok(Encoded { bytes: bytes.into_inner().into(), format })
    }
}

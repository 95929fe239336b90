//! The files that the application saves: a picture, a text, a style sheet, a sound.

/// A file and the key of its object.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) key: &'static str,
    pub(crate) bytes: &'static [u8],
}

pub(crate) const PICTURE: File =
    File { key: "images/sunset.png", bytes: include_bytes!("../assets/images/sunset.png") };
pub(crate) const SOUND: File =
    File { key: "audio/chime.wav", bytes: include_bytes!("../assets/audio/chime.wav") };
pub(crate) const STYLE: File =
    File { key: "css/site.css", bytes: include_bytes!("../assets/css/site.css") };
pub(crate) const TEXT: File =
    File { key: "text/welcome.txt", bytes: include_bytes!("../assets/text/welcome.txt") };

pub(crate) const ALL: [&File; 4] = [&PICTURE, &SOUND, &STYLE, &TEXT];

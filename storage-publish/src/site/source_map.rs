//! Moves the columns of a source map by what was inserted into its file.

use super::scan::Document;

/// A place in a file: a line and a column in UTF-16 code units, both from 0, as source maps count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

/// Returns the places of offsets of a file, which are sorted.
pub(crate) fn places(bytes: &[u8], offsets: &[usize]) -> Vec<Place> {
    let mut place = Place { line: 0, column: 0 };
    let mut at = 0;
    let mut places = Vec::with_capacity(offsets.len());
    for offset in offsets {
        while at < (*offset).min(bytes.len()) {
            let is_line_end = match bytes[at] {
                b'\r' => bytes.get(at + 1) != Some(&b'\n'),
                byte => byte == b'\n',
            };
            if is_line_end {
                place = Place { line: place.line + 1, column: 0 };
            } else {
                place.column += utf16_units(bytes[at]);
            }
            at += 1;
        }
        places.push(place);
    }
    places
}

/// Returns the number of UTF-16 code units of the character that begins with this byte, or 0 for
/// a byte within a character.
fn utf16_units(byte: u8) -> u32 {
    match byte {
        0x80..0xc0 => 0,
        0xf0.. => 2,
        _ => 1,
    }
}

/// Returns the bytes of a source map after `length` characters were inserted at each of the
/// places, which are sorted. Returns `None` if the map stays as it is, or has another form: an
/// index of maps, or no JSON.
pub(crate) fn shift(map: &[u8], places: &[Place], length: u32) -> Option<Vec<u8>> {
    // Servers may send this before a map, so that it is no program.
    let start =
        if map.starts_with(b")]}'") { map.iter().position(|byte| *byte == b'\n')? } else { 0 };
    let (document, root) = Document::parse(&map[start..]).ok()?;
    let range = document.range(document.get(root, "mappings")?)?;
    let range = start + range.start..start + range.end;
    let mappings = map.get(range.start + 1..range.end - 1)?;
    if mappings.contains(&b'\\') {
        return None;
    }
    let shifted = shift_mappings(mappings, places, i64::from(length))?;
    Some([&map[..=range.start], &shifted, &map[range.end - 1..]].concat())
}

fn shift_mappings(mappings: &[u8], places: &[Place], length: i64) -> Option<Vec<u8>> {
    let mut shifted = Vec::with_capacity(mappings.len() + 16);
    let mut places = places;
    for (line, text) in mappings.split(|byte| *byte == b';').enumerate() {
        if line > 0 {
            shifted.push(b';');
        }
        let line = u32::try_from(line).ok()?;
        let count = places.iter().take_while(|place| place.line <= line).count();
        let (before, rest) = places.split_at(count);
        let in_line = before.iter().filter(|place| place.line == line);
        let columns: Vec<_> = in_line.map(|place| i64::from(place.column)).collect();
        places = rest;
        if columns.is_empty() {
            shifted.extend_from_slice(text);
        } else {
            shift_line(text, &columns, length, &mut shifted)?;
        }
    }
    Some(shifted)
}

/// Moves the segments of a line. Each begins with its column, less that of the segment before it.
fn shift_line(text: &[u8], columns: &[i64], length: i64, shifted: &mut Vec<u8>) -> Option<()> {
    let (mut column, mut column_after) = (0_i64, 0_i64);
    for (index, segment) in text.split(|byte| *byte == b',').enumerate() {
        if index > 0 {
            shifted.push(b',');
        }
        if segment.is_empty() {
            continue;
        }
        let (delta, rest) = decode(segment)?;
        column = column.checked_add(delta)?;
        let insertions = columns.iter().filter(|place| **place <= column).count();
        let moved = column.checked_add(length.checked_mul(i64::try_from(insertions).ok()?)?)?;
        encode(moved - column_after, shifted);
        column_after = moved;
        shifted.extend_from_slice(rest);
    }
    Some(())
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Returns the first number of a segment, and the rest: base 64 digits of 5 bits each, of which the
/// sixth says that more follow, and the very first bit is the sign.
fn decode(segment: &[u8]) -> Option<(i64, &[u8])> {
    let mut value = 0_i64;
    // Numbers of 32 bits have at most 7 digits.
    for (index, byte) in segment.iter().take(7).enumerate() {
        let digit = DIGITS.iter().position(|found| found == byte)?;
        let digit = i64::try_from(digit).ok()?;
        value |= (digit & 31) << (5 * index);
        if digit & 32 == 0 {
            let number = value >> 1;
            let number = if value & 1 == 1 { -number } else { number };
            return Some((number, &segment[index + 1..]));
        }
    }
    None
}

fn encode(number: i64, text: &mut Vec<u8>) {
    let mut value = (number.unsigned_abs() << 1) | u64::from(number < 0);
    loop {
        let more = value >> 5;
        let digit = (value & 31) | if more > 0 { 32 } else { 0 };
        text.push(DIGITS[usize::try_from(digit).unwrap_or_default()]);
        value = more;
        if value == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_utf_16() {
        let text = "a\r\né😀x\ry\nz".as_bytes();
        let offsets = [0, 3, 5, 9, 11, 13];
        let found = places(text, &offsets).into_iter().map(|place| (place.line, place.column));
        assert_eq!(found.collect::<Vec<_>>(), [(0, 0), (1, 0), (1, 1), (1, 3), (2, 0), (3, 0)]);
    }

    #[test]
    fn numbers_survive_encoding() {
        for number in [0, 1, -1, 15, 16, -16, 511, 512, 1_000_000, -2_147_483_647] {
            let mut text = Vec::new();
            encode(number, &mut text);
            text.extend(b"AAAA");
            assert_eq!(decode(&text), Some((number, &b"AAAA"[..])));
        }
        assert_eq!(decode(b"!"), None);
        assert_eq!(decode(b"gggggggg"), None);
    }

    #[test]
    fn columns_after_an_insertion_move() {
        // Columns 0, 10, 20 in line 0; 0 in line 1; 0, 10 in line 2.
        let map = br#"{"version":3,"mappings":"AAAA,UAAU,UAAU;AACA;AACA,UAAU","names":[]}"#;
        let places = [Place { line: 0, column: 5 }, Place { line: 0, column: 20 }];
        let shifted = String::from_utf8(shift(map, &places, 17).unwrap()).unwrap();
        let mappings = shifted.split('"').nth(5).unwrap();
        let lines: Vec<Vec<i64>> = mappings
            .split(';')
            .map(|line| line.split(',').map(|text| decode(text.as_bytes()).unwrap().0).collect())
            .collect();
        assert_eq!(lines, [vec![0, 27, 27], vec![0], vec![0, 10]]);
        assert!(shifted.ends_with(r#"","names":[]}"#));
    }

    #[test]
    fn a_map_without_insertions_stays_equal() {
        let map = b")]}'\n{\"mappings\":\"AAAA,UAAU;;A\"}";
        assert_eq!(shift(map, &[], 17).unwrap(), map);
    }

    #[test]
    fn maps_of_another_form_stay() {
        let places = [Place { line: 0, column: 0 }];
        for map in ["", "[]", r#"{"sections":[]}"#, r#"{"mappings":3}"#, r#"{"mappings":"!"}"#] {
            assert_eq!(shift(map.as_bytes(), &places, 17), None, "{map}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_map_makes_it_panic(map: Vec<u8>, text in "[A-Za-z+/;,]*", column: u32) {
            let places = [Place { line: 0, column }, Place { line: 1, column }];
            shift(&map, &places, 17);
            shift(format!("{{\"mappings\":\"{text}\"}}").as_bytes(), &places, 17);
        }
    }
}

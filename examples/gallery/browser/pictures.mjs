// Files for the tests.

import { randomFillSync } from "node:crypto";

/**
 * Returns a JPEG of this size in bytes, which begins with comments of random bytes.
 * @param {Buffer} jpeg a smaller picture
 */
export function enlarged(jpeg, size) {
  const result = randomFillSync(Buffer.alloc(size));
  jpeg.copy(result, 0, 0, 2);
  let at = 2;
  let rest = size - jpeg.length;
  while (rest > 0) {
    // A segment has at most 65,537 bytes and at least 4 (ITU-T T.81, section B.1.1.4).
    const segment = rest <= 65_537 ? rest : Math.min(65_537, rest - 4);
    result.writeUInt16BE(0xfffe, at);
    result.writeUInt16BE(segment - 2, at + 2);
    at += segment;
    rest -= segment;
  }
  jpeg.copy(result, at, 2);
  return result;
}

/** Draws a picture in a page. */
export async function drawn(page, color) {
  const url = await page.evaluate((color) => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [1200, 900];
    const context = canvas.getContext("2d");
    context.fillStyle = color;
    context.fillRect(0, 0, 1200, 900);
    return canvas.toDataURL("image/jpeg");
  }, color);
  return Buffer.from(url.split(",")[1], "base64");
}

// Writes the analytics of an invented year: node history.mjs DIRECTORY
//
// The traffic is that of a podcast: it grows, it is lower on weekends, and every week has a new
// episode. Some keys of the current day are hostile. Apart from the dates, every run writes the
// same.

import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";

const DAYS = 364;
const MB = 1_000_000;
const HOSTILE = [
  "<script>window.owned = true</script>.mp3",
  "\"><img src=x onerror=\"window.owned = true\">.mp3",
  "reports/\u202egpj.exe\u2066.mp3",
  "كتاب/الفصل-الأول.mp3",
  `long/${"x".repeat(1019)}`,
  `long/${"wörter und mehr ".repeat(60)}`.slice(0, 900),
];

let state = 7;
/** Returns a number from 0 to 1, the same sequence in every run. */
function random() {
  state = (state * 1103515245 + 12345) & 0x7fffffff;
  return state / 0x7fffffff;
}

function row(day, key, downloads, size, misses) {
  const requests = Math.round(downloads * (1.6 + random()));
  const missed = Math.min(requests, misses);
  return JSON.stringify({
    day, key, downloads, downloads_by_request: 0, requests, hit_requests: requests - missed,
    bytes_hit: Math.round((downloads - (missed / requests) * downloads * 0.6) * size * 0.8),
    bytes_miss: Math.round(missed * size * 0.7),
  });
}

/** Returns the rows of a day, which is so many days ago. */
function rows(day, ago) {
  const weekday = new Date(day).getUTCDay();
  const level = (1 + (DAYS - ago) / 300) * (weekday % 6 ? 1 : 0.62) * (0.9 + 0.2 * random());
  const newest = 206 - Math.floor(ago / 7);
  const lines = [];
  for (let age = 0; age < 24; age++) {
    const downloads = Math.round((level * 900 * (ago % 7 < 2 && age < 1 ? 2.4 : 1)) / (1 + age * 1.3));
    const misses = Math.round(downloads * (age < 1 ? 0.012 : 0.05) * (0.5 + random()) + (ago % 97 === 40 ? 120 : 0));
    lines.push(row(day, `episodes/${newest - age}.mp3`, downloads, 42 * MB, misses));
  }
  lines.push(row(day, "feed.xml", Math.round(2400 * level), 0.09 * MB, Math.round(180 * level)));
  lines.push(row(day, "images/cover-1400.jpg", Math.round(310 * level), 0.4 * MB, 4));
  return lines;
}

const [directory] = process.argv.slice(2);
await mkdir(directory, { recursive: true });
// The mirror also begins a day at midnight in UTC. If that passes now, the test has a day less.
const today = Date.now();
for (let ago = DAYS - 1; ago >= 0; ago--) {
  const day = new Date(today - ago * 86_400_000).toISOString().slice(0, 10);
  const lines = rows(day, ago);
  if (ago === 0) lines.push(...HOSTILE.map((key, at) => row(day, key, 40 - at, 3 * MB, 2)));
  await writeFile(path.join(directory, `${day}.jsonl`), lines.join("\n") + "\n");
}

// Uses the application as people do, in Chromium.
//
//     node upload.mjs URL CHROMIUM
//
// It starts the browser and ends it; the application runs already, and has no files yet.

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";

import puppeteer from "puppeteer-core";

const MIB = 1 << 20;
const OWNED = "document.title = 'owned'";
const SVG = `<svg xmlns="http://www.w3.org/2000/svg"><title>picture</title><script>${OWNED}</script></svg>\n`;
const HTML = `<!DOCTYPE html><title>page</title><script>${OWNED}</script>\n`;

const [url, executablePath] = process.argv.slice(2);
const scratch = await mkdtemp(path.join(tmpdir(), "uploads-browser-"));
// Chromium's sandbox does not work for root, whom containers like to be.
const args = process.getuid() === 0 ? ["--no-sandbox"] : [];
const userDataDir = path.join(scratch, "profile");
const browser = await puppeteer.launch({ executablePath, args, userDataDir, headless: true });
try {
  const page = await browser.newPage();
  console.log(await browser.version());
  await filesAreUploadedAndComeBack(page);
  await aFileThatIsTooLargeIsExplained(page);
  await scriptsOfOthersDoNotRun(page);
  await aFileIsDeleted(page);
} finally {
  await browser.close();
  await rm(scratch, { recursive: true, force: true });
}

async function filesAreUploadedAndComeBack(page) {
  const bytes = Buffer.from(Array.from({ length: 3 * MIB }, (_, at) => (at * 2654435761) >>> 13));
  const answer = await upload(page, { "My notes <1>.txt": "hello\n", "data.json": JSON.stringify(bytes.toString("base64")) });
  assert.equal(answer.status(), 200);
  assert.equal(page.url(), `${url}/`);
  const shown = await files(page);
  assert.deepEqual(shown.map(({ size, kind }) => [size, kind]), [
    ["6 bytes", "text/plain; charset=utf-8"],
    ["4194306 bytes", "application/json"],
  ]);
  assert.match(shown[0].name, /^My-notes-1-[0-9a-z]{16}\.txt$/);
  for (const [file, uploaded] of [[shown[0], "My notes <1>.txt"], [shown[1], "data.json"]]) {
    const [followed] = await Promise.all([page.waitForNavigation(), page.click(`a[href="${file.href}"]`)]);
    assert.equal(followed.status(), 200);
    assert.ok((await followed.buffer()).equals(await readFile(path.join(scratch, uploaded))));
    await page.goto(url);
  }
  console.log("two files in one form: uploaded, shown, followed, the same bytes");
}

async function aFileThatIsTooLargeIsExplained(page) {
  const before = await page.goto(url).then(() => files(page));
  const answer = await upload(page, { "large.bin": Buffer.alloc(30 * MIB) });
  assert.equal(answer.status(), 413);
  assert.match(await page.$eval("body", (body) => body.textContent), /Too large: large\.bin\. A file may have 10 MiB\./);
  await page.goto(url);
  assert.deepEqual(await files(page), before);
  console.log("30 MiB: refused, the browser shows why, nothing of it is kept");
}

async function scriptsOfOthersDoNotRun(page) {
  for (const [name, source] of [["picture.svg", SVG], ["page.html", HTML]]) {
    // Where nobody prevents it, the script runs: else this would prove nothing.
    await writeFile(path.join(scratch, name), source);
    await page.goto(pathToFileURL(path.join(scratch, name)).href);
    assert.equal(await page.title(), "owned");

    await page.goto(url);
    await upload(page, { [name]: source });
    const file = (await files(page)).find((file) => file.name.startsWith(name.split(".")[0]));
    const downloaded = await download(page, () => page.click(`a[href="${file.href}"]`));
    assert.equal(await readFile(downloaded, "utf8"), source);
    assert.equal(page.url(), `${url}/`);
    assert.equal(await page.title(), "Uploads");

    // In a frame, or by whatever else ignores the disposition, the sandbox is left.
    const headers = (await fetch(new URL(file.href, url))).headers;
    assert.match(headers.get("content-security-policy"), /sandbox/);
    console.log(`${name} with a script: downloaded, the script did not run`);
  }
}

async function aFileIsDeleted(page) {
  await page.goto(url);
  const before = await files(page);
  await Promise.all([page.waitForNavigation(), page.click("form[action^='/delete/'] button")]);
  assert.deepEqual(await files(page), before.slice(1));
  console.log("one file deleted, the others are there");
}

/** Chooses the files in the form, submits it, and answers what the browser shows then. */
async function upload(page, contents) {
  if (page.url() !== `${url}/`) await page.goto(url);
  const paths = Object.keys(contents).map((name) => path.join(scratch, name));
  await Promise.all(Object.values(contents).map((content, at) => writeFile(paths[at], content)));
  const input = await page.$("input[type=file]");
  await input.uploadFile(...paths);
  const [answer] = await Promise.all([page.waitForNavigation(), page.click("form[enctype] button")]);
  return answer;
}

/** What the page shows. */
function files(page) {
  return page.$$eval("tr:has(td)", (rows) =>
    rows.map((row) => {
      const link = row.querySelector("a");
      const [, size, kind] = [...row.cells].map((cell) => cell.textContent.trim());
      return { name: link.textContent, href: link.getAttribute("href"), size, kind };
    }),
  );
}

/** Where the download lies that this sets off. */
async function download(page, click) {
  const session = await page.browser().target().createCDPSession();
  await session.send("Browser.setDownloadBehavior", { behavior: "allowAndName", downloadPath: scratch, eventsEnabled: true });
  let shown;
  const done = new Promise((resolve, reject) => {
    shown = () => reject(new Error("it was shown, not downloaded"));
    page.once("framenavigated", shown);
    session.on("Browser.downloadProgress", ({ guid, state }) => {
      if (state === "completed") resolve(path.join(scratch, guid));
      if (state === "canceled") reject(new Error("the download was cancelled"));
    });
  });
  const [downloaded] = await Promise.all([done, click()]);
  page.off("framenavigated", shown);
  await session.detach();
  return downloaded;
}

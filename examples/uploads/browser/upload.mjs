// Tests the application in Chromium.
//
//     node upload.mjs URL CHROMIUM
//
// Starts and stops the browser. The application must be running and have no files.

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
// Chromium's sandbox does not work for root, which many containers use.
const args = process.getuid() === 0 ? ["--no-sandbox"] : [];
const userDataDir = path.join(scratch, "profile");
const browser = await puppeteer.launch({ executablePath, args, userDataDir, headless: true });
try {
  const page = await browser.newPage();
  console.log(await browser.version());
  await filesAreUploadedAndComeBack(page);
  await aFileThatIsTooLargeIsExplained(page);
  await uploadedScriptsDoNotRun(page);
  await aFileIsDeleted(page);
} finally {
  await browser.close();
  await rm(scratch, { recursive: true, force: true });
}

async function filesAreUploadedAndComeBack(page) {
  const bytes = Buffer.from(Array.from({ length: 3 * MIB }, (_, at) => (at * 2654435761) >>> 13));
  const response = await upload(page, { "My notes <1>.txt": "hello\n", "data.json": JSON.stringify(bytes.toString("base64")) });
  assert.equal(response.status(), 200);
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
  console.log("two files in one form: uploaded, listed, downloaded, the same bytes");
}

async function aFileThatIsTooLargeIsExplained(page) {
  const before = await page.goto(url).then(() => files(page));
  const response = await upload(page, { "large.bin": Buffer.alloc(30 * MIB) });
  assert.equal(response.status(), 413);
  assert.match(await page.$eval("body", (body) => body.textContent), /Too large: large\.bin\. A file may have 10 MiB\./);
  await page.goto(url);
  assert.deepEqual(await files(page), before);
  console.log("30 MiB: refused, the browser shows the reason, nothing is stored");
}

async function uploadedScriptsDoNotRun(page) {
  for (const [name, source] of [["picture.svg", SVG], ["page.html", HTML]]) {
    // Without protection the script runs, which shows that the test can fail.
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

    // In a frame, where the disposition has no effect, the sandbox prevents scripts.
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
  console.log("one file deleted, the others stay");
}

/** Selects the files in the form, submits it, and returns the response. */
async function upload(page, contents) {
  if (page.url() !== `${url}/`) await page.goto(url);
  const paths = Object.keys(contents).map((name) => path.join(scratch, name));
  await Promise.all(Object.values(contents).map((content, at) => writeFile(paths[at], content)));
  const input = await page.$("input[type=file]");
  await input.uploadFile(...paths);
  const [response] = await Promise.all([page.waitForNavigation(), page.click("form[enctype] button")]);
  return response;
}

/** Returns the files in the list of the page. */
function files(page) {
  return page.$$eval("tr:has(td)", (rows) =>
    rows.map((row) => {
      const link = row.querySelector("a");
      const [, size, kind] = [...row.cells].map((cell) => cell.textContent.trim());
      return { name: link.textContent, href: link.getAttribute("href"), size, kind };
    }),
  );
}

/** Clicks and returns the path of the download. */
async function download(page, click) {
  const session = await page.browser().target().createCDPSession();
  await session.send("Browser.setDownloadBehavior", { behavior: "allowAndName", downloadPath: scratch, eventsEnabled: true });
  let shown;
  const done = new Promise((resolve, reject) => {
    shown = () => reject(new Error("the file was displayed, not downloaded"));
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

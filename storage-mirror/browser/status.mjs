// Tests the status page in Chromium.
//
//     node status.mjs URL CHROMIUM [PICTURES]
//
// Starts and stops the browser. The mirror must be running with the analytics of history.mjs. With
// PICTURES, the name of a directory, writes pictures of the page in all widths and colours.

import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import puppeteer from "puppeteer-core";

const TOKEN = "the-token-of-the-browser-test";
const WIDTHS = [360, 768, 1280];

const [url, executablePath, pictures] = process.argv.slice(2);
const scratch = await mkdtemp(path.join(tmpdir(), "status-browser-"));
// Chromium's sandbox does not work for root, which many containers use.
const args = process.getuid() === 0 ? ["--no-sandbox"] : [];
const userDataDir = path.join(scratch, "profile");
const browser = await puppeteer.launch({ executablePath, args, userDataDir, headless: true });
try {
  const page = await browser.newPage();
  console.log(await browser.version());
  await page.setExtraHTTPHeaders({ authorization: `Bearer ${TOKEN}` });
  const problems = watch(page);
  await fillTheCache();
  await theHistoryIsComplete(page);
  await thePageFitsEveryWidth(page);
  await theSearchFindsKeys(page);
  await hostileKeysAreText(page);
  await everyPictureAndFieldHasAName(page);
  await aPastDayHasItsTopKeys(page);
  assert.deepEqual(problems, []);
  await theProblemsAreSeen(page, problems);
} finally {
  await browser.close();
  await rm(scratch, { recursive: true, force: true });
}

/** Collects errors of the console and of scripts, and requests that are not for the page. */
function watch(page) {
  const problems = [];
  page.on("console", (message) => {
    if (["error", "warn"].includes(message.type())) problems.push(message.text());
  });
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("request", (request) => {
    const { protocol, pathname } = new URL(request.url());
    if (protocol !== "data:" && pathname !== "/status") problems.push(`a request for ${request.url()}`);
  });
  return problems;
}

/** Requests every object some times, so that the section about the cache has figures. */
async function fillTheCache() {
  for (let episode = 201; episode <= 206; episode++) {
    for (let times = 0; times < 3; times++) {
      const response = await fetch(`${url}/episodes/${episode}.mp3`);
      assert.equal(response.status, 200);
      await response.arrayBuffer();
    }
  }
}

/** Waits until the days, which have no summaries yet, are summed up. */
async function theHistoryIsComplete(page) {
  const isIncomplete = () => document.querySelector(".note") !== null;
  for (let attempts = 0; attempts < 600; attempts++) {
    await page.goto(`${url}/status`);
    if (!(await page.evaluate(isIncomplete))) break;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.equal(await page.evaluate(isIncomplete), false, "the history is not complete");
  await page.goto(`${url}/status?days=364`);
  const bars = await page.$$eval("figure:first-child svg g", (groups) => groups.map((group) => group.querySelectorAll(".a").length));
  assert.deepEqual(bars, Array(52).fill(1));
  console.log("a year of history: a bar for each week");
}

async function thePageFitsEveryWidth(page) {
  if (pictures) await mkdir(pictures, { recursive: true });
  for (const value of ["light", "dark"]) {
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value }]);
    for (const width of WIDTHS) {
      await page.setViewport({ width, height: 900 });
      for (const query of ["", "?days=364", "?q=long", "?q=%3Cscript"]) {
        await page.goto(`${url}/status${query}`);
        // Shows the tables and the long keys, too.
        await page.$$eval("details", (all) => all.forEach((details) => (details.open = true)));
        assert.equal(await overflow(page), 0, `${width} px, ${value}, ${query}`);
      }
      if (pictures) {
        await page.goto(`${url}/status?days=364`);
        await page.screenshot({ path: path.join(pictures, `${width}-${value}.png`), fullPage: true });
      }
    }
  }
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: "light" }]);
  if (pictures) {
    // Most readers have their origin in S3, and the directory of this test is no example.
    await page.evaluate(() => {
      document.querySelector("h1").textContent = "s3://example-media";
      document.querySelector(".sub code").textContent = "s3";
    });
    const clip = { x: 0, y: 0, width: 1280, height: 1262 };
    await page.screenshot({ path: path.join(pictures, "status.png"), clip });
  }
  console.log(`${WIDTHS.join(", ")} px, light and dark: nothing is wider than the page`);
}

/** Returns by how many pixels the page is wider than the window. */
function overflow(page) {
  return page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
}

async function theSearchFindsKeys(page) {
  await page.goto(`${url}/status?days=91&refresh=300`);
  await page.type("#q", "EPISODES/20");
  const [response] = await Promise.all([page.waitForNavigation(), page.click("form button")]);
  assert.equal(response.status(), 200);
  const shown = await keys(page);
  assert.deepEqual(shown, ["206", "205", "204", "203", "202", "201", "200"].map((n) => `episodes/${n}.mp3`));
  // The form keeps the other choices.
  const { searchParams } = new URL(page.url());
  assert.deepEqual(Object.fromEntries(searchParams), { q: "EPISODES/20", days: "91", refresh: "300" });
  assert.equal(await page.$eval("#q", (field) => field.value), "EPISODES/20");
  await page.goto(`${url}/status?q=no+such+key`);
  assert.deepEqual(await keys(page), []);
  console.log("the search finds keys of today and keeps the period");
}

async function hostileKeysAreText(page) {
  for (const [text, expected] of [
    ["<script>", "<script>window.owned = true</script>.mp3"],
    ['"><img', '"><img src=x onerror="window.owned = true">.mp3'],
    ["gpj", "reports/\\u{202e}gpj.exe\\u{2066}.mp3"],
  ]) {
    await page.goto(`${url}/status?q=${encodeURIComponent(text)}`);
    assert.deepEqual(await keys(page), [expected]);
    assert.equal(await page.$eval("#q", (field) => field.value), text);
    assert.equal(await page.evaluate(() => window.owned), undefined);
    assert.equal(await page.$$eval("script, img", (elements) => elements.length), 0);
  }
  await page.goto(`${url}/status?q=${"x".repeat(900)}`);
  const long = await page.$eval(".keys details", (details) => details.lastChild.textContent);
  assert.equal(long, `long/${"x".repeat(1019)}`);
  console.log("hostile keys are shown as text, in full");
}

async function everyPictureAndFieldHasAName(page) {
  await page.goto(`${url}/status`);
  const unnamed = await page.evaluate(() => {
    const pictures = [...document.querySelectorAll("svg:not([aria-hidden])")];
    const fields = [...document.querySelectorAll("input:not([type=hidden])")];
    return [
      ...pictures.filter((svg) => !svg.getAttribute("aria-label")),
      ...fields.filter((field) => field.labels.length === 0),
      ...[...document.querySelectorAll("table")].filter((table) => !table.querySelector("thead th")),
    ].map((element) => element.outerHTML);
  });
  assert.deepEqual(unnamed, []);
  console.log("charts and fields have names, and tables have headers");
}

async function aPastDayHasItsTopKeys(page) {
  await page.goto(`${url}/status`);
  const href = await page.$$eval("details tbody a", (links) => links[10].href);
  await page.goto(href);
  assert.equal(await page.$eval("#keys h2", (heading) => heading.textContent), "Top keys");
  assert.equal((await keys(page)).length, 25);
  console.log("a past day has its own top keys");
}

/** Shows that the checks above can fail. */
async function theProblemsAreSeen(page, problems) {
  await page.evaluate(() => {
    const wide = document.body.appendChild(document.createElement("div"));
    wide.style.width = "5000px";
    wide.textContent = "wide";
    const script = document.createElement("script");
    script.textContent = "window.owned = true";
    document.body.append(script);
  });
  assert.ok((await overflow(page)) > 3000);
  assert.equal(await page.evaluate(() => window.owned), undefined);
  assert.ok(problems.some((problem) => /Content Security Policy/.test(problem)), String(problems));
  console.log("the policy blocks scripts");
}

/** Returns the listed keys as they are shown. */
function keys(page) {
  return page.$$eval(".keys tbody th > :first-child", (names) => names.map((name) => name.textContent));
}

// Opens published sites in Chromium: node open.mjs CHROMIUM SITES
//
// SITES is a JSON file: [{"name": "react", "where": "fs", "base": "http://...", "pages": [...]}].
// Fails if a request fails, the console has an error, or a site does not work.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";

import puppeteer from "puppeteer-core";

// The types that a browser needs to use a file, by the kind of the request.
const TYPES = {
  document: /^text\/html/,
  stylesheet: /^text\/css/,
  script: /^(text|application)\/javascript/,
  image: /^image\//,
  font: /^font\//,
};

// What shows that a site works: a function for a page of each site.
const WORKS = {
  react: reactWorks,
  bootstrap: bootstrapWorks,
  book: bookWorks,
  minima: minimaWorks,
};

const [executablePath, sites] = process.argv.slice(2);
const scratch = await mkdtemp(path.join(tmpdir(), "sites-browser-"));
// Chromium's sandbox does not work for root, which many containers use.
const args = process.getuid() === 0 ? ["--no-sandbox"] : [];
const userDataDir = path.join(scratch, "profile");
const browser = await puppeteer.launch({ executablePath, args, userDataDir, headless: true });
try {
  console.log(await browser.version());
  await aBrokenSiteIsNoticed();
  for (const site of JSON.parse(await readFile(sites, "utf8"))) {
    await opens(site);
  }
} finally {
  await browser.close();
  await rm(scratch, { recursive: true, force: true });
}

/** Collects what goes wrong in a page, and what it loads. */
async function watched() {
  const page = await browser.newPage();
  const seen = { problems: [], loaded: 0 };
  page.on("console", (message) => {
    if (["error", "warn"].includes(message.type())) seen.problems.push(message.text());
  });
  page.on("pageerror", (error) => seen.problems.push(String(error)));
  page.on("requestfailed", (request) =>
    seen.problems.push(`${request.url()}: ${request.failure()?.errorText}`),
  );
  page.on("response", (response) => {
    if (!response.url().startsWith("http")) return;
    seen.loaded += 1;
    const type = response.headers()["content-type"] ?? "";
    const expected = TYPES[response.request().resourceType()];
    if (response.status() >= 400) {
      seen.problems.push(`${response.url()}: ${response.status()}`);
    } else if (response.status() === 200 && expected && !expected.test(type)) {
      seen.problems.push(`${response.url()}: the type is ${type}`);
    }
  });
  return [page, seen];
}

async function opens({ name, where, base, pages }) {
  let loaded = 0;
  for (const path of pages) {
    const [page, seen] = await watched();
    const response = await page.goto(`${base}${path}`, { waitUntil: "networkidle0" });
    assert.equal(response.status(), 200, `${base}${path}`);
    try {
      await WORKS[name](page, path);
    } catch (error) {
      seen.problems.push(String(error));
    }
    assert.deepEqual(seen.problems, [], `${name} on ${where}: ${path}`);
    loaded += seen.loaded;
    await page.close();
  }
  console.log(`${name} on ${where}: ${pages.length} pages, ${loaded} responses, no error`);
}

/** What is wrong with a site is a problem, so sites without problems are right. */
async function aBrokenSiteIsNoticed() {
  const style = "body { color: red }";
  const script = "window.ran = true;";
  const files = {
    "/wrong.css": ["text/css", style],
    "/right.css": ["text/css", style],
    "/wrong.js": ["text/javascript", script],
    "/right.js": ["text/javascript", script],
    "/type.css": ["text/plain", style],
  };
  files["/"] = [
    "text/html",
    `<!DOCTYPE html><link rel="icon" href="data:,">
    <link rel="stylesheet" href="right.css" integrity="${integrity(style)}">
    <link rel="stylesheet" href="wrong.css" integrity="${integrity("other bytes")}">
    <link rel="stylesheet" href="type.css">
    <script src="right.js" integrity="${integrity(script)}"></script>
    <script src="wrong.js" integrity="${integrity("other bytes")}"></script>
    <script>throw new Error("broken")</script>
    <img src="missing.png">`,
  ];
  const server = await serving(files);
  const [page, seen] = await watched();
  try {
    await page.goto(server.base, { waitUntil: "networkidle0" });
  } finally {
    server.close();
  }
  const noticed = (...words) =>
    seen.problems.some((problem) => words.every((word) => problem.includes(word)));
  const shown = seen.problems.join("\n");
  assert.ok(noticed("integrity", "/wrong.css"), shown);
  assert.ok(noticed("integrity", "/wrong.js"), shown);
  assert.ok(noticed("/type.css", "the type is"), shown);
  assert.ok(noticed("/missing.png", "404"), shown);
  assert.ok(noticed("broken"), shown);
  assert.ok(!noticed("/right."), shown);
  await page.close();
}

function integrity(text) {
  return `sha384-${createHash("sha384").update(text).digest("base64")}`;
}

/** Serves files on loopback: `files` maps a path to a type and a body. */
async function serving(files) {
  const server = createServer((request, response) => {
    const [type, body] = files[request.url] ?? [];
    response.writeHead(body === undefined ? 404 : 200, { "Content-Type": type ?? "text/plain" });
    response.end(body ?? "");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const close = () => {
    server.close();
    server.closeAllConnections();
  };
  return { base: `http://127.0.0.1:${server.address().port}/`, close };
}

function color(page, selector) {
  return page.$eval(selector, (node) => getComputedStyle(node).color);
}

async function reactWorks(page) {
  await page.waitForFunction(() => document.querySelector("#sum")?.textContent === "6");
  await page.waitForSelector("#details");
  assert.equal(await color(page, "#details"), "rgb(4, 5, 6)");
  assert.ok(await page.$eval("img", (image) => image.naturalWidth > 0));
}

async function bootstrapWorks(page, path) {
  assert.equal(await color(page, ".text-primary"), "rgb(13, 110, 253)");
  if (path === "page.html") {
    assert.match(await page.title(), /^Modules: 5\./);
    return;
  }
  assert.ok(await page.evaluate(() => document.fonts.check("16px bootstrap-icons")));
  assert.ok(await page.$eval("svg use", (use) => use.getBBox().width > 0), "the sprite is empty");
  await page.click("#button");
  await page.waitForSelector(".dropdown-menu.show");
}

async function bookWorks(page, path) {
  assert.ok(await page.$(".sidebar, mdbook-sidebar-scrollbox"));
  if (path !== "index.html") return;
  await page.keyboard.press("s");
  await page.waitForSelector("#mdbook-searchbar, #searchbar", { visible: true });
  await page.keyboard.type("storage");
  const results = "#mdbook-searchresults li, #searchresults li";
  await page.waitForSelector(results, { visible: true });
}

async function minimaWorks(page) {
  const width = await page.$eval(".wrapper", (node) => getComputedStyle(node).maxWidth);
  assert.notEqual(width, "none");
  assert.ok(await page.$eval("svg use", (use) => use.getBBox().width > 0), "an icon is empty");
}

// Tests the gallery in Chromium, with the packages of npm that users have.
//
//     node gallery.mjs PROGRAMS CHROMIUM MIB disk|s3
//
// Starts and stops the programs and the browser. MIB is the size of the large pictures.

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";

import puppeteer from "puppeteer-core";

import { drawn, enlarged } from "./pictures.mjs";
import { Network, S3Server, Server } from "./server.mjs";

const [programs, executablePath, mib, storage] = process.argv.slice(2);
const LARGE = Number(mib) << 20;
/** The speed of the network while large pictures are sent, in bytes a second. */
const SPEED = LARGE / 4;
const PAUSE = ".uppy-StatusBar-actionCircleBtn[aria-label=Pause]";
const RESUME = ".uppy-StatusBar-actionCircleBtn[aria-label=Resume]";

const scratch = await mkdtemp(path.join(tmpdir(), "gallery-browser-"));
// Chromium's sandbox does not work for root, which many containers use.
const args = process.getuid() === 0 ? ["--no-sandbox"] : [];
const userDataDir = path.join(scratch, "profile");
const s3 = storage === "s3" ? new S3Server() : null;
await s3?.start(path.join(programs, "examples/gallery-s3-server"));
const disk = `[storages.default]
driver = "fs"
root = "${path.join(scratch, "files")}"
public_url = "/media/"
signing_key = "${process.env.GALLERY_SECRET}"
`;
const server = new Server(
  path.join(programs, "gallery"),
  await saved("storages.toml", s3?.config ?? disk),
);
await server.start();
const network = new Network();
await network.start(server);
const browser = await puppeteer.launch({ executablePath, args, userDataDir, headless: true });
try {
  console.log(`${await browser.version()}, ${storage}`);
  const page = await newPage();
  await signIn(page);
  for (const test of [
    aPictureIsUploadedAndShown,
    anUploadSurvivesACutNetworkAndTheDeathOfTheServer,
    anUploadSurvivesAReload,
    anUploadIsPausedAndResumed,
    twoTabsUploadOneFile,
    aFileOfAnotherTypeIsRefused,
    tusJsClientResumes,
    anUploadInPartsSurvivesTheDeathOfTheServer,
    version5OfTheS3PluginUploads,
    version6OfTheS3PluginUploads,
    aFormUploadsWithoutScripts,
    aPictureIsDeleted,
  ]) {
    const start = Date.now();
    await page.goto(network.url);
    await test(page);
    console.log(`${test.name}: ok (${((Date.now() - start) / 1000).toFixed(1)} s)`);
  }
} finally {
  await browser.close();
  network.stop();
  await server.kill();
  s3?.stop();
  await rm(scratch, { recursive: true, force: true });
}

async function aPictureIsUploadedAndShown(page) {
  const file = await picture(page, "My Sunset.jpg", "orange");
  await select(page, file);
  await startUpload(page);
  await success(page);
  const shown = await newest(page, "My Sunset");
  await until(page, () => document.querySelector("#pictures img").naturalWidth === 640);
  await assertSameBytes(shown, file);

  const visitor = await (await browser.createBrowserContext()).newPage();
  await visitor.goto(network.url);
  assert.equal(await visitor.$$eval("#pictures img", (found) => found.length), 1);
  assert.equal(await visitor.$("#pictures a"), null);
  assert.equal(await visitor.$("#widget"), null);
  await visitor.browserContext().close();
}

/** The server stores what arrived before the network was cut, so that its death cannot lose it. */
async function anUploadSurvivesACutNetworkAndTheDeathOfTheServer(page) {
  const file = await picture(page, "Killed.jpg", "red", LARGE);
  const sent = patches(page);
  await slowly(page, async () => {
    await uploadShare(page, file);
    network.cut();
    // Well before the end, so that the server dies before it has all.
    await network.hold(0.1 * LARGE);
    assert.equal(await isComplete(page), false);
    await server.kill();
    await server.start();
    network.release();
  });
  await success(page);
  assertContinues(sent);
  assert.ok(sent.length >= 3, `requests began at ${sent}`);
  await assertSameBytes(await newest(page, "Killed"), file);
}

async function anUploadSurvivesAReload(page) {
  const file = await picture(page, "Reloaded.jpg", "green", LARGE);
  await slowly(page, async () => {
    await uploadShare(page, file);
    await page.reload();
    network.release();
  });
  const sent = patches(page);
  await select(page, file);
  await startUpload(page);
  await success(page);
  assert.ok(sent[0] > 0, `the first request after the reload begins at ${sent[0]}`);
  await assertSameBytes(await newest(page, "Reloaded"), file);
}

async function anUploadIsPausedAndResumed(page) {
  const file = await picture(page, "Paused.jpg", "blue", LARGE);
  const sent = patches(page);
  await slowly(page, async () => {
    await uploadShare(page, file);
    await page.locator(PAUSE).click();
    network.release();
    await page.locator(RESUME).click();
  });
  await success(page);
  assertContinues(sent);
  await assertSameBytes(await newest(page, "Paused"), file);
}

/** Both tabs find the URL of the upload in the browser's storage. */
async function twoTabsUploadOneFile(page) {
  const file = await picture(page, "Twice.jpg", "purple", LARGE);
  const other = await newPage();
  await other.goto(network.url);
  const before = (await pictures(page)).length;
  const sent = [patches(page), patches(other)];
  await slowly(page, async () => {
    await slowly(other, async () => {
      await uploadShare(page, file, network, 0.3);
      await select(other, file);
      const continued = other.waitForRequest((request) => request.method() === "PATCH");
      await startUpload(other);
      await continued;
      network.release();
    });
  });
  await Promise.all([success(page), success(other)]);
  assert.ok(sent[1][0] > 0, `the second tab begins at ${sent[1][0]}`);
  await page.bringToFront();
  await page.goto(network.url);
  assert.equal((await pictures(page)).length, before + 1);
  await assertSameBytes(await newest(page, "Twice"), file);
  await other.close();
}

async function aFileOfAnotherTypeIsRefused(page) {
  const before = await pictures(page);
  const text = await saved("notes.txt", "hello\n");
  await select(page, text, false);
  const informer = await page.waitForSelector(".uppy-Informer p[role=alert]");
  assert.match(await informer.evaluate((it) => it.textContent), /image\/jpeg/);

  // The widget uses the name, and the server the bytes.
  const html = await saved("page.png", "<!DOCTYPE html><script>document.title = 'owned'</script>");
  await select(page, html);
  await startUpload(page);
  await until(page, () => window.uppy.getFiles().some((file) => file.error));
  const error = await page.evaluate(() => window.uppy.getFiles()[0].error);
  assert.match(error, /415/);
  await page.goto(network.url);
  assert.deepEqual(await pictures(page), before);
}

/** tus-js-client alone, with chunks, an abort, and the URL from the browser's storage. */
async function tusJsClientResumes(page) {
  const file = await picture(page, "Chunks.jpg", "teal", LARGE);
  const script = createRequire(import.meta.url).resolve("tus-js-client/dist/tus.min.js");
  const client = await newPage();
  await client.setBypassCSP(true);
  await client.goto(network.url);
  await client.addScriptTag({ path: script });
  await addInput(client);
  await (await client.$("#own")).uploadFile(file);
  const offsets = await client.evaluate(async (half) => {
    const [file] = document.getElementById("own").files;
    const options = {
      endpoint: "/uploads",
      chunkSize: 3 << 20,
      metadata: { filename: file.name, filetype: file.type },
      removeFingerprintOnSuccess: true,
    };
    await new Promise((resolve, reject) => {
      const upload = new tus.Upload(file, {
        ...options,
        onError: reject,
        onChunkComplete: (_, accepted) => {
          if (accepted >= half) upload.abort().then(resolve, reject);
        },
      });
      upload.start();
    });
    const begins = [];
    await new Promise((resolve, reject) => {
      const upload = new tus.Upload(file, {
        ...options,
        onError: reject,
        onSuccess: resolve,
        onBeforeRequest: (request) => begins.push(request.getHeader("Upload-Offset")),
      });
      upload.findPreviousUploads().then(([previous]) => {
        upload.resumeFromPreviousUpload(previous);
        upload.start();
      }, reject);
    });
    return begins.filter((offset) => offset !== undefined);
  }, LARGE / 2);
  assert.ok(offsets[0] >= LARGE / 2, `the second upload begins at ${offsets[0]}`);
  await client.close();
  await page.goto(network.url);
  await assertSameBytes(await newest(page, "Chunks"), file);
}

/** The parts go straight to a bucket, and to the server if the pictures are on a disk. */
async function anUploadInPartsSurvivesTheDeathOfTheServer(page) {
  const file = await picture(page, "Parts.jpg", "brown", LARGE);
  const puts = [];
  const signed = [];
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (request.method() === "PUT") puts.push(url.origin);
    const [, number] = /\/s3\/multipart\/[^/]+\/(\d+)$/.exec(url.pathname) ?? [];
    if (number) signed.push(Number(number));
  });
  await page.click("#protocols [value=s3]");
  const route = s3?.network ?? network;
  await slowly(page, async () => {
    await uploadShare(page, file, route);
    await server.kill();
    await server.start();
    route.release();
  });
  // The plugin repeats only the requests that send parts.
  await ended(page);
  if (!(await isComplete(page))) await page.locator(".uppy-StatusBar-actionBtn--retry").click();
  await success(page);
  assert.equal(signed.filter((number) => number === 1).length, 1, `signed: ${signed}`);
  const origin = s3?.origin ?? network.url;
  assert.ok(puts.length > 1 && puts.every((to) => to === origin), `${puts}`);
  await assertSameBytes(await newest(page, "Parts"), file);
}

async function version5OfTheS3PluginUploads(page) {
  await s3PluginUploads(page, "5.1.0", "uppy-5/dist/uppy.min.js", "endpoint");
}

async function version6OfTheS3PluginUploads(page) {
  await s3PluginUploads(page, "6.3.1", "./aws-s3.js", "companionEndpoint");
}

/** Uploads one file in parts and one as a form. */
async function s3PluginUploads(page, version, script, endpoint) {
  const file = await picture(page, "Plugin.jpg", "black", LARGE);
  const small = await picture(page, "Small.jpg", "white");
  const client = await newPage();
  await client.setBypassCSP(true);
  await client.goto(network.url);
  await client.addScriptTag({ path: createRequire(import.meta.url).resolve(script) });
  assert.equal(await client.evaluate(() => Uppy.AwsS3.VERSION), version);
  await addInput(client);
  await (await client.$("#own")).uploadFile(file, small);
  const outcome = await client.evaluate(async (endpoint) => {
    const uppy = new Uppy.Uppy().use(Uppy.AwsS3, {
      [endpoint]: `${location.origin}/uploads`,
      shouldUseMultipart: (file) => file.size > 5 * 2 ** 20,
    });
    for (const data of document.getElementById("own").files) {
      uppy.addFile({ name: data.name, type: data.type, data });
    }
    const { successful, failed } = await uppy.upload();
    return { successful: successful.length, failed: failed.map((file) => file.error) };
  }, endpoint);
  assert.deepEqual(outcome, { successful: 2, failed: [] });
  await client.close();
  await page.bringToFront();
  await page.goto(network.url);
  const shown = await pictures(page);
  for (const [name, path] of [["Plugin", file], ["Small", small]]) {
    await assertSameBytes(shown.find((picture) => picture.name === name).original, path);
  }
}

async function aFormUploadsWithoutScripts(page) {
  const file = await picture(page, "Plain.jpg", "gold");
  const plain = await newPage();
  await plain.setJavaScriptEnabled(false);
  await plain.goto(network.url);
  await (await plain.$(".plain input")).uploadFile(file);
  const [response] = await Promise.all([plain.waitForNavigation(), plain.click(".plain button")]);
  assert.equal(response.status(), 200);
  assert.equal(plain.url(), `${network.url}/`);
  await plain.close();
  await page.bringToFront();
  await page.goto(network.url);
  await assertSameBytes(await newest(page, "Plain"), file);
}

async function aPictureIsDeleted(page) {
  const before = await pictures(page);
  const [{ original }] = before;
  await page.click("#pictures form button");
  await until(page, () => document.getElementById("status").textContent !== "");
  assert.match(await page.$eval("#status", (status) => status.textContent), / is deleted\.$/);
  assert.deepEqual(await pictures(page), before.slice(1));
  assert.equal((await fetch(new URL(original, network.url))).status, 404);
}

/** Opens a page that fails the test if its policy blocks something of the widget. */
async function newPage() {
  const page = await browser.newPage();
  page.setDefaultTimeout(120_000);
  page.on("console", (message) => {
    if (/Content Security Policy/.test(message.text())) throw new Error(message.text());
  });
  page.on("pageerror", (error) => {
    throw error;
  });
  return page;
}

async function signIn(page) {
  await page.goto(network.url);
  await page.type("[name=user]", "ada");
  await page.type("[name=password]", process.env.GALLERY_PASSWORD);
  await Promise.all([page.waitForNavigation(), page.click(".sign-in button")]);
  assert.equal(await page.$(".sign-in"), null);
}

/** Adds an input for files to a page. */
async function addInput(page) {
  await page.evaluate(() => {
    const input = Object.assign(document.createElement("input"), { type: "file", multiple: true });
    input.id = "own";
    document.body.append(input);
  });
}

async function saved(name, content) {
  const file = path.join(scratch, name);
  await writeFile(file, content);
  return file;
}

async function picture(page, name, color, size) {
  const jpeg = await drawn(page, color);
  return saved(name, size ? enlarged(jpeg, size) : jpeg);
}

/** Selects a file in the widget. */
async function select(page, file, isAccepted = true) {
  const input = await page.waitForSelector(".uppy-Dashboard-input");
  await input.uploadFile(file);
  if (isAccepted) await until(page, () => window.uppy.getFiles().length === 1);
}

async function startUpload(page) {
  await page.bringToFront();
  await page.locator(".uppy-StatusBar-actionBtn--upload").click();
}

/** Uploads a share of a file. The rest waits until the network is released. */
async function uploadShare(page, file, route = network, share = 0.4) {
  await select(page, file);
  const stopped = route.hold(share * LARGE);
  await startUpload(page);
  await stopped;
  assert.equal(await isComplete(page), false);
}

/** Resolves when a function of the page returns true. Tabs in the background draw no frames. */
function until(page, isTrue, ...args) {
  return page.waitForFunction(isTrue, { polling: 20 }, ...args);
}

function isComplete(page) {
  return page.evaluate(() => window.uppy.getFiles()[0].progress.uploadComplete);
}

/** Resolves when the upload has succeeded or failed. */
async function ended(page) {
  await until(page, () => {
    const [file] = window.uppy.getFiles();
    return file.progress.uploadComplete || file.error;
  });
}

async function success(page) {
  await ended(page);
  assert.equal(await page.evaluate(() => window.uppy.getFiles()[0].error ?? null), null);
}

/** Runs an action while the network is slow. */
async function slowly(page, action) {
  const session = await page.createCDPSession();
  const limit = (uploadThroughput) =>
    session.send("Network.emulateNetworkConditions", {
      offline: false,
      latency: 0,
      downloadThroughput: -1,
      uploadThroughput,
    });
  await session.send("Network.enable");
  await limit(SPEED);
  await action();
  await limit(-1);
  await session.detach();
}

/** Returns a list to which the offset of each PATCH is added. */
function patches(page) {
  const offsets = [];
  page.on("request", (request) => {
    if (request.method() === "PATCH") offsets.push(Number(request.headers()["upload-offset"]));
  });
  return offsets;
}

/** Asserts that an upload was interrupted, and continued after what was stored. */
function assertContinues(offsets) {
  assert.equal(offsets[0], 0);
  assert.ok(offsets.length > 1 && offsets.at(-1) > 0, `requests began at ${offsets}`);
}

/** Returns the pictures on the page. */
function pictures(page) {
  return page.$$eval("#pictures li", (items) =>
    items.map((item) => ({
      name: item.querySelector("b").textContent,
      original: item.querySelector("a").getAttribute("href"),
    })),
  );
}

/** Returns the link to the newest picture, when the page shows it. */
async function newest(page, name) {
  await until(page, (name) => document.querySelector("#pictures b")?.textContent === name, name);
  return (await pictures(page))[0].original;
}

async function assertSameBytes(link, file) {
  const response = await fetch(new URL(link, network.url));
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("content-type"), "image/jpeg");
  assert.ok(Buffer.from(await response.arrayBuffer()).equals(await readFile(file)));
}

// Uploads with the real packages @uppy/core and @uppy/aws-s3, of version 5 or 6.
// Usage: node client.mjs VERSION URL node|PAGE
//
// PAGE is the URL of the page, from which jsdom sends files as a browser does, with the rules of
// CORS. With `node`, files are sent without these rules, because the S3 server of the tests allows
// no other origins.

import { installNodeXhr } from "./xhr.mjs";

const [version, url, page] = process.argv.slice(2);
const MiB = 1024 * 1024;

async function installXhr() {
    if (page === "node") {
        installNodeXhr();
        return;
    }
    const { JSDOM } = await import("jsdom");
    const { window } = new JSDOM("", { url: page });
    for (const name of ["window", "document", "XMLHttpRequest", "FormData", "Blob", "File"]) {
        globalThis[name] = name === "window" ? window : window[name];
    }
}

await installXhr();
const { default: Uppy } = await import("@uppy/core");
const { default: AwsS3 } = await import("@uppy/aws-s3");

function content(size) {
    const bytes = new Uint8Array(size);
    for (let index = 0; index < size; index++) bytes[index] = index % 251;
    return bytes;
}

/// Returns an Uppy with one file, whose size is sent as metadata if `sendsSize`.
function uppyWith(name, size, options, sendsSize = false) {
    const uppy = new Uppy({ autoProceed: false, debug: false });
    const server = version === "5" ? { endpoint: url } : { companionEndpoint: url };
    uppy.use(AwsS3, { ...server, ...options });
    const data = new Blob([content(size)], { type: "application/x-test" });
    const id = uppy.addFile({ name, type: "application/x-test", data });
    if (sendsSize) uppy.setFileMeta(id, { size });
    return { uppy, id };
}

function check(condition, what) {
    if (!condition) throw new Error(what);
}

async function uploaded(name, uppy) {
    const result = await uppy.upload();
    const failed = result.failed.map((file) => file.error).join();
    check(result.failed.length === 0 && result.successful.length === 1, `${name}: ${failed}`);
    return result.successful[0];
}

const scenarios = {
    async parts() {
        const { uppy } = uppyWith("parts.bin", 12 * MiB + 3, { shouldUseMultipart: true });
        const progress = [];
        uppy.on("upload-progress", (_, { bytesUploaded }) => progress.push(bytesUploaded));
        const file = await uploaded("parts", uppy);
        check(progress.at(-1) === 12 * MiB + 3, "the progress does not reach the end");
        check(file.response.body.key === "parts.bin", JSON.stringify(file.response));
    },
    async "parts of a known size"() {
        const options = { shouldUseMultipart: true };
        const { uppy } = uppyWith("sized.bin", 6 * MiB, options, true);
        await uploaded("parts of a known size", uppy);
    },
    async "a form"() {
        const { uppy } = uppyWith("form.bin", 100_000, { shouldUseMultipart: false });
        await uploaded("a form", uppy);
    },
    async "an empty form"() {
        const { uppy } = uppyWith("empty.bin", 0, { shouldUseMultipart: false });
        await uploaded("an empty form", uppy);
    },
    async "a pause"() {
        const { uppy, id } = uppyWith("paused.bin", 21 * MiB, {
            shouldUseMultipart: true,
            limit: 1,
        });
        let pauses = 0;
        uppy.on("s3-multipart:part-uploaded", () => {
            if (pauses++ > 0) return;
            uppy.pauseResume(id);
            setTimeout(() => uppy.pauseResume(id), 50);
        });
        await uploaded("a pause", uppy);
        check(pauses > 0, "no part was reported");
    },
    async "a cancellation"() {
        const { uppy } = uppyWith("cancelled.bin", 21 * MiB, {
            shouldUseMultipart: true,
            limit: 1,
        });
        const cancelled = new Promise((resolve) => {
            uppy.once("s3-multipart:part-uploaded", () => {
                uppy.cancelAll();
                resolve();
            });
        });
        uppy.upload().catch(() => {});
        await cancelled;
    },
    async "a refusal"() {
        const { uppy } = uppyWith("refused.bin", 6 * MiB, { shouldUseMultipart: true });
        const result = await uppy.upload();
        check(result.failed.length === 1, "the refused upload did not fail");
        // Version 6 does not read the text.
        const { error } = result.failed[0];
        check(version === "6" || error.includes("Not this one."), error);
    },
};

for (const [name, scenario] of Object.entries(scenarios)) {
    const timeout = setTimeout(() => {
        console.error(`${name}: no end after 60 s`);
        process.exit(1);
    }, 60_000);
    await scenario();
    clearTimeout(timeout);
    console.log(`ok: ${name}`);
}
// The removal of the cancelled upload may be on its way: node ends when it has its response.

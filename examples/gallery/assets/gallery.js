// Replaces the plain form by Uppy, and shows pictures as soon as they are uploaded.

import { AwsS3, Dashboard, Tus, Uppy } from "/uppy/uppy.min.mjs";

const widget = document.getElementById("widget");
const protocols = document.getElementById("protocols");
const pictures = document.getElementById("pictures");
const status = document.getElementById("status");

const uppy = new Uppy({
  restrictions: {
    allowedFileTypes: widget.dataset.types.split(","),
    maxFileSize: Number(widget.dataset.maxSize),
  },
});

widget.replaceChildren();
uppy.use(Dashboard, {
  inline: true,
  target: widget,
  width: "100%",
  height: 320,
  theme: "auto",
  showProgressDetails: true,
  proudlyDisplayPoweredByUppy: false,
  note: `JPEG, PNG or WebP, up to ${Math.floor(widget.dataset.maxSize / 2 ** 20)} MiB each`,
});

const PLUGINS = {
  // After a reload, the user selects the same file again, and the upload continues. A finished
  // upload is forgotten: selecting its file again is a new upload.
  tus: [
    Tus,
    {
      endpoint: "/uploads",
      retryDelays: [0, 1000, 3000, 5000, 10_000, 20_000],
      removeFingerprintOnSuccess: true,
    },
  ],
  // If the pictures are in S3, the parts of large files go straight to the bucket.
  s3: [
    AwsS3,
    {
      companionEndpoint: `${location.origin}/uploads`,
      shouldUseMultipart: (file) => file.size > 5 * 2 ** 20,
    },
  ],
};

function useProtocol() {
  const [Plugin, options] = PLUGINS[protocols.querySelector(":checked").value];
  const before = uppy.getPlugin("protocol");
  if (before) uppy.removePlugin(before);
  uppy.use(Plugin, { id: "protocol", ...options });
}

useProtocol();
protocols.hidden = false;
protocols.addEventListener("change", useProtocol);
uppy.on("upload", () => (protocols.disabled = true));
for (const event of ["complete", "cancel-all"]) {
  uppy.on(event, () => (protocols.disabled = false));
}

// With the size, a file that is too large for the server is refused before a part is sent.
uppy.on("file-added", (file) => uppy.setFileMeta(file.id, { size: file.size }));

uppy.on("upload-success", async (file) => {
  await refresh();
  status.textContent = `${file.name} is uploaded.`;
});

// Without this, deleting a picture would reload the page and interrupt uploads.
pictures.addEventListener("submit", async (event) => {
  event.preventDefault();
  const name = event.target.closest("li").querySelector("b").textContent;
  const response = await fetch(event.target.action, { method: "POST" });
  await refresh();
  status.textContent = response.ok ? `${name} is deleted.` : `${name} could not be deleted.`;
});

/** Replaces the pictures by those of the page as it is now. */
async function refresh() {
  const response = await fetch("/");
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  pictures.replaceChildren(...page.getElementById("pictures").childNodes);
}

// For tests and for the console.
window.uppy = uppy;

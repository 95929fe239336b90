// The gallery as a process that a test can kill and start again on the same port, the network
// before it, which a test can cut, and an S3 server.

import { spawn } from "node:child_process";
import { once } from "node:events";
import http from "node:http";
import net from "node:net";
import { createInterface } from "node:readline";
import { Transform } from "node:stream";

/** The bytes that pass on each connection of a network that is held: more than small requests. */
const SMALL = 64 << 10;
/** How long an upload may take until it is held, in milliseconds. */
const PATIENCE = 120_000;

export class Server {
  #binary;
  #process;
  #port = 0;

  #config;

  /** @param config the file with the storage */
  constructor(binary, config) {
    this.#binary = binary;
    this.#config = config;
  }

  get port() {
    return this.#port;
  }

  async start() {
    const env = {
      ...process.env,
      LISTEN: `127.0.0.1:${this.#port}`,
      STORAGE_CONFIG: this.#config,
    };
    this.#process = spawn(this.#binary, { env, stdio: ["ignore", "pipe", "inherit"] });
    const line = await firstLine(this.#process);
    const [, port] = /^listening on http:\/\/127\.0\.0\.1:(\d+)\/$/.exec(line) ?? [];
    if (!port) throw new Error(`the gallery did not start: ${line}`);
    this.#port = port;
  }

  /** Ends the process without a chance to store anything. */
  async kill() {
    const ended = once(this.#process, "exit");
    this.#process.kill("SIGKILL");
    await ended;
  }
}

/** Passes connections on to a server. */
export class Network {
  #sockets = new Set();
  #listener;
  #hold = null;

  /** @param server its `port` is read for each connection */
  async start(server) {
    this.#listener = net.createServer((client) => {
      const upstream = net.connect(server.port, "127.0.0.1");
      client.pipe(this.#gate()).pipe(upstream);
      upstream.pipe(client);
      for (const [from, to] of [[client, upstream], [upstream, client]]) {
        this.#sockets.add(from);
        from.on("error", () => {});
        from.on("close", () => {
          this.#sockets.delete(from);
          to.destroy();
        });
      }
    });
    this.#listener.listen(0, "127.0.0.1");
    await once(this.#listener, "listening");
  }

  get url() {
    return `http://127.0.0.1:${this.#listener.address().port}`;
  }

  /**
   * Stops uploads after so many bytes of the clients until `release`, however long that takes.
   * Small requests pass. Resolves when an upload is stopped.
   *
   * The browser cannot send the rest either. One that has sent all could repeat the request by
   * itself when the connection ends, without an event for the page. For the same reason, the
   * network notices only after the release that a client ended its connection.
   */
  hold(bytes) {
    this.release();
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error("no upload was sent")), PATIENCE);
      const stopped = () => resolve(clearTimeout(late));
      this.#hold = { left: bytes, sent: new Map(), waiting: [], stopped };
    });
  }

  /** Passes on what was stopped, and all that follows. */
  release() {
    const waiting = this.#hold?.waiting ?? [];
    this.#hold = null;
    for (const pass of waiting) pass();
  }

  /** Returns a stream for the bytes of a client, which waits while they are stopped. */
  #gate() {
    const gate = new Transform({
      transform: (chunk, _, done) => {
        const pass = () => done(null, chunk);
        const hold = this.#hold;
        if (hold === null) return pass();
        const sent = (hold.sent.get(gate) ?? 0) + chunk.length;
        hold.sent.set(gate, sent);
        hold.left -= chunk.length;
        if (hold.left >= 0 || sent <= SMALL) return pass();
        hold.waiting.push(pass);
        hold.stopped();
      },
    });
    return gate;
  }

  /** Ends all connections. */
  cut() {
    for (const socket of this.#sockets) socket.destroy();
  }

  stop() {
    this.cut();
    this.#listener.close();
  }
}

/** An S3 server, with the rules for browsers (CORS) that a bucket needs. */
export class S3Server {
  /** What the requests to the bucket pass through. */
  network = new Network();
  #process;
  #proxy;
  #bucket;

  async start(binary) {
    this.#process = spawn(binary, { stdio: ["pipe", "pipe", "inherit"] });
    const [endpoint, bucket] = (await firstLine(this.#process)).split(" ");
    this.#bucket = bucket;
    this.#proxy = http.createServer((request, response) => {
      response.setHeader("access-control-allow-origin", "*");
      response.setHeader("access-control-allow-methods", "PUT");
      response.setHeader("access-control-allow-headers", "*");
      response.setHeader("access-control-expose-headers", "ETag");
      if (request.method === "OPTIONS") return response.writeHead(204).end();
      const { method, url: path, headers } = request;
      const { hostname: host, port } = new URL(endpoint);
      const forwarded = http.request({ host, port, method, path, headers }, (received) => {
        response.writeHead(received.statusCode, received.headers);
        received.pipe(response);
      });
      forwarded.on("error", () => response.destroy());
      request.on("close", () => request.complete || forwarded.destroy());
      request.pipe(forwarded);
    });
    this.#proxy.listen(0, "127.0.0.1");
    await once(this.#proxy, "listening");
    await this.network.start(this.#proxy.address());
  }

  get origin() {
    return this.network.url;
  }

  /** Returns a configuration with the bucket as a storage. */
  get config() {
    return `[storages.default]
driver = "s3"
bucket = "${this.#bucket}"
region = "us-east-1"
endpoint = "${this.origin}"
allow_http = true
quirks = "minio"
access_key_id = "AKINPROCESS"
secret_access_key = "canary/secret+of=the tests"
`;
  }

  stop() {
    this.#process.stdin.end();
    this.network.stop();
    this.#proxy.close();
    this.#proxy.closeAllConnections();
  }
}

async function firstLine(process) {
  const lines = createInterface({ input: process.stdout });
  const ended = once(process, "exit").then(() => ["it ended"]);
  const [line] = await Promise.race([once(lines, "line"), ended]);
  return line;
}

// The gallery as a process that a test can kill and start again on the same port, the network
// before it, which a test can cut, and an S3 server.

import { spawn } from "node:child_process";
import { once } from "node:events";
import http from "node:http";
import net from "node:net";
import { createInterface } from "node:readline";

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

  async start(server) {
    this.#listener = net.createServer((client) => {
      const upstream = net.connect(server.port, "127.0.0.1");
      for (const [from, to] of [[client, upstream], [upstream, client]]) {
        this.#sockets.add(from);
        from.pipe(to);
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
  }

  get origin() {
    return `http://127.0.0.1:${this.#proxy.address().port}`;
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

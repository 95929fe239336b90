// The part of XMLHttpRequest that Uppy uses, without CORS.

export function installNodeXhr() {
    globalThis.XMLHttpRequest = NodeXhr;
    globalThis.window ??= globalThis;
}

class NodeXhr extends EventTarget {
    upload = new EventTarget();
    status = 0;
    statusText = "";
    responseText = "";
    response = "";
    readyState = 0;
    #request = { headers: {} };
    #headers = new Headers();
    #abort = new AbortController();

    open(method, url) {
        Object.assign(this.#request, { method, url });
        this.readyState = 1;
    }

    setRequestHeader(name, value) {
        this.#request.headers[name] = value;
    }

    getResponseHeader(name) {
        return this.#headers.get(name);
    }

    getAllResponseHeaders() {
        return [...this.#headers].map(([name, value]) => `${name}: ${value}`).join("\r\n");
    }

    abort() {
        this.#abort.abort();
    }

    async send(body) {
        const { method, url, headers } = this.#request;
        const { signal } = this.#abort;
        try {
            const response = await fetch(url, { method, headers, body, signal });
            this.status = response.status;
            this.statusText = response.statusText;
            this.#headers = response.headers;
            this.responseText = this.response = await response.text();
        } catch (error) {
            this.#emit(this, signal.aborted ? "abort" : "error");
            return;
        }
        const size = body?.size ?? 0;
        const progress = new Event("progress");
        Object.assign(progress, { lengthComputable: true, loaded: size, total: size });
        this.upload.dispatchEvent(progress);
        this.upload.onprogress?.(progress);
        this.readyState = 4;
        this.#emit(this, "load");
    }

    #emit(target, type) {
        const event = new Event(type);
        target.dispatchEvent(event);
        target[`on${type}`]?.(event);
    }
}

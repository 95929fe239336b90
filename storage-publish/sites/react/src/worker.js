import { sum } from "./sum.js";

self.onmessage = (event) => self.postMessage(sum(event.data));

import { lazy, Suspense, useEffect, useState } from "react";

import picture from "./picture.svg";

const Details = lazy(() => import("./Details.jsx"));

/** Shows an image, the result of a worker, and a component that is loaded on demand. */
export default function App() {
  const [sum, setSum] = useState(null);
  useEffect(() => {
    const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    worker.onmessage = (event) => setSum(event.data);
    worker.postMessage([1, 2, 3]);
    return () => worker.terminate();
  }, []);
  return (
    <main>
      <img src={picture} alt="A circle" />
      <p id="sum">{sum}</p>
      <Suspense fallback="loading">
        <Details />
      </Suspense>
    </main>
  );
}

import react from "@vitejs/plugin-react";

// Relative URLs, so that the build works at any path.
export default {
  base: "./",
  plugins: [react()],
  build: { assetsInlineLimit: 0, sourcemap: true },
  worker: { format: "es" },
};

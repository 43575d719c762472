import { defineConfig } from "vite";
import { budgets } from "./build/budgets.ts";
import { live } from "./build/live.ts";
import { sprite } from "./build/sprite.ts";

export default defineConfig({
  base: "/static/",
  plugins: [
    sprite(),
    live(process.env.FENGSUI_SERVER ?? "https://127.0.0.1:8443"),
    budgets({ console: 60_000, phone: 80_000, enter: 30_000 }, 40_000),
  ],
  build: {
    target: "chrome109",
    outDir: "../static",
    emptyOutDir: true,
    manifest: "manifest.json",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    rollupOptions: {
      input: {
        console: "src/entries/console.tsx",
        phone: "src/entries/phone.tsx",
        enter: "src/entries/enter.tsx",
      },
    },
  },
});

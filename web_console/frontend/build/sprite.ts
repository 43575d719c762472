/** `virtual:icons`, `virtual:phone-icons`: the icons that are used, as SVGs of symbols made from lucide-static. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type { Plugin } from "vite";
import { ICONS, PHONE_ICONS } from "../src/icon-names.ts";

const MODULES: Record<string, readonly string[]> = {
  "virtual:icons": ICONS,
  "virtual:phone-icons": PHONE_ICONS,
};
const folder = join(dirname(createRequire(import.meta.url).resolve("lucide-static/package.json")), "icons");

function symbol(name: string): string {
  const svg = readFileSync(join(folder, `${name}.svg`), "utf8");
  const inner = /<svg[^>]*>([\s\S]*)<\/svg>/.exec(svg)?.[1];
  if (inner === undefined) throw new Error(`${name}.svg is not shaped like an icon`);
  return `<symbol id="i-${name}" viewBox="0 0 24 24">${inner.replace(/\s+/g, " ").replace(/ \/>/g, "/>").trim()}</symbol>`;
}

export function sprite(): Plugin {
  return {
    name: "icons",
    resolveId: (id) => (id in MODULES ? `\0${id}` : null),
    load(id) {
      const icons = MODULES[id.slice(1)];
      if (!id.startsWith("\0") || !icons) return null;
      const text = `<svg xmlns="http://www.w3.org/2000/svg">${icons.map(symbol).join("")}</svg>`;
      return `export const SPRITE = ${JSON.stringify(text)};`;
    },
  };
}

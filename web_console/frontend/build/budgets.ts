/** Prints what each page weighs (gzip, with everything it loads) and fails the build that is over its budget. */
import { basename } from "node:path";
import { gzipSync } from "node:zlib";
import type { Plugin } from "vite";

export function budgets(limits: Record<string, number>): Plugin {
  return {
    name: "budgets",
    apply: "build",
    writeBundle(_options, bundle) {
      const weigh = (name: string): number => {
        const item = bundle[name];
        if (!item) return 0;
        return gzipSync(item.type === "chunk" ? item.code : item.source).length;
      };
      const over: string[] = [];
      for (const [page, limit] of Object.entries(limits)) {
        const files = new Set<string>();
        const collect = (name: string): void => {
          const item = bundle[name];
          if (!item || files.has(name)) return;
          files.add(name);
          if (item.type !== "chunk") return;
          for (const one of item.viteMetadata?.importedCss ?? []) collect(one);
          for (const one of Object.keys(bundle)) if (item.code.includes(basename(one))) collect(one);
        };
        for (const [name, item] of Object.entries(bundle)) {
          if (item.type === "chunk" && item.isEntry && item.name === page) collect(name);
        }
        const size = [...files].reduce((sum, name) => sum + weigh(name), 0);
        const line = `${page.padEnd(8)} ${(size / 1000).toFixed(1).padStart(6)} kB gzip of ${limit / 1000} kB`;
        this.info(line);
        if (size === 0 || size > limit) over.push(line);
      }
      if (over.length) this.error(`over budget: ${over.join("; ")}`);
    },
  };
}

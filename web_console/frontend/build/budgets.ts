/**
 * Prints what each page weighs (gzip, with everything that it loads before it is drawn) and each part that is fetched
 * when it is first needed, and fails the build that is over its budget.
 */
import { basename } from "node:path";
import { gzipSync } from "node:zlib";
import type { Plugin } from "vite";

/** `limits` by page; `part`: of each part that comes later. */
export function budgets(limits: Record<string, number>, part: number): Plugin {
  return {
    name: "budgets",
    apply: "build",
    writeBundle(_options, bundle) {
      const weigh = (name: string): number => {
        const item = bundle[name];
        if (!item) return 0;
        return gzipSync(item.type === "chunk" ? item.code : item.source).length;
      };
      const later = new Set(
        Object.values(bundle).flatMap((item) => (item.type === "chunk" ? item.dynamicImports : [])),
      );
      // a worker is no import: it is known by its name in the code
      const workers = Object.keys(bundle).filter((name) => /\.worker-[^/]+\.js$/.test(name));
      const collect = (name: string, files: Set<string>): Set<string> => {
        const item = bundle[name];
        if (!item || files.has(name)) return files;
        files.add(name);
        if (item.type !== "chunk") return files;
        for (const one of [...(item.viteMetadata?.importedCss ?? []), ...item.imports]) collect(one, files);
        for (const one of workers) if (item.code.includes(basename(one))) collect(one, files);
        return files;
      };
      const over: string[] = [];
      const say = (name: string, size: number, limit: number): void => {
        const line = `${name.padEnd(10)} ${(size / 1000).toFixed(1).padStart(6)} kB gzip of ${limit / 1000} kB`;
        this.info(line);
        if (size === 0 || size > limit) over.push(line);
      };
      const sum = (files: Iterable<string>): number =>
        [...files].reduce((total, name) => total + weigh(name), 0);
      const atOnce = new Map<string, Set<string>>();
      for (const page of Object.keys(limits)) {
        const files = new Set<string>();
        for (const [name, item] of Object.entries(bundle)) {
          if (item.type === "chunk" && item.isEntry && item.name === page) collect(name, files);
        }
        atOnce.set(page, files);
        say(page, sum(files), limits[page] ?? 0);
      }
      const loaded = new Set([...atOnce.values()].flatMap((files) => [...files]));
      for (const name of later) {
        const item = bundle[name];
        const files = [...collect(name, new Set())].filter((one) => !loaded.has(one));
        if (item?.type === "chunk") say(`+ ${item.name}`, sum(files), part);
      }
      if (over.length) this.error(`over budget: ${over.join("; ")}`);
    },
  };
}

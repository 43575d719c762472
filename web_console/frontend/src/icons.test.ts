/** The sprite holds what the pages use and nothing else. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { ICONS } from "./icon-names.ts";

const sources = readdirSync(import.meta.dirname, { recursive: true, encoding: "utf8" })
  .filter((name) => /\.tsx?$/.test(name) && !/\.test\.ts$/.test(name) && name !== "icon-names.ts")
  .map((name) => readFileSync(join(import.meta.dirname, name), "utf8"))
  .join("\n");

it("has no icon that no page uses", () => {
  expect(ICONS.filter((name) => !sources.includes(`"${name}"`))).toEqual([]);
});

it("has each once", () => {
  expect(new Set(ICONS).size).toBe(ICONS.length);
});

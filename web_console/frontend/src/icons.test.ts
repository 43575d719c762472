/** The sprites hold what the pages use and nothing else. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { ICONS, PHONE_ICONS } from "./icon-names.ts";

const read = (names: string[]): string =>
  names.map((name) => readFileSync(join(import.meta.dirname, name), "utf8")).join("\n");
const sources = readdirSync(import.meta.dirname, { recursive: true, encoding: "utf8" }).filter(
  (name) => /\.tsx?$/.test(name) && !/\.test\.ts$/.test(name) && name !== "icon-names.ts",
);

it("have no icon that no page uses", () => {
  const all = read(sources);
  expect([...ICONS, ...PHONE_ICONS].filter((name) => !all.includes(`"${name}"`))).toEqual([]);
});

it("have none of the phone's own that the desk or the entrance uses", () => {
  const others = read(sources.filter((name) => !name.startsWith("phone")));
  expect(
    PHONE_ICONS.filter((name) => new RegExp(`name=[^\n]*"${name}"|icon: "${name}"`).test(others)),
  ).toEqual([]);
});

it("have each once", () => {
  expect(new Set([...ICONS, ...PHONE_ICONS]).size).toBe(ICONS.length + PHONE_ICONS.length);
});

/** Every sentence exists in both languages, takes the same values in both, and is used. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { actionWords, auditPageStrings, auditProblemStrings, auditStrings, chainProblem } from "./audit.ts";
import { callStrings } from "./calls.ts";
import { cardStrings } from "./cards.ts";
import { causeStrings } from "./causes.ts";
import { commonStrings, errorStrings, errorWords } from "./common.ts";
import { consoleStrings } from "./console.ts";
import { deedStrings } from "./deeds.ts";
import { ENGLISH } from "./en/index.ts";
import { enterStrings } from "./enter.ts";
import { healthStrings, healthWords } from "./health.ts";
import { phoneStrings } from "./phone.ts";
import { phoneTalkStrings } from "./phone-talk.ts";
import { radioStrings } from "./radio.ts";
import { boxStrings } from "./radio-boxes.ts";
import { sideStrings } from "./side.ts";
import { talkCauseStrings, talkStrings } from "./talk.ts";

const ROOT = join(import.meta.dirname, "..", "..");
const PROTOCOL = readFileSync(join(ROOT, "..", "..", "server", "signalling", "PROTOCOL.md"), "utf8");

type Dictionary = Readonly<Record<string, string>>;
const CHINESE: Record<keyof typeof ENGLISH, Dictionary> = {
  common: commonStrings,
  errors: errorStrings,
  causes: causeStrings,
  enter: enterStrings,
  console: consoleStrings,
  phone: phoneStrings,
  phoneTalk: phoneTalkStrings,
  health: healthStrings,
  radio: radioStrings,
  boxes: boxStrings,
  talk: talkStrings,
  talkCauses: talkCauseStrings,
  side: sideStrings,
  cards: cardStrings,
  calls: callStrings,
  audit: auditStrings,
  auditProblems: auditProblemStrings,
  auditPage: auditPageStrings,
  deeds: deedStrings,
};
const PAIRS = Object.entries(CHINESE).map(([area, zh]): [string, { zh: Dictionary; en: Dictionary }] => [
  area,
  { zh, en: ENGLISH[area as keyof typeof ENGLISH] },
]);

const sources = readdirSync(join(ROOT, "src"), { recursive: true, encoding: "utf8" })
  .filter((name) => /\.tsx?$/.test(name) && !/\.test\.ts$/.test(name) && !name.startsWith("strings"))
  .map((name) => readFileSync(join(ROOT, "src", name), "utf8"))
  .join("\n");

const placeholders = (text: string): string[] =>
  [...text.matchAll(/\{\w+\}/g)].map((found) => found[0]).sort();

describe.each(PAIRS)("%s", (area, { zh, en }) => {
  it("has the same keys in both languages, none empty", () => {
    expect(Object.keys(en).sort()).toEqual(Object.keys(zh).sort());
    for (const text of [...Object.values(zh), ...Object.values(en)]) expect(text.trim()).not.toBe("");
  });

  it("takes the same values and has the same parts in both languages", () => {
    for (const [key, text] of Object.entries(zh)) {
      expect([key, ...placeholders(en[key] ?? "")]).toEqual([key, ...placeholders(text)]);
      expect([key, en[key]?.split("|").length]).toEqual([key, text.split("|").length]);
    }
  });

  it("does not mix the languages", () => {
    for (const [key, text] of Object.entries(en)) {
      if (key !== "other_language") expect(text, key).not.toMatch(/\p{Script=Han}/u);
    }
  });

  it.skipIf(["errors", "causes", "health", "talkCauses", "audit", "auditProblems"].includes(area))(
    "has no key that no page uses",
    () => {
      const unused = Object.keys(zh).filter((key) => !sources.includes(`"${key}"`) && !templated(key));
      expect(unused).toEqual([]);
    },
  );
});

/** `denied_${kind}` and the like. */
const templated = (key: string): boolean =>
  [...sources.matchAll(/`(\w+_)\$\{\w+\}`/g)].some((found) => key.startsWith(found[1] ?? "\0"));

/** First column of the table below a heading, and codes between back-ticks in its running text. */
function codesBelow(heading: string): string[] {
  const section = PROTOCOL.split(`## ${heading}\n`)[1]?.split("\n## ")[0] ?? "";
  const table = section.split("\n").filter((line) => line.startsWith("| `"));
  const text = table.length ? table.map((line) => line.split("|")[1] ?? "").join(" ") : section;
  return [...text.matchAll(/`([a-z_]+)`/g)].map((found) => found[1] ?? "");
}

/** Codes that only programs get to see. */
const OF_WHIP_ONLY = ["precondition_failed", "precondition_required"];

describe("the protocol's codes", () => {
  it("all have words", () => {
    const causes = codesBelow("Causes");
    const errors = codesBelow("Error codes");
    expect(causes.length).toBeGreaterThan(20);
    expect(errors.length).toBeGreaterThan(15);
    expect(causes.filter((code) => !(code in causeStrings))).toEqual([]);
    const speechless = errors.filter((code) =>
      errorWords(code).reason.startsWith(errorWords("internal").reason),
    );
    expect(speechless.sort()).toEqual(["internal", ...OF_WHIP_ONLY]);
  });
  it("all have words, also those of a refused floor", () => {
    const table = PROTOCOL.split("Causes of `denied` and `revoked`:")[1]?.split("\n\n**")[0] ?? "";
    const causes = [...table.matchAll(/^\| `(\w+)` \|/gm)].map((found) => found[1] ?? "");
    expect(causes.length).toBeGreaterThan(12);
    expect(causes.filter((code) => !(code in talkCauseStrings))).toEqual([]);
  });
});

describe("the audit log", () => {
  const SERVER = join(ROOT, "..", "..", "server");
  const python = readdirSync(SERVER, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".py"))
    .map((name) => readFileSync(join(SERVER, name), "utf8"))
    .join("\n");
  it("has words for everything that is written into it", () => {
    const actions = [
      ...python.matchAll(/\baction="([\w.]+)"/g),
      ...python.matchAll(/_change\(\s*\w+, "([\w.]+)"/g),
    ].map((found) => found[1] ?? "");
    expect(actions.length).toBeGreaterThan(15);
    expect(actions.filter((action) => actionWords(action) === action)).toEqual([]);
  });
  it("has words for everything that can be wrong with the chain", () => {
    const audit = readFileSync(join(SERVER, "auth", "audit.py"), "utf8");
    const problems = [...audit.matchAll(/(?:return|problem=)\s?f?"([a-z][^"{]{6,})/g)].map(
      (found) => found[1] ?? "",
    );
    expect(problems.length).toBeGreaterThanOrEqual(5);
    expect(problems.filter((problem) => chainProblem(problem) === problem)).toEqual([]);
  });
});

describe("the rows of /health", () => {
  const HEALTH = readFileSync(join(ROOT, "..", "..", "server", "health.py"), "utf8");
  it("all have words, in each state they can have", () => {
    const rows = [...HEALTH.matchAll(/^ +"(\w+)": \("[^"]+", self\._(\w+)\),$/gm)];
    expect(rows.length).toBeGreaterThanOrEqual(6);
    const speechless: string[] = [];
    for (const [, id = "", method = ""] of rows) {
      const body = HEALTH.split(`async def _${method}(`)[1]?.split("async def ")[0] ?? "";
      for (const state of ["ok", "warning", "error"]) {
        if ((state === "ok" || body.includes(`"${state}"`)) && !healthWords(id, state, 1, "")) {
          speechless.push(`${id} ${state}`);
        }
      }
    }
    expect(speechless).toEqual([]);
  });
  it("tells megabytes as gigabytes", () => {
    expect(healthWords("disk", "ok", 78065, "MB")?.detail).toBe("剩余 76.2 GB");
  });
});

import { describe, expect, it } from "vitest";
import { judge } from "./password.ts";

const met = { length: true, notName: true, varied: true, notSimple: true };

describe("password rules", () => {
  it("accepts a sentence of twelve characters, in any writing", () => {
    expect(judge("correct horse battery", "zhang", 12)).toEqual(met);
    expect(judge("暴雨橙色预警请立即转移群众", "zhang", 12)).toEqual(met);
  });
  it("counts characters, not UTF-16 units", () => {
    expect(judge("🚒🚑🚓🚁🛰️🚨", "zhang", 12).length).toBe(false);
  });
  it("wants no user name in it, whatever the case", () => {
    expect(judge("my-ZHANG-secrets", "zhang", 12)).toEqual({ ...met, notName: false });
  });
  it("does not search for a name of one letter", () => {
    expect(judge("correct horse battery", "o", 12)).toEqual(met);
  });
  it("wants five different characters", () => {
    expect(judge("abababacacad", "zhang", 12).varied).toBe(false);
  });
  it.each(["aaaaaaaaaaaa", "abcdefghijklm", "987654321098".slice(0, 10), "123456789"])(
    "refuses the run %s",
    (text) => {
      expect(judge(text, "zhang", 5).notSimple).toBe(false);
    },
  );
  it("says of nothing that it meets nothing", () => {
    expect(judge("", "", 12)).toEqual({ length: false, notName: false, varied: false, notSimple: false });
  });
});

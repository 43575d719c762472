import { describe, expect, it } from "vitest";
import type { Hold, Spurt } from "../messages.ts";
import { withHolds } from "./holds.ts";

const spurt = (id: string, heldBy = "", heldWhy = ""): Spurt => ({
  id,
  started: 0,
  duration: 2,
  groups: ["a"],
  groupNames: ["a"],
  talker: { leg: "", name: "张", kind: "phone", unit: "", user: "" },
  urgency: "normal",
  state: "ready",
  position: null,
  detail: "",
  after: "",
  gap: 0,
  call: "",
  peer: null,
  hold: heldBy !== "",
  heldBy,
  heldWhy,
});
const held = (id: string, heldBy: string, heldWhy: string): Hold => ({
  id,
  hold: heldBy !== "",
  heldBy,
  heldWhy,
});
const by = (...holds: Hold[]) => new Map(holds.map((hold) => [hold.id, hold]));

describe("holds that were made elsewhere", () => {
  it("are seen in a list that is open, and their ends and new reasons, too", () => {
    const list = [spurt("3"), spurt("2", "王", "调查"), spurt("1", "王", "调查"), spurt("0", "王", "调查")];
    const shown = withHolds(
      list,
      by(held("3", "李", "坍塌"), held("2", "", ""), held("1", "王", "移交"), held("9", "李", "")),
    );
    expect(shown.map(({ hold, heldBy, heldWhy }) => [hold, heldBy, heldWhy])).toEqual([
      [true, "李", "坍塌"],
      [false, "", ""],
      [true, "王", "移交"],
      [true, "王", "调查"],
    ]);
    expect(shown[3]).toBe(list[3]);
  });

  it("leave a list that they are not about as it is", () => {
    const list = [spurt("1", "王", "调查"), spurt("0")];
    expect(withHolds(list, by())).toBe(list);
    expect(withHolds(list, by(held("1", "王", "调查"), held("7", "李", "坍塌")))).toBe(list);
  });
});

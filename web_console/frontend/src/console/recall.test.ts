import { describe, expect, it } from "vitest";
import type { Spurt } from "../messages.ts";
import { FURTHER_WITHIN, recall } from "./recall.ts";

const spurt = (id: string, group: string, state = "ready"): Spurt => ({
  id,
  started: 0,
  duration: 2,
  groups: [group],
  groupNames: [group],
  talker: { leg: "", name: "张", kind: "phone", unit: "", user: "" },
  urgency: "normal",
  state,
  position: null,
  detail: "",
  after: "",
  gap: 0,
  call: "",
  peer: null,
  hold: false,
  heldBy: "",
  heldWhy: "",
});
const SPURTS = [
  spurt("5", "a", "recording"),
  spurt("4", "b"),
  spurt("3", "a"),
  spurt("2", "a", "erased"),
  spurt("1", "a", "cut"),
];

describe("instant recall", () => {
  it("plays what was said last in the selected groups and can be played", () => {
    expect(recall(SPURTS, ["a"], null, 0)?.id).toBe("3");
    expect(recall(SPURTS, [], null, 0)?.id).toBe("4");
    expect(recall(SPURTS, ["c"], null, 0)).toBeNull();
  });

  it("goes one further back when pressed again while it plays or soon after", () => {
    expect(recall(SPURTS, ["a"], { spurt: "3", ended: Number.POSITIVE_INFINITY }, 50)?.id).toBe("1");
    expect(recall(SPURTS, ["a"], { spurt: "3", ended: 50 }, 50 + FURTHER_WITHIN)?.id).toBe("1");
    expect(recall(SPURTS, ["a"], { spurt: "1", ended: 50 }, 51)).toBeNull();
  });

  it("begins at the newest again later", () => {
    expect(recall(SPURTS, ["a"], { spurt: "3", ended: 50 }, 51 + FURTHER_WITHIN)?.id).toBe("3");
  });
});

import { expect, it } from "vitest";
import { Pairs } from "./pairs.ts";

it("a slot keeps the pair it got when it was first needed", () => {
  const pairs = new Pairs();
  expect([0, 1, 16, 2].map((slot) => pairs.need(slot))).toEqual([true, true, true, true]);
  expect([pairs.need(1), pairs.count]).toEqual([false, 4]);
  expect([0, 1, 16, 2, 3].map((slot) => pairs.of(slot))).toEqual([0, 1, 2, 3, -1]);
  expect([0, 1, 2, 3, 4].map((pair) => pairs.slot(pair))).toEqual([0, 1, 16, 2, -1]);
});

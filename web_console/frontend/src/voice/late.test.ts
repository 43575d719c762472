import { expect, it } from "vitest";
import { isLate } from "./late.ts";

it("an alarm is late when it was on its way for seconds", () => {
  expect(isLate({ pressed: 1000, raised: 1000 })).toBe(false);
  expect(isLate({ pressed: 1000, raised: 1004.9 })).toBe(false);
  expect(isLate({ pressed: 1000, raised: 1005 })).toBe(true);
});

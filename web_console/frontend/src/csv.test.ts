import { describe, expect, it } from "vitest";
import { csvOf } from "./csv.ts";

describe("csv", () => {
  it("quotes every cell and keeps what is in it", () => {
    const text = csvOf(
      ["序号", "说明"],
      [
        [1, '他说"好"，\n下一行'],
        [2, ""],
      ],
    );
    expect(text).toBe('\ufeff"序号","说明"\r\n"1","他说""好""，\n下一行"\r\n"2",""\r\n');
  });
  it.each([
    "=1+1",
    "+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "  =1",
    "\u200b=1",
    "＝1",
    "＠A",
    "|x",
    "%0a=1",
  ])("makes no formula of %j", (cell) => {
    expect(
      csvOf([], [[cell]])
        .split("\r\n")
        .slice(1)
        .join("\r\n"),
    ).toBe(`"'${cell}"\r\n`);
  });
  it("leaves ordinary cells alone", () => {
    for (const cell of ["admin:1:总值班", "192.0.2.1", "a=b", "1-2", "2026-11-23 21:17:54"]) {
      expect(csvOf([], [[cell]])).toContain(`"${cell}"`);
    }
  });
});

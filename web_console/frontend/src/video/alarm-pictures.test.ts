import { describe, expect, it } from "vitest";
import type { Alarm, Stream } from "../messages.ts";
import { alarmPictures } from "./alarm-pictures.ts";

const alarm = (id: string, stream = `s-${id}`): Alarm => ({ id, stream }) as Alarm;
const streams = (...states: [string, Stream["state"]][]): Map<string, Stream> =>
  new Map(states.map(([id, state]) => [id, { id, state } as Stream]));
const ALL = streams(
  ["s-a", "live"],
  ["s-b", "live"],
  ["s-c", "stalled"],
  ["s-d", "live"],
  ["s-e", "offline"],
);

describe("pictures on alarms", () => {
  it("are those of the first ones whose camera sends", () => {
    const found = alarmPictures([alarm("e"), alarm("a"), alarm("b"), alarm("c"), alarm("d")], ALL, []);
    expect(found).toEqual([
      { alarm: "a", stream: "s-a", slot: 0 },
      { alarm: "b", stream: "s-b", slot: 1 },
      { alarm: "c", stream: "s-c", slot: 2 },
    ]);
  });
  it("keep their slots when the queue is in another order, and are the same list then", () => {
    const before = alarmPictures([alarm("a"), alarm("b")], ALL, []);
    expect(alarmPictures([alarm("b"), alarm("a")], ALL, before)).toBe(before);
  });
  it("leave their slot to another when they are closed", () => {
    const before = alarmPictures([alarm("a"), alarm("b")], ALL, []);
    expect(alarmPictures([alarm("d"), alarm("b")], ALL, before)).toEqual([
      { alarm: "b", stream: "s-b", slot: 1 },
      { alarm: "d", stream: "s-d", slot: 0 },
    ]);
  });
  it("are none of a camera that is gone, or of none", () => {
    expect(alarmPictures([alarm("e"), alarm("x", "")], ALL, [])).toEqual([]);
    const before = alarmPictures([alarm("a")], ALL, []);
    expect(alarmPictures([alarm("a")], streams(["s-a", "offline"]), before)).toEqual([]);
  });
});

import { describe, expect, it } from "vitest";
import type { Alarm } from "../messages.ts";
import { alarmOfPress, shownAlarm } from "./alarm.ts";

const alarm = (id: string, over: Partial<Alarm> = {}): Alarm => ({
  id,
  kind: "emergency",
  state: "new",
  name: "一中队",
  unit: "u1",
  device: "d1",
  group: "g1",
  stream: "",
  raised: 1000,
  pressed: 1000,
  position: null,
  owner: "",
  reason: "",
  until: null,
  times: 1,
  history: [],
  ...over,
});

describe("the alarm of a press", () => {
  it("is one of this unit that was raised then, or counted up then", () => {
    expect(alarmOfPress([alarm("a", { unit: "u2" })], "u1", 1000)).toBeUndefined();
    expect(alarmOfPress([alarm("a")], "u1", 1001)?.id).toBe("a");
    expect(alarmOfPress([alarm("a")], "u1", 1100)).toBeUndefined();
    const again = alarm("a", { history: [{ at: 1101, by: "", act: "again", text: "", pressed: null }] });
    expect(alarmOfPress([again], "u1", 1100)?.id).toBe("a");
    expect(alarmOfPress([alarm("a", { unit: "" })], "", 1000)).toBeUndefined();
  });
});

describe("what is shown", () => {
  const closed = alarm("a", {
    state: "closed",
    history: [{ at: 1200, by: "王", act: "closed", text: "", pressed: null }],
  });
  it("is the open one before a closed one", () => {
    expect(shownAlarm([alarm("b", { raised: 900 }), closed], "u1", "", 1210)?.id).toBe("b");
  });
  it("leaves when it was seen, or after a while", () => {
    expect(shownAlarm([closed], "u1", "", 1210)?.id).toBe("a");
    expect(shownAlarm([closed], "u1", "a", 1210)).toBeNull();
    expect(shownAlarm([closed], "u1", "", 1900)).toBeNull();
  });
});

import { describe, expect, it } from "vitest";
import type { Alarm, Floor, Group, Talker } from "../messages.ts";
import { type Activity, type CardFacts, cardOf, openAlarms } from "./groups.ts";
import type { GroupPress, GroupState } from "./press.ts";

const WANG: Talker = { leg: "l2", name: "王", kind: "console", unit: "", user: "u2" };
const GROUP: Group = {
  id: "a",
  name: "救援一组",
  number: 1,
  kind: "static",
  members: [],
  listeners: [],
  patch: "",
  muted: null,
  emergency: false,
  expires: null,
  createdBy: "",
};
const FLOOR: Floor = {
  id: "a",
  floor: "a",
  state: "idle",
  sequence: 0,
  since: 90,
  talker: null,
  urgency: "normal",
  until: null,
  queued: 0,
  blocked: "",
  collision: false,
};
const alarm = (over: Partial<Alarm>): Alarm => ({
  id: "x",
  kind: "emergency",
  state: "new",
  name: "张强",
  unit: "t1",
  device: "d1",
  group: "a",
  stream: "",
  raised: 50,
  pressed: 50,
  position: null,
  owner: "",
  reason: "",
  until: null,
  times: 1,
  history: [],
  ...over,
});
const own = (state: GroupState, over: Partial<GroupPress> = {}): GroupPress => ({
  state,
  since: 0,
  until: null,
  warned: false,
  position: 0,
  size: 0,
  cause: "",
  talker: null,
  ...over,
});
const facts = (over: Partial<CardFacts> = {}): CardFacts => ({
  group: GROUP,
  floor: FLOOR,
  own: undefined,
  mine: false,
  selected: false,
  selectedCount: 0,
  listening: true,
  muted: undefined,
  alarms: [],
  lostSince: null,
  ...over,
});
const TIME = 100; // the server's clock
const NOW = 10; // the page's

const taken: Floor = { ...FLOOR, state: "taken", talker: WANG };
const receiving: Activity = {
  kind: "receiving",
  talker: "王",
  urgency: "normal",
  collision: false,
  ending: false,
  seconds: 10,
};

describe("what a card says", () => {
  it.each<[string, Partial<CardFacts>, Activity]>([
    ["nothing known", { floor: undefined }, { kind: "idle" }],
    ["free", {}, { kind: "idle" }],
    ["somebody talks", { floor: taken }, receiving],
    ["their last words", { floor: { ...taken, state: "tail" } }, { ...receiving, ending: true }],
    [
      "a radio besides, in an emergency",
      { floor: { ...taken, urgency: "emergency", collision: true } },
      { ...receiving, urgency: "emergency", collision: true },
    ],
    [
      "we talk",
      { own: own("granted", { until: 17.2 }), floor: taken },
      { kind: "transmitting", left: 8, warned: false },
    ],
    ["we talk without a limit", { own: own("granted") }, { kind: "transmitting", left: null, warned: false }],
    [
      "our time is nearly over",
      { own: own("granted", { until: 12, warned: true }) },
      { kind: "transmitting", left: 2, warned: true },
    ],
    [
      "we talk by another group of its patch",
      { floor: taken, mine: true },
      { kind: "transmitting", left: null, warned: false },
    ],
    ["we ask", { own: own("requesting") }, { kind: "requesting" }],
    [
      "we wait",
      { own: own("queued", { position: 2, size: 3 }), floor: taken },
      { kind: "queued", position: 2, size: 3 },
    ],
    [
      "busy",
      { own: own("denied", { cause: "busy", talker: WANG }) },
      { kind: "refused", cause: "busy", talker: "王" },
    ],
    [
      "busy, the talker is known from the floor",
      { own: own("denied", { cause: "busy" }), floor: taken },
      { kind: "refused", cause: "busy", talker: "王" },
    ],
    [
      "taken away",
      { own: own("revoked", { cause: "forced" }) },
      { kind: "refused", cause: "forced", talker: "" },
    ],
    [
      "between two of them",
      { floor: { ...FLOOR, state: "hang", since: 99, until: 103 } },
      { kind: "hang", left: 3, share: 0.75 },
    ],
    [
      "the call is over by now",
      { floor: { ...FLOOR, state: "hang", since: 90, until: 99 } },
      { kind: "idle" },
    ],
    [
      "an all-call goes on",
      { floor: { ...FLOOR, blocked: "all_call" } },
      { kind: "blocked", cause: "all_call" },
    ],
    [
      "the server is lost, whatever was",
      { floor: taken, own: own("granted"), lostSince: 95 },
      { kind: "lost", since: 95 },
    ],
  ])("%s", (_, over, activity) => {
    expect(cardOf(facts(over), TIME, NOW).activity).toEqual(activity);
  });

  it("how it is selected", () => {
    expect(cardOf(facts(), TIME, NOW).selection).toBe("none");
    expect(cardOf(facts({ selected: true, selectedCount: 1 }), TIME, NOW).selection).toBe("selected");
    expect(cardOf(facts({ selected: true, selectedCount: 2 }), TIME, NOW).selection).toBe("multi");
  });

  it("that it is muted here, which a selected one never is", () => {
    expect(cardOf(facts({ muted: null }), TIME, NOW).muted).toBe(true);
    expect(cardOf(facts({ muted: 101 }), TIME, NOW).muted).toBe(true);
    expect(cardOf(facts({ muted: 99 }), TIME, NOW).muted).toBe(false);
    expect(cardOf(facts({ muted: null, selected: true }), TIME, NOW).muted).toBe(false);
  });

  it("that it is patched, and when it is out of the patch for a while", () => {
    const patched = { ...GROUP, patch: "P2", muted: 120 };
    expect(cardOf(facts({ group: patched }), TIME, NOW)).toMatchObject({ patch: "P2", patchMuted: 120 });
    expect(cardOf(facts({ group: patched }), 120, NOW)).toMatchObject({ patchMuted: null });
  });

  it("that somebody is in danger, until the alarm is closed and not only until the talking ends", () => {
    const acknowledged = alarm({ state: "acknowledged", owner: "李明" });
    expect(cardOf(facts({ alarms: [alarm({})] }), TIME, NOW).emergency).toBe("new");
    expect(cardOf(facts({ alarms: [acknowledged] }), TIME, NOW)).toMatchObject({
      emergency: "acknowledged",
      owner: "李明",
    });
    expect(cardOf(facts({ alarms: [acknowledged, alarm({ id: "y" })] }), TIME, NOW).emergency).toBe("new");
    expect(cardOf(facts({ group: { ...GROUP, emergency: true } }), TIME, NOW).emergency).toBe("acknowledged");
    expect(cardOf(facts(), TIME, NOW).emergency).toBe("");
  });
});

it("alarms: new ones first, then the oldest, and no closed one", () => {
  const queue = openAlarms([
    alarm({ id: "parked", state: "parked", pressed: 1 }),
    alarm({ id: "late", pressed: 9 }),
    alarm({ id: "closed", state: "closed", pressed: 2 }),
    alarm({ id: "taken", state: "acknowledged", pressed: 3 }),
    alarm({ id: "early", pressed: 8 }),
  ]);
  expect(queue.map((one) => one.id)).toEqual(["early", "late", "taken", "parked"]);
});

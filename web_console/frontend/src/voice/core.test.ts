/** The small pure parts of the voice core: arming, tones, volumes, tuning, calls, announcements. */
import { describe, expect, it } from "vitest";
import type { CallBack, Floor, Group, PrivateCall, Talker } from "../messages.ts";
import { EMPTY } from "../store.ts";
import { announce } from "./announce.ts";
import { Arming } from "./arming.ts";
import { callsOf, otherOf } from "./calls.ts";
import * as levels from "./levels.ts";
import { length, TONES, toneVolume, VOLUME_FLOOR } from "./tones.ts";
import * as tuning from "./tuning.ts";

const group = (id: string, number: number, over: Partial<Group> = {}): Group => ({
  id,
  name: id,
  number,
  kind: "static",
  members: [],
  listeners: [],
  patch: "",
  muted: null,
  emergency: false,
  expires: null,
  createdBy: "",
  ...over,
});
const talker = (user: string, unit = ""): Talker => ({
  leg: `l-${user}${unit}`,
  name: user,
  kind: "console",
  unit,
  user,
});

describe("the all-call's safety catch", () => {
  it("talks with the second press within 3 s", () => {
    const arming = new Arming();
    expect(arming.press(0)).toBe(false);
    expect(arming.left(1)).toBe(2);
    expect(arming.press(2.9)).toBe(true);
    expect(arming.press(3)).toBe(false);
    expect(arming.press(6)).toBe(false);
    arming.disarm();
    expect(arming.left(6)).toBe(0);
  });
});

describe("tones", () => {
  it("are all different, also from far away: count, direction or pitch", () => {
    const shapes = Object.entries(TONES).map(([name, { notes, every }]) => {
      const steps = notes.slice(1).map((note, i) => Math.sign(note.hz - (notes[i]?.hz ?? 0)));
      return `${notes.length} ${steps.join(" ")} ${(notes[0]?.hz ?? 0) > 600} ${notes[0]?.to} ${every ?? ""} ${name === "test"}`;
    });
    expect(new Set(shapes).size).toBe(shapes.length);
  });

  it("are what console.md says", () => {
    const of = (name: keyof typeof TONES): number[] => TONES[name].notes.map((note) => note.hz);
    expect(of("granted")).toEqual([...of("granted")].sort((a, b) => a - b));
    expect(of("granted")).toHaveLength(2);
    expect(of("free")).toHaveLength(1);
    expect(length(TONES.busy)).toBeGreaterThan(0.5);
    expect(of("queued")).toHaveLength(2);
    expect(of("lost")).toEqual([...of("back")].reverse());
    expect(new Set(of("alarm")).size).toBe(2);
    expect(TONES.alarm.every).toBeGreaterThan(1);
  });

  it("cannot be turned off", () => {
    expect(toneVolume(0)).toBe(VOLUME_FLOOR);
    expect(toneVolume(0.8)).toBe(0.8);
  });
});

describe("volumes", () => {
  const at = 1000;
  it("go to the bus of the group, and a mute only counts while it is not selected", () => {
    const muted = levels.mute(levels.setVolume(levels.DEFAULT_VOLUMES, "a", 0.4), "a", null);
    expect(levels.route(levels.DEFAULT_VOLUMES, "a", false, at)).toEqual({ bus: "unselected", gain: 1 });
    expect(levels.route(muted, "a", false, at)).toEqual({ bus: "unselected", gain: 0 });
    expect(levels.route(muted, "a", true, at)).toEqual({ bus: "selected", gain: 0.4 });
  });

  it("come back by themselves when a mute's time is over", () => {
    const muted = levels.mute(levels.DEFAULT_VOLUMES, "a", at + 60);
    expect(levels.isMuted(muted, "a", at + 59)).toBe(true);
    expect(levels.isMuted(muted, "a", at + 60)).toBe(false);
    expect(levels.withoutOver(muted, at)).toBe(muted);
    expect(levels.withoutOver(muted, at + 60).muted).toEqual({});
    expect(levels.mute(muted, "a", undefined).muted).toEqual({});
  });

  it("are kept, and nonsense that was kept is not believed", () => {
    const kept = levels.setVolume(levels.mute(levels.DEFAULT_VOLUMES, "b", null), "a", 2);
    expect(levels.volumesFrom(JSON.parse(JSON.stringify(kept)))).toEqual(kept);
    expect(kept.groups.a).toBe(1);
    expect(levels.volumesFrom({ selected: "loud", groups: { a: "x" }, muted: 3 })).toEqual({
      ...levels.DEFAULT_VOLUMES,
      groups: { a: 1 },
    });
    expect(levels.volumesFrom(null)).toEqual(levels.DEFAULT_VOLUMES);
  });

  it("are metered in decibels", () => {
    expect(levels.levelOf(new Float32Array(64))).toBe(0);
    expect(levels.levelOf(new Float32Array(64).fill(1))).toBe(1);
    expect(levels.levelOf(new Float32Array(64).fill(0.0316))).toBeCloseTo(0.5, 2);
  });
});

const NOTHING_TUNED: tuning.Tuning = { selected: [], left: [] };

describe("tuning", () => {
  const groups = [
    group("c", 3, { emergency: true }),
    group("a", 1),
    group("b", 2),
    group("all", 0, { kind: "all_call" }),
  ];

  it("listens to everything: selected first, then emergencies, then by number", () => {
    expect(tuning.tune(NOTHING_TUNED, groups)).toEqual({ listening: ["c", "a", "b"], selected: [] });
    expect(tuning.tune(tuning.select(NOTHING_TUNED, "b"), groups)).toEqual({
      listening: ["b", "c", "a"],
      selected: ["b"],
    });
  });

  it("selects one, adds, takes away, and selects nothing when the only one is chosen again", () => {
    let now = tuning.select(NOTHING_TUNED, "a");
    now = tuning.toggle(now, "b");
    expect(now.selected).toEqual(["a", "b"]);
    expect(tuning.toggle(now, "a").selected).toEqual(["b"]);
    expect(tuning.select(now, "a").selected).toEqual(["a"]);
    expect(tuning.select(tuning.select(now, "a"), "a").selected).toEqual([]);
  });

  it("leaves out what one does not want to hear; whoever talks somewhere hears it", () => {
    const left = tuning.listen(tuning.select(NOTHING_TUNED, "a"), "a", false);
    expect(tuning.tune(left, groups)).toEqual({ listening: ["c", "b"], selected: [] });
    expect(tuning.select(left, "a").left).toEqual([]);
  });

  it("forgets groups that are gone, and never says more than the server takes", () => {
    expect(tuning.tune(tuning.select(NOTHING_TUNED, "gone"), groups).selected).toEqual([]);
    const many = Array.from({ length: 90 }, (_, i) => group(`g${i}`, i));
    let wide: tuning.Tuning = NOTHING_TUNED;
    for (const one of many) wide = tuning.toggle(wide, one.id);
    const told = tuning.tune(wide, many);
    expect([told.listening.length, told.selected.length]).toEqual([tuning.MAX_TUNED, tuning.MAX_SELECTED]);
  });

  it("is kept", () => {
    expect(tuning.tuningFrom({ selected: ["a", 3], left: "x" })).toEqual({ selected: ["a"], left: [] });
  });
});

describe("private calls", () => {
  const call = (over: Partial<PrivateCall>): PrivateCall => ({
    id: "k1",
    state: "ringing",
    duplex: "full",
    caller: talker("wang"),
    callee: talker("li"),
    since: 0,
    group: "",
    cause: "",
    ...over,
  });
  const li = { user: "li", unit: "" };

  it("ring only at whom they are for", () => {
    expect(callsOf([call({})], li, new Set()).incoming?.id).toBe("k1");
    expect(callsOf([call({})], { user: "zhao", unit: "" }, new Set()).incoming).toBeNull();
    expect(callsOf([call({})], { user: "", unit: "" }, new Set()).incoming).toBeNull();
    expect(
      callsOf([call({ callee: talker("", "t7") })], { user: "", unit: "t7" }, new Set()).incoming?.id,
    ).toBe("k1");
  });

  it("open the microphone only when both may talk at once and it was taken here", () => {
    const active = call({ state: "active" });
    expect(callsOf([active], li, new Set(["k1"]))).toMatchObject({ open: true, current: active });
    expect(callsOf([active], li, new Set())).toMatchObject({ open: false, current: null });
    expect(callsOf([call({ state: "active", duplex: "half" })], li, new Set(["k1"])).open).toBe(false);
    expect(callsOf([call({ state: "ended" })], li, new Set(["k1"]))).toMatchObject({ open: false });
  });

  it("show who is at the other end", () => {
    expect(otherOf(call({}), li).name).toBe("wang");
    expect(otherOf(call({}), { user: "wang", unit: "" }).name).toBe("li");
  });
});

describe("what is told by tones", () => {
  const floor = (id: string, state: Floor["state"]): Floor => ({
    id,
    floor: id,
    state,
    sequence: 1,
    since: 0,
    talker: null,
    urgency: "normal",
    until: null,
    queued: 0,
    blocked: "",
    collision: false,
  });
  const floors = (state: Floor["state"]) => ({
    ...EMPTY,
    rev: 1,
    floor: new Map([["a", floor("a", state)]]),
  });

  it("is the end of talking in a selected group, and of no other", () => {
    expect(announce(floors("taken"), floors("hang"), ["a"]).once).toEqual(["free"]);
    expect(announce(floors("taken"), floors("hang"), []).once).toEqual([]);
    expect(announce(floors("taken"), floors("tail"), ["a"]).once).toEqual([]);
    expect(announce(floors("hang"), floors("idle"), ["a"]).once).toEqual([]);
  });

  it("is a fresh call-back, also one that is asked for again, but none of before the page began", () => {
    const asked: CallBack = {
      id: "c",
      name: "张",
      unit: "",
      user: "",
      group: "",
      text: "",
      at: 0,
      times: 1,
      takenBy: "",
      done: null,
    };
    const one = { ...EMPTY, rev: 2, callback: new Map([["c", asked]]) };
    const again = { ...EMPTY, rev: 3, callback: new Map([["c", { ...asked, times: 2 }]]) };
    expect(announce({ ...EMPTY, rev: 1 }, one, []).once).toEqual(["callback"]);
    expect(announce(one, again, []).once).toEqual(["callback"]);
    expect(announce(again, again, []).once).toEqual([]);
    expect(announce(EMPTY, one, []).once).toEqual([]);
  });
});

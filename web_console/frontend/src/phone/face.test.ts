/** The large key says every state by look, symbol and words: no two that mean different things look the same. */
import { describe, expect, it } from "vitest";
import type { Activity, Card } from "../voice/groups.ts";
import { type GroupPress, IDLE, type PressPhase, type PressView } from "../voice/press.ts";
import { type FaceFacts, faceOf, phoneCause } from "./face.ts";

const card = (activity: Activity, over: Partial<Card> = {}): Card => ({
  selection: "selected",
  activity,
  patch: "",
  patchMuted: null,
  muted: false,
  listening: true,
  emergency: "",
  owner: "",
  ...over,
});
const FREE = card({ kind: "idle" });
const HEARD = card({
  kind: "receiving",
  talker: "李四",
  urgency: "normal",
  collision: false,
  ending: false,
  seconds: 3,
});
const own = (over: Partial<GroupPress>): GroupPress => ({
  state: "granted",
  since: 0,
  until: null,
  warned: false,
  position: 0,
  size: 0,
  cause: "",
  talker: null,
  ...over,
});
const press = (phase: PressPhase, one?: Partial<GroupPress>): PressView => ({
  ...IDLE,
  phase,
  held: true,
  groups: new Map(one ? [["g", own(one)]] : []),
});
const FACTS: FaceFacts = {
  shift: "on",
  starting: false,
  linkReady: true,
  lostFor: 0,
  pathUp: true,
  microphone: true,
  press: IDLE,
  card: FREE,
  talker: "",
  groupGone: false,
  call: "",
  now: 100,
};
const face = (over: Partial<FaceFacts>) => faceOf({ ...FACTS, ...over });

const STATES: [string, Partial<FaceFacts>, string, string][] = [
  ["before the first touch", { shift: "off", lostFor: null }, "off", "点一下，打开对讲"],
  ["opening", { starting: true, shift: "off" }, "wait", "正在打开…"],
  ["without the server", { linkReady: false, lostFor: 12.6 }, "lost", "失联 12 秒"],
  ["before the first connection", { linkReady: false, lostFor: null }, "wait", "正在连接服务器…"],
  ["without a sound path", { pathUp: false }, "wait", "话音未通"],
  ["free", {}, "ready", "按住讲话"],
  ["asking", { press: press("requesting", { state: "requesting" }) }, "wait", "申请中"],
  ["queued", { press: press("queued", { state: "queued", position: 2, size: 3 }) }, "wait", "排队 2/3"],
  ["talking", { press: press("talking", { until: 112.4 }) }, "tx", "▲ 发话 · 剩 13 秒"],
  ["near the limit", { press: press("talking", { until: 103, warned: true }) }, "warned", "▲ 发话 · 剩 3 秒"],
  [
    "refused",
    {
      press: press("refused", {
        state: "denied",
        cause: "busy",
        talker: { leg: "", name: "王", kind: "", unit: "", user: "" },
      }),
    },
    "refused",
    "占用 · 王",
  ],
  ["heard", { card: HEARD }, "rx", "▼ 李四"],
  ["hanging", { card: card({ kind: "hang", left: 2.2, share: 0.5 }) }, "hang", "可续讲 3 秒"],
  ["blocked by an all-call", { card: card({ kind: "blocked", cause: "all_call" }) }, "refused", "正在全呼"],
  ["without a microphone", { microphone: false }, "deaf", "没有话筒，只能听"],
  ["without a group", { card: null }, "refused", "还没有对讲组"],
  ["with its group gone", { card: null, groupGone: true }, "refused", "原来的组不在了"],
  ["in a duplex call", { call: "full" }, "call", "通话中 · 话筒开着"],
];

describe("the key", () => {
  it.each(STATES)("%s", (_when, over, look, main) => {
    expect(face(over)).toMatchObject({ look, main });
  });

  it("never says the same words for two states", () => {
    const all = STATES.map(([, over]) => face(over).main);
    expect(new Set(all).size).toBe(all.length);
  });

  it("never looks live without the server, whatever was there before", () => {
    for (const [, over] of STATES.slice(5)) {
      expect(face({ ...over, linkReady: false, lostFor: 1 }).look).toBe("lost");
    }
  });

  it("says who talks to somebody who waits, and to somebody without a microphone", () => {
    const waits = face({ press: press("queued", { state: "queued", position: 1 }), talker: "李四" });
    expect(waits.more).toContain("李四");
    expect(face({ card: HEARD, microphone: false })).toMatchObject({ look: "rx", more: "没有话筒，只能听" });
  });

  it("shows an emergency in the group, and its own", () => {
    expect(face({ card: card({ kind: "idle" }, { emergency: "acknowledged", owner: "王" }) })).toMatchObject({
      urgent: true,
      more: "本组紧急告警，王 处置中",
    });
    const view = { ...press("talking", {}), wish: { how: "emergency" as const, groups: [] } };
    expect(face({ press: view })).toMatchObject({ urgent: true, look: "tx" });
  });
});

it("has remedies of its own where a phone has others than a desk", () => {
  for (const code of ["no_path", "no_group", "no_shift", "no_microphone", "device", "no_member"]) {
    const { sentence, next } = phoneCause(code);
    expect(`${sentence}${next}`).not.toMatch(/值班。|点组卡片|1–9/);
    expect(next).not.toBe("");
  }
  expect(phoneCause("busy").brief).toBe("占用");
});

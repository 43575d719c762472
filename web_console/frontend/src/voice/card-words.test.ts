/** Every state of a card is told by words and a look of its own, never by a colour alone. */
import { describe, expect, it } from "vitest";
import { ICONS } from "../icon-names.ts";
import { cardWords } from "./card-words.ts";
import type { Activity, Card } from "./groups.ts";

const card = (activity: Activity, over: Partial<Card> = {}): Card => ({
  selection: "none",
  activity,
  patch: "",
  patchMuted: null,
  muted: false,
  listening: true,
  emergency: "",
  owner: "",
  ...over,
});
const receiving: Activity = {
  kind: "receiving",
  talker: "张强",
  urgency: "normal",
  collision: false,
  ending: false,
  seconds: 3,
};

describe("a card's words", () => {
  it.each<[string, Activity, string, string]>([
    ["free", { kind: "idle" }, "idle", "空闲"],
    ["lost", { kind: "lost", since: 0 }, "lost", "失联"],
    ["asking", { kind: "requesting" }, "wait", "申请中"],
    ["waiting", { kind: "queued", position: 2, size: 3 }, "wait", "排队 2/3"],
    [
      "waiting, and the queue's size is not told",
      { kind: "queued", position: 2, size: 0 },
      "wait",
      "排队 2/2",
    ],
    ["talking", { kind: "transmitting", left: 12, warned: false }, "tx", "▲ 发话 剩 12 秒"],
    ["talking without a limit", { kind: "transmitting", left: null, warned: false }, "tx", "▲ 发话"],
    ["hearing", receiving, "rx", "▼ 张强"],
    ["hearing somebody without a name", { ...receiving, talker: "" }, "rx", "▼ 未知用户"],
    ["between two", { kind: "hang", share: 0.5, left: 2.2 }, "hang", "可续讲 3 秒"],
    ["refused", { kind: "refused", cause: "busy", talker: "张强" }, "refused", "占用 · 张强"],
    [
      "refused for a reason of a newer server",
      { kind: "refused", cause: "moon", talker: "" },
      "refused",
      "moon",
    ],
    ["an all-call", { kind: "blocked", cause: "all_call" }, "wait", "正在全呼"],
  ])("%s", (_, activity, look, text) => {
    const words = cardWords(card(activity));
    expect([words.look, words.text]).toEqual([look, text]);
    if (words.icon) expect(ICONS).toContain(words.icon);
  });

  it("tell a refusal's reason and what to do about it", () => {
    expect(cardWords(card({ kind: "refused", cause: "talk_limit", talker: "" })).detail).toContain("松开");
  });

  it("tell urgency, a radio besides, and the end", () => {
    const words = cardWords(card({ ...receiving, urgency: "emergency", collision: true, ending: true }));
    expect(words.detail).toBe("紧急呼叫 · 电台同时在讲 · 即将结束");
  });

  it("say that it is silent here only while nothing goes on in it", () => {
    expect(cardWords(card({ kind: "idle" }, { muted: true })).text).toBe("静音");
    expect(cardWords(card({ kind: "idle" }, { listening: false, muted: true })).text).toBe("未收听");
    expect(cardWords(card({ kind: "idle" }, { patch: "P1", patchMuted: 5 })).text).toBe("暂离互通");
    expect(cardWords(card(receiving, { muted: true })).text).toBe("▼ 张强");
  });
});

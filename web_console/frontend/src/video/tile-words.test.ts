import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { ICONS } from "../icon-names.ts";
import { language } from "../language.ts";
import { fetchEnglish } from "../language-choice.ts";
import { looksLive, type TileState } from "./slot.ts";
import { tileWords } from "./tile-words.ts";

afterEach(() => {
  language.value = "zh-CN";
});

/** 2026-11-24 06:15:09 in Shanghai */
const SINCE = Date.UTC(2026, 10, 23, 22, 15, 9) / 1000;

const STATES: [TileState, string, string, string][] = [
  [{ kind: "connecting", cause: "" }, "连接中", "Connecting", "wait"],
  [{ kind: "live" }, "实时", "Live", "live"],
  [{ kind: "delayed", seconds: 2 }, "延迟 2 秒", "2 s late", "late"],
  [{ kind: "frozen", seconds: 3, cause: "stalled" }, "画面已停 3 秒", "Picture stopped for 3 s", "stale"],
  [{ kind: "degraded", cause: "bandwidth" }, "已降级（本机带宽不足）", "Reduced (Bandwidth)", "late"],
  [
    { kind: "offline", since: SINCE, cause: "consent_lost" },
    "离线（06:15:09 起）",
    "Offline (since 06:15:09)",
    "stale",
  ],
  [{ kind: "offline", since: 0, cause: "not_found" }, "离线", "Offline", "stale"],
  [{ kind: "codec" }, "编码不支持", "Codec not supported", "fault"],
  [{ kind: "forbidden" }, "无权限", "No permission", "fault"],
];

beforeAll(fetchEnglish);

describe("a tile's words", () => {
  it.each(STATES)("%j", (state, zh, en, tone) => {
    const words = tileWords(state);
    expect([words.text, words.tone]).toEqual([zh, tone]);
    expect(ICONS).toContain(words.icon);
    language.value = "en";
    expect(tileWords(state).text).toBe(en);
  });

  it("have another sign and tone when the picture may not be trusted", () => {
    const trusted = new Set(STATES.filter(([state]) => looksLive(state)).map(([, , , tone]) => tone));
    for (const [state, , , tone] of STATES) expect(trusted.has(tone)).toBe(looksLive(state));
  });

  it("say why, and what next, where there is a cause", () => {
    const { sentence, next } = tileWords({ kind: "offline", since: SINCE, cause: "unauthorized" });
    expect(sentence).toBe("摄像机拒绝了用户名或密码。");
    expect(next).not.toBe("");
  });
});

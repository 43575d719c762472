import { afterEach, describe, expect, it } from "vitest";
import { language } from "./language.ts";
import { clockTime, date, dateTime, duration, rate, shortTime } from "./times.ts";

afterEach(() => {
  language.value = "zh-CN";
});

describe("times", () => {
  it("are Shanghai's, 24 h, whatever the machine's zone", () => {
    const time = Date.UTC(2026, 10, 23, 16, 0, 5) / 1000;
    expect(dateTime(time)).toBe("2026-11-24 00:00:05");
    expect(date(time)).toBe("2026-11-24");
    expect(clockTime(time)).toBe("00:00:05");
    expect(shortTime(time)).toBe("11-24 00:00");
  });

  it.each([
    [-3, "0 秒", "0 s"],
    [59.9, "59 秒", "59 s"],
    [60, "1 分钟", "1 min"],
    [7199, "1 小时", "1 h"],
    [200_000, "2 天", "2 d"],
  ])("%d s in its largest unit", (seconds, zh, en) => {
    expect(duration(seconds)).toBe(zh);
    language.value = "en";
    expect(duration(seconds)).toBe(en);
  });

  it("rates in bits", () => {
    expect(rate(340_400)).toBe("340 kbit/s");
    expect(rate(2_450_000)).toBe("2.5 Mbit/s");
  });
});

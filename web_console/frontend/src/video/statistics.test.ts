import { describe, expect, it } from "vitest";
import { slotStatistics } from "./statistics.ts";

const row = (over: Record<string, unknown> = {}): Record<string, unknown> => ({
  type: "inbound-rtp",
  kind: "video",
  mid: "3",
  timestamp: 10_000,
  bytesReceived: 1_000_000,
  packetsReceived: 900,
  packetsLost: 10,
  jitterBufferDelay: 30,
  jitterBufferEmittedCount: 300,
  framesDecoded: 300,
  framesDropped: 2,
  frameWidth: 1280,
  frameHeight: 720,
  codecId: "c1",
  decoderImplementation: "libvpx",
  ...over,
});
const rows = (...all: Record<string, unknown>[]): Map<string, Record<string, unknown>> =>
  new Map([
    ["c1", { type: "codec", mimeType: "video/VP8" }],
    ...all.map((one, i) => [`r${i}`, one] as const),
  ]);

describe("statistics of a slot", () => {
  it("counts the difference between two reports", () => {
    const first = slotStatistics(rows(row()), "3", null);
    const second = slotStatistics(
      rows(
        row({
          timestamp: 12_000,
          bytesReceived: 1_250_000,
          packetsReceived: 1098,
          packetsLost: 12,
          jitterBufferDelay: 33,
          jitterBufferEmittedCount: 350,
          framesDecoded: 350,
        }),
      ),
      "3",
      first.counters,
    );
    expect(second.statistics).toEqual({
      width: 1280,
      height: 720,
      framesPerSecond: 25,
      bitrate: 1_000_000,
      loss: 0.01,
      buffer: 0.06,
      codec: "VP8",
      dropped: 2,
      decoder: "libvpx",
    });
  });

  it("has no rates in the first report, nor after the counters began anew", () => {
    const first = slotStatistics(rows(row()), "3", null);
    expect(first.statistics).toMatchObject({ bitrate: 0, framesPerSecond: 0, loss: 0, buffer: null });
    const anew = slotStatistics(rows(row({ timestamp: 12_000, bytesReceived: 5 })), "3", first.counters);
    expect(anew.statistics).toMatchObject({ bitrate: 0, framesPerSecond: 0, loss: 0 });
  });

  it("takes the section that is asked for, and video only", () => {
    const found = slotStatistics(
      rows(row({ mid: "1", frameWidth: 1 }), row({ kind: "audio" }), row()),
      "3",
      null,
    );
    expect(found.statistics?.width).toBe(1280);
    expect(slotStatistics(rows(row()), "9", null)).toEqual({ counters: null, statistics: null });
  });

  it("lost packets that arrived after all do not count as less than none", () => {
    const first = slotStatistics(rows(row()), "3", null);
    const second = slotStatistics(
      rows(row({ timestamp: 11_000, packetsReceived: 1000, packetsLost: 4 })),
      "3",
      first.counters,
    );
    expect(second.statistics?.loss).toBe(0);
  });
});

import { describe, expect, it } from "vitest";
import * as positions from "./positions.ts";

const fix = (time: number, over: Partial<positions.Fix> = {}): positions.Fix => ({
  lat: 33.4,
  lon: 104.92,
  time,
  accuracy: 5,
  altitude: null,
  heading: null,
  speed: null,
  ...over,
});

describe("which fixes are kept", () => {
  it("the first, a move, and one every 15 s; never more often than every 3 s", () => {
    expect(positions.worthKeeping(fix(0), null)).toBe(true);
    expect(positions.worthKeeping(fix(10), fix(0))).toBe(false);
    expect(positions.worthKeeping(fix(15), fix(0))).toBe(true);
    expect(positions.worthKeeping(fix(4, { lat: 33.4001 }), fix(0))).toBe(true);
    expect(positions.worthKeeping(fix(2, { lat: 33.5 }), fix(0))).toBe(false);
  });
  it("a move below the accuracy is none", () => {
    expect(positions.worthKeeping(fix(4, { lat: 33.4001, accuracy: 60 }), fix(0))).toBe(false);
  });
  it("measures in metres", () => {
    expect(positions.distance({ lat: 33.4, lon: 104.92 }, { lat: 33.41, lon: 104.92 })).toBeCloseTo(1112, 0);
    expect(positions.distance({ lat: 33.4, lon: 104.92 }, { lat: 33.4, lon: 104.93 })).toBeCloseTo(928, 0);
  });
});

describe("queue", () => {
  it("sends the oldest 100 first and forgets what was answered, not what came meanwhile", () => {
    let queue: ReturnType<typeof positions.add> = [];
    for (let i = 0; i < 150; i += 1) queue = positions.add(queue, fix(i), `k${i}`);
    const sent = positions.batch(queue);
    expect([sent.length, sent[0]?.key, sent[99]?.key]).toEqual([100, "k0", "k99"]);
    queue = positions.add(queue, fix(150), "k150");
    queue = positions.without(queue, sent);
    expect([queue.length, queue[0]?.key, queue[50]?.key]).toEqual([51, "k100", "k150"]);
  });
  it("grows coarser when it is full, and keeps the newest", () => {
    let queue: ReturnType<typeof positions.add> = [];
    for (let i = 0; i <= 500; i += 1) queue = positions.add(queue, fix(i), `k${i}`);
    expect(queue.length).toBe(376);
    expect(queue[0]?.key).toBe("k1");
    expect(queue[1]?.key).toBe("k3");
    expect(queue.at(-1)?.key).toBe("k500");
    for (let i = 501; i < 5000; i += 1) queue = positions.add(queue, fix(i), `k${i}`);
    expect(queue.length).toBeLessThanOrEqual(500);
    expect(queue.at(-1)?.key).toBe("k4999");
  });
  it("comes back from storage, without what is broken", () => {
    const queue = positions.add([], fix(1), "a");
    expect(positions.queueFrom(JSON.parse(JSON.stringify(queue)))).toEqual(queue);
    expect(positions.queueFrom([null, { key: 1 }, ...queue, "x"])).toEqual(queue);
    expect(positions.queueFrom("x")).toEqual([]);
  });
});

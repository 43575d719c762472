import { beforeEach, describe, expect, it } from "vitest";
import { Recovery } from "./recovery.ts";

let random: number;
let recovery: Recovery;
beforeEach(() => {
  random = 0.5;
  recovery = new Recovery(() => random);
});

function up(): void {
  recovery.start(0);
  expect(recovery.tick(0, true)).toBe("join");
  recovery.connected();
}

describe("recovery", () => {
  it("joins when asked to, once offers can be made", () => {
    expect(recovery.tick(0, true)).toBeNull();
    recovery.start(0);
    expect(recovery.tick(0, false)).toBeNull();
    expect(recovery.tick(9, true)).toBe("join");
    expect(recovery.tick(9, true)).toBeNull();
    recovery.connected();
    expect(recovery.phase).toBe("up");
  });

  it("leaves a short dropout alone and restarts ICE after 2 s of it", () => {
    up();
    recovery.disconnected(10);
    expect(recovery.tick(11.9, true)).toBeNull();
    recovery.connected();
    expect(recovery.tick(13, true)).toBeNull();
    recovery.disconnected(20);
    expect(recovery.tick(22.1, true)).toBe("restart");
    recovery.connected();
    expect(recovery.phase).toBe("up");
  });

  it("restarts ICE at once when the path failed or the network changed, as soon as the server can be asked", () => {
    up();
    recovery.pathFailed(10);
    expect(recovery.tick(10, false)).toBeNull();
    expect(recovery.tick(15, true)).toBe("restart");
  });

  it("asks again for a restart that the server could not be asked for", () => {
    up();
    recovery.pathFailed(10);
    recovery.tick(10, true);
    recovery.interrupted();
    expect(recovery.tick(30, false)).toBeNull();
    expect(recovery.tick(40, true)).toBe("restart");
  });

  it("joins again when a restart does not help within 8 s", () => {
    up();
    recovery.pathFailed(10);
    recovery.tick(10, true);
    expect(recovery.tick(18, true)).toBeNull();
    recovery.tick(18.1, true);
    expect(recovery.phase).toBe("waiting");
    expect(recovery.tick(18.3, true)).toBeNull();
    expect(recovery.tick(18.4, true)).toBe("join");
  });

  it("joins again when a join does not connect within 12 s", () => {
    recovery.start(0);
    recovery.tick(0, true);
    recovery.tick(12, true);
    expect(recovery.phase).toBe("joining");
    recovery.tick(12.1, true);
    expect(recovery.phase).toBe("waiting");
  });

  it("waits longer each time, up to 8 s, and starts again after success", () => {
    random = 0.999999;
    recovery.start(0);
    let now = 0;
    for (const wait of [0.5, 1, 2, 4, 8, 8]) {
      expect(recovery.tick(now, true)).toBe("join");
      recovery.lost(now);
      expect(recovery.tick(now + wait - 0.01, true)).toBeNull();
      now += wait;
    }
    expect(recovery.tick(now, true)).toBe("join");
    recovery.connected();
    recovery.lost(now);
    expect(recovery.tick(now + 0.5, true)).toBe("join");
  });

  it("does nothing after stop, whatever is reported late", () => {
    up();
    recovery.stop();
    recovery.lost(1);
    recovery.pathFailed(1);
    recovery.disconnected(1);
    recovery.connected();
    expect(recovery.tick(100, true)).toBeNull();
    expect(recovery.phase).toBe("off");
  });
});

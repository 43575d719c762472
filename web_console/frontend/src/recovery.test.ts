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
  recovery.connected(0);
}

describe("recovery", () => {
  it("joins when asked to, once offers can be made", () => {
    expect(recovery.tick(0, true)).toBeNull();
    recovery.start(0);
    expect(recovery.tick(0, false)).toBeNull();
    expect(recovery.tick(9, true)).toBe("join");
    expect(recovery.tick(9, true)).toBeNull();
    recovery.connected(0);
    expect(recovery.phase).toBe("up");
  });

  it("leaves a short dropout alone and restarts ICE after 2 s of it", () => {
    up();
    recovery.disconnected(10);
    expect(recovery.tick(11.9, true)).toBeNull();
    recovery.connected(0);
    expect(recovery.tick(13, true)).toBeNull();
    recovery.disconnected(20);
    expect(recovery.tick(22.1, true)).toBe("restart");
    recovery.connected(0);
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
    recovery.interrupted(10);
    expect(recovery.tick(30, false)).toBeNull();
    expect(recovery.tick(40, true)).toBe("restart");
  });

  it("restarts again when that does not help, later each time, and joins again after four", () => {
    random = 0.999999;
    up();
    recovery.silent(10);
    const restarts: number[] = [];
    for (let now = 10; recovery.phase !== "waiting"; now += 0.25) {
      if (recovery.tick(now, true) === "restart") restarts.push(now);
    }
    expect(restarts).toEqual([10, 12.5, 16, 21.5]);
    expect(recovery.tick(31, true)).toBeNull(); // gave up at 31
    expect(recovery.tick(31.5, true)).toBe("join");
  });

  it("restarts ICE at once when what ought to arrive does not, whatever the browser says of its path", () => {
    up();
    recovery.silent(10);
    expect(recovery.tick(10, true)).toBe("restart");
    recovery.connected(10.1); // it always was, by its own word
    expect(recovery.phase).toBe("restarting");
    recovery.refuted(10.2);
    recovery.connected(10.2);
    expect(recovery.phase).toBe("up");
  });

  it("has one restart at a time", () => {
    up();
    recovery.silent(10);
    expect(recovery.tick(10, true)).toBe("restart");
    for (let now = 10; now < 11.9; now += 0.1) {
      recovery.silent(now);
      expect(recovery.tick(now, true)).toBeNull();
    }
    expect(recovery.tick(12.1, true)).toBe("restart");
  });

  it("waits longer from one restart to the next also when each helps for a moment only", () => {
    random = 0.999999;
    up();
    const restarts: number[] = [];
    for (let now = 20; restarts.length < 4; now += 0.25) {
      recovery.silent(now);
      if (recovery.tick(now, true) !== "restart") continue;
      restarts.push(now);
      recovery.refuted(now);
      recovery.connected(now);
    }
    expect(restarts).toEqual([20, 22.5, 26, 31.5]);
  });

  it("restarts at once again after a path that held for 10 s", () => {
    up();
    for (const now of [20, 31, 42, 53, 64, 75]) {
      recovery.silent(now);
      expect(recovery.tick(now, true)).toBe("restart");
      recovery.refuted(now + 0.2);
      recovery.connected(now + 0.2);
    }
  });

  it("takes back a doubt that something which arrives refutes", () => {
    up();
    recovery.silent(10);
    expect(recovery.tick(10, false)).toBeNull(); // the server cannot be asked
    recovery.refuted(10.5);
    expect(recovery.phase).toBe("up");
    expect(recovery.tick(20, true)).toBeNull();
  });

  it("does not wait for its turn when the network changed", () => {
    up();
    recovery.silent(10);
    expect(recovery.tick(10, true)).toBe("restart");
    recovery.refuted(10.2);
    recovery.connected(10.2);
    recovery.pathFailed(10.5);
    expect(recovery.tick(10.5, true)).toBe("restart");
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
    recovery.connected(0);
    recovery.lost(now);
    expect(recovery.tick(now + 0.5, true)).toBe("join");
  });

  it("does nothing after stop, whatever is reported late", () => {
    up();
    recovery.stop();
    recovery.lost(1);
    recovery.pathFailed(1);
    recovery.disconnected(1);
    recovery.silent(1);
    recovery.refuted(1);
    recovery.connected(0);
    expect(recovery.tick(100, true)).toBeNull();
    expect(recovery.phase).toBe("off");
  });
});

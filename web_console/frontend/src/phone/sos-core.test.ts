import { beforeEach, describe, expect, it } from "vitest";
import { COUNTDOWN, HOLD, KEPT_FOR, OPEN, pendingFrom, RETRY, SosCore, UNHEARD } from "./sos-core.ts";

let core: SosCore;
let keys: number;
beforeEach(() => {
  keys = 0;
  core = new SosCore(() => {
    keys += 1;
    return { key: `k${keys}`, at: 1000 };
  });
});
const PENDING = { key: "k1", at: 1000, tried: false };
const TRIED = { ...PENDING, tried: true };

/** Held long enough and not taken back, from 0; the alarm is to be sent at the returned time. */
function pressed(ready: boolean): { at: number; acts: unknown[] } {
  core.down(0);
  core.tick(HOLD, ready);
  const at = HOLD + COUNTDOWN;
  return { at, acts: core.tick(at, ready) };
}

describe("a press by mistake", () => {
  it("that ends before the ring is full does nothing", () => {
    core.down(0);
    expect(core.tick(HOLD - 0.1, true)).toEqual([]);
    core.up();
    expect(core.state).toEqual({ phase: "idle" });
    expect(core.tick(60, true)).toEqual([]);
  });
  it("can be taken back while it counts down, and then nothing was sent", () => {
    core.down(0);
    expect(core.tick(HOLD, true)).toEqual([{ do: "locate" }]);
    core.up();
    expect(core.state.phase).toBe("countdown");
    expect(core.cancel()).toEqual([{ do: "keep", pending: null }]);
    expect(core.tick(60, true)).toEqual([]);
    expect(keys).toBe(0);
  });
  it("is not made worse by pressing on", () => {
    core.down(0);
    core.tick(HOLD, true);
    core.down(HOLD + 1);
    expect(core.state).toEqual({ phase: "countdown", until: HOLD + COUNTDOWN });
  });
});

describe("an alarm", () => {
  it("is kept, raised and shown in one go when the server is there", () => {
    expect(pressed(true).acts).toEqual([
      { do: "keep", pending: PENDING },
      { do: "keep", pending: TRIED },
      { do: "raise", pending: TRIED },
      { do: "camera" },
    ]);
    expect(core.cancellable).toBe(false);
    expect(core.tick(20, true)).toEqual([]); // not twice
  });
  it("has its microphone open for so long, then gives the key back", () => {
    const { at } = pressed(true);
    expect(core.raised(at + 1, true)).toEqual([{ do: "keep", pending: null }]);
    expect(core.deadline).toBe(at + 1 + OPEN);
    expect(core.tick(at + OPEN, true)).toEqual([]);
    expect(core.tick(at + 1 + OPEN, true)).toEqual([{ do: "close" }]);
    expect(core.state.phase).toBe("idle");
  });
  it("gets the whole time when its microphone could be opened only later", () => {
    const { at } = pressed(true);
    core.raised(at, false);
    expect(core.tick(at + OPEN + 20, true)).toEqual([]);
    core.heard(at + OPEN + 20);
    expect(core.deadline).toBe(at + OPEN + 20 + OPEN);
  });
  it("is given up when there is no sound path for a minute", () => {
    const { at } = pressed(true);
    core.raised(at, false);
    expect(core.tick(at + UNHEARD, true)).toEqual([{ do: "close" }]);
    expect(core.state.phase).toBe("idle");
  });
});

describe("without the server", () => {
  it("it waits, can be taken back, and goes out when the server is there", () => {
    const { at } = pressed(false);
    expect(core.cancellable).toBe(true);
    expect(core.tick(at + 60, false)).toEqual([]);
    expect(core.tick(at + 61, true)).toEqual([
      { do: "keep", pending: TRIED },
      { do: "raise", pending: TRIED },
    ]);
    expect(core.cancellable).toBe(false);
  });
  it("in the middle of it, it is sent again with the same key", () => {
    const { at } = pressed(true);
    expect(core.failed("offline", at + 1)).toEqual([{ do: "close" }]);
    expect(core.tick(at + 1, true)).toEqual([]);
    const again = core.tick(at + 1 + RETRY, true);
    expect(again.at(-1)).toEqual({ do: "raise", pending: TRIED });
    expect(keys).toBe(1);
  });
  it("that refuses it, says why and is asked again", () => {
    const { at } = pressed(true);
    core.failed("storage_away", at);
    expect(core.state).toMatchObject({ phase: "pending", problem: "storage_away", trying: false });
    expect(core.tick(at + RETRY, true)).toHaveLength(2);
  });
  it("and with the page loaded anew it is remembered, but not for ever", () => {
    expect(core.restore(TRIED, 1000 + KEPT_FOR + 1)).toEqual([{ do: "keep", pending: null }]);
    expect(core.state.phase).toBe("idle");
    expect(core.restore(TRIED, 1060)).toEqual([]);
    expect(core.cancellable).toBe(false);
    expect(core.tick(0, true).at(-1)).toEqual({ do: "raise", pending: TRIED });
  });
  it("what was kept and is no alarm is none", () => {
    expect(pendingFrom(null)).toBeNull();
    expect(pendingFrom({ key: 7, at: 1 })).toBeNull();
    expect(pendingFrom(PENDING)).toEqual(PENDING);
    expect(pendingFrom({ key: "k", at: 1 })).toEqual({ key: "k", at: 1, tried: true });
  });
});

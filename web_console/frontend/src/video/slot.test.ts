import { beforeEach, describe, expect, it } from "vitest";
import type { SlotChanged, Stream } from "../messages.ts";
import { looksLive, Slot, tileState } from "./slot.ts";

const told = (over: Partial<SlotChanged>): SlotChanged => ({
  type: "slot",
  slot: 0,
  state: "live",
  stream: "a",
  layer: "h",
  height: 360,
  reason: "",
  degraded: "",
  ...over,
});
const stream = (over: Partial<Stream> = {}): Stream => ({
  id: "a",
  device: "d",
  unit: "u",
  channel: "main",
  name: "",
  state: "live",
  since: 100,
  via: "whip",
  layers: [],
  audio: "",
  audioLive: false,
  viewers: 0,
  steps: [],
  cause: "",
  detail: "",
  remote: "",
  tcp: false,
  ...over,
});
const fine = { permitted: true, mediaUp: true, stream: stream() };

let slot: Slot;
beforeEach(() => {
  slot = new Slot();
});

/** Stream a is wanted, settled at 1 s, live from 2 s. */
function live(): void {
  slot.want("a");
  slot.settled(1);
  slot.tell(told({}), 2);
}

describe("whose frame it is", () => {
  it("counts frames that arrived after the server said so", () => {
    live();
    expect(slot.frame(1.9, 2.1, 0)).toBeNull();
    expect(slot.hasPicture).toBe(false);
    expect(slot.frame(2.0, 2.2, 0)).toBe("shown");
    expect(slot.hasPicture).toBe(true);
    expect(slot.frame(2.1, 2.3, 0)).toBeNull();
  });

  it("hides the old picture the moment another stream is wanted, until the first frame of that one", () => {
    live();
    slot.frame(3, 3, 0);
    slot.want("b");
    expect(slot.hasPicture).toBe(false);
    expect(slot.frame(3.1, 3.1, 0)).toBeNull();
    slot.settled(4);
    expect(slot.frame(4.1, 4.1, 0)).toBeNull(); // the server still sends a
    slot.tell(told({ state: "waiting", stream: "b", reason: "no_key_frame" }), 4.2);
    expect(slot.frame(4.3, 4.3, 0)).toBeNull();
    slot.tell(told({ stream: "b" }), 5);
    expect(slot.frame(4.9, 5.1, 0)).toBeNull(); // of a, out of the jitter buffer
    expect(slot.frame(5.05, 5.2, 0)).toBe("shown");
  });

  it("there and back again without a word from the server still shows what is wanted", () => {
    live();
    slot.frame(3, 3, 0);
    slot.want("b");
    slot.want("a");
    expect(slot.frame(3.5, 3.5, 0)).toBeNull();
    slot.settled(4);
    expect(slot.frame(4.1, 4.1, 0)).toBe("shown");
  });

  it("a new connection starts without a picture", () => {
    live();
    slot.frame(3, 3, 0);
    slot.disconnected();
    slot.settled(4);
    expect(slot.frame(4.1, 4.1, 0)).toBeNull();
  });

  it("reports frozen once, and shown again when frames come back", () => {
    live();
    slot.frame(3, 3, 0);
    expect(slot.tick(5.9)).toBeNull();
    expect(slot.tick(6)).toBe("frozen");
    expect(slot.tick(7)).toBeNull();
    expect(slot.frame(8, 8, 0)).toBe("shown");
    expect(slot.tick(8.5)).toBeNull();
  });
});

describe("state of a tile", () => {
  it("nothing wanted is empty, whatever was there", () => {
    live();
    slot.want(null);
    expect(tileState(slot, fine, 3)).toEqual({ kind: "empty" });
  });

  it("live, degraded, delayed", () => {
    live();
    slot.frame(3, 3, 0.2);
    expect(tileState(slot, fine, 3.1)).toEqual({ kind: "live" });
    slot.tell(told({ degraded: "bandwidth" }), 3.2);
    expect(tileState(slot, fine, 3.3)).toEqual({ kind: "degraded", cause: "bandwidth" });
    slot.frame(4, 4, 2.4);
    expect(tileState(slot, fine, 4.1)).toEqual({ kind: "delayed", seconds: 2 });
  });

  it("no new frame for 3 s is stopped, counts on, and never looks live", () => {
    live();
    slot.frame(3, 3, 0);
    expect(looksLive(tileState(slot, fine, 5.99))).toBe(true);
    const state = tileState(slot, fine, 6.5);
    expect(state).toEqual({ kind: "frozen", seconds: 3, cause: "stalled" });
    expect(looksLive(state)).toBe(false);
    expect(tileState(slot, { ...fine, mediaUp: false }, 20)).toEqual({
      kind: "frozen",
      seconds: 17,
      cause: "not_connected",
    });
  });

  it("says why there is no picture yet", () => {
    slot.want("a");
    expect(tileState(slot, { ...fine, mediaUp: false }, 1)).toEqual({
      kind: "connecting",
      cause: "not_connected",
    });
    slot.tell(told({ state: "waiting", reason: "no_key_frame" }), 1);
    expect(tileState(slot, fine, 1)).toEqual({ kind: "connecting", cause: "no_key_frame" });
    slot.tell(told({ state: "waiting", reason: "codec" }), 1);
    expect(tileState(slot, fine, 1)).toEqual({ kind: "codec" });
  });

  it("does not take what was said of another stream for its own", () => {
    slot.want("b");
    slot.tell(told({ state: "waiting", stream: "a", reason: "codec" }), 1);
    expect(tileState(slot, fine, 1)).toEqual({ kind: "connecting", cause: "" });
  });

  it("offline beats the last picture", () => {
    live();
    slot.frame(3, 3, 0);
    const offline = { ...fine, stream: stream({ state: "offline", since: 55, cause: "consent_lost" }) };
    expect(tileState(slot, offline, 3.1)).toEqual({ kind: "offline", since: 55, cause: "consent_lost" });
    expect(tileState(slot, { ...fine, stream: undefined }, 3.1)).toEqual({
      kind: "offline",
      since: 0,
      cause: "not_found",
    });
  });

  it("no permission beats everything", () => {
    live();
    slot.frame(3, 3, 0);
    expect(tileState(slot, { ...fine, permitted: false }, 3.1)).toEqual({ kind: "forbidden" });
  });
});

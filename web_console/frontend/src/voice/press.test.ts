import { beforeEach, describe, expect, it } from "vitest";
import type { FloorAnswer, Talker } from "../messages.ts";
import {
  ALIVE_EVERY,
  ANSWER_WITHIN,
  CLOSE_AFTER,
  Press,
  type PressAction,
  SHOWN_FOR,
  type Wish,
} from "./press.ts";

const WANG: Talker = { leg: "l2", name: "王", kind: "console", unit: "", user: "u2" };
const TO_A: Wish = { how: "groups", groups: ["a"] };
const TO_BOTH: Wish = { how: "groups", groups: ["a", "b"] };
const answer = (group: string, state: string, over: Partial<FloorAnswer> = {}): FloorAnswer => ({
  group,
  state,
  sequence: 0,
  until: null,
  position: 0,
  size: 0,
  cause: "",
  talker: null,
  ...over,
});
const OPEN: PressAction = { do: "microphone", open: true };
const CLOSE: PressAction = { do: "microphone", open: false };
const RELEASE: PressAction = { do: "release" };
const tone = (name: string) => ({ do: "tone", tone: name });

let press: Press;
const state = (group = "a") => press.view.groups.get(group)?.state;
beforeEach(() => {
  press = new Press();
});

/** A press that has the floor of group a. */
function granted(until: number | null = null): void {
  press.down("F8", TO_A, 0);
  press.answered(1, [answer("a", "granted", { until })], 0.02);
}

describe("pressing", () => {
  it("again before the end of the press before was told is not ended by it", () => {
    granted();
    press.up("F8", 1);
    press.down("F8", TO_A, 1.05);
    expect(press.told(answer("a", "ended"), 1.1)).toEqual([]);
    expect(state()).toBe("requesting");
    press.answered(2, [answer("a", "granted")], 1.12);
    expect(press.view.phase).toBe("talking");
  });

  it("opens the microphone and asks in the same moment", () => {
    expect(press.down("F8", TO_A, 0)).toEqual([OPEN, { do: "request", serial: 1, wish: TO_A }]);
    expect(press.view).toMatchObject({ phase: "requesting", held: true, microphone: true });
  });

  it("takes a key that is held already, and several keys, as one", () => {
    press.down("F8", TO_A, 0);
    expect(press.down("F8", TO_A, 0.5)).toEqual([]);
    expect(press.down("pointer", TO_A, 0.6)).toEqual([]);
    expect(press.up("F8", 1)).toEqual([]);
    expect(press.view.phase).toBe("requesting");
    expect(press.up("pointer", 2)).toEqual([RELEASE]);
    expect(press.up("pointer", 3)).toEqual([]);
  });

  it("keeps the floor alive every 200 ms and not after the key went up", () => {
    granted();
    const told: number[] = [];
    for (let i = 1; i <= 10; i += 1) {
      if (press.tick(i / 10 + 0.001 * i).some((one) => one.do === "alive")) told.push(i / 10);
    }
    expect(told).toEqual([0.2, 0.4, 0.6, 0.8, 1]);
    press.up("F8", 1.1);
    expect(press.tick(1.5).filter((one) => one.do === "alive")).toEqual([]);
  });

  it("closes the microphone 60 ms after the key, so that the last syllable gets out", () => {
    granted();
    expect(press.up("F8", 1)).toEqual([RELEASE]);
    expect(press.view).toMatchObject({ phase: "closing", microphone: true });
    expect(press.deadline).toBeCloseTo(1 + CLOSE_AFTER);
    expect(press.tick(1.05)).toEqual([]);
    expect(press.tick(1.06)).toEqual([CLOSE]);
    expect(press.view.phase).toBe("idle");
    expect(press.deadline).toBeNull();
  });

  it("goes on with the open microphone when the key comes down again within that time", () => {
    granted();
    press.up("F8", 1);
    expect(press.down("F8", TO_A, 1.03)).toEqual([{ do: "request", serial: 2, wish: TO_A }]);
    expect(press.tick(1.1)).toEqual([]);
    expect(press.view.microphone).toBe(true);
  });

  it("lets an answer to an earlier press go by", () => {
    press.down("F8", TO_A, 0);
    press.up("F8", 0.1);
    press.down("F8", TO_A, 0.2);
    expect(press.answered(1, [answer("a", "denied", { cause: "busy" })], 0.3)).toEqual([]);
    expect(state()).toBe("requesting");
  });
});

describe("answers", () => {
  it("tells a grant with its tone and counts down its limit", () => {
    press.down("F8", TO_A, 0);
    expect(press.answered(1, [answer("a", "granted", { until: 30 })], 0.02)).toEqual([tone("granted")]);
    expect(press.view).toMatchObject({ phase: "talking", microphone: true });
    expect(press.view.groups.get("a")).toMatchObject({ state: "granted", until: 30 });
  });

  it("closes the microphone while it waits, keeps alive, and opens it with the grant", () => {
    press.down("F8", TO_A, 0);
    expect(press.answered(1, [answer("a", "queued", { position: 2, size: 3, talker: WANG })], 0.02)).toEqual([
      CLOSE,
      tone("queued"),
    ]);
    expect(press.tick(ALIVE_EVERY)).toEqual([{ do: "alive" }]);
    press.told(answer("a", "queued", { position: 1, size: 2 }), 1);
    expect(press.view.groups.get("a")).toMatchObject({ state: "queued", position: 1, size: 2 });
    expect(press.told(answer("a", "granted", { until: 40 }), 2)).toEqual([OPEN, tone("granted")]);
  });

  it("leaves the queue with the key", () => {
    press.down("F8", TO_A, 0);
    press.answered(1, [answer("a", "queued", { position: 1, size: 1 })], 0.02);
    expect(press.up("F8", 1)).toEqual([RELEASE]);
    expect(press.view).toMatchObject({ phase: "idle", microphone: false });
  });

  it("closes the microphone at once when refused, and says why until some seconds after the key went up", () => {
    press.down("F8", TO_A, 0);
    expect(press.answered(1, [answer("a", "denied", { cause: "busy", talker: WANG })], 0.02)).toEqual([
      CLOSE,
      tone("busy"),
    ]);
    expect(press.view.phase).toBe("refused");
    expect(press.tick(9)).toEqual([]);
    expect(press.view.groups.get("a")).toMatchObject({ cause: "busy", talker: WANG });
    expect(press.up("F8", 10)).toEqual([RELEASE]);
    press.tick(10 + SHOWN_FOR - 0.1);
    expect(state()).toBe("denied");
    press.tick(10 + SHOWN_FOR);
    expect(press.view.groups.size).toBe(0);
  });

  it("talks where it may when only some groups refuse", () => {
    press.down("F8", TO_BOTH, 0);
    expect(
      press.answered(1, [answer("a", "denied", { cause: "busy" }), answer("b", "granted")], 0.02),
    ).toEqual([tone("granted")]);
    expect([press.view.phase, state("a"), state("b")]).toEqual(["talking", "denied", "granted"]);
    expect(press.told(answer("b", "revoked", { cause: "forced" }), 1)).toEqual([CLOSE, tone("busy")]);
  });

  it("waits for the last when one is queued and the other refused", () => {
    press.down("F8", TO_BOTH, 0);
    press.answered(1, [answer("a", "denied", { cause: "busy" }), answer("b", "queued")], 0.02);
    expect(press.view.phase).toBe("queued");
    expect(press.told(answer("b", "denied", { cause: "queue_timeout" }), 9)).toEqual([tone("busy")]);
  });

  it("learns an emergency's group from the answer", () => {
    press.down("sos", { how: "emergency", groups: [], emergency: { key: "k" } }, 0);
    expect(press.answered(1, [answer("a", "granted")], 0.02)).toEqual([tone("granted")]);
    expect(state()).toBe("granted");
  });

  it("tells a request that failed as a refusal with its code", () => {
    press.down("F9", { how: "all_call", groups: [] }, 0);
    expect(press.failed(1, "forbidden", 0.1)).toEqual([CLOSE, tone("busy")]);
    expect(press.view.groups.get("")).toMatchObject({ state: "denied", cause: "forbidden" });
  });

  it("closes the microphone when nobody answers", () => {
    press.down("F8", TO_A, 0);
    expect(press.tick(ANSWER_WITHIN)).toEqual([CLOSE, tone("busy")]);
    expect(press.view.groups.get("a")).toMatchObject({ cause: "no_answer" });
  });

  it("gives back a grant that crossed the release", () => {
    press.down("F8", TO_A, 0);
    press.answered(1, [answer("a", "queued")], 0.02);
    press.up("F8", 1);
    expect(press.told(answer("a", "granted"), 1.01)).toEqual([RELEASE]);
    expect(press.view.microphone).toBe(false);
  });
});

describe("the end that somebody else makes", () => {
  it.each(["talk_limit", "pre_empted", "forced", "lost"])("closes at once when revoked: %s", (cause) => {
    granted();
    expect(press.told(answer("a", "revoked", { cause, talker: WANG }), 3)).toEqual([CLOSE, tone("busy")]);
    expect(press.view.phase).toBe("refused");
    expect(press.view.groups.get("a")).toMatchObject({ state: "revoked", cause, talker: WANG });
  });

  it("asks again only after the key was let go", () => {
    granted();
    press.told(answer("a", "revoked", { cause: "forced" }), 3);
    expect(press.down("F8", TO_A, 4)).toEqual([]);
    expect(press.down("pointer", TO_A, 4)).toEqual([]);
    press.up("pointer", 5);
    expect(press.up("F8", 5)).toEqual([RELEASE]);
    expect(press.down("F8", TO_A, 6)).toEqual([OPEN, { do: "request", serial: 2, wish: TO_A }]);
  });

  it("warns before the limit and closes at it even without a word of the server", () => {
    granted(30);
    press.told(answer("a", "warned", { until: 29.5 }), 25);
    expect(press.view.groups.get("a")).toMatchObject({ warned: true, until: 29.5 });
    press.tick(29.4);
    expect(press.view.phase).toBe("talking");
    expect(press.tick(29.5)).toEqual([CLOSE, tone("busy")]);
    expect(press.view.groups.get("a")).toMatchObject({ cause: "talk_limit" });
  });

  it("has no limit when the server gives none", () => {
    granted(null);
    press.tick(500);
    expect(press.view.phase).toBe("talking");
  });

  it("takes an unexpected end as one, and the expected steps after the key as nothing", () => {
    granted();
    expect(press.told(answer("a", "ended"), 1)).toEqual([CLOSE, tone("busy")]);
    press.up("F8", 2);
    press.down("F8", TO_A, 10);
    press.answered(2, [answer("a", "granted")], 10);
    press.up("F8", 11);
    expect(press.told(answer("a", "tail"), 11.01)).toEqual([]);
    expect(press.told(answer("a", "ended"), 11.1)).toEqual([]);
  });
});

describe("never a latch", () => {
  it.each(["blur", "hidden"])("forgets the key at %s, whose key-up will not be seen", (cause) => {
    granted();
    expect(press.abandon(cause, true, 1)).toEqual([CLOSE, RELEASE, tone("busy")]);
    expect(press.view).toMatchObject({ phase: "idle", held: false, microphone: false });
    expect(press.view.groups.get("a")).toMatchObject({ state: "revoked", cause });
    expect(press.up("F8", 2)).toEqual([]);
  });

  it.each(["offline", "device"])("closes at once and waits for the key-up: %s", (cause) => {
    granted();
    expect(press.abandon(cause, false, 1)).toEqual([CLOSE, RELEASE, tone("busy")]);
    expect(press.view).toMatchObject({ phase: "refused", held: true });
    expect(press.tick(5)).toEqual([]);
    press.up("F8", 6);
    expect(press.view.phase).toBe("idle");
  });

  it("closes also in the last 60 ms", () => {
    granted();
    press.up("F8", 1);
    expect(press.abandon("blur", true, 1.01)).toEqual([CLOSE]);
    expect(press.tick(2)).toEqual([]);
  });

  it("does nothing when nothing is pressed", () => {
    expect(press.abandon("blur", true, 0)).toEqual([]);
  });

  it("says at once what cannot be, without a microphone", () => {
    expect(press.refuse("F8", "no_group", 0)).toEqual([tone("busy")]);
    expect(press.view).toMatchObject({ phase: "refused", microphone: false });
    press.up("F8", 1);
    expect(press.view.groups.get("")).toMatchObject({ cause: "no_group" });
  });
});

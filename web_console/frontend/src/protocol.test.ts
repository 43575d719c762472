import { beforeEach, describe, expect, it } from "vitest";
import type { Hello } from "./messages.ts";
import { type Action, LinkCore } from "./protocol.ts";

const hello = (over: Partial<Hello> = {}): string =>
  JSON.stringify({
    type: "hello",
    schema: 1,
    rev: 7,
    resumed: false,
    client: "c-1",
    user: { id: "u", name: "n", role: "dispatcher", permissions: [] },
    server: { name: "s", level: "county", version: "1", time: 0, media: true, drill: false },
    stream: "",
    leg: "l-1",
    ...over,
  });
const text = (message: object): string => JSON.stringify(message);

let core: LinkCore;
let random: number;

beforeEach(() => {
  random = 0.5;
  core = new LinkCore({
    client: "c-1",
    token: "t-1",
    want: ["unit"],
    random: () => random,
    newClient: () => "c-2",
  });
});

function sent(): Record<string, unknown>[] {
  return core.takeOutgoing().map((one) => JSON.parse(one.text) as Record<string, unknown>);
}

function connect(now: number, over: Partial<Hello> = {}): Action[] {
  expect(core.tick(now)).toEqual([{ do: "connect", socket: core.main }]);
  core.opened(core.main, now);
  const actions = core.received(core.main, hello(over), now);
  return actions;
}

describe("opening", () => {
  it("connects on the first tick and greets with the last revision it knows", () => {
    expect(core.tick(0)).toEqual([{ do: "connect", socket: core.main }]);
    core.opened(core.main, 0.1);
    expect(sent()).toEqual([
      { type: "hello", schema: 1, client: "c-1", token: "t-1", rev: 0, want: ["unit"] },
    ]);
    core.received(core.main, hello(), 0.2);
    core.received(core.main, text({ type: "delta", rev: 41, changes: [] }), 0.3);
    core.closed(core.main, 1);
    core.tick(9);
    core.opened(core.main, 9);
    expect(sent()[0]).toMatchObject({ rev: 41 });
  });

  it("gives up an attempt that does not open within 8 s, and a greeting without an answer within 5 s", () => {
    core.tick(0);
    expect(core.tick(8)).toEqual([]);
    expect(core.tick(8.1)).toEqual([{ do: "drop", socket: core.main }]);
    core.tick(20);
    core.opened(core.main, 20);
    expect(core.tick(25)).toEqual([]);
    expect(core.tick(25.1)).toEqual([{ do: "drop", socket: core.main }]);
  });

  it("ends when the server speaks another schema", () => {
    core.tick(0);
    core.opened(core.main, 0);
    expect(core.received(core.main, hello({ schema: 2 }), 0)).toEqual([
      { do: "drop", socket: core.main },
      { do: "end", reason: "schema" },
    ]);
    expect(core.tick(100)).toEqual([]);
  });
});

describe("coming back", () => {
  it("waits with full jitter, doubling from 0.5 s up to 8 s", () => {
    random = 0.999999;
    const waits: number[] = [];
    for (let i = 0, now = 0; i < 7; i += 1) {
      core.tick(now);
      core.closed(core.main, now);
      waits.push(Math.round(core.retryIn(now) * 10) / 10);
      now += 100;
    }
    expect(waits).toEqual([0.5, 1, 2, 4, 8, 8, 8]);
  });

  it("never spins, even when the dice say zero", () => {
    random = 0;
    core.tick(0);
    core.closed(core.main, 0);
    expect(core.retryIn(0)).toBe(0.1);
    expect(core.tick(0.05)).toEqual([]);
  });

  it("starts the waits again once the server has said something", () => {
    for (let now = 0; now < 500; now += 100) {
      core.tick(now);
      core.closed(core.main, now);
    }
    connect(1000);
    core.received(core.main, text({ type: "snapshot", rev: 9 }), 1000);
    core.closed(core.main, 1001);
    expect(core.retryIn(1001)).toBe(0.25);
  });

  it("tries at once when the network came back", () => {
    random = 0.9;
    core.tick(0);
    core.closed(core.main, 0);
    core.hurry(0.01);
    expect(core.tick(0.01)).toEqual([{ do: "connect", socket: core.main }]);
  });

  it("pings every 2 s and counts the connection as lost after 5 s of silence", () => {
    random = 0.999999;
    connect(0);
    core.takeOutgoing();
    const pings: number[] = [];
    for (let now = 0; now <= 5; now += 0.5) {
      expect(core.tick(now).filter((one) => one.do === "drop")).toEqual([]);
      for (const one of sent()) if (one.type === "ping") pings.push(now);
    }
    expect(pings).toEqual([0, 2, 4]);
    expect(core.tick(5.1)).toEqual([{ do: "drop", socket: 1 }]);
    expect(core.phase).toBe("connecting"); // by a rival
    expect(core.lastHeard).toBe(0);
  });

  it("trusts the connection again when the answer comes", () => {
    connect(0);
    core.suspect(0.5);
    core.suspect(1.9);
    core.received(core.main, text({ type: "pong", t: 0.5, time: 0 }), 1.9);
    expect(core.tick(4)).toEqual([]);
    expect(core.phase).toBe("ready");
  });

  it("goes on for ever while pongs come", () => {
    connect(0);
    for (let now = 0; now < 60; now += 1) {
      expect(core.tick(now)).toEqual([]);
      core.received(core.main, text({ type: "pong", t: now, time: 0 }), now);
    }
    expect(core.phase).toBe("ready");
  });

  it.each(["restarting", "too_slow", "bad_message"])("comes back after goodbye %s", (reason) => {
    connect(0);
    expect(core.received(core.main, text({ type: "goodbye", reason }), 1)).toEqual([
      { do: "drop", socket: core.main },
    ]);
    expect(core.tick(9)).toEqual([{ do: "connect", socket: core.main }]);
  });

  it("takes another client id when another tab took its own", () => {
    connect(0);
    core.received(core.main, text({ type: "goodbye", reason: "replaced" }), 1);
    core.tick(9);
    core.opened(core.main, 9);
    expect(sent()[0]).toMatchObject({ client: "c-2" });
  });

  it.each(["revoked", "expired", "logged_out", "not_logged_in"])("stays away after goodbye %s", (reason) => {
    connect(0);
    expect(core.received(core.main, text({ type: "goodbye", reason }), 1)).toEqual([
      { do: "drop", socket: core.main },
      { do: "end", reason },
    ]);
    expect(core.tick(1000)).toEqual([]);
    expect(core.command("slot.set", {}, "resend")).toBeNull();
  });
});

describe("a rival", () => {
  const pong = text({ type: "pong", t: 0, time: 0 });
  const doubted = (): number => {
    connect(0);
    core.tick(0);
    core.received(1, pong, 0);
    core.suspect(3); // media stopped
    core.takeOutgoing();
    expect(core.tick(3.75)).toEqual([]);
    expect(core.tick(3.76)).toEqual([{ do: "connect", socket: 2 }]);
    expect(core.tick(4)).toEqual([]);
    return 2;
  };

  it("is opened after 1.5 s of silence, of which half a second or more after a ping", () => {
    connect(0);
    core.tick(0);
    core.received(1, pong, 0);
    core.takeOutgoing();
    core.suspect(0.5);
    core.suspect(0.6);
    expect(sent().map((one) => one.type)).toEqual(["ping"]);
    expect(core.tick(1.5)).toEqual([]);
    expect(core.tick(1.6)).toEqual([{ do: "connect", socket: 2 }]);
  });

  it("is opened for a ping that waits 1.5 to 3 s when nothing else speaks against the connection", () => {
    connect(0);
    for (const now of [0, 0.5, 1, 1.5, 2]) expect(core.tick(now)).toEqual([]);
    expect(core.tick(2.25)).toEqual([]);
    expect(core.tick(2.5)).toEqual([{ do: "connect", socket: 2 }]);
  });

  it("takes over when it answers; what was not answered is sent again there", () => {
    const rival = doubted();
    const a = core.command("unit.rename", { unit: "u1", name: "甲" }, "resend");
    const b = core.command("media.offer", {}, "now");
    core.opened(rival, 4.1);
    expect(core.takeOutgoing().map((one) => [one.socket, JSON.parse(one.text).type])).toEqual([
      [1, "unit.rename"],
      [1, "media.offer"],
      [2, "hello"],
    ]);
    expect(core.phase).toBe("ready");
    const actions = core.received(rival, hello({ resumed: true }), 4.2);
    expect(actions[0]).toEqual({ do: "drop", socket: 1 });
    expect(actions[1]).toMatchObject({ do: "answer", id: b, error: { code: "offline" } });
    expect(actions[2]).toMatchObject({ do: "deliver", message: { type: "hello" } });
    expect(core.takeOutgoing().map((one) => [one.socket, JSON.parse(one.text).id])).toEqual([[2, a]]);
    expect(core.phase).toBe("ready");
    expect(core.main).toBe(2);
    expect(core.received(1, pong, 4.3)).toEqual([]);
    expect(core.closed(1, 4.4)).toEqual([]);
    expect(core.phase).toBe("ready");
  });

  it("is given up when the main one answers before it said hello", () => {
    const rival = doubted();
    expect(core.received(1, pong, 4.1).slice(0, 1)).toEqual([{ do: "drop", socket: rival }]);
    core.opened(rival, 4.2);
    expect(core.takeOutgoing()).toEqual([]);
    expect(core.main).toBe(1);
  });

  it("keeps its claim once it said hello, and our id, though the server calls the main one replaced", () => {
    const rival = doubted();
    core.opened(rival, 4.1);
    expect(core.received(1, pong, 4.2)).toMatchObject([{ do: "deliver" }]);
    expect(core.received(1, text({ type: "goodbye", reason: "replaced" }), 4.3)).toEqual([
      { do: "drop", socket: 1 },
    ]);
    expect(core.phase).toBe("greeting");
    core.received(rival, hello({ resumed: true }), 4.4);
    expect(core.phase).toBe("ready");
    core.closed(rival, 5);
    core.tick(20);
    core.takeOutgoing();
    core.opened(core.main, 20);
    expect(sent()[0]).toMatchObject({ client: "c-1" });
  });

  it("goes on alone when the main one closes", () => {
    const rival = doubted();
    expect(core.closed(1, 4.2)).toEqual([]);
    expect(core.phase).toBe("connecting");
    core.opened(rival, 4.3);
    core.received(rival, hello(), 4.4);
    expect(core.phase).toBe("ready");
  });

  it("that is refused leaves the main one alone", () => {
    const rival = doubted();
    core.opened(rival, 4.1);
    expect(core.received(rival, text({ type: "goodbye", reason: "too_many" }), 4.2)).toEqual([
      { do: "drop", socket: rival },
    ]);
    expect(core.phase).toBe("ready");
    expect(core.main).toBe(1);
  });

  it("that hears that the log-in is over ends both", () => {
    const rival = doubted();
    core.opened(rival, 4.1);
    const actions = core.received(rival, text({ type: "goodbye", reason: "revoked" }), 4.2);
    expect(actions.filter((one) => one.do === "drop").map((one) => one.socket)).toEqual([1, 2]);
    expect(actions.at(-1)).toEqual({ do: "end", reason: "revoked" });
  });

  it("is followed by the next only after a wait that doubles, however often the connection is doubted", () => {
    random = 0.999999;
    connect(0);
    const opened: number[] = [];
    for (let now = 0; now < 60; now += 0.1) {
      if (now % 4 < 0.1) core.received(1, pong, now); // alive, but slow
      core.suspect(now);
      for (const one of core.tick(now)) {
        if (one.do !== "connect") continue;
        opened.push(now);
        core.closed(one.socket, now); // refused at once
      }
    }
    expect(opened.length).toBeLessThan(16);
  });
});

describe("commands", () => {
  it("sends again what was not answered, in order, with the same ids, and not what was", () => {
    connect(0);
    core.takeOutgoing();
    const a = core.command("unit.rename", { unit: "u1", name: "甲" }, "resend");
    const b = core.command("unit.rename", { unit: "u2", name: "乙" }, "resend");
    expect(sent().map((one) => one.id)).toEqual([a, b]);
    expect(
      core.received(core.main, text({ type: "reply", id: a, ok: true, result: 5, error: null }), 1),
    ).toEqual([{ do: "answer", id: a, result: 5, error: null }]);
    core.closed(core.main, 2);
    const c = core.command("unit.rename", { unit: "u3", name: "丙" }, "resend");
    connect(20, { resumed: true });
    expect(
      sent()
        .filter((one) => one.type === "unit.rename")
        .map((one) => one.id),
    ).toEqual([b, c]);
  });

  it("does not repeat a command whose outcome a restarted server has forgotten", () => {
    connect(0);
    const created = core.command("link.create", { name: "甲" }, "once");
    core.closed(core.main, 1);
    const later = core.command("link.create", { name: "乙" }, "once");
    const actions = connect(20, { resumed: false });
    expect(actions.slice(1)).toEqual([
      {
        do: "answer",
        id: created,
        result: null,
        error: { code: "unknown_outcome", message: "", field: "", retryAfter: 0 },
      },
    ]);
    expect(
      sent()
        .filter((one) => one.type === "link.create")
        .map((one) => one.id),
    ).toEqual([later]);
  });

  it("repeats it when the server resumes, since then it does nothing twice", () => {
    connect(0);
    const created = core.command("link.create", { name: "甲" }, "once");
    core.closed(core.main, 1);
    connect(20, { resumed: true });
    expect(
      sent()
        .filter((one) => one.type === "link.create")
        .map((one) => one.id),
    ).toEqual([created]);
  });

  it("fails at a break what is worthless later", () => {
    expect(core.command("media.offer", {}, "now")).toBeNull();
    connect(0);
    const offer = core.command("media.offer", { sdp: "v=0" }, "now");
    expect(core.closed(core.main, 1)).toEqual([
      {
        do: "answer",
        id: offer,
        result: null,
        error: { code: "offline", message: "", field: "", retryAfter: 0 },
      },
    ]);
    connect(20);
    expect(sent().filter((one) => one.type === "media.offer")).toEqual([]);
  });

  it("holds at most 64", () => {
    for (let i = 0; i < 64; i += 1) expect(core.command("unit.rename", {}, "resend")).not.toBeNull();
    expect(core.command("unit.rename", {}, "resend")).toBeNull();
    expect(core.unanswered).toBe(64);
  });

  it("answers each only once", () => {
    connect(0);
    const id = core.command("unit.rename", {}, "resend");
    const reply = text({
      type: "reply",
      id,
      ok: false,
      result: null,
      error: { code: "forbidden", message: "no", field: "", retryAfter: 0 },
    });
    expect(core.received(core.main, reply, 1)).toEqual([
      {
        do: "answer",
        id,
        result: null,
        error: { code: "forbidden", message: "no", field: "", retryAfter: 0 },
      },
    ]);
    expect(core.received(core.main, reply, 1)).toEqual([]);
  });
});

it("says on a connection what has no answer, and forgets it where there is none", () => {
  expect(core.tell("floor.alive")).toBe(false);
  connect(0);
  core.takeOutgoing();
  expect(core.tell("floor.alive")).toBe(true);
  expect(sent()).toEqual([{ type: "floor.alive" }]);
});

it("counts what it does not understand and goes on", () => {
  connect(0);
  expect(core.received(core.main, "{", 1)).toEqual([]);
  expect(core.received(core.main, text({ type: "weather" }), 1)).toEqual([]);
  expect(core.unknownMessages).toBe(2);
  expect(core.phase).toBe("ready");
});

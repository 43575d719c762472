import { describe, expect, it } from "vitest";
import type { Snapshot, Stream, Unit } from "./messages.ts";
import { applyDelta, applySnapshot, EMPTY, rowsOf, streamOfNumber } from "./store.ts";

const unit = (id: string, number: number, name: string): Unit => ({
  id,
  name,
  number,
  kind: "rescuer",
  position: null,
});
const stream = (id: string, unitId: string, over: Partial<Stream> = {}): Stream => ({
  id,
  device: `d-${unitId}`,
  unit: unitId,
  channel: "main",
  name: "主通道",
  state: "offline",
  since: 0,
  via: "",
  layers: [],
  audio: "",
  audioLive: false,
  viewers: 0,
  steps: [],
  cause: "never_connected",
  detail: "",
  remote: "",
  tcp: false,
  ...over,
});
const snapshot: Snapshot = {
  type: "snapshot",
  rev: 10,
  units: [unit("b", 12, "无人机二号"), unit("a", 3, "单兵三号")],
  devices: [],
  streams: [
    stream("s2", "b", { name: "热成像", channel: "thermal" }),
    stream("s1", "b", { name: "变焦", state: "live" }),
  ],
  links: [],
  health: [],
  groups: [],
  floors: [],
  patches: [],
  calls: [],
  callbacks: [],
  alarms: [],
  holds: [],
};

describe("state", () => {
  it("a snapshot replaces everything", () => {
    const world = applySnapshot(snapshot);
    expect([...world.unit.keys()]).toEqual(["b", "a"]);
    expect(applySnapshot({ ...snapshot, units: [], rev: 11 }).unit.size).toBe(0);
  });

  it("a delta puts whole entities, takes away gone ones and leaves other tables as they are", () => {
    const world = applySnapshot(snapshot);
    const next = applyDelta(world, {
      type: "delta",
      rev: 11,
      changes: [
        { kind: "unit", id: "a", value: unit("a", 3, "单兵三号（换人）") },
        { kind: "unit", id: "b", value: null },
        { kind: "unit", id: "c", value: unit("c", 4, "指挥车") },
      ],
    });
    expect([...next.unit.values()].map((one) => one.name)).toEqual(["单兵三号（换人）", "指挥车"]);
    expect(next.stream).toBe(world.stream);
    expect(world.unit.size).toBe(2);
    expect(next.rev).toBe(11);
  });

  it("a delta that was seen already changes nothing", () => {
    const world = applySnapshot(snapshot);
    expect(
      applyDelta(world, { type: "delta", rev: 10, changes: [{ kind: "unit", id: "a", value: null }] }),
    ).toBe(world);
  });

  it("a kind of a newer server is passed over", () => {
    const change = { kind: "rev", id: "x", value: null } as never;
    expect(applyDelta(EMPTY, { type: "delta", rev: 1, changes: [change] })).toEqual({ ...EMPTY, rev: 1 });
  });
});

describe("list", () => {
  const world = applySnapshot(snapshot);
  it("goes by number, streams by name", () => {
    expect(rowsOf(world, "").map((row) => [row.unit.number, row.streams.map((one) => one.id)])).toEqual([
      [3, []],
      [12, ["s1", "s2"]],
    ]);
  });
  it.each([
    ["12", ["b"]],
    ["1", ["b"]],
    [" 单兵 ", ["a"]],
    ["THERMAL", ["b"]],
    ["热成", ["b"]],
    ["潜水", []],
  ])("finds %j", (search, units) => {
    expect(rowsOf(world, search).map((row) => row.unit.id)).toEqual(units);
  });
  it("leaves out what a revoked device sent", () => {
    const device = {
      id: "d-b",
      unit: "b",
      name: "",
      kind: "agent",
      online: false,
      lastSeen: null,
      battery: null,
      charging: null,
      network: "",
      revoked: true,
    };
    const rows = rowsOf(applySnapshot({ ...snapshot, devices: [device] }), "");
    expect(rows.map((row) => [row.unit.id, row.streams.length, row.devices.length])).toEqual([
      ["a", 0, 0],
      ["b", 0, 0],
    ]);
  });
  it("a number means the unit's live stream", () => {
    expect(streamOfNumber(world, 12)?.id).toBe("s1");
    expect(streamOfNumber(world, 3)).toBeUndefined();
    expect(streamOfNumber(world, 99)).toBeUndefined();
  });
});

/** What the server has said, as tables by id: pure, each step gives a new state and keeps the tables it did not touch. */
import type { Change, Delta, Device, Entities, Kind, Snapshot, Stream, Unit } from "./messages.ts";

type Tables = { readonly [K in Kind]: ReadonlyMap<string, Entities[K]> };

export interface World extends Tables {
  rev: number;
}

export const EMPTY: World = {
  rev: 0,
  unit: new Map(),
  device: new Map(),
  stream: new Map(),
  link: new Map(),
  health: new Map(),
  group: new Map(),
  floor: new Map(),
  patch: new Map(),
  call: new Map(),
  callback: new Map(),
  alarm: new Map(),
  hold: new Map(),
};

const byId = <T extends { id: string }>(rows: readonly T[] | undefined): Map<string, T> =>
  new Map((rows ?? []).map((row) => [row.id, row]));

export function applySnapshot(snapshot: Snapshot): World {
  return {
    rev: snapshot.rev,
    unit: byId(snapshot.units),
    device: byId(snapshot.devices),
    stream: byId(snapshot.streams),
    link: byId(snapshot.links),
    health: byId(snapshot.health),
    group: byId(snapshot.groups),
    floor: byId(snapshot.floors),
    patch: byId(snapshot.patches),
    call: byId(snapshot.calls),
    callback: byId(snapshot.callbacks),
    alarm: byId(snapshot.alarms),
    hold: byId(snapshot.holds),
  };
}

/** A delta at or below the state's revision was seen already and changes nothing. */
export function applyDelta(world: World, delta: Delta): World {
  if (delta.rev <= world.rev) return world;
  const touched = new Map<Kind, Map<string, unknown>>();
  for (const change of delta.changes) {
    if (!isKind(change)) continue;
    let table = touched.get(change.kind);
    if (!table) {
      table = new Map<string, unknown>(world[change.kind]);
      touched.set(change.kind, table);
    }
    if (change.value === null) table.delete(change.id);
    else table.set(change.id, change.value);
  }
  return { ...world, ...Object.fromEntries(touched), rev: delta.rev };
}

function isKind(change: Change): boolean {
  return change.kind in EMPTY && (change.kind as string) !== "rev";
}

/** One line of the list on the wall: a unit, and what it can show. */
export interface Row {
  unit: Unit;
  streams: Stream[];
  devices: Device[];
}

/** Units by number, with their streams by name, without revoked devices; of those only what fits the search. */
export function rowsOf(world: World, search: string): Row[] {
  const rows = new Map<string, Row>();
  for (const unit of world.unit.values()) rows.set(unit.id, { unit, streams: [], devices: [] });
  for (const stream of world.stream.values()) {
    if (!world.device.get(stream.device)?.revoked) rows.get(stream.unit)?.streams.push(stream);
  }
  for (const device of world.device.values()) {
    if (!device.revoked) rows.get(device.unit)?.devices.push(device);
  }
  const wanted = search.trim().toLowerCase();
  const found = [...rows.values()].filter((row) => wanted === "" || fits(row, wanted));
  for (const row of found) row.streams.sort((a, b) => compare(a.name, b.name));
  return found.sort((a, b) => a.unit.number - b.unit.number || compare(a.unit.name, b.unit.name));
}

function fits(row: Row, wanted: string): boolean {
  return (
    String(row.unit.number).startsWith(wanted) ||
    row.unit.name.toLowerCase().includes(wanted) ||
    row.streams.some((stream) => `${stream.name} ${stream.channel}`.toLowerCase().includes(wanted))
  );
}

const compare = new Intl.Collator("zh-CN", { numeric: true }).compare;

/** The stream of a unit that a short number means: one that is live, else the first. */
export function streamOfNumber(world: World, number: number): Stream | undefined {
  const row = rowsOf(world, "").find((one) => one.unit.number === number);
  return row?.streams.find((stream) => stream.state === "live") ?? row?.streams[0];
}

/** Which groups are listened to and which the key talks in: what is kept, and what the server is told. Pure. */
import type { Group } from "../messages.ts";

/** What the server takes (server/signalling/talk.py). */
export const MAX_TUNED = 64;
export const MAX_SELECTED = 16;

export interface Tuning {
  /** In the order in which they were chosen; the first is the focused one. */
  selected: readonly string[];
  /** Groups that are not listened to; of all others one is told. */
  left: readonly string[];
}

/** Kinds that one tunes to by hand; the server sees to all-call and private groups itself. */
const BY_HAND = new Set(["static", "dynamic", "temporary", "broadcast"]);

export function choosable(groups: Iterable<Group>): Group[] {
  return [...groups]
    .filter((group) => BY_HAND.has(group.kind))
    .sort((a, b) => a.number - b.number || a.name.localeCompare(b.name, "zh-CN", { numeric: true }));
}

/** What `group.tune` says: the selected first, then emergencies, then the others by number. */
export function tune(tuning: Tuning, groups: Iterable<Group>): { listening: string[]; selected: string[] } {
  const known = choosable(groups);
  const ids = new Set(known.map((group) => group.id));
  const selected = tuning.selected.filter((id) => ids.has(id)).slice(0, MAX_SELECTED);
  const others = known.filter((group) => !selected.includes(group.id) && !tuning.left.includes(group.id));
  const urgent = others.filter((group) => group.emergency);
  const rest = others.filter((group) => !group.emergency);
  const listening = [...selected, ...[...urgent, ...rest].map((group) => group.id)].slice(0, MAX_TUNED);
  return { listening, selected };
}

/** Only this one, or none when it was the only one. */
export function select(tuning: Tuning, group: string): Tuning {
  const alone = tuning.selected.length === 1 && tuning.selected[0] === group;
  return listen({ ...tuning, selected: alone ? [] : [group] }, group, true);
}

/** To the selected ones, or out of them. */
export function toggle(tuning: Tuning, group: string): Tuning {
  if (tuning.selected.includes(group)) {
    return { ...tuning, selected: tuning.selected.filter((one) => one !== group) };
  }
  if (tuning.selected.length >= MAX_SELECTED) return tuning;
  return listen({ ...tuning, selected: [...tuning.selected, group] }, group, true);
}

/** Whoever talks in a group listens to it. */
export function listen(tuning: Tuning, group: string, on: boolean): Tuning {
  const left = tuning.left.filter((one) => one !== group);
  if (on) return left.length === tuning.left.length ? tuning : { ...tuning, left };
  return { selected: tuning.selected.filter((one) => one !== group), left: [...left, group] };
}

export function tuningFrom(kept: unknown): Tuning {
  const { selected, left } = (kept ?? {}) as Partial<Record<keyof Tuning, unknown>>;
  const ids = (value: unknown): string[] =>
    Array.isArray(value) ? value.filter((one) => typeof one === "string") : [];
  return { selected: ids(selected).slice(0, MAX_SELECTED), left: ids(left) };
}

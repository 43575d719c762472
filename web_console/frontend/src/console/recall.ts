/** Which recorded transmission instant recall plays. Pure. */
import type { Spurt } from "../messages.ts";

/** So long after the last one ended a second press of the key means the one before it. */
export const FURTHER_WITHIN = 12; // s

export interface Recalled {
  spurt: string;
  /** When its playing ended, or Infinity while it plays (page clock, s). */
  ended: number;
}

/** `spurts`: newest first. The newest that can be played of the groups, or the one before the last recalled. */
export function recall(
  spurts: readonly Spurt[],
  groups: readonly string[],
  last: Recalled | null,
  now: number,
): Spurt | null {
  const playable = spurts.filter(
    (one) => canPlay(one) && (groups.length === 0 || one.groups.some((group) => groups.includes(group))),
  );
  const at =
    last && now - last.ended <= FURTHER_WITHIN ? playable.findIndex((one) => one.id === last.spurt) : -1;
  return playable[at + 1] ?? null;
}

export function canPlay(spurt: Spurt): boolean {
  return spurt.state === "ready" || spurt.state === "cut";
}

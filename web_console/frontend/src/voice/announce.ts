/** Which tones a change of the world asks for: what an officer must hear without looking. Pure. */
import type { World } from "../store.ts";
import type { ToneName } from "./tones.ts";

interface Announced {
  /** Sounded once. */
  once: ToneName[];
  /** An alarm that nobody has acknowledged sounds on. */
  alarm: boolean;
}

/** `selected`: groups whose floor's end is told. */
export function announce(before: World, after: World, selected: readonly string[]): Announced {
  const once: ToneName[] = [];
  if (before.callback !== after.callback) {
    const fresh = [...after.callback.values()].some(
      (one) =>
        one.done === null && one.takenBy === "" && one.times > (before.callback.get(one.id)?.times ?? 0),
    );
    if (fresh && before.rev > 0) once.push("callback");
  }
  if (before.floor !== after.floor && selected.some((group) => becameFree(before, after, group))) {
    once.push("free");
  }
  return { once, alarm: [...after.alarm.values()].some((alarm) => alarm.state === "new") };
}

function becameFree(before: World, after: World, group: string): boolean {
  const was = before.floor.get(group)?.state;
  const is = after.floor.get(group)?.state;
  return (was === "taken" || was === "tail") && (is === "idle" || is === "hang");
}

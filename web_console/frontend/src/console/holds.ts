/** Holds of evidence that were made or ended on any console, as the lists of recordings that are open show them. */
import type { Hold, Spurt } from "../messages.ts";

/** The same list when nothing in it is different. */
export function withHolds(spurts: readonly Spurt[], holds: ReadonlyMap<string, Hold>): readonly Spurt[] {
  let different = false;
  const shown = spurts.map((spurt) => {
    const hold = holds.get(spurt.id);
    if (
      !hold ||
      (hold.hold === spurt.hold && hold.heldBy === spurt.heldBy && hold.heldWhy === spurt.heldWhy)
    ) {
      return spurt;
    }
    different = true;
    return { ...spurt, hold: hold.hold, heldBy: hold.heldBy, heldWhy: hold.heldWhy };
  });
  return different ? shown : spurts;
}

/** What a group's card says: one table from what the server tells and what the own key does. Pure. */
import type { Alarm, Floor, Group } from "../messages.ts";
import type { GroupPress } from "./press.ts";

export interface CardFacts {
  group: Group;
  floor: Floor | undefined;
  /** The own key in this group. */
  own: GroupPress | undefined;
  /** We have this floor, in this group or in another one of the same patch. */
  mine: boolean;
  selected: boolean;
  selectedCount: number;
  listening: boolean;
  /** Muted on this desk: until when, null = until ended, undefined = not. */
  muted: number | null | undefined;
  /** Its open alarms, oldest first. */
  alarms: readonly Alarm[];
  /** Since when the server is lost (its clock), null = it is not. */
  lostSince: number | null;
}

export type Activity =
  | { kind: "lost"; since: number }
  | { kind: "transmitting"; left: number | null; warned: boolean }
  | { kind: "requesting" }
  | { kind: "queued"; position: number; size: number }
  | { kind: "refused"; cause: string; talker: string }
  | {
      kind: "receiving";
      talker: string;
      urgency: string;
      collision: boolean;
      ending: boolean;
      seconds: number;
    }
  | { kind: "hang"; share: number; left: number }
  | { kind: "blocked"; cause: string }
  | { kind: "idle" };

export interface Card {
  selection: "none" | "selected" | "multi";
  activity: Activity;
  /** "P1" to "P9", "" = not patched. */
  patch: string;
  /** Out of its patch until then, null = it is not. */
  patchMuted: number | null;
  muted: boolean;
  listening: boolean;
  /** "" = none; acknowledged with its `owner`. */
  emergency: "" | "new" | "acknowledged";
  owner: string;
}

/** `time`: the server's clock; `now`: the page's, in which `own.until` is. */
export function cardOf(facts: CardFacts, time: number, now: number): Card {
  const { group, selected, selectedCount, alarms } = facts;
  const unowned = alarms.some((alarm) => alarm.state === "new");
  return {
    selection: selected ? (selectedCount > 1 ? "multi" : "selected") : "none",
    activity: activityOf(facts, time, now),
    patch: group.patch,
    patchMuted: group.patch && group.muted !== null && time < group.muted ? group.muted : null,
    muted: !selected && facts.muted !== undefined && (facts.muted === null || time < facts.muted),
    listening: selected || facts.listening,
    emergency: unowned ? "new" : alarms.length > 0 || group.emergency ? "acknowledged" : "",
    owner: alarms.find((alarm) => alarm.owner)?.owner ?? "",
  };
}

/** The first that holds: what is not known, what the own key does, what the floor does. */
function activityOf({ floor, own, mine, lostSince }: CardFacts, time: number, now: number): Activity {
  if (lostSince !== null) return { kind: "lost", since: lostSince };
  switch (own?.state) {
    case "granted":
      return {
        kind: "transmitting",
        left: own.until === null ? null : Math.max(0, Math.ceil(own.until - now)),
        warned: own.warned,
      };
    case "requesting":
      return { kind: "requesting" };
    case "queued":
      return { kind: "queued", position: own.position, size: own.size };
    case "denied":
    case "revoked":
      return { kind: "refused", cause: own.cause, talker: (own.talker ?? floor?.talker)?.name ?? "" };
  }
  if (floor?.state === "taken" || floor?.state === "tail") {
    if (mine) return { kind: "transmitting", left: null, warned: false };
    return {
      kind: "receiving",
      talker: floor.talker?.name ?? "",
      urgency: floor.urgency,
      collision: floor.collision,
      ending: floor.state === "tail",
      seconds: Math.max(0, Math.floor(time - floor.since)),
    };
  }
  if (floor?.state === "hang" && floor.until !== null && floor.until > time) {
    const left = floor.until - time;
    return { kind: "hang", left, share: Math.min(1, left / Math.max(0.1, floor.until - floor.since)) };
  }
  return floor?.blocked ? { kind: "blocked", cause: floor.blocked } : { kind: "idle" };
}

/** Alarms that somebody must still do something about: new ones first, then the oldest first. */
export function openAlarms(alarms: Iterable<Alarm>): Alarm[] {
  const place = (alarm: Alarm): number => ["new", "acknowledged", "parked"].indexOf(alarm.state);
  return [...alarms]
    .filter((alarm) => place(alarm) >= 0)
    .sort((a, b) => place(a) - place(b) || a.pressed - b.pressed);
}

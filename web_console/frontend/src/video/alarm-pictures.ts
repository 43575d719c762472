/** Which alarms have their camera's picture on their card, and in which of the slots kept for that. Pure. */
import type { Alarm, Stream } from "../messages.ts";

/** Their slots come after those of the wall. */
export const ALARM_SLOTS = 3;

export interface AlarmPicture {
  alarm: string;
  stream: string;
  /** From 0; it stays the alarm's, so that no picture is torn when the queue is in another order. */
  slot: number;
}

/** The first alarms of the queue whose camera sends, or did a moment ago. */
export function alarmPictures(
  alarms: readonly Alarm[],
  streams: ReadonlyMap<string, Stream>,
  before: readonly AlarmPicture[],
): readonly AlarmPicture[] {
  const shown = alarms.filter((one) => sends(streams.get(one.stream))).slice(0, ALARM_SLOTS);
  const kept = before.filter((one) =>
    shown.some((alarm) => alarm.id === one.alarm && alarm.stream === one.stream),
  );
  const free = Array.from({ length: ALARM_SLOTS }, (_, slot) => slot).filter(
    (slot) => !kept.some((one) => one.slot === slot),
  );
  const added = shown
    .filter((alarm) => !kept.some((one) => one.alarm === alarm.id))
    .map((alarm, at) => ({ alarm: alarm.id, stream: alarm.stream, slot: free[at] ?? 0 }));
  return added.length || kept.length !== before.length ? [...kept, ...added] : before;
}

const sends = (stream: Stream | undefined): boolean =>
  stream?.state === "live" || stream?.state === "stalled";

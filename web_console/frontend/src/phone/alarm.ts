/** Which of the server's alarms are this phone's. Pure. */
import type { Alarm } from "../messages.ts";

const EARLIER = 3; // s that the clocks may be apart
const CLOSED_SHOWN = 600; // s

function mine(alarms: Iterable<Alarm>, unit: string): Alarm[] {
  return [...alarms].filter((alarm) => unit !== "" && alarm.unit === unit);
}

/** The one that a press at this time (s since 1970) has raised, or counted up. */
export function alarmOfPress(alarms: Iterable<Alarm>, unit: string, at: number): Alarm | undefined {
  return mine(alarms, unit).find(
    (alarm) =>
      alarm.raised >= at - EARLIER ||
      alarm.history.some((line) => line.act === "again" && line.at >= at - EARLIER),
  );
}

/** The newest that is open, else one that was closed a while ago; `dismissed` has been seen. `time`: s since 1970. */
export function shownAlarm(
  alarms: Iterable<Alarm>,
  unit: string,
  dismissed: string,
  time: number,
): Alarm | null {
  const newest = mine(alarms, unit).sort((a, b) => b.raised - a.raised);
  const open = newest.find((alarm) => alarm.state !== "closed");
  if (open) return open;
  const closed = newest[0];
  if (!closed || closed.id === dismissed) return null;
  const ended = closed.history.at(-1)?.at ?? closed.raised;
  return time - ended < CLOSED_SHOWN ? closed : null;
}

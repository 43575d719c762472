/** An alarm that was on its way for long: both its times are told. Pure. */
import type { Alarm } from "../messages.ts";

const LATE = 5; // s

export const isLate = (alarm: Pick<Alarm, "pressed" | "raised">): boolean =>
  alarm.raised - alarm.pressed >= LATE;

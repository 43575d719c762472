/**
 * The phone's positions on their way to the server: pure. Each has a key by which the server counts it once, so what
 * was not answered may be sent again. Kept: at most `CAPACITY`; when there are more, every second of the older half goes,
 * so that a long time without network leaves a coarser track and not a missing one.
 */
import type { ReportedPosition } from "../messages.ts";

const CAPACITY = 500;
const BATCH = 100;
const MOVED = 10; // m
const AT_LEAST_EVERY = 15; // s
const AT_MOST_EVERY = 3; // s

/** What the browser says: WGS 84 degrees, m, m/s; `time` s since 1970 UTC. */
export interface Fix {
  lat: number;
  lon: number;
  time: number;
  accuracy: number | null;
  altitude: number | null;
  heading: number | null;
  speed: number | null;
}

/** Whether a fix says something new after the last one that was kept. */
export function worthKeeping(fix: Fix, last: Fix | null): boolean {
  if (!last) return true;
  const elapsed = fix.time - last.time;
  if (elapsed < AT_MOST_EVERY) return false;
  return elapsed >= AT_LEAST_EVERY || distance(fix, last) >= Math.max(MOVED, fix.accuracy ?? 0);
}

/** m on the sphere; good to 0.5 %. */
export function distance(a: { lat: number; lon: number }, b: { lat: number; lon: number }): number {
  const radians = Math.PI / 180;
  const x = (b.lon - a.lon) * radians * Math.cos(((a.lat + b.lat) / 2) * radians);
  const y = (b.lat - a.lat) * radians;
  return 6_371_000 * Math.hypot(x, y);
}

export function add(queue: readonly ReportedPosition[], fix: Fix, key: string): ReportedPosition[] {
  const longer = [...queue, { key, ...fix }];
  if (longer.length <= CAPACITY) return longer;
  const half = CAPACITY / 2;
  return longer.filter((_, i) => i >= half || i % 2 === 1);
}

/** The next to send, oldest first. */
export function batch(queue: readonly ReportedPosition[]): ReportedPosition[] {
  return queue.slice(0, BATCH);
}

/** What is left when the server has answered for `sent`. */
export function without(
  queue: readonly ReportedPosition[],
  sent: readonly ReportedPosition[],
): ReportedPosition[] {
  const keys = new Set(sent.map((one) => one.key));
  return queue.filter((one) => !keys.has(one.key));
}

/** A queue as it was kept; what is not one is dropped. */
export function queueFrom(kept: unknown): ReportedPosition[] {
  if (!Array.isArray(kept)) return [];
  return kept
    .filter(
      (one: Partial<ReportedPosition> | null): one is ReportedPosition =>
        typeof one?.key === "string" &&
        typeof one.lat === "number" &&
        typeof one.lon === "number" &&
        typeof one.time === "number",
    )
    .slice(-CAPACITY);
}

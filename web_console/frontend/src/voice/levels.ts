/** How loud what is heard is, and where: volumes, mutes and meters as numbers. Pure. */

export type BusName = "selected" | "unselected";

export interface Volumes {
  selected: number;
  unselected: number;
  /** By group, 1 where nothing was set. */
  groups: Readonly<Record<string, number>>;
  /** Groups that are muted: until when (s since 1970), null = until somebody ends it. */
  muted: Readonly<Record<string, number | null>>;
}

export const DEFAULT_VOLUMES: Volumes = { selected: 1, unselected: 0.5, groups: {}, muted: {} };

/** Where a group's sound goes and how loud. What speaks for itself (a private call, the all-call) is never muted. */
export function route(
  volumes: Volumes,
  group: string,
  selected: boolean,
  time: number,
): { bus: BusName; gain: number } {
  const gain = volumes.groups[group] ?? 1;
  if (selected) return { bus: "selected", gain };
  return { bus: "unselected", gain: isMuted(volumes, group, time) ? 0 : gain };
}

export function isMuted(volumes: Volumes, group: string, time: number): boolean {
  if (!(group in volumes.muted)) return false;
  const until = volumes.muted[group];
  return until === null || (until !== undefined && time < until);
}

/** `until` as in `Volumes.muted`, undefined = no longer. */
export function mute(volumes: Volumes, group: string, until: number | null | undefined): Volumes {
  const muted = { ...volumes.muted };
  if (until === undefined) delete muted[group];
  else muted[group] = until;
  return { ...volumes, muted };
}

/** Without mutes whose time is over; the same object when there are none. */
export function withoutOver(volumes: Volumes, time: number): Volumes {
  const over = Object.entries(volumes.muted).some(([, until]) => until !== null && time >= until);
  if (!over) return volumes;
  const muted = Object.entries(volumes.muted).filter(([, until]) => until === null || time < until);
  return { ...volumes, muted: Object.fromEntries(muted) };
}

export function setVolume(volumes: Volumes, group: string, volume: number): Volumes {
  return { ...volumes, groups: { ...volumes.groups, [group]: clamp(volume) } };
}

const clamp = (value: number): number => Math.max(0, Math.min(1, value));

/** Volumes as they were kept; what cannot be read is as by default. */
export function volumesFrom(kept: unknown): Volumes {
  const { selected, unselected, groups, muted } = (kept ?? {}) as Partial<Record<keyof Volumes, unknown>>;
  const number = (value: unknown, otherwise: number): number =>
    typeof value === "number" && Number.isFinite(value) ? clamp(value) : otherwise;
  const entries = (value: unknown): [string, unknown][] =>
    typeof value === "object" && value !== null ? Object.entries(value) : [];
  return {
    selected: number(selected, DEFAULT_VOLUMES.selected),
    unselected: number(unselected, DEFAULT_VOLUMES.unselected),
    groups: Object.fromEntries(entries(groups).map(([group, value]) => [group, number(value, 1)])),
    muted: Object.fromEntries(
      entries(muted).filter(
        (one): one is [string, number | null] => one[1] === null || typeof one[1] === "number",
      ),
    ),
  };
}

const SILENT_DB = -60;

/** A meter's reading, 0 to 1, of samples of −1 to 1: in decibels, as ears hear. */
export function levelOf(samples: Float32Array): number {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  const rms = Math.sqrt(sum / Math.max(1, samples.length));
  if (rms === 0) return 0;
  return clamp(1 - (20 * Math.log10(rms)) / SILENT_DB);
}

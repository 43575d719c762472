/** Icons of lucide that the pages use; the build puts exactly these into the sprite. */
export const ICONS = [
  "circle-alert",
  "circle-check",
  "eye",
  "eye-off",
  "languages",
  "loader-circle",
] as const;

export type IconName = (typeof ICONS)[number];

import { t } from "../strings/common.ts";

const LEVELS = {
  province: "level_province",
  city: "level_city",
  county: "level_county",
  township: "level_township",
  vehicle: "level_vehicle",
} as const;

/** The level of command in words; "" for one that this page does not know. */
export function levelName(level: string): string {
  return level in LEVELS ? t(LEVELS[level as keyof typeof LEVELS]) : "";
}

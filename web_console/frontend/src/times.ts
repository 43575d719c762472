/** Times as people read them: 24 h, Asia/Shanghai. Arguments are s since 1970 UTC. */
import { language } from "./language.ts";

const ZONE = "Asia/Shanghai";

const parts = new Intl.DateTimeFormat("en-CA", {
  timeZone: ZONE,
  year: "numeric",
  month: "2-digit",
  day: "2-digit",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});

function fields(time: number): Record<string, string> {
  return Object.fromEntries(parts.formatToParts(time * 1000).map((part) => [part.type, part.value]));
}

/** 2026-11-23 21:17:54 */
export function dateTime(time: number): string {
  const f = fields(time);
  return `${f.year}-${f.month}-${f.day} ${f.hour}:${f.minute}:${f.second}`;
}

/** 21:17:54 */
export function clockTime(time: number): string {
  return dateTime(time).slice(11);
}

/** 11-23 21:17 */
export function shortTime(time: number): string {
  return dateTime(time).slice(5, 16);
}

/** 2026-11-23 */
export function date(time: number): string {
  return dateTime(time).slice(0, 10);
}

/** "5 分钟", "5 min": a length of time in its largest unit. */
export function duration(seconds: number): string {
  const s = Math.max(0, Math.floor(seconds));
  const zh = language.value !== "en";
  if (s < 60) return zh ? `${s} 秒` : `${s} s`;
  if (s < 3600) return zh ? `${Math.floor(s / 60)} 分钟` : `${Math.floor(s / 60)} min`;
  if (s < 86400) return zh ? `${Math.floor(s / 3600)} 小时` : `${Math.floor(s / 3600)} h`;
  return zh ? `${Math.floor(s / 86400)} 天` : `${Math.floor(s / 86400)} d`;
}

/** 1.2 Mbit/s, 340 kbit/s */
export function rate(bitsPerSecond: number): string {
  return bitsPerSecond >= 1e6
    ? `${(bitsPerSecond / 1e6).toFixed(1)} Mbit/s`
    : `${Math.round(bitsPerSecond / 1000)} kbit/s`;
}

/** What is true of this phone now: link, uplink, battery, place, what waits to be sent. */
import { beat, now } from "../clock.ts";
import { Icon } from "../icon.tsx";
import type { IconName } from "../icon-names.ts";
import { t } from "../strings/phone.ts";
import { rate } from "../times.ts";
import type { PhoneModel } from "./model.ts";

interface ChipWords {
  text: string;
  tone: "good" | "weak" | "bad" | "none";
}

function linkWords(model: PhoneModel): ChipWords {
  const status = model.link.status.value;
  if (status.phase === "ready") {
    const weak = model.publisher.wanted.value && model.publisher.uplink.value?.limited === "bandwidth";
    return weak ? { text: t("link_weak"), tone: "weak" } : { text: t("link_good"), tone: "good" };
  }
  if (!status.everReady) return { text: t("link_connecting"), tone: "none" };
  return { text: t("link_lost", { n: Math.max(0, Math.floor(now() - status.heard)) }), tone: "bad" };
}

function gpsWords(model: PhoneModel): ChipWords {
  const fix = model.locator.fix.value;
  if (!model.locator.on.value) return { text: t("gps_off"), tone: "none" };
  if (model.locator.problem.value === "denied") return { text: t("gps_denied"), tone: "bad" };
  if (model.locator.problem.value) return { text: t("gps_none"), tone: "weak" };
  if (!fix) return { text: t("gps_wait"), tone: "none" };
  const accuracy = Math.round(fix.accuracy ?? 0);
  return { text: t("accuracy", { n: accuracy }), tone: accuracy <= 50 ? "good" : "weak" };
}

interface ChipFacts extends ChipWords {
  id: string;
  icon: IconName;
  name: string;
  /** Where there is little room; the symbol says the rest. */
  brief?: string;
}

function chipsOf(model: PhoneModel): ChipFacts[] {
  const uplink = model.publisher.uplink.value;
  const battery = model.vitals.battery.value;
  const queue = model.locator.queue.value.length;
  const awake = model.awake.held.value;
  return [
    { id: "link", icon: "signal", name: t("chip_link"), ...linkWords(model) },
    {
      id: "uplink",
      icon: "arrow-up-from-line",
      name: t("chip_uplink"),
      text: uplink ? rate(uplink.rate) : "–",
      tone: uplink && uplink.rate > 0 ? "good" : "none",
    },
    {
      id: "battery",
      icon: battery?.charging ? "battery-charging" : "battery-medium",
      name: t("chip_battery"),
      text: battery
        ? `${battery.percent} %${battery.charging ? ` ${t("charging")}` : ""}`
        : t("battery_unknown"),
      brief: battery ? `${battery.percent} %` : "–",
      tone: battery && battery.percent <= 15 && !battery.charging ? "bad" : "none",
    },
    { id: "gps", icon: "map-pin", name: t("chip_gps"), ...gpsWords(model) },
    {
      id: "queue",
      icon: "send",
      name: t("chip_queue"),
      text: queue ? t("queue_n", { n: queue }) : t("queue_none"),
      tone: queue > 5 ? "weak" : "none",
    },
    {
      id: "screen",
      icon: "sun",
      name: t("chip_screen"),
      text: awake ? t("screen_kept") : t("screen_free"),
      tone: model.publisher.wanted.value && !awake ? "weak" : "none",
    },
  ];
}

/** In one line, without names: those are read out, and stand in the sheet. */
export function ChipLine({ model }: { model: PhoneModel }) {
  beat.value; // seconds are counted
  return (
    <ul class="chip-line" aria-label={t("status")}>
      {chipsOf(model)
        .filter(({ id }) => id !== "screen")
        .map(({ id, icon, name, text, tone, brief }) => (
          <li key={id} class={`status-${tone}`} data-chip={id}>
            <Icon name={icon} size={16} />
            <span class="only-read">{name}</span>
            <strong class="num">{brief ?? text}</strong>
          </li>
        ))}
    </ul>
  );
}

export function ChipList({ model }: { model: PhoneModel }) {
  beat.value; // seconds are counted
  return (
    <ul class="chips" aria-label={t("status")}>
      {chipsOf(model).map(({ id, icon, name, text, tone }) => (
        <li key={id} class={`status-${tone}`}>
          <Icon name={icon} size={18} />
          <span class="dim">{name}</span>
          <strong class="num">{text}</strong>
        </li>
      ))}
    </ul>
  );
}

/** Words, symbol and colour of a group's card: never one of them alone. */
import type { IconName } from "../icon-names.ts";
import { talk, talkCause } from "../strings/talk.ts";
import { clockTime } from "../times.ts";
import type { Activity, Card } from "./groups.ts";

export interface CardWords {
  /** Names the look in the style sheet. */
  look: string;
  icon: IconName | null;
  text: string;
  /** More of it, for who points at it or hears it. */
  detail: string;
}

const URGENT: Record<string, "urgency_peril" | "urgency_all_call" | "urgency_emergency"> = {
  peril: "urgency_peril",
  all_call: "urgency_all_call",
  emergency: "urgency_emergency",
};

export function cardWords(card: Card): CardWords {
  const words = activityWords(card.activity);
  if (card.activity.kind !== "idle") return words;
  if (!card.listening) return { look: "left", icon: "ear-off", text: talk("talk_not_listening"), detail: "" };
  if (card.muted) return { look: "muted", icon: "volume-x", text: talk("talk_muted"), detail: "" };
  if (card.patchMuted !== null) {
    return {
      look: "idle",
      icon: "unlink",
      text: talk("talk_patch_muted"),
      detail: clockTime(card.patchMuted),
    };
  }
  return words;
}

function activityWords(activity: Activity): CardWords {
  switch (activity.kind) {
    case "idle":
      return { look: "idle", icon: null, text: talk("talk_idle"), detail: "" };
    case "lost":
      return {
        look: "lost",
        icon: "unplug",
        text: talk("talk_lost"),
        detail: talk("talk_lost_since", { time: clockTime(activity.since) }),
      };
    case "requesting":
      return { look: "wait", icon: "hourglass", text: talk("talk_requesting"), detail: "" };
    case "queued":
      return {
        look: "wait",
        icon: "hourglass",
        text: talk("talk_queued", { n: activity.position, size: Math.max(activity.size, activity.position) }),
        detail: "",
      };
    case "transmitting": {
      const left = activity.left === null ? "" : talk("talk_left", { n: activity.left });
      return { look: "tx", icon: null, text: `▲ ${talk("talk_transmitting")} ${left}`.trim(), detail: left };
    }
    case "receiving": {
      const talker = talk("talk_receiving", { name: activity.talker || talk("talk_unknown_talker") });
      const urgency = URGENT[activity.urgency];
      const more = [
        urgency ? talk(urgency) : "",
        activity.collision ? talk("talk_collision") : "",
        activity.ending ? talk("talk_ending") : "",
      ].filter(Boolean);
      return { look: "rx", icon: null, text: `▼ ${talker}`, detail: more.join(" · ") };
    }
    case "hang":
      return {
        look: "hang",
        icon: null,
        text: talk("talk_hang", { n: Math.ceil(activity.left) }),
        detail: "",
      };
    case "blocked":
      return { look: "wait", icon: "megaphone", text: talkCause(activity.cause).brief, detail: "" };
    case "refused": {
      const { brief, sentence, next } = talkCause(activity.cause);
      const talker = activity.talker ? ` · ${activity.talker}` : "";
      return { look: "refused", icon: "octagon-x", text: brief + talker, detail: `${sentence}${next}` };
    }
  }
}

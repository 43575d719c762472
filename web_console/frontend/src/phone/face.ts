/** What the large key says: look, symbol and words for every state, never a colour alone. Pure but for the language. */
import type { IconName } from "../icon-names.ts";
import { type PhoneTalkKey, say } from "../strings/phone-talk.ts";
import { talk, talkCause } from "../strings/talk.ts";
import type { Card } from "../voice/groups.ts";
import type { GroupPress, PressView } from "../voice/press.ts";

export interface FaceFacts {
  shift: "off" | "on" | "blocked";
  starting: boolean;
  linkReady: boolean;
  /** s without the server, null = it was never reached. */
  lostFor: number | null;
  pathUp: boolean;
  microphone: boolean;
  press: PressView;
  /** Of the group where the key talks; null = none is chosen. */
  card: Card | null;
  /** Who has the floor there, "" = nobody. */
  talker: string;
  /** A group was chosen and is gone. */
  groupGone: boolean;
  /** A private call goes on: both talk, or one at a time. */
  call: "" | "full" | "half";
  now: number;
}

type Look = "off" | "wait" | "lost" | "ready" | "tx" | "warned" | "rx" | "hang" | "refused" | "deaf" | "call";

export interface Face {
  look: Look;
  icon: IconName;
  main: string;
  more: string;
  /** An emergency goes on in the group, or is this phone's own. */
  urgent: boolean;
}

const CAUSES: Record<string, PhoneTalkKey> = {
  no_path: "cause_no_path",
  no_group: "cause_no_group",
  no_shift: "cause_no_shift",
  no_microphone: "cause_no_microphone",
  device: "cause_device",
  no_member: "cause_no_member",
  blur: "cause_left",
  hidden: "cause_left",
};

/** Words for a refusal, as far as a phone has other remedies than a desk. */
export function phoneCause(code: string): { brief: string; sentence: string; next: string } {
  const own = CAUSES[code];
  if (!own) return talkCause(code);
  const [brief = "", sentence = "", next = ""] = say(own).split("|");
  return { brief, sentence, next };
}

export function faceOf(facts: FaceFacts): Face {
  const { press, card } = facts;
  const urgent = isUrgent(press) || !!card?.emergency;
  const face = (look: Look, icon: IconName, main: string, more: string): Face => ({
    look,
    icon,
    main,
    more,
    urgent,
  });
  if (facts.starting) return face("wait", "loader-circle", say("key_starting"), say("key_starting_more"));
  if (facts.shift === "off") return face("off", "power", say("key_off"), say("key_off_more"));
  if (!facts.linkReady) {
    return facts.lostFor === null
      ? face("wait", "loader-circle", say("key_connecting"), "")
      : face(
          "lost",
          "unplug",
          say("key_lost", { n: Math.max(0, Math.floor(facts.lostFor)) }),
          say("key_lost_more"),
        );
  }
  const own = ownWords(facts);
  if (own) return face(...own);
  if (facts.call === "full") return face("call", "mic", say("key_call_full"), say("key_call_full_more"));
  if (!facts.pathUp) return face("wait", "loader-circle", say("key_path"), say("key_path_more"));
  if (facts.call === "half") {
    return facts.microphone
      ? face("ready", "mic", say("key_ready"), say("key_call_half_more"))
      : face("deaf", "mic-off", say("key_deaf"), say("key_deaf_more"));
  }
  if (!card) {
    return face(
      "refused",
      "users",
      say(facts.groupGone ? "key_gone" : "key_no_group"),
      say("key_no_group_more"),
    );
  }
  return face(...floorWords(card, facts.microphone));
}

function isUrgent({ wish }: PressView): boolean {
  return wish?.how === "emergency" || wish?.urgency === "emergency";
}

type Words = [Look, IconName, string, string];

/** What the own key does, or has just been told. */
function ownWords({ press, talker, now }: FaceFacts): Words | null {
  const groups = [...press.groups.values()];
  const first = (...states: GroupPress["state"][]): GroupPress | undefined =>
    groups.find((one) => states.includes(one.state));
  switch (press.phase) {
    case "requesting":
      return ["wait", "hourglass", talk("talk_requesting"), say("key_requesting_more")];
    case "queued": {
      const queued = first("queued");
      const n = queued?.position ?? 0;
      const main = talk("talk_queued", { n, size: Math.max(queued?.size ?? 0, n) });
      const name = queued?.talker?.name || talker;
      return ["wait", "hourglass", main, name ? say("key_waits_for", { name }) : say("key_keep_holding")];
    }
    case "talking": {
      const granted = first("granted");
      const until = granted?.until ?? null;
      const left = until === null ? "" : talk("talk_left", { n: Math.max(0, Math.ceil(until - now)) });
      const main = `▲ ${talk("talk_transmitting")}${left && ` · ${left}`}`;
      if (isUrgent(press)) return ["tx", "mic", main, say("key_sos_more")];
      if (granted?.warned) return ["warned", "mic", main, say("key_limit_near")];
      return ["tx", "mic", main, say("key_let_go")];
    }
    case "closing":
      return ["tx", "mic", `▲ ${talk("talk_transmitting")}`, ""];
    default: {
      const refused = first("denied", "revoked");
      if (!refused) return null;
      const { brief, sentence, next } = phoneCause(refused.cause);
      const name = refused.talker?.name;
      return ["refused", "octagon-x", name ? `${brief} · ${name}` : brief, `${sentence}${next}`];
    }
  }
}

/** What the floor does while nobody presses here. */
function floorWords({ activity, emergency, owner }: Card, microphone: boolean): Words {
  const deaf = microphone ? "" : say("key_deaf");
  switch (activity.kind) {
    case "receiving": {
      const name = activity.talker || talk("talk_unknown_talker");
      const urgency = activity.urgency === "emergency" ? talk("urgency_emergency") : "";
      const more = [
        urgency,
        activity.collision ? talk("talk_collision") : "",
        activity.ending ? talk("talk_ending") : "",
        deaf || say("key_rx_more", { n: activity.seconds }),
      ];
      return ["rx", "volume-2", `▼ ${name}`, more.filter(Boolean).join(" · ")];
    }
    case "transmitting": // another page of the same unit
      return ["rx", "volume-2", `▼ ${say("key_other_page")}`, deaf];
    case "hang":
      return [
        "hang",
        "mic",
        talk("talk_hang", { n: Math.ceil(activity.left) }),
        deaf || say("key_hang_more"),
      ];
    case "blocked": {
      const { brief, sentence } = phoneCause(activity.cause);
      return ["refused", "megaphone", brief, sentence];
    }
    default: {
      if (deaf) return ["deaf", "mic-off", deaf, say("key_deaf_more")];
      const more = emergency
        ? owner
          ? say("key_emergency_owner", { name: owner })
          : say("key_emergency")
        : say("key_ready_more");
      return ["ready", "mic", say("key_ready"), more];
    }
  }
}

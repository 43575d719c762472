/** A tile's state in words, with its sign and tone: never by colour alone. */
import type { IconName } from "../icon-names.ts";
import { causeWords } from "../strings/causes.ts";
import { t } from "../strings/console.ts";
import { clockTime } from "../times.ts";
import type { TileState } from "./slot.ts";

interface TileWords {
  text: string;
  icon: IconName;
  tone: "live" | "late" | "stale" | "fault" | "wait" | "none";
  /** A sentence and the next step, where there is no good picture. */
  sentence: string;
  next: string;
}

export function tileWords(state: TileState): TileWords {
  const of = (text: string, icon: IconName, tone: TileWords["tone"], cause = ""): TileWords => {
    const words = cause ? causeWords(cause) : { sentence: "", next: "" };
    return { text, icon, tone, sentence: words.sentence, next: words.next };
  };
  switch (state.kind) {
    case "empty":
      return of("", "square", "none");
    case "forbidden":
      return of(t("tile_forbidden"), "lock", "fault");
    case "codec":
      return of(t("tile_codec"), "octagon-x", "fault", "codec");
    case "offline": {
      const text = state.since
        ? t("tile_offline_since", { time: clockTime(state.since) })
        : t("tile_offline");
      return of(text, "video-off", "stale", state.cause);
    }
    case "connecting":
      return of(t("tile_connecting"), "hourglass", "wait", state.cause);
    case "frozen":
      return of(t("tile_frozen", { n: state.seconds }), "pause", "stale", state.cause);
    case "delayed":
      return of(t("tile_delayed", { n: state.seconds }), "hourglass", "late");
    case "degraded":
      return of(t("tile_degraded", { cause: causeWords(state.cause).brief }), "gauge", "late");
    case "live":
      return of(t("tile_live"), "circle-check", "live");
  }
}

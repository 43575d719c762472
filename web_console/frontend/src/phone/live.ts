/** Whether a phone is live, told from what is known: pure. It never says live while it cannot be sure. */
import type { Stream } from "../messages.ts";
import type { RecoveryPhase } from "../recovery.ts";

export interface LiveFacts {
  /** The person wants to be live. */
  wanted: boolean;
  linkReady: boolean;
  peer: RecoveryPhase;
  /** The server's word on the phone's own stream. */
  stream: Stream | undefined;
  /** What this phone has to send. */
  capturing: "video" | "audio" | "nothing";
  /** It was live since the person asked for it. */
  wasLive: boolean;
}

export type LiveState =
  | { kind: "off" }
  | { kind: "starting"; cause: string }
  | { kind: "live"; since: number; viewers: number }
  | { kind: "interrupted"; cause: string };

export function liveState(facts: LiveFacts): LiveState {
  if (!facts.wanted) return { kind: "off" };
  const { stream } = facts;
  if (facts.linkReady && facts.peer === "up" && stream && arrives(stream, facts.capturing)) {
    return { kind: "live", since: stream.since, viewers: stream.viewers };
  }
  return { kind: facts.wasLive ? "interrupted" : "starting", cause: causeOf(facts) };
}

/** The server gets it: the picture, or where there is none to send the sound. */
function arrives(stream: Stream, capturing: LiveFacts["capturing"]): boolean {
  return capturing === "video" ? stream.state === "live" : capturing === "audio" && stream.audioLive;
}

/** By the server's word nothing of this phone arrives there: not that its camera was taken away while it can be heard. */
export function unheard(stream: Stream | undefined): boolean {
  return stream?.state === "stalled" && !stream.audioLive;
}

function causeOf(facts: LiveFacts): string {
  if (!facts.linkReady) return "no_server";
  if (facts.capturing === "nothing") return "no_capture";
  if (facts.peer !== "up") return "no_media";
  return facts.stream?.cause ?? "";
}

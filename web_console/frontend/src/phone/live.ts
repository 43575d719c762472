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
  /** Camera or microphone deliver. */
  capturing: boolean;
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
  if (facts.linkReady && facts.peer === "up" && facts.capturing && stream?.state === "live") {
    return { kind: "live", since: stream.since, viewers: stream.viewers };
  }
  return { kind: facts.wasLive ? "interrupted" : "starting", cause: causeOf(facts) };
}

function causeOf(facts: LiveFacts): string {
  if (!facts.linkReady) return "no_server";
  if (!facts.capturing) return "no_capture";
  if (facts.peer !== "up") return "no_media";
  return facts.stream?.cause ?? "";
}

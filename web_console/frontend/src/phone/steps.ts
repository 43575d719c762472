/** What must be there before somebody can hear and be heard, and how far it is. Pure. */
import type { Phase } from "../protocol.ts";
import type { RecoveryPhase } from "../recovery.ts";
import type { MicrophoneProblem } from "../voice/microphone.ts";

type StepId = "server" | "sound" | "microphone" | "path";
/** `todo`: nobody has asked for it; `wait`: on its way; `bad`: somebody must do something, `cause` says what. */
export interface SoundStep {
  id: StepId;
  state: "todo" | "wait" | "ok" | "bad";
  cause: string;
}

export interface SoundFacts {
  link: Phase;
  shift: "off" | "on" | "blocked";
  starting: boolean;
  microphone: boolean;
  opening: boolean;
  problem: MicrophoneProblem | null;
  path: RecoveryPhase;
  /** Why the server refused the sound path, "" = it did not. */
  refused: string;
}

export function soundSteps(facts: SoundFacts): SoundStep[] {
  const { shift, starting, path } = facts;
  const off = shift === "off";
  const begun = starting || !off;
  const step = (id: StepId, ok: boolean, wait: boolean, cause: string): SoundStep => ({
    id,
    state: ok ? "ok" : cause ? "bad" : wait ? "wait" : "todo",
    cause: ok ? "" : cause,
  });
  return [
    step("server", facts.link === "ready", facts.link !== "ended", ""),
    step("sound", shift === "on", starting, shift === "blocked" ? "blocked" : ""),
    step(
      "microphone",
      !off && facts.microphone,
      begun && facts.opening,
      begun && !facts.opening && facts.problem ? facts.problem : "",
    ),
    step("path", path === "up", begun, path === "off" && !off ? facts.refused : ""),
  ];
}

export function allWell(steps: readonly SoundStep[]): boolean {
  return steps.every((step) => step.state === "ok");
}

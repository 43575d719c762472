import { expect, it } from "vitest";
import { allWell, type SoundFacts, soundSteps } from "./steps.ts";

const FINE: SoundFacts = {
  link: "ready",
  shift: "on",
  starting: false,
  microphone: true,
  opening: false,
  problem: null,
  path: "up",
  refused: "",
};
const states = (over: Partial<SoundFacts>): string =>
  soundSteps({ ...FINE, ...over })
    .map((step) => (step.cause ? `${step.state}:${step.cause}` : step.state))
    .join(" ");

it("are all well when everything is there", () => {
  expect(allWell(soundSteps(FINE))).toBe(true);
});

it.each<[string, Partial<SoundFacts>, string]>([
  [
    "before the first touch",
    { shift: "off", microphone: false, path: "off", link: "ready" },
    "ok todo todo todo",
  ],
  [
    "while it opens",
    { shift: "off", starting: true, microphone: false, opening: true, path: "off" },
    "ok wait wait wait",
  ],
  ["with the sound held back", { shift: "blocked" }, "ok bad:blocked ok ok"],
  ["with the microphone denied", { microphone: false, problem: "denied" }, "ok ok bad:denied ok"],
  ["while the path comes back", { path: "joining" }, "ok ok ok wait"],
  ["with the path refused for good", { path: "off", refused: "forbidden" }, "ok ok ok bad:forbidden"],
  ["without the server", { link: "connecting", path: "shaky" }, "wait ok ok wait"],
])("%s", (_when, over, expected) => {
  expect(states(over)).toBe(expected);
});

import { describe, expect, it } from "vitest";
import type { Stream } from "../messages.ts";
import { type LiveFacts, liveState, unheard } from "./live.ts";

const stream = (over: Partial<Stream>): Stream => ({
  id: "s",
  device: "d",
  unit: "u",
  channel: "main",
  name: "",
  state: "live",
  since: 1000,
  via: "phone",
  layers: [],
  audio: "opus",
  audioLive: true,
  viewers: 2,
  steps: [],
  cause: "",
  detail: "",
  remote: "",
  tcp: false,
  ...over,
});
const fine: LiveFacts = {
  wanted: true,
  linkReady: true,
  peer: "up",
  stream: stream({}),
  capturing: "video",
  wasLive: true,
};

describe("live", () => {
  it("is what the server says, when everything of our own is there too", () => {
    expect(liveState(fine)).toEqual({ kind: "live", since: 1000, viewers: 2 });
  });
  it.each<[string, Partial<LiveFacts>, string]>([
    ["the server is not reached", { linkReady: false }, "no_server"],
    ["the media path is being restored", { peer: "restarting" }, "no_media"],
    ["the path is shaky", { peer: "shaky" }, "no_media"],
    ["the camera was taken away", { capturing: "nothing" }, "no_capture"],
    ["the server gets nothing", { stream: stream({ state: "stalled", cause: "stalled" }) }, "stalled"],
    ["the server knows no stream", { stream: undefined }, ""],
  ])("is never said when %s", (_why, over, cause) => {
    expect(liveState({ ...fine, ...over })).toEqual({ kind: "interrupted", cause });
    expect(liveState({ ...fine, ...over, wasLive: false })).toEqual({ kind: "starting", cause });
  });
  it("without a camera means that the sound arrives", () => {
    const sound = stream({ state: "connecting", cause: "no_key_frame" });
    expect(liveState({ ...fine, capturing: "audio", stream: sound }).kind).toBe("live");
    expect(liveState({ ...fine, capturing: "video", stream: sound }).kind).toBe("interrupted");
    expect(liveState({ ...fine, capturing: "audio", stream: stream({ audioLive: false }) }).kind).toBe(
      "interrupted",
    );
  });
  it("is off when nobody wants it, even while the server still shows the rest of it", () => {
    expect(liveState({ ...fine, wanted: false })).toEqual({ kind: "off" });
  });
});

describe("a phone is not heard", () => {
  it("when neither its picture nor its sound arrives", () => {
    expect(unheard(stream({ state: "stalled", audioLive: false }))).toBe(true);
    expect(unheard(stream({ state: "stalled", audioLive: true }))).toBe(false);
    expect(unheard(stream({ state: "offline", audioLive: false }))).toBe(false);
    expect(unheard(undefined)).toBe(false);
  });
});

import { expect, it } from "vitest";
import { uplinkOf } from "./uplink.ts";

const rows = (bytes: number, limited = "none"): Record<string, unknown>[] => [
  { type: "outbound-rtp", kind: "audio", bytesSent: bytes / 5 },
  {
    type: "outbound-rtp",
    kind: "video",
    rid: "q",
    bytesSent: bytes / 5,
    frameWidth: 320,
    frameHeight: 180,
    framesPerSecond: 25,
  },
  {
    type: "outbound-rtp",
    kind: "video",
    rid: "f",
    bytesSent: (bytes * 3) / 5,
    frameWidth: 1280,
    frameHeight: 720,
    framesPerSecond: 24,
    qualityLimitationReason: limited,
  },
  { type: "candidate-pair", nominated: true, state: "succeeded", currentRoundTripTime: 0.045 },
];

it("adds up all that leaves, over the time between two reports", () => {
  const first = uplinkOf(rows(1_000_000), 10, null);
  expect(first.rate).toBe(0);
  const second = uplinkOf(rows(1_500_000), 12, first);
  expect(second).toMatchObject({
    rate: 2_000_000,
    width: 1280,
    height: 720,
    framesPerSecond: 24,
    limited: "",
    roundTrip: 0.045,
  });
});

it("says what holds it back", () => {
  expect(uplinkOf(rows(1, "bandwidth"), 0, null).limited).toBe("bandwidth");
  expect(uplinkOf(rows(1, "cpu"), 0, null).limited).toBe("cpu");
});

it("starts anew with a new connection, and shows no picture where none flows", () => {
  const first = uplinkOf(rows(1_000_000), 10, null);
  expect(uplinkOf([], 12, first)).toMatchObject({ rate: 0, width: 0, height: 0, roundTrip: null });
});

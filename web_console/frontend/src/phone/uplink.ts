/** What leaves the phone, from the browser's statistics: pure. */
export interface Uplink {
  at: number;
  bytes: number;
  /** bit/s */
  rate: number;
  /** The largest picture that is being sent; 0 = none. */
  width: number;
  height: number;
  framesPerSecond: number;
  /** The link (or the phone's processor) does not carry more. */
  limited: "" | "bandwidth" | "cpu";
  /** s; null = not known */
  roundTrip: number | null;
}

type Row = Record<string, unknown>;
const numberOf = (value: unknown): number => (typeof value === "number" ? value : 0);

/** `now` in s; `before`: the result of the report before. */
export function uplinkOf(rows: readonly Row[], now: number, before: Uplink | null): Uplink {
  const sent = rows.filter((row) => row.type === "outbound-rtp");
  const bytes = sent.reduce((sum, row) => sum + numberOf(row.bytesSent), 0);
  const seconds = before && bytes >= before.bytes ? now - before.at : 0;
  const flowing = sent.filter((row) => row.kind === "video" && numberOf(row.framesPerSecond) > 0);
  const top = flowing.sort((a, b) => numberOf(b.frameHeight) - numberOf(a.frameHeight))[0];
  const reasons = new Set(sent.map((row) => row.qualityLimitationReason));
  const pair = rows.find(
    (row) => row.type === "candidate-pair" && row.nominated === true && row.state === "succeeded",
  );
  return {
    at: now,
    bytes,
    rate: seconds > 0 && before ? ((bytes - before.bytes) * 8) / seconds : 0,
    width: numberOf(top?.frameWidth),
    height: numberOf(top?.frameHeight),
    framesPerSecond: numberOf(top?.framesPerSecond),
    limited: reasons.has("bandwidth") ? "bandwidth" : reasons.has("cpu") ? "cpu" : "",
    roundTrip: typeof pair?.currentRoundTripTime === "number" ? pair.currentRoundTripTime : null,
  };
}

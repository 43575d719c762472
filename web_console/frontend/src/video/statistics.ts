/** What the browser's statistics say about one received picture: pure arithmetic over two reports. */
export interface Counters {
  at: number; // ms
  bytes: number;
  packets: number;
  lost: number;
  bufferDelay: number; // s, summed over frames
  bufferFrames: number;
  frames: number;
}

export interface SlotStatistics {
  width: number;
  height: number;
  framesPerSecond: number;
  /** bit/s */
  bitrate: number;
  /** 0 … 1, of the last interval */
  loss: number;
  /** Time a frame waits before it is decoded, s; null = no frame in the interval. */
  buffer: number | null;
  codec: string;
  dropped: number;
  decoder: string;
}

type Rows = ReadonlyMap<string, Record<string, unknown>>;

const numberOf = (value: unknown): number => (typeof value === "number" ? value : 0);
const textOf = (value: unknown): string => (typeof value === "string" ? value : "");

/** The received video of one m-section. `before`: the counters of the report before; without them rates are 0. */
export function slotStatistics(
  rows: Rows,
  mid: string,
  before: Counters | null,
): { counters: Counters | null; statistics: SlotStatistics | null } {
  const row = [...rows.values()].find(
    (one) => one.type === "inbound-rtp" && one.kind === "video" && one.mid === mid,
  );
  if (!row) return { counters: null, statistics: null };
  const counters: Counters = {
    at: numberOf(row.timestamp),
    bytes: numberOf(row.bytesReceived),
    packets: numberOf(row.packetsReceived),
    lost: numberOf(row.packetsLost),
    bufferDelay: numberOf(row.jitterBufferDelay),
    bufferFrames: numberOf(row.jitterBufferEmittedCount),
    frames: numberOf(row.framesDecoded),
  };
  const last = before && before.at < counters.at && before.bytes <= counters.bytes ? before : counters;
  const seconds = (counters.at - last.at) / 1000;
  const lost = Math.max(0, counters.lost - last.lost);
  const expected = counters.packets - last.packets + lost;
  const buffered = counters.bufferFrames - last.bufferFrames;
  return {
    counters,
    statistics: {
      width: numberOf(row.frameWidth),
      height: numberOf(row.frameHeight),
      framesPerSecond: seconds ? (counters.frames - last.frames) / seconds : 0,
      bitrate: seconds ? ((counters.bytes - last.bytes) * 8) / seconds : 0,
      loss: expected > 0 ? lost / expected : 0,
      buffer: buffered > 0 ? (counters.bufferDelay - last.bufferDelay) / buffered : null,
      codec: textOf(rows.get(textOf(row.codecId))?.mimeType).replace(/^video\//, ""),
      dropped: numberOf(row.framesDropped),
      decoder: textOf(row.decoderImplementation),
    },
  };
}

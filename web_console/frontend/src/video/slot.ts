/**
 * What one slot of the wall shows, judged from the server's words and the frames that appear: pure. Times are seconds
 * of the page's monotonic clock.
 *
 * Whose frame is it? A frame counts for the wanted stream only if its last packet arrived after the server had (1)
 * answered the `slot.set` that asked for that stream and (2) said that the slot carries it. Frames of the stream before
 * were sent earlier than that answer, so an old picture can never pass for the new one.
 */
import type { SlotChanged, Stream } from "../messages.ts";

/** A picture counts as stopped after this long without a new frame. */
const FROZEN_AFTER = 3;
/** A picture counts as late from this delay on. */
const DELAYED_FROM = 1.5;

export type Sight = "shown" | "frozen";

export class Slot {
  wanted: string | null = null;
  told: SlotChanged | null = null;
  /** Seconds from sending to showing, as far as it can be known. */
  delay = 0;

  private settledAt: number | null = null;
  private toldAt = 0;
  private frameAt: number | null = null;
  private reported: Sight | null = null;

  /** Another stream (or none) is wanted, or the same one after a pause: what is on the screen is old from now on. */
  want(stream: string | null): void {
    this.wanted = stream;
    this.stale();
  }

  stale(): void {
    this.settledAt = null;
    this.frameAt = null;
    this.reported = null;
    this.delay = 0;
  }

  /** The server has answered the `slot.set` with what is wanted now. */
  settled(now: number): void {
    this.settledAt = now;
  }

  tell(message: SlotChanged, now: number): void {
    this.told = message;
    this.toldAt = now;
  }

  /** The media connection this slot belonged to is gone. */
  disconnected(): void {
    this.told = null;
    this.stale();
  }

  /** A frame was presented whose last packet arrived at `received`. Gives what is to be reported, if anything. */
  frame(received: number, now: number, delay: number): Sight | null {
    if (this.settledAt === null) return null;
    if (!this.isSent) return null;
    if (received < Math.max(this.settledAt, this.toldAt)) return null;
    this.frameAt = now;
    this.delay = delay;
    return this.report("shown");
  }

  /** Called about twice a second; gives "frozen" once when the frames stop. */
  tick(now: number): Sight | null {
    return this.frozenFor(now) >= FROZEN_AFTER ? this.report("frozen") : null;
  }

  /** The element shows a frame of the wanted stream. */
  get hasPicture(): boolean {
    return this.frameAt !== null;
  }

  /** By the server's word packets of what is wanted leave for this slot. */
  get isSent(): boolean {
    return this.wanted !== null && this.told?.state === "live" && this.told.stream === this.wanted;
  }

  frozenFor(now: number): number {
    return this.frameAt === null ? 0 : Math.max(0, now - this.frameAt);
  }

  private report(sight: Sight): Sight | null {
    if (this.reported === sight) return null;
    this.reported = sight;
    return sight;
  }
}

export type TileState =
  | { kind: "empty" }
  | { kind: "forbidden" }
  | { kind: "codec" }
  | { kind: "offline"; since: number; cause: string }
  | { kind: "connecting"; cause: string }
  | { kind: "frozen"; seconds: number; cause: string }
  | { kind: "delayed"; seconds: number }
  | { kind: "degraded"; cause: string }
  | { kind: "live" };

interface Facts {
  permitted: boolean;
  mediaUp: boolean;
  stream: Stream | undefined;
}

/** The one state a tile has, worst first. */
export function tileState(slot: Slot, facts: Facts, now: number): TileState {
  if (slot.wanted === null) return { kind: "empty" };
  if (!facts.permitted) return { kind: "forbidden" };
  const told = slot.told?.stream === slot.wanted ? slot.told : null;
  if (told?.reason === "codec") return { kind: "codec" };
  const { stream } = facts;
  if (!stream) return { kind: "offline", since: 0, cause: "not_found" };
  if (stream.state === "offline" || stream.state === "retrying") {
    return { kind: "offline", since: stream.since, cause: stream.cause };
  }
  if (!slot.hasPicture) {
    return { kind: "connecting", cause: facts.mediaUp ? told?.reason || stream.cause : "not_connected" };
  }
  const age = slot.frozenFor(now);
  if (age >= FROZEN_AFTER) {
    const cause = facts.mediaUp ? told?.reason || stream.cause || "stalled" : "not_connected";
    return { kind: "frozen", seconds: Math.floor(age), cause };
  }
  if (slot.delay >= DELAYED_FROM) return { kind: "delayed", seconds: Math.round(slot.delay) };
  if (told?.degraded) return { kind: "degraded", cause: told.degraded };
  return { kind: "live" };
}

/** Of these the picture (if any) is shown as it is; of all others it is covered by grey. */
export function looksLive(state: TileState): boolean {
  return state.kind === "live" || state.kind === "degraded" || state.kind === "delayed";
}

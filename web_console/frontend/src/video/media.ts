/** The desk's media: one peer connection, its pool of receiving slots, what each should show, and its statistics. */
import { signal } from "@preact/signals";
import { now, onBeat } from "../clock.ts";
import type { Link } from "../link.ts";
import type { MediaAnswer, MediaStep, SlotChanged, Wish } from "../messages.ts";
import { Peer } from "../peer.ts";
import { ALARM_SLOTS } from "./alarm-pictures.ts";
import { Pairs } from "./pairs.ts";
import { type Sight, Slot } from "./slot.ts";
import { type Counters, type SlotStatistics, slotStatistics } from "./statistics.ts";
import { PLACES } from "./wall.ts";

type Want = Omit<Wish, "slot">;

const NOTHING: Want = { stream: null, height: 0, priority: 0, audio: false };
const COLLECT_MS = 40; // changes of a moment leave in one command
const STATISTICS_EVERY = 2; // s

/** One slot with its receivers. `tracks` is null until the pool has grown to it. */
export class WallSlot {
  readonly state = new Slot();
  readonly tracks = signal<MediaStream | null>(null);
  readonly statistics = signal<SlotStatistics | null>(null);
  want: Want = NOTHING;
  /** Counts what the picture on the screen may be mistaken for. */
  epoch = 0;
  mids: { audio: string; video: string } | null = null;
  before: Counters | null = null;

  constructor(readonly index: number) {}
}

export class WallMedia {
  readonly slots = Array.from({ length: PLACES + ALARM_SLOTS }, (_, index) => new WallSlot(index));
  readonly peer: Peer;
  /** Round trip to the media server in s, null = not known. */
  readonly roundTrip = signal<number | null>(null);
  /** False when the server has said that this account may not watch. */
  readonly permitted = signal(true);
  /** Goes up whenever a slot's state may be another. */
  readonly version = signal(0);

  private readonly pairs = new Pairs();
  private sections = 0;
  private readonly sent = new Map<number, string>();
  private timer: ReturnType<typeof setTimeout> | undefined;
  private statisticsAt = 0;

  constructor(private readonly link: Link) {
    this.peer = new Peer(link, {
      kind: "console",
      prepare: (pc) => {
        this.sections = 0;
        this.grow(pc);
      },
      answered: (answer) => this.answered(answer),
      gone: () => this.gone(),
      expecting: () => this.slots.some((slot) => slot.state.isSent),
      unheard: () => false,
    });
    onBeat((at) => this.beat(at));
  }

  /** Grow by these slots; it never shrinks. The first call opens the connection. */
  need(slots: readonly number[]): void {
    if (!slots.map((slot) => this.pairs.need(slot)).includes(true)) return;
    if (!this.peer.pc) {
      this.peer.start();
    } else {
      this.grow(this.peer.pc);
      this.peer.renegotiate();
    }
  }

  wish(index: number, want: Want): void {
    const slot = this.slots[index];
    if (!slot) return;
    const last = slot.want;
    slot.want = want;
    if (last.stream !== want.stream) {
      slot.state.want(want.stream);
      slot.epoch += 1;
    } else if ((last.height === 0) !== (want.height === 0)) {
      slot.state.stale(); // after a pause the picture is an old one
      slot.epoch += 1;
    }
    this.timer ??= setTimeout(() => this.flush(), COLLECT_MS);
    this.version.value = this.version.peek() + 1;
  }

  told(message: SlotChanged | MediaStep): void {
    if (message.type === "media") {
      this.peer.told(message);
      return;
    }
    this.slots[this.pairs.slot(message.slot)]?.state.tell(message, now());
    this.peer.reconsider();
    this.version.value = this.version.peek() + 1;
  }

  /** The WebSocket is ready again: say everything once more. */
  linkReady(): void {
    this.sent.clear();
    this.flush();
  }

  /** A frame was presented in a slot's element. Times in s of the page's clock. */
  frame(index: number, received: number, delay: number): void {
    const slot = this.slots[index];
    if (!slot) return;
    const had = slot.state.hasPicture;
    this.report(slot, slot.state.frame(received, now(), delay + (this.roundTrip.peek() ?? 0) / 2));
    if (!had && slot.state.hasPicture) this.version.value = this.version.peek() + 1;
  }

  private grow(pc: RTCPeerConnection): void {
    for (; this.sections < this.pairs.count; this.sections += 1) {
      pc.addTransceiver("audio", { direction: "recvonly" }).setCodecPreferences(slotCodecs("audio"));
      pc.addTransceiver("video", { direction: "recvonly" }).setCodecPreferences(slotCodecs("video"));
    }
  }

  private answered(answer: MediaAnswer): void {
    const receivers = new Map(this.peer.pc?.getTransceivers().map((one) => [one.mid, one.receiver]));
    for (const { slot: pair, audioMid, videoMid } of answer.slots) {
      const slot = this.slots[this.pairs.slot(pair)];
      const audio = receivers.get(audioMid)?.track;
      const video = receivers.get(videoMid)?.track;
      if (!slot || !audio || !video || slot.tracks.peek()) continue;
      slot.mids = { audio: audioMid, video: videoMid };
      slot.tracks.value = new MediaStream([audio, video]);
    }
    this.flush();
  }

  private gone(): void {
    this.sent.clear();
    this.roundTrip.value = null;
    for (const slot of this.slots) {
      slot.state.disconnected();
      slot.epoch += 1;
      slot.mids = null;
      slot.before = null;
      slot.tracks.value = null;
      slot.statistics.value = null;
    }
    this.version.value = this.version.peek() + 1;
  }

  private flush(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    const { session } = this.peer;
    if (!session || !this.link.ready) return;
    const wishes: Wish[] = [];
    const epochs: [WallSlot, number][] = [];
    for (const slot of this.slots) {
      if (!slot.mids) continue;
      const wish = { slot: this.pairs.of(slot.index), ...slot.want };
      const text = `${slot.epoch} ${JSON.stringify(wish)}`;
      if (this.sent.get(slot.index) === text) continue;
      if (wish.stream === null && !this.sent.has(slot.index)) continue;
      this.sent.set(slot.index, text);
      wishes.push(wish);
      epochs.push([slot, slot.epoch]);
    }
    if (wishes.length) void this.set(session, wishes, epochs);
  }

  private async set(session: string, wishes: Wish[], epochs: [WallSlot, number][]): Promise<void> {
    const outcome = await this.link.command("slot.set", { session, wishes }, "now");
    if (session !== this.peer.session) return;
    if (outcome.ok) {
      this.permitted.value = true;
      for (const [slot, epoch] of epochs) if (slot.epoch === epoch) slot.state.settled(now());
    } else if (outcome.problem.code === "forbidden") {
      this.permitted.value = false;
    } else if (outcome.problem.code !== "offline") {
      this.peer.rejoin();
    }
    this.version.value = this.version.peek() + 1;
  }

  private beat(at: number): void {
    for (const slot of this.slots) this.report(slot, slot.state.tick(at));
    if (at >= this.statisticsAt && this.peer.phase.peek() === "up") {
      this.statisticsAt = at + STATISTICS_EVERY;
      void this.measure();
    }
  }

  private report(slot: WallSlot, sight: Sight | null): void {
    const { session } = this.peer;
    const stream = slot.state.wanted;
    if (sight === null || stream === null || !session) return;
    const pair = this.pairs.of(slot.index);
    void this.link.command("slot.shown", { session, slot: pair, stream, state: sight }, "now");
  }

  private async measure(): Promise<void> {
    const pc = this.peer.pc;
    if (!pc) return;
    const report = await pc.getStats();
    if (pc !== this.peer.pc) return;
    const rows = new Map<string, Record<string, unknown>>();
    report.forEach((row: Record<string, unknown>, id: string) => {
      rows.set(id, row);
    });
    this.roundTrip.value = roundTripOf(rows);
    for (const slot of this.slots) {
      if (!slot.mids) continue;
      const { counters, statistics } = slotStatistics(rows, slot.mids.video, slot.before);
      slot.before = counters;
      slot.statistics.value = slot.state.wanted === null ? null : statistics;
    }
  }
}

function roundTripOf(rows: Map<string, Record<string, unknown>>): number | null {
  for (const row of rows.values()) {
    if (row.type !== "candidate-pair" || row.nominated !== true || row.state !== "succeeded") continue;
    if (typeof row.currentRoundTripTime === "number") return row.currentRoundTripTime;
  }
  return null;
}

/**
 * What a slot offers: only what the relay sends. Chromium's whole list makes an offer of 25 slots larger than the
 * server takes; this makes it a third.
 */
function slotCodecs(kind: "audio" | "video"): RTCRtpCodec[] {
  const known = RTCRtpReceiver.getCapabilities(kind)?.codecs ?? [];
  return known.filter(
    ({ mimeType, sdpFmtpLine = "" }) =>
      ["audio/opus", "video/vp8", "video/rtx"].includes(mimeType.toLowerCase()) ||
      (mimeType.toLowerCase() === "video/h264" &&
        /packetization-mode=1/.test(sdpFmtpLine) &&
        /profile-level-id=42[0e]0/i.test(sdpFmtpLine)),
  );
}

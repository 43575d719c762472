/** The live picture and sound of this phone: camera and microphone, and the connection that sends them. */
import { computed, effect, type ReadonlySignal, signal } from "@preact/signals";
import { beat, now } from "../clock.ts";
import type { Link } from "../link.ts";
import type { MediaStep, Stream } from "../messages.ts";
import { Peer } from "../peer.ts";
import { load, save } from "../storage.ts";
import type { Awake } from "./awake.ts";
import { Capture } from "./capture.ts";
import { type LiveState, liveState, unheard } from "./live.ts";
import { type Uplink, uplinkOf } from "./uplink.ts";

const LIVE = "fengsui.live"; // in this tab's session: a page that the phone reloads goes on
const STATISTICS_EVERY = 2; // s

/** Three pictures of one camera, ≤ 2.35 Mbit/s in all; the server gives each viewer the one that fits. */
const ENCODINGS: RTCRtpEncodingParameters[] = [
  { rid: "q", scaleResolutionDownBy: 4, maxBitrate: 150_000 },
  { rid: "h", scaleResolutionDownBy: 2, maxBitrate: 500_000 },
  { rid: "f", scaleResolutionDownBy: 1, maxBitrate: 1_700_000 },
];

export class Publisher {
  readonly wanted = signal(false);
  readonly wasLive = signal(false);
  readonly microphone = signal(load("microphone", true));
  readonly uplink = signal<Uplink | null>(null);
  readonly capture: Capture;
  readonly peer: Peer;
  readonly live = computed<LiveState>(() => {
    beat.value;
    return liveState({
      wanted: this.wanted.value,
      linkReady: this.link.status.value.phase === "ready",
      peer: this.peer.phase.value,
      stream: this.stream.value,
      capturing: this.capture.video.value ? "video" : this.capture.audio.value ? "audio" : "nothing",
      wasLive: this.wasLive.value,
    });
  });

  private readonly senders: { audio?: RTCRtpSender; video?: RTCRtpSender } = {};
  private statisticsAt = 0;

  constructor(
    private readonly link: Link,
    private readonly stream: ReadonlySignal<Stream | undefined>,
    private readonly awake: Awake,
  ) {
    this.capture = new Capture(() => this.reopen());
    this.peer = new Peer(this.link, {
      kind: "phone",
      prepare: (pc) => this.prepare(pc),
      answered: () => undefined,
      gone: () => {
        delete this.senders.audio;
        delete this.senders.video;
        this.uplink.value = null;
      },
      expecting: (sending) => sending, // it is answered with what arrived of it
      unheard: () => unheard(this.stream.peek()),
    });
  }

  start(): void {
    effect(() => {
      if (this.live.value.kind === "live") this.wasLive.value = true;
    });
    effect(() => {
      if (this.peer.problem.value && this.peer.phase.value === "off" && this.wanted.peek()) this.stop();
    });
    effect(() => {
      if (unheard(this.stream.value)) this.peer.reconsider();
    });
    effect(() => {
      void this.senders.video?.replaceTrack(this.capture.video.value);
    });
    effect(() => {
      const on = this.microphone.value;
      const track = this.capture.audio.value;
      void this.senders.audio?.replaceTrack(on ? track : null);
    });
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.wake();
    });
    addEventListener("pagehide", (event) => {
      if (!event.persisted && this.wanted.peek()) this.peer.stop();
    });
    if (sessionStorage.getItem(LIVE) === "1") void this.goLive();
  }

  async goLive(): Promise<void> {
    if (this.wanted.peek()) return;
    this.wanted.value = true;
    this.wasLive.value = false;
    if (!(await this.capture.open())) {
      this.wanted.value = false;
      return;
    }
    if (!this.wanted.peek()) return this.capture.close();
    sessionStorage.setItem(LIVE, "1");
    this.peer.start();
    this.awake.want("live", true);
  }

  stop(): void {
    sessionStorage.removeItem(LIVE);
    this.wanted.value = false;
    this.wasLive.value = false;
    this.peer.stop();
    this.capture.close();
    this.awake.want("live", false);
  }

  toggleMicrophone(): void {
    this.microphone.value = !this.microphone.peek();
    save("microphone", this.microphone.peek());
  }

  told(message: MediaStep): void {
    this.peer.told(message);
  }

  beat(at: number): void {
    if (at < this.statisticsAt || !this.peer.pc) return;
    this.statisticsAt = at + STATISTICS_EVERY;
    void this.measure(this.peer.pc);
  }

  private prepare(pc: RTCPeerConnection): void {
    const stream = new MediaStream();
    const audio = this.capture.audio.peek();
    const video = this.capture.video.peek();
    const sound = pc.addTransceiver("audio", { direction: "sendonly", streams: [stream] });
    const picture = pc.addTransceiver("video", {
      direction: "sendonly",
      streams: [stream],
      sendEncodings: ENCODINGS,
    });
    this.senders.audio = sound.sender;
    this.senders.video = picture.sender;
    void sound.sender.replaceTrack(this.microphone.peek() ? audio : null);
    void picture.sender.replaceTrack(video);
  }

  /** A camera or microphone was taken away: by a call, another app, or the lock screen. */
  private reopen(): void {
    if (this.wanted.peek() && !document.hidden) void this.capture.open();
  }

  private wake(): void {
    if (!this.wanted.peek()) return;
    const ended = [this.capture.video, this.capture.audio].some((one) => one.peek()?.readyState === "ended");
    if (ended) this.capture.close();
    void this.capture.open();
  }

  private async measure(pc: RTCPeerConnection): Promise<void> {
    const report = await pc.getStats();
    if (pc !== this.peer.pc) return;
    const rows: Record<string, unknown>[] = [];
    report.forEach((row: Record<string, unknown>) => {
      rows.push(row);
    });
    this.uplink.value = uplinkOf(rows, now(), this.uplink.peek());
  }
}

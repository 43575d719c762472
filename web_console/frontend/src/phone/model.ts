/** The phone page's state: the link, the publishing connection, camera and microphone, positions, and the phone itself. */
import { batch, computed, effect, signal } from "@preact/signals";
import { beat, now, onBeat, serverTime, startClock } from "../clock.ts";
import type { Initial } from "../initial.ts";
import { Link, randomId } from "../link.ts";
import type { ReportedPosition, ServerInfo } from "../messages.ts";
import { Peer } from "../peer.ts";
import { forget, load, save } from "../storage.ts";
import { applyDelta, applySnapshot, EMPTY, type World } from "../store.ts";
import { Capture } from "./capture.ts";
import { type LiveState, liveState, unheard } from "./live.ts";
import * as positions from "./positions.ts";
import { type Uplink, uplinkOf } from "./uplink.ts";

const TOKEN = "join-token";
const LIVE = "fengsui.live"; // in this tab's session: a page that the phone reloads goes on
const QUEUE = "positions";
const STATE_EVERY = 30; // s
const STATISTICS_EVERY = 2; // s

/** Three pictures of one camera, ≤ 2.35 Mbit/s in all; the server gives each viewer the one that fits. */
const ENCODINGS: RTCRtpEncodingParameters[] = [
  { rid: "q", scaleResolutionDownBy: 4, maxBitrate: 150_000 },
  { rid: "h", scaleResolutionDownBy: 2, maxBitrate: 500_000 },
  { rid: "f", scaleResolutionDownBy: 1, maxBitrate: 1_700_000 },
];

interface Battery extends EventTarget {
  level: number;
  charging: boolean;
}

interface NetworkInformation extends EventTarget {
  type?: string;
  effectiveType?: string;
}

export type PositionProblem = "denied" | "unavailable";

export class PhoneModel {
  readonly server = signal<ServerInfo | null>(null);
  readonly name = signal("");
  readonly world = signal<World>(EMPTY);
  readonly wanted = signal(false);
  readonly wasLive = signal(false);
  readonly microphone = signal(load("microphone", true));
  readonly uplink = signal<Uplink | null>(null);
  readonly battery = signal<{ percent: number; charging: boolean } | null>(null);
  readonly network = signal("");
  readonly wakeLock = signal(false);
  readonly positionOn = signal(load("position", false));
  readonly fix = signal<positions.Fix | null>(null);
  readonly positionProblem = signal<PositionProblem | null>(null);
  readonly queue = signal<ReportedPosition[]>(positions.queueFrom(load(QUEUE, [])));
  /** The page has neither a link nor an account. */
  readonly nobody: boolean;

  readonly capture: Capture;
  readonly link: Link;
  readonly peer: Peer;
  readonly stream = computed(() => this.world.value.stream.get(this.own.value));
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

  private readonly own = signal("");
  private readonly token: string;
  private readonly senders: { audio?: RTCRtpSender; video?: RTCRtpSender } = {};
  private watch: number | null = null;
  private kept: positions.Fix | null = null;
  private sending = false;
  private stateAt = 0;
  private statisticsAt = 0;
  private lock: WakeLockSentinel | null = null;

  constructor(readonly initial: Initial) {
    this.token = takeToken();
    this.nobody = this.token === "" && initial.user === null;
    this.capture = new Capture(() => this.reopen());
    this.link = new Link(this.token, ["unit", "device", "stream"], {
      hello: (hello) =>
        batch(() => {
          this.server.value = hello.server;
          this.name.value = hello.user.name;
          this.own.value = hello.stream;
          this.stateAt = 0;
          this.flushPositions();
        }),
      message: (message) => {
        if (message.type === "snapshot") this.world.value = applySnapshot(message);
        else if (message.type === "delta") this.world.value = applyDelta(this.world.peek(), message);
        else if (message.type === "media") this.peer.told(message);
      },
    });
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

  /** The address that opens this page elsewhere, for browsers that cannot capture. */
  get address(): string {
    return this.token ? `${location.origin}/j/${this.token}` : `${location.origin}/m`;
  }

  start(): void {
    if (this.nobody) return;
    startClock();
    this.link.start();
    onBeat((at) => this.beat(at));
    effect(() => {
      const { ended } = this.link.status.value;
      if (!ended) return;
      this.stop();
      if (ended !== "schema") forget(TOKEN); // it opens nothing any more
    });
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
    void this.watchBattery();
    this.watchNetwork();
    if (this.positionOn.peek()) this.watchPosition();
    if (sessionStorage.getItem(LIVE) === "1") void this.goLive();
  }

  // ------------------------------------------------------------------ live

  async goLive(): Promise<void> {
    this.wanted.value = true;
    this.wasLive.value = false;
    if (!(await this.capture.open())) {
      this.wanted.value = false;
      return;
    }
    if (!this.wanted.peek()) return this.capture.close();
    sessionStorage.setItem(LIVE, "1");
    this.peer.start();
    void this.keepAwake();
  }

  stop(): void {
    sessionStorage.removeItem(LIVE);
    this.wanted.value = false;
    this.wasLive.value = false;
    this.peer.stop();
    this.capture.close();
    void this.lock?.release().catch(() => undefined);
  }

  toggleMicrophone(): void {
    this.microphone.value = !this.microphone.peek();
    save("microphone", this.microphone.peek());
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
    void this.keepAwake();
  }

  private async keepAwake(): Promise<void> {
    if (!("wakeLock" in navigator) || this.wakeLock.peek()) return;
    try {
      const lock = await navigator.wakeLock.request("screen");
      this.lock = lock;
      this.wakeLock.value = true;
      lock.addEventListener("release", () => {
        this.wakeLock.value = false;
      });
    } catch {
      this.wakeLock.value = false; // low battery, or the page is hidden; asked for again when it is looked at
    }
  }

  private beat(at: number): void {
    if (at >= this.stateAt && this.link.ready) {
      this.stateAt = at + STATE_EVERY;
      this.tellState();
    }
    if (at >= this.statisticsAt && this.peer.pc) {
      this.statisticsAt = at + STATISTICS_EVERY;
      void this.measure(this.peer.pc);
    }
    this.flushPositions();
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

  // ------------------------------------------------------------------ the phone itself

  private async watchBattery(): Promise<void> {
    const get = (navigator as Navigator & { getBattery?: () => Promise<Battery> }).getBattery;
    if (!get) return;
    const battery = await get.call(navigator);
    const read = (): void => {
      this.battery.value = { percent: Math.round(battery.level * 100), charging: battery.charging };
    };
    battery.addEventListener("levelchange", read);
    battery.addEventListener("chargingchange", read);
    read();
  }

  private watchNetwork(): void {
    const network = (navigator as Navigator & { connection?: NetworkInformation }).connection;
    if (!network) return;
    const read = (): void => {
      this.network.value =
        network.type === "wifi" || network.type === "ethernet" ? network.type : (network.effectiveType ?? "");
      this.stateAt = 0;
    };
    network.addEventListener("change", read);
    read();
  }

  private tellState(): void {
    const battery = this.battery.peek();
    const fields = {
      battery: battery?.percent ?? null,
      charging: battery?.charging ?? null,
      network: this.network.peek(),
    };
    void this.link.command("phone.state", fields, "now");
  }

  // ------------------------------------------------------------------ position

  togglePosition(): void {
    this.positionOn.value = !this.positionOn.peek();
    save("position", this.positionOn.peek());
    if (this.positionOn.peek()) this.watchPosition();
    else this.unwatchPosition();
  }

  private watchPosition(): void {
    if (this.watch !== null) return;
    this.positionProblem.value = null;
    if (!("geolocation" in navigator)) {
      this.positionProblem.value = "unavailable";
      return;
    }
    this.watch = navigator.geolocation.watchPosition(
      ({ coords, timestamp }) => {
        this.positionProblem.value = null;
        this.located({
          lat: coords.latitude,
          lon: coords.longitude,
          time: timestamp / 1000 + (serverTime() - Date.now() / 1000),
          accuracy: coords.accuracy,
          altitude: coords.altitude,
          heading: coords.heading !== null && Number.isFinite(coords.heading) ? coords.heading : null,
          speed: coords.speed,
        });
      },
      (error) => {
        this.positionProblem.value = error.code === error.PERMISSION_DENIED ? "denied" : "unavailable";
        this.fix.value = null;
      },
      { enableHighAccuracy: true, maximumAge: 5000, timeout: 30_000 },
    );
  }

  private unwatchPosition(): void {
    if (this.watch !== null) navigator.geolocation.clearWatch(this.watch);
    this.watch = null;
    this.fix.value = null;
    this.positionProblem.value = null;
  }

  private located(fix: positions.Fix): void {
    this.fix.value = fix;
    if (!positions.worthKeeping(fix, this.kept)) return;
    this.kept = fix;
    this.setQueue(positions.add(this.queue.peek(), fix, randomId()));
    this.flushPositions();
  }

  private setQueue(queue: ReportedPosition[]): void {
    this.queue.value = queue;
    save(QUEUE, queue);
  }

  private flushPositions(): void {
    if (this.sending || !this.link.ready || this.queue.peek().length === 0) return;
    this.sending = true;
    const sent = positions.batch(this.queue.peek());
    void this.link.command("position.report", { positions: sent }, "now").then((outcome) => {
      this.sending = false;
      // a report the server calls bad stays bad; anything else is tried again
      if (outcome.ok || outcome.problem.code === "bad_request") {
        this.setQueue(positions.without(this.queue.peek(), sent));
      }
    });
  }
}

/** The join link's secret, moved out of the address bar and kept in this browser. */
function takeToken(): string {
  const inPath = /^\/j\/([^/]+)$/.exec(location.pathname)?.[1];
  if (inPath) {
    save(TOKEN, decodeURIComponent(inPath));
    history.replaceState(null, "", "/m");
    return decodeURIComponent(inPath);
  }
  return load(TOKEN, "");
}

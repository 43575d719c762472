/** One browser peer connection that comes back by itself: offers over the WebSocket, `Recovery` says when. */
import { signal } from "@preact/signals";
import type { Problem } from "./api.ts";
import { now, onBeat } from "./clock.ts";
import type { Link } from "./link.ts";
import type { MediaAnswer, MediaStep } from "./messages.ts";
import { avoiding, CONSOLE, PathWatch, PHONE, type Remote, type Traffic, trafficOf } from "./path-watch.ts";
import { Recovery, type RecoveryPhase } from "./recovery.ts";

interface PeerHooks {
  kind: "console" | "phone" | "voice";
  /** Put the sections into a fresh connection. */
  prepare: (pc: RTCPeerConnection) => void;
  /** An answer was applied. */
  answered: (answer: MediaAnswer) => void;
  /** The connection was given up; a fresh one follows unless the peer was stopped or refused for good. */
  gone: () => void;
  /** Something ought to arrive now. `sending`: media of ours leaves. */
  expecting: (sending: boolean) => boolean;
  /** By the server's word nothing of ours arrives there. */
  unheard: () => boolean;
}

const LOOK_AGAIN_MS = 125; // while it is quiet; else at every beat
const UNHEARD_FOR = 1; // s that a new path has until the server's word about it counts

/** Errors of an offer after which asking again is pointless: somebody has to change something. */
const HOPELESS = new Set(["forbidden", "revoked", "expired", "codec"]);
/** Ends that were meant: coming back by itself would be a fight with whoever meant it. */
const MEANT = new Set(["ended_by_officer", "replaced", "revoked"]);

/**
 * One connection of the browser with what belongs to it alone. Promises of one that was closed may never settle
 * (WebRTC, "chain an operation"), so nothing that waits for them may hold up the next one.
 */
interface Connection {
  readonly pc: RTCPeerConnection;
  session: string;
  negotiating: boolean;
  owed: boolean; // an offer that could not be made yet
  answered: boolean; // to the last offer
  /** Where the path leads that fell silent, null = it did not. */
  silent: Remote | null;
}

export class Peer {
  readonly phase = signal<RecoveryPhase>("off");
  /** Why the last offer was refused, null = it was not. */
  readonly problem = signal<Problem | null>(null);

  private readonly recovery = new Recovery(Math.random);
  private readonly watch: PathWatch;
  private current: Connection | null = null;
  private looking = false;
  private again: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly link: Link,
    private readonly hooks: PeerHooks,
  ) {
    this.watch = new PathWatch(hooks.kind === "phone" ? PHONE : CONSOLE);
    onBeat((at) => {
      this.beat(at);
      void this.look();
    });
    addEventListener("online", () => this.networkChanged());
    const network = (navigator as Navigator & { connection?: EventTarget }).connection;
    network?.addEventListener("change", () => this.networkChanged());
  }

  get pc(): RTCPeerConnection | null {
    return this.current?.pc ?? null;
  }

  /** The server's name of the connection, "" = it has none yet. */
  get session(): string {
    return this.current?.session ?? "";
  }

  start(): void {
    this.problem.value = null;
    this.recovery.start(now());
    this.beat(now());
  }

  stop(): void {
    if (this.session) void this.link.command("media.close", { session: this.session }, "resend");
    this.recovery.stop();
    this.discard();
    this.publish();
  }

  /** The sections have changed: offer again on the same connection. */
  renegotiate(): void {
    if (this.pc) void this.negotiate(false);
  }

  /** The server's word about the session. */
  told(step: MediaStep): void {
    if (step.session !== this.session || this.session === "") return;
    if (step.step !== "lost" && step.step !== "closed") return;
    if (MEANT.has(step.detail)) this.giveUp({ code: step.detail, message: "", field: "", retryAfter: 0 });
    else this.rejoin();
  }

  /** The session turned out not to exist any more. */
  rejoin(): void {
    this.recovery.lost(now());
    this.discard();
    this.publish();
  }

  /** What `expecting` and `unheard` say may be another now. */
  reconsider(): void {
    void this.look();
  }

  private networkChanged(): void {
    if (this.recovery.phase !== "up" && this.recovery.phase !== "shaky") return;
    this.recovery.pathFailed(now());
    this.beat(now());
  }

  private beat(at: number): void {
    const before = this.recovery.phase;
    const ready = this.link.ready && !this.current?.negotiating;
    const deed = this.recovery.tick(at, ready);
    if (deed === "join") this.join();
    else if (deed === "restart") void this.negotiate(true);
    else if (this.recovery.phase === "waiting" && before !== "waiting") this.discard();
    else if (ready && this.current?.owed) void this.negotiate(false);
    const { current } = this;
    if (before === "restarting" && current?.answered && current.pc.connectionState === "connected") {
      this.recovery.connected(at);
    }
    this.publish();
  }

  /** Whether the path still carries anything; closely as long as it is quiet. */
  private async look(): Promise<void> {
    const { current } = this;
    if (!current?.answered || this.looking) return;
    this.looking = true;
    try {
      const report = await current.pc.getStats();
      if (current !== this.current) return;
      const traffic = trafficOf(report as unknown as ReadonlyMap<string, Record<string, unknown>>);
      if (traffic) this.judge(current, traffic);
    } finally {
      this.looking = false;
    }
  }

  private judge(current: Connection, traffic: Traffic): void {
    const at = now();
    const { watch, recovery, hooks } = this;
    watch.look(traffic, at);
    const sending = watch.sends(at);
    watch.expect(hooks.expecting(sending), at);
    const unheard = sending && hooks.unheard() && watch.age(at) >= UNHEARD_FOR;
    const verdict = unheard ? "silent" : watch.verdict(at);
    if (verdict === "silent") {
      if (recovery.phase === "up") this.link.suspect();
      recovery.silent(at);
      current.silent = traffic.remote;
    } else if (verdict !== "pending" && !hooks.unheard()) {
      current.silent = null;
      recovery.refuted(at);
    }
    if (watch.quiet(at)) {
      clearTimeout(this.again);
      this.again = setTimeout(() => void this.look(), LOOK_AGAIN_MS);
    }
    this.beat(at);
  }

  private join(): void {
    this.discard();
    const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    this.current = { pc, session: "", negotiating: false, owed: false, answered: false, silent: null };
    this.watch.reset(now(), true);
    pc.onconnectionstatechange = () => this.changed(pc);
    pc.oniceconnectionstatechange = () => this.changed(pc);
    this.hooks.prepare(pc);
    void this.negotiate(false);
  }

  private changed(pc: RTCPeerConnection): void {
    if (pc !== this.pc) return;
    const at = now();
    if (pc.connectionState === "failed" || pc.iceConnectionState === "failed") {
      this.recovery.pathFailed(at);
    } else if (pc.iceConnectionState === "disconnected") {
      this.recovery.disconnected(at);
      this.link.suspect();
    } else if (pc.connectionState === "connected" && this.recovery.phase !== "restarting") {
      this.recovery.connected(at);
    }
    this.beat(at);
  }

  private async negotiate(iceRestart: boolean): Promise<void> {
    const { current } = this;
    if (!current) return;
    if (current.negotiating) {
      current.owed = true;
      return;
    }
    current.negotiating = true;
    current.owed = false;
    current.answered = false;
    try {
      await this.exchange(current, iceRestart);
    } catch (error) {
      if (current === this.current) {
        this.refused(current, { code: "bad_sdp", message: String(error), field: "", retryAfter: 0 });
      }
    } finally {
      current.negotiating = false;
      this.beat(now());
    }
  }

  private async exchange(current: Connection, iceRestart: boolean): Promise<void> {
    const { pc, session } = current;
    if (iceRestart) pc.restartIce();
    await pc.setLocalDescription(await pc.createOffer());
    if (current !== this.current) return;
    const sdp = pc.localDescription?.sdp ?? "";
    const outcome = await this.link.command("media.offer", { kind: this.hooks.kind, sdp, session }, "now");
    if (current !== this.current) return;
    if (!outcome.ok) {
      this.refused(current, outcome.problem);
      return;
    }
    current.session = outcome.value.session;
    const answer = outcome.value.sdp;
    await pc.setRemoteDescription({
      type: "answer",
      sdp: iceRestart && current.silent ? avoiding(current.silent, answer) : answer,
    });
    if (current !== this.current) return;
    current.answered = true;
    this.watch.reset(now());
    this.problem.value = null;
    this.hooks.answered(outcome.value);
  }

  private refused(current: Connection, problem: Problem): void {
    if (problem.code === "offline" && this.recovery.phase !== "joining") {
      // what flows may flow on: the offer is made again when the server can be asked
      current.owed = true;
      this.recovery.interrupted(now());
      return;
    }
    if (HOPELESS.has(problem.code)) {
      this.giveUp(problem);
      return;
    }
    if (problem.code !== "offline") this.problem.value = problem;
    this.rejoin();
  }

  private giveUp(problem: Problem): void {
    this.recovery.stop();
    this.discard();
    this.publish();
    this.problem.value = problem;
  }

  private discard(): void {
    const pc = this.pc;
    this.current = null;
    if (!pc) return;
    pc.onconnectionstatechange = null;
    pc.oniceconnectionstatechange = null;
    pc.close();
    this.hooks.gone();
  }

  private publish(): void {
    if (this.phase.peek() !== this.recovery.phase) this.phase.value = this.recovery.phase;
  }
}

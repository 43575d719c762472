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

export class Peer {
  readonly phase = signal<RecoveryPhase>("off");
  /** Why the last offer was refused, null = it was not. */
  readonly problem = signal<Problem | null>(null);
  pc: RTCPeerConnection | null = null;
  session = "";

  private readonly recovery = new Recovery(Math.random);
  private readonly watch: PathWatch;
  /** Where the path leads that fell silent, null = it did not. */
  private silent: Remote | null = null;
  private looking = false;
  private again: ReturnType<typeof setTimeout> | undefined;
  private negotiating = false;
  private owed = false; // an offer that could not be made yet
  private answered = false; // to the last offer

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
    const ready = this.link.ready && !this.negotiating;
    const deed = this.recovery.tick(at, ready);
    if (deed === "join") this.join();
    else if (deed === "restart") void this.negotiate(true);
    else if (this.recovery.phase === "waiting" && before !== "waiting") this.discard();
    else if (ready && this.owed) void this.negotiate(false);
    if (before === "restarting" && this.answered && this.pc?.connectionState === "connected") {
      this.recovery.connected(at);
    }
    this.publish();
  }

  /** Whether the path still carries anything; closely as long as it is quiet. */
  private async look(): Promise<void> {
    const pc = this.pc;
    if (!pc || this.looking || !this.answered) return;
    this.looking = true;
    try {
      const report = await pc.getStats();
      if (pc !== this.pc) return;
      const traffic = trafficOf(report as unknown as ReadonlyMap<string, Record<string, unknown>>);
      if (traffic) this.judge(traffic);
    } finally {
      this.looking = false;
    }
  }

  private judge(traffic: Traffic): void {
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
      this.silent = traffic.remote;
    } else if (verdict !== "pending" && !hooks.unheard()) {
      this.silent = null;
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
    this.pc = pc;
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
    const pc = this.pc;
    if (!pc) return;
    if (this.negotiating) {
      this.owed = true;
      return;
    }
    this.negotiating = true;
    this.owed = false;
    this.answered = false;
    try {
      if (iceRestart) pc.restartIce();
      await pc.setLocalDescription(await pc.createOffer());
      const sdp = pc.localDescription?.sdp ?? "";
      const fields = { kind: this.hooks.kind, sdp, session: this.session };
      const outcome = await this.link.command("media.offer", fields, "now");
      if (pc !== this.pc) return;
      if (!outcome.ok) {
        this.refused(outcome.problem);
        return;
      }
      this.session = outcome.value.session;
      const answer = outcome.value.sdp;
      await pc.setRemoteDescription({
        type: "answer",
        sdp: iceRestart && this.silent ? avoiding(this.silent, answer) : answer,
      });
      if (pc !== this.pc) return;
      this.answered = true;
      this.watch.reset(now());
      this.problem.value = null;
      this.hooks.answered(outcome.value);
    } catch (error) {
      if (pc === this.pc) this.refused({ code: "bad_sdp", message: String(error), field: "", retryAfter: 0 });
    } finally {
      this.negotiating = false;
      this.beat(now());
    }
  }

  private refused(problem: Problem): void {
    if (problem.code === "offline" && this.recovery.phase !== "joining") {
      // what flows may flow on: the offer is made again when the server can be asked
      this.owed = true;
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
    this.pc = null;
    this.session = "";
    this.owed = false;
    this.answered = false;
    this.silent = null;
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

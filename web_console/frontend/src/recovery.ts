/**
 * When to restart ICE and when to join again: pure. The shell reports what the peer connection does and what its path
 * carries (`path-watch.ts`), and carries out what `tick` says, each with `now` in seconds of one monotonic clock.
 *
 * A restart keeps the session: the old path is used until another one answers, so one too many does no harm. There is
 * at most one at a time; one that did not help is followed by the next after a wait that grows, with chance in it so that a
 * thousand phones of one dead cell do not ask together.
 */
const DISCONNECTED_FOR = 2;
const JOIN_TIMEOUT = 12;
/** A restart has at least so long to help before the next one. */
const RESTART_LEAST = 1.5;
const RESTARTS = 4;
/** A path that held for so long has earned that the next restart is done at once. */
const PROVEN_AFTER = 10;
const BACKOFF_FIRST = 0.5;
const BACKOFF_MAX = 8;

export type RecoveryPhase = "off" | "joining" | "up" | "shaky" | "restarting" | "waiting";
type Deed = "restart" | "join";

export class Recovery {
  phase: RecoveryPhase = "off";
  private since = 0;
  private attempt = 0;
  private retryAt = 0;
  /** There is evidence that nothing arrives; only something that arrives refutes it. */
  private doubted = false;
  private restarts = 0;
  private restartAt = 0;

  constructor(private readonly random: () => number) {}

  /** Media is wanted: join on the next tick. */
  start(now: number): void {
    if (this.phase !== "off") return;
    this.phase = "waiting";
    this.retryAt = now;
  }

  stop(): void {
    this.phase = "off";
    this.attempt = 0;
  }

  /** The browser says that there is a path. It says so for long of one that is dead. */
  connected(now: number): void {
    if (this.phase === "off" || this.phase === "waiting" || this.doubted) return;
    if (this.phase !== "up") this.since = now;
    this.phase = "up";
    this.attempt = 0;
  }

  /** Checks go unanswered; often it heals by itself. */
  disconnected(now: number): void {
    if (this.phase !== "up") return;
    this.phase = "shaky";
    this.since = now;
  }

  /** What ought to arrive does not. */
  silent(now: number): void {
    if (this.phase !== "up" && this.phase !== "shaky") return;
    this.settle(now);
    this.phase = "shaky";
    this.doubted = true;
    this.hurry(now);
  }

  /** Something arrives, or nothing is expected any more. */
  refuted(now: number): void {
    if (!this.doubted) return;
    this.doubted = false;
    if (this.phase === "shaky") this.connected(now);
  }

  /** The browser gave the path up, or has another network now. */
  pathFailed(now: number): void {
    if (this.phase === "up") this.phase = "shaky";
    if (this.phase === "shaky") {
      this.hurry(now);
      this.restartAt = now;
    } else if (this.phase === "joining") this.lost(now);
    else if (this.phase === "restarting") this.restartAt = Math.min(this.restartAt, now + RESTART_LEAST);
  }

  /** A restart could not be asked for; it is asked for again as soon as that is possible. */
  interrupted(now: number): void {
    if (this.phase !== "restarting") return;
    this.phase = "shaky";
    this.restarts = Math.max(0, this.restarts - 1);
    this.restartAt = now;
    this.hurry(now);
  }

  /** The session is gone, or an offer was refused: join again after a while, longer each time. */
  lost(now: number): void {
    if (this.phase === "off" || this.phase === "waiting") return;
    this.phase = "waiting";
    this.retryAt = now + this.random() * Math.min(BACKOFF_MAX, BACKOFF_FIRST * 2 ** this.attempt);
    this.attempt += 1;
  }

  /** `ready`: offers can be made now. The deed that is returned has been noted as begun. */
  tick(now: number, ready: boolean): Deed | null {
    switch (this.phase) {
      case "waiting":
        if (!ready || now < this.retryAt) return null;
        return this.begin("joining", "join", now);
      case "shaky":
        if (now - this.since <= DISCONNECTED_FOR) return null;
        return this.restart(now, ready);
      case "joining":
        if (now - this.since > JOIN_TIMEOUT) this.lost(now);
        return null;
      case "restarting":
        return this.restart(now, ready);
      case "up":
        this.settle(now);
        return null;
      case "off":
        return null;
    }
  }

  private restart(now: number, ready: boolean): Deed | null {
    if (!ready || now < this.restartAt) return null;
    if (this.restarts >= RESTARTS) {
      this.lost(now);
      return null;
    }
    this.restartAt =
      now + RESTART_LEAST + this.random() * Math.min(BACKOFF_MAX, 2 * BACKOFF_FIRST * 2 ** this.restarts);
    this.restarts += 1;
    return this.begin("restarting", "restart", now);
  }

  private settle(now: number): void {
    if (this.phase !== "up" || now - this.since < PROVEN_AFTER) return;
    this.restarts = 0;
    this.restartAt = 0;
  }

  private hurry(now: number): void {
    this.since = now - DISCONNECTED_FOR - 1;
  }

  private begin(phase: "joining" | "restarting", deed: Deed, now: number): Deed {
    if (phase === "joining") {
      this.doubted = false;
      this.restarts = 0;
      this.restartAt = 0;
    }
    this.phase = phase;
    this.since = now;
    return deed;
  }
}

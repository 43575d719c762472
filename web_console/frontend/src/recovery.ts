/**
 * When to restart ICE and when to join again: pure. The shell reports what the peer connection does and carries out
 * what `tick` says, each with `now` in seconds of one monotonic clock.
 */
export const DISCONNECTED_FOR = 2;
export const JOIN_TIMEOUT = 12;
export const RESTART_TIMEOUT = 8;
export const BACKOFF_FIRST = 0.5;
export const BACKOFF_MAX = 8;

export type RecoveryPhase = "off" | "joining" | "up" | "shaky" | "restarting" | "waiting";
export type Deed = "restart" | "join";

export class Recovery {
  phase: RecoveryPhase = "off";
  private since = 0;
  private attempt = 0;
  private retryAt = 0;

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

  connected(): void {
    if (this.phase === "off" || this.phase === "waiting") return;
    this.phase = "up";
    this.attempt = 0;
  }

  /** Checks go unanswered; often it heals by itself. */
  disconnected(now: number): void {
    if (this.phase !== "up") return;
    this.phase = "shaky";
    this.since = now;
  }

  /** The browser gave the path up, or has another network now. */
  pathFailed(now: number): void {
    if (this.phase === "up") this.phase = "shaky";
    if (this.phase === "shaky") this.since = now - DISCONNECTED_FOR - 1;
    else if (this.phase === "joining" || this.phase === "restarting") this.lost(now);
  }

  /** A restart could not be asked for; it is asked for again as soon as that is possible. */
  interrupted(): void {
    if (this.phase === "restarting") this.phase = "shaky";
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
        if (!ready || now - this.since <= DISCONNECTED_FOR) return null;
        return this.begin("restarting", "restart", now);
      case "joining":
        if (now - this.since > JOIN_TIMEOUT) this.lost(now);
        return null;
      case "restarting":
        if (now - this.since > RESTART_TIMEOUT) this.lost(now);
        return null;
      default:
        return null;
    }
  }

  private begin(phase: "joining" | "restarting", deed: Deed, now: number): Deed {
    this.phase = phase;
    this.since = now;
    return deed;
  }
}

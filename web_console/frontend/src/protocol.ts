/**
 * The client's side of the WebSocket protocol (`server/signalling/PROTOCOL.md`) without a socket, a clock or the DOM.
 *
 * The shell calls `opened`, `received`, `closed` and, about once a second, `tick`, each with `now` in seconds of one
 * monotonic clock; after each call it sends what `takeOutgoing` gives and carries out the returned actions.
 */
import type { Goodbye, Hello, Problem, Reply, ServerMessage } from "./messages.ts";
import { SCHEMA } from "./messages.ts";

export const PING_EVERY = 2;
export const SILENCE = 5;
/** Silence that is waited for after something spoke against the connection. */
export const DOUBT = 1.5;
export const OPEN_TIMEOUT = 8;
export const MAX_WAITING = 64;
export const BACKOFF_FIRST = 0.5;
export const BACKOFF_MAX = 8;
const BACKOFF_LEAST = 0.1;

/**
 * What becomes of a command when the connection breaks before its reply.
 * `resend`: sent again, the server does it once. `once`: sent again only if the server still knows what it has done.
 * `now`: worthless later; it fails.
 */
export type Persistence = "resend" | "once" | "now";

export type Phase = "waiting" | "connecting" | "greeting" | "ready" | "ended";

export type Action =
  | { do: "connect" }
  | { do: "drop" }
  | { do: "deliver"; message: Exclude<ServerMessage, Reply | Goodbye> }
  | { do: "answer"; id: string; result: unknown; error: Problem | null }
  | { do: "end"; reason: string };

/** Goodbyes after which coming back by itself would be wrong. */
const FINAL = new Set(["revoked", "expired", "logged_out", "not_logged_in", "schema"]);

interface Waiting {
  text: string;
  persistence: Persistence;
  sent: boolean;
}

export interface LinkOptions {
  client: string;
  token: string;
  want: readonly string[];
  /** 0 ≤ random() < 1. */
  random: () => number;
  /** A new client id, for when another tab took ours. */
  newClient: () => string;
}

export class LinkCore {
  phase: Phase = "waiting";
  /** When the last message arrived on a connection that was ready; undefined before the first. */
  lastHeard: number | undefined;
  rev = 0;
  unknownMessages = 0;

  private client: string;
  private attempt = 0;
  private retryAt = 0;
  private openedAt = 0;
  private heardAt = 0;
  private pingAt = 0;
  private answerBy: number | null = null;
  private nextId = 0;
  private readonly waiting = new Map<string, Waiting>();
  private outgoing: string[] = [];

  constructor(private readonly options: LinkOptions) {
    this.client = options.client;
  }

  /** Commands not yet answered. */
  get unanswered(): number {
    return this.waiting.size;
  }

  /** Seconds until the next attempt to connect, 0 when one is under way. */
  retryIn(now: number): number {
    return this.phase === "waiting" ? Math.max(0, this.retryAt - now) : 0;
  }

  takeOutgoing(): string[] {
    const texts = this.outgoing;
    this.outgoing = [];
    return texts;
  }

  opened(now: number): void {
    this.phase = "greeting";
    this.heardAt = now;
    this.answerBy = null;
    const { token, want } = this.options;
    this.outgoing = [
      JSON.stringify({ type: "hello", schema: SCHEMA, client: this.client, token, rev: this.rev, want }),
    ];
  }

  /** The socket is gone, or could not be opened. */
  closed(now: number): Action[] {
    if (this.phase === "ended" || this.phase === "waiting") return [];
    this.phase = "waiting";
    this.outgoing = [];
    const ceiling = Math.min(BACKOFF_MAX, BACKOFF_FIRST * 2 ** this.attempt);
    this.attempt += 1;
    this.retryAt = now + Math.max(BACKOFF_LEAST, this.options.random() * ceiling);
    return this.failWaiting((one) => one.persistence === "now", "offline");
  }

  /** Try again at once: the network came back, or the page is looked at again. */
  hurry(now: number): void {
    if (this.phase === "waiting") this.retryAt = now;
  }

  /** The network changed, or the machine slept: ask whether the server still hears us, and do not wait long for it. */
  suspect(now: number): void {
    this.hurry(now);
    if (this.phase !== "ready" || this.answerBy !== null) return;
    this.answerBy = now + DOUBT;
    this.pingAt = now;
  }

  tick(now: number): Action[] {
    switch (this.phase) {
      case "waiting":
        if (now < this.retryAt) return [];
        this.phase = "connecting";
        this.openedAt = now;
        return [{ do: "connect" }];
      case "connecting":
        return now - this.openedAt > OPEN_TIMEOUT ? [{ do: "drop" }, ...this.closed(now)] : [];
      case "greeting":
        return now - this.heardAt > SILENCE ? [{ do: "drop" }, ...this.closed(now)] : [];
      case "ready":
        if (now - this.heardAt > SILENCE) return [{ do: "drop" }, ...this.closed(now)];
        if (this.answerBy !== null && now > this.answerBy) {
          const actions = this.closed(now);
          this.hurry(now);
          return [{ do: "drop" }, ...actions];
        }
        if (now >= this.pingAt) {
          this.pingAt = now + PING_EVERY;
          this.outgoing.push(JSON.stringify({ type: "ping", t: now }));
        }
        return [];
      case "ended":
        return [];
    }
  }

  received(text: string, now: number): Action[] {
    this.heardAt = now;
    this.answerBy = null;
    let message: ServerMessage;
    try {
      message = JSON.parse(text) as ServerMessage;
    } catch {
      this.unknownMessages += 1;
      return [];
    }
    switch (message.type) {
      case "hello":
        return this.greeted(message, now);
      case "goodbye":
        return this.dismissed(message.reason, now);
      case "reply":
        this.lastHeard = now;
        return this.replied(message);
      case "snapshot":
      case "delta":
        this.rev = message.rev;
        this.attempt = 0;
        break;
      case "pong":
        this.attempt = 0;
        break;
      case "slot":
      case "voice.slot":
      case "floor.told":
      case "media":
        break;
      default:
        this.unknownMessages += 1;
        return [];
    }
    this.lastHeard = now;
    return [{ do: "deliver", message }];
  }

  /** Queue a command. Null: too many wait already, or it is worthless while there is no connection. */
  command(type: string, fields: object, persistence: Persistence): string | null {
    if (this.phase === "ended" || this.waiting.size >= MAX_WAITING) return null;
    if (persistence === "now" && this.phase !== "ready") return null;
    this.nextId += 1;
    const id = String(this.nextId);
    const text = JSON.stringify({ type, id, ...fields });
    const sent = this.phase === "ready";
    this.waiting.set(id, { text, persistence, sent });
    if (sent) this.outgoing.push(text);
    return id;
  }

  /** Say something that has no answer and is worthless later. False: there is no connection to say it on. */
  tell(type: string, fields: object = {}): boolean {
    if (this.phase !== "ready") return false;
    this.outgoing.push(JSON.stringify({ type, ...fields }));
    return true;
  }

  private greeted(hello: Hello, now: number): Action[] {
    if (hello.schema !== SCHEMA) return this.dismissed("schema", now);
    this.phase = "ready";
    this.lastHeard = now;
    this.pingAt = now;
    const failed = hello.resumed
      ? []
      : this.failWaiting((one) => one.persistence === "once" && one.sent, "unknown_outcome");
    for (const one of this.waiting.values()) {
      one.sent = true;
      this.outgoing.push(one.text);
    }
    return [{ do: "deliver", message: hello }, ...failed];
  }

  private dismissed(reason: string, now: number): Action[] {
    if (FINAL.has(reason)) {
      this.phase = "ended";
      this.outgoing = [];
      return [{ do: "drop" }, ...this.failWaiting(() => true, "offline"), { do: "end", reason }];
    }
    if (reason === "replaced") this.client = this.options.newClient();
    return [{ do: "drop" }, ...this.closed(now)];
  }

  private replied(reply: Reply): Action[] {
    if (!this.waiting.delete(reply.id)) return [];
    const error = reply.ok
      ? null
      : (reply.error ?? { code: "internal", message: "", field: "", retryAfter: 0 });
    return [{ do: "answer", id: reply.id, result: reply.result, error }];
  }

  private failWaiting(which: (one: Waiting) => boolean, code: string): Action[] {
    const actions: Action[] = [];
    for (const [id, one] of this.waiting) {
      if (!which(one)) continue;
      this.waiting.delete(id);
      const error: Problem = { code, message: "", field: "", retryAfter: 0 };
      actions.push({ do: "answer", id, result: null, error });
    }
    return actions;
  }
}

/**
 * The client's side of the WebSocket protocol (`server/signalling/PROTOCOL.md`) without a socket, a clock or the DOM.
 *
 * The shell calls `opened`, `received`, `closed` and, about twice a second, `tick`, each with `now` in seconds of one
 * monotonic clock; after each call it carries out the returned actions and sends what `takeOutgoing` gives.
 *
 * There is one socket, the main one. When it leaves a ping unanswered a second one, the rival, is opened beside it, and
 * whichever answers first stays: the main one as long as the rival has not said hello yet, after that the rival, since
 * its hello makes the server leave the other. So a connection that died without a word costs two seconds, and
 * a doubt that was wrong costs nothing.
 */
import type { Goodbye, Hello, Problem, Reply, ServerMessage } from "./messages.ts";
import { SCHEMA } from "./messages.ts";

const PING_EVERY = 2;
const SILENCE = 5;
/** Silence after which a ping that is not answered makes us open a rival. */
const DOUBT = 1.5;
/** A ping has at least so long to be answered. Chance is added to it, since a server that hangs for a moment is doubted by all. */
const ANSWER_LEAST = 0.5;
const OPEN_TIMEOUT = 8;
/** s without a rival after which the next one need not wait. */
const GOOD = 30;
/** For so long after a rival's hello the server's word that we were replaced means ourselves. */
const CLAIM = 10;
const MAX_WAITING = 64;
const BACKOFF_FIRST = 0.5;
const BACKOFF_MAX = 8;
const BACKOFF_LEAST = 0.1;

/**
 * What becomes of a command when the connection breaks before its reply.
 * `resend`: sent again, the server does it once. `once`: sent again only if the server still knows what it has done.
 * `now`: worthless later; it fails.
 */
export type Persistence = "resend" | "once" | "now";

export type Phase = "waiting" | "connecting" | "greeting" | "ready" | "ended";

export type Action =
  | { do: "connect"; socket: number }
  | { do: "drop"; socket: number }
  | { do: "deliver"; message: Exclude<ServerMessage, Reply | Goodbye> }
  | { do: "answer"; id: string; result: unknown; error: Problem | null }
  | { do: "end"; reason: string };

/** Goodbyes after which coming back by itself would be wrong. */
const FINAL = new Set(["revoked", "expired", "logged_out", "not_logged_in", "schema"]);

interface Rival {
  socket: number;
  openedAt: number;
  /** When it said hello, null = not yet. */
  greetedAt: number | null;
}

interface Waiting {
  text: string;
  persistence: Persistence;
  sent: boolean;
}

interface LinkOptions {
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

  /** The main socket; it carries what `takeOutgoing` gives without another number. */
  main = 0;

  private client: string;
  private sockets = 0;
  private rival: Rival | null = null;
  private rivals = 0; // since the connection was last good for a while
  private rivalAt = 0;
  private claimedAt = Number.NEGATIVE_INFINITY;
  private attempt = 0;
  private retryAt = 0;
  private openedAt = 0;
  private heardAt = 0;
  private pingAt = 0;
  /** When the main socket is doubted: a ping waits for its answer until then. */
  private answerBy: number | null = null;
  private nextId = 0;
  private readonly waiting = new Map<string, Waiting>();
  private outgoing: { socket: number; text: string }[] = [];

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

  takeOutgoing(): { socket: number; text: string }[] {
    const texts = this.outgoing;
    this.outgoing = [];
    return texts;
  }

  opened(socket: number, now: number): void {
    if (socket === this.rival?.socket) {
      this.rival.greetedAt = now;
      this.claimedAt = now;
    } else if (socket === this.main && this.phase === "connecting") {
      this.phase = "greeting";
      this.heardAt = now;
      this.answerBy = null;
    } else {
      return;
    }
    const { token, want } = this.options;
    const { client, rev } = this;
    this.send(socket, { type: "hello", schema: SCHEMA, client, token, rev, want });
  }

  /** A socket is gone, or could not be opened. */
  closed(socket: number, now: number): Action[] {
    if (socket === this.rival?.socket) {
      this.rival = null;
      return [];
    }
    if (socket !== this.main || this.phase === "ended" || this.phase === "waiting") return [];
    this.outgoing = this.outgoing.filter((one) => one.socket !== socket);
    if (this.rival) {
      const { rival } = this;
      this.rival = null;
      this.main = rival.socket;
      this.phase = rival.greetedAt === null ? "connecting" : "greeting";
      this.openedAt = rival.openedAt;
      this.heardAt = rival.greetedAt ?? now;
    } else {
      this.phase = "waiting";
      this.retryAt = now + this.backOff(this.attempt);
      this.attempt += 1;
    }
    this.answerBy = null;
    return this.failWaiting((one) => one.persistence === "now", "offline");
  }

  /** Try again at once: the network came back, or the page is looked at again. */
  hurry(now: number): void {
    if (this.phase === "waiting") this.retryAt = now;
  }

  /**
   * The network changed, the machine slept, or media stopped: ask whether the server still hears us, and do not wait
   * long for it.
   */
  suspect(now: number): void {
    this.hurry(now);
    if (this.phase !== "ready") return;
    const by = Math.max(this.heardAt + DOUBT, now + ANSWER_LEAST * (1 + this.options.random()));
    if (this.answerBy !== null && this.answerBy <= by) return;
    this.ask(now, by);
  }

  tick(now: number): Action[] {
    switch (this.phase) {
      case "waiting":
        if (now < this.retryAt) return [];
        this.phase = "connecting";
        this.openedAt = now;
        this.main = this.sockets += 1;
        return [{ do: "connect", socket: this.main }];
      case "connecting":
        return now - this.openedAt > OPEN_TIMEOUT ? this.drop(this.main, now) : [];
      case "greeting":
        return now - this.heardAt > SILENCE ? this.drop(this.main, now) : [];
      case "ready":
        return this.tickReady(now);
      case "ended":
        return [];
    }
  }

  private tickReady(now: number): Action[] {
    const { rival } = this;
    const slow =
      rival !== null &&
      (rival.greetedAt === null ? now - rival.openedAt > OPEN_TIMEOUT : now - rival.greetedAt > SILENCE);
    const actions = slow ? this.drop(rival.socket, now) : [];
    if (now - this.heardAt > SILENCE) return [...actions, ...this.drop(this.main, now)];
    if (now >= this.pingAt) this.ask(now, now + DOUBT * (1 + this.options.random()));
    if (this.answerBy !== null && now > this.answerBy && !this.rival && now >= this.rivalAt) {
      this.sockets += 1;
      this.rival = { socket: this.sockets, openedAt: now, greetedAt: null };
      if (now - this.rivalAt > GOOD) this.rivals = 0;
      this.rivalAt = now + this.backOff(this.rivals);
      this.rivals += 1;
      actions.push({ do: "connect", socket: this.sockets });
    }
    return actions;
  }

  received(socket: number, text: string, now: number): Action[] {
    const message = parsed(text);
    const before: Action[] = [];
    if (socket === this.rival?.socket) {
      if (message?.type === "goodbye" && !FINAL.has(message.reason)) return this.drop(socket, now);
      // it answered: the server has left the other one by now
      before.push(...this.drop(this.main, now));
    } else if (socket !== this.main) {
      return [];
    } else if (this.rival?.greetedAt === null) {
      before.push({ do: "drop", socket: this.rival.socket });
      this.rival = null;
    }
    return [...before, ...this.heard(message, now)];
  }

  private heard(message: ServerMessage | null, now: number): Action[] {
    this.heardAt = now;
    this.answerBy = null;
    if (!message) {
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
    if (sent) this.outgoing.push({ socket: this.main, text });
    return id;
  }

  /** Say something that has no answer and is worthless later. False: there is no connection to say it on. */
  tell(type: string, fields: object = {}): boolean {
    if (this.phase !== "ready") return false;
    this.outgoing.push({ socket: this.main, text: JSON.stringify({ type, ...fields }) });
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
      this.outgoing.push({ socket: this.main, text: one.text });
    }
    return [{ do: "deliver", message: hello }, ...failed];
  }

  private dismissed(reason: string, now: number): Action[] {
    if (FINAL.has(reason)) {
      this.phase = "ended";
      this.outgoing = [];
      const sockets = this.rival ? [this.main, this.rival.socket] : [this.main];
      this.rival = null;
      return [
        ...sockets.map((socket): Action => ({ do: "drop", socket })),
        ...this.failWaiting(() => true, "offline"),
        { do: "end", reason },
      ];
    }
    // by our own rival, or by another tab that took our id
    const ours = now - this.claimedAt <= CLAIM;
    if (reason === "replaced" && !ours) this.client = this.options.newClient();
    return this.drop(this.main, now);
  }

  private drop(socket: number, now: number): Action[] {
    return [{ do: "drop", socket }, ...this.closed(socket, now)];
  }

  private ask(now: number, by: number): void {
    this.pingAt = now + PING_EVERY;
    this.answerBy = this.answerBy === null ? by : Math.min(this.answerBy, by);
    this.send(this.main, { type: "ping", t: now });
  }

  private send(socket: number, message: object): void {
    this.outgoing.push({ socket, text: JSON.stringify(message) });
  }

  /** Full jitter: s to the next attempt after so many. */
  private backOff(attempts: number): number {
    const ceiling = Math.min(BACKOFF_MAX, BACKOFF_FIRST * 2 ** attempts);
    return Math.max(BACKOFF_LEAST, this.options.random() * ceiling);
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

function parsed(text: string): ServerMessage | null {
  try {
    return JSON.parse(text) as ServerMessage;
  } catch {
    return null;
  }
}
